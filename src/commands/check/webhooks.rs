//! Posts a signed batch without events to each webhook, as the server would send one with events.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::report::Report;
use crate::config::{App, Config, Webhook};
use crate::net::{self, Destination, Fetch};
use crate::proto::auth::Signer;
use crate::proto::http::ResponseReader;
use crate::proto::spool::DeliveryId;
use crate::proto::webhook;

/// Reports for each webhook with which status it answers, and after which time.
pub(super) fn check(report: &mut Report<'_>, config: &Config, timeout: Duration) {
    for app in &config.apps {
        for webhook in &app.webhooks {
            let what = format!("the webhook {} of the app {}", webhook.url, app.id);
            let began = Instant::now();
            match post(config, app, webhook, timeout) {
                Ok(response) => {
                    let status = response.status().unwrap_or_default();
                    let ms = began.elapsed().as_millis();
                    match status {
                        200..300 => report.fine(&format!("{what} answers {status} in {ms} ms")),
                        status => report.wrong(&format!(
                            "{what} answers {status} in {ms} ms: {}",
                            advice(status)
                        )),
                    }
                }
                Err(why) => report.wrong(&format!("{what} does not answer: {why}")),
            }
        }
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
fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed, so set the URL that it redirects to",
        401 | 403 => "the application must accept the key and the secret of this app",
        404 | 405 => "the application needs a route for POST at this path",
        // Laravel's middleware against forged forms.
        419 => "exclude this path from the verification of CSRF tokens",
        _ => "the application must answer 2xx",
    }
}
