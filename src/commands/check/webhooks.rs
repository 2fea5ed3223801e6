//! Posts a signed batch without events to each webhook, as the server would send one with events.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::report::Report;
use crate::config::{App, Config, Webhook};
use crate::net::{self, Destination, Fetch};
use crate::proto::auth::Signer;
use crate::proto::http::ResponseReader;
use crate::proto::spool::DeliveryId;
use crate::proto::webhook;

/// Reports for each webhook with which status it answers, and after which time. `reload` is the command
/// that applies a change.
pub(super) fn check(report: &mut Report<'_>, config: &Config, reload: &str, timeout: Duration) {
    for app in &config.apps {
        for webhook in &app.webhooks {
            let what = name(app, webhook);
            let began = Instant::now();
            match post(config, app, webhook, timeout) {
                Ok(response) => {
                    let status = response.status().unwrap_or_default();
                    let ms = began.elapsed().as_millis();
                    match status {
                        200..300 => report.fine(&format!("{what} answers {status} in {ms} ms")),
                        status => report.wrong(&format!(
                            "{what} answers {status} in {ms} ms: {}",
                            advice(status, webhook, reload)
                        )),
                    }
                }
                Err(why) => {
                    let advice = match webhook.laravel_cause {
                        Some(_) => format!(
                            "; set APP_URL, or REVERB_EVENTS_URL, to a URL by which the server \
                             reaches the Laravel app, and run `{reload}`"
                        ),
                        None => String::new(),
                    };
                    report.wrong(&format!("{what} does not answer: {why}{advice}"));
                }
            }
        }
    }
}

/// What it is, with its URL.
fn name(app: &App, webhook: &Webhook) -> String {
    match webhook.laravel_cause {
        None => format!("the webhook {} of the app {}", webhook.url, app.id),
        Some(cause) => format!(
            "the Laravel app, to which the server posts events of the app {} at {} because of \
             {cause},",
            app.id, webhook.url
        ),
    }
}

fn post(
    config: &Config,
    app: &App,
    webhook: &Webhook,
    timeout: Duration,
) -> Result<ResponseReader, String> {
    let url = &webhook.url;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = webhook::body(now.as_millis() as u64, "", &[]);
    let signature = Signer::new(&app.secret).sign(&[&body]);
    // The application must not take the batch for one that it has handled.
    let delivery = DeliveryId(now.as_nanos());
    let head = webhook::head(&app.key, &signature, delivery, &webhook.header_lines());
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority(),
        body.len()
    );
    let destination = Destination { host: url.host.clone(), port: url.port, is_secure: url.is_tls };
    let fetch = Fetch {
        destination: &destination,
        verifies: true,
        authorities: config.server.webhook_authorities.as_deref(),
        refuses_private: !config.server.webhook_private_addresses,
        timeout: timeout.min(Duration::from_millis(webhook.timeout_ms.into())),
    };
    let response = net::fetch(&fetch, request.into_bytes(), body.as_bytes(), |_| false);
    response.map_err(|error| error.to_string())
}

/// What to change if the status is not 2xx.
fn advice(status: u16, webhook: &Webhook, reload: &str) -> String {
    let is_for_laravel = webhook.laravel_cause.is_some();
    let text = match status {
        300..=399 if is_for_laravel => {
            "redirects are not followed, so set REVERB_EVENTS_URL to the URL that it redirects to"
        }
        401 | 403 if is_for_laravel => {
            return format!(
                "the Laravel app has another key or secret of this app than the server: run \
                 `{reload}`, after `php artisan config:cache` if the configuration is cached"
            );
        }
        404 | 405 if is_for_laravel => {
            "the app there lacks the route of the provider: run `reverb install` in its folder, and \
             `php artisan route:cache` if the routes are cached; if it is another app, set APP_URL \
             or REVERB_EVENTS_URL"
        }
        300..=399 => "redirects are not followed, so set the URL that it redirects to",
        401 | 403 => "the application must accept the key and the secret of this app",
        404 | 405 => "the application needs a route for POST at this path",
        // Laravel's middleware against forged forms.
        419 => "exclude this path from the verification of CSRF tokens",
        _ => "the application must answer 2xx",
    };
    text.to_owned()
}
