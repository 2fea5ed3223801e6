//! Writes configurations as JSON: a `reverb.json` with every key, and files of the folder of apps. Tests
//! and a fuzz target check that they can express every configuration.

use std::path::PathBuf;

use serde_core::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;

use super::app_draft::DEFAULT_RATE_LIMIT;
use super::{
    App, ClientEvents, Compression, Config, Limits, RedisTls, Server, Tls, Webhook, WebhookEvent,
};

/// The text of a `reverb.json` with exactly this configuration, including the secrets.
pub fn render(config: &Config) -> String {
    text(&file(config))
}

/// The text of a file for the folder of apps (`apps_dir`) with this app, including its secrets.
pub fn app_file(one: &App) -> String {
    text(&app(one))
}

/// The same as a JSON object.
pub fn app_object(one: &App) -> serde_json::Map<String, serde_json::Value> {
    let written = serde_json::to_value(app(one)).ok();
    let object = written.and_then(|value| value.as_object().cloned());
    object.expect("an app is written as an object")
}

/// The text of a file for the folder of apps with these apps.
pub fn apps_file(apps: &[App]) -> String {
    text(&list(apps))
}

/// The last good apps of files, by the names of the files: what a process hands over to the next one.
pub fn kept_apps(files: &[(String, Vec<App>)]) -> String {
    text(&object(files.iter().map(|(name, apps)| (&**name, list(apps)))))
}

/// The text of a file with this value, in the form of the other files.
pub fn tree(value: &serde_json::Value) -> String {
    text(value)
}

fn text(value: &impl Serialize) -> String {
    let mut written = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut written, formatter);
    let done = value.serialize(&mut serializer);
    done.expect("writing texts, numbers and lists to memory cannot fail");
    written.push(b'\n');
    String::from_utf8(written).expect("the serializer writes UTF-8")
}

/// A JSON value. Keys keep their order, which is that of the manual.
enum Value {
    Plain(serde_json::Value),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Plain(value) => value.serialize(to),
            Value::List(values) => to.collect_seq(values),
            Value::Object(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

fn plain(value: impl Into<serde_json::Value>) -> Value {
    Value::Plain(value.into())
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn path(path: &Option<PathBuf>) -> Value {
    plain(path.as_ref().and_then(|path| path.to_str()))
}

/// Joins the items with a separator; null if there are none.
fn joined(items: &[impl ToString], separator: &str) -> Value {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    plain((!items.is_empty()).then(|| texts.join(separator)))
}

fn file(config: &Config) -> Value {
    object([
        ("default", plain("reverb")),
        ("servers", object([("reverb", server(&config.server, &config.limits))])),
        ("apps", object([("provider", plain("config")), ("apps", list(&config.apps))])),
    ])
}

fn server(server: &Server, limits: &Limits) -> Value {
    object([
        ("host", plain(&*server.host)),
        ("port", plain(server.port)),
        ("reuse_port", plain(server.reuse_port)),
        ("path", plain(&*server.path)),
        ("hostname", plain(server.hostname.as_deref())),
        ("metrics", plain(server.metrics.map(|address| address.to_string()))),
        ("console", plain(server.console.address.as_ref().map(ToString::to_string))),
        ("console_anywhere", plain(server.console.anywhere)),
        ("console_write", plain(server.console.write)),
        ("console_token", plain(server.console.token.as_deref())),
        ("apps_dir", path(&server.apps_dir)),
        ("trusted_proxies", joined(&server.trusted_proxies, ",")),
        ("options", object([("tls", tls(&server.tls))])),
        ("max_request_size", plain(server.max_request_size)),
        ("compression", compression(server.compression)),
        ("scaling", scaling(server)),
        ("pulse_ingest_interval", plain(server.pulse_interval_s)),
        ("pulse_sample_rate", plain(server.pulse_sample_ppm.map(|ppm| f64::from(ppm) / 1e6))),
        ("webhook_spool", path(&server.webhook_spool)),
        ("webhook_private_addresses", plain(server.webhook_private_addresses)),
        ("feed_payload", plain(server.feed_payload)),
        ("telescope_ingest_interval", plain(15)),
        ("limits", all_limits(limits)),
    ])
}

fn compression(compression: Compression) -> Value {
    object([
        ("enabled", plain(compression.enabled)),
        ("minimum", plain(compression.minimum_bytes)),
        ("level", plain(compression.level)),
        ("subscribers", plain(compression.subscribers)),
        ("safari", plain(compression.safari)),
    ])
}

fn scaling(server: &Server) -> Value {
    let scaling = &server.scaling;
    let sentinel = object([
        ("service", plain(&*scaling.sentinel_service)),
        ("username", plain(scaling.sentinel_username.as_deref())),
        ("password", plain(scaling.sentinel_password.as_deref())),
    ]);
    let redis = object([
        ("url", plain(scaling.url.as_deref())),
        ("scheme", plain(scaling.scheme.as_deref())),
        ("host", plain(&*scaling.host)),
        ("port", plain(scaling.port)),
        ("username", plain(scaling.username.as_deref())),
        ("password", plain(scaling.password.as_deref())),
        ("database", plain(scaling.database)),
        ("timeout", plain(scaling.timeout_s)),
        ("sentinel", sentinel),
        ("tls", redis_tls(&scaling.tls)),
    ]);
    object([
        ("enabled", plain(scaling.enabled)),
        ("channel", plain(&*scaling.channel)),
        ("sentinels", joined(&scaling.sentinels, ",")),
        ("cluster", plain(scaling.cluster)),
        ("server", redis),
    ])
}

fn redis_tls(tls: &RedisTls) -> Value {
    object([
        ("cafile", path(&tls.cafile)),
        ("verify_peer", plain(tls.verify_peer)),
        ("peer_name", plain(tls.peer_name.as_deref())),
        ("local_cert", path(&tls.local_cert)),
        ("local_pk", path(&tls.local_pk)),
        ("passphrase", plain(tls.passphrase.as_deref())),
    ])
}

fn tls(tls: &Tls) -> Value {
    let names = tls.sni_server_certs.iter().map(|one| {
        let certificate = plain(one.local_cert.to_str());
        let pair = object([("local_cert", certificate), ("local_pk", path(&one.local_pk))]);
        (&*one.name, pair)
    });
    object([
        ("local_cert", path(&tls.local_cert)),
        ("local_pk", path(&tls.local_pk)),
        ("passphrase", plain(tls.passphrase.as_deref())),
        ("verify_peer", plain(tls.verify_peer)),
        ("cafile", path(&tls.cafile)),
        ("capath", path(&tls.capath)),
        ("SNI_server_certs", object(names)),
        ("alpn_protocols", joined(&tls.alpn_protocols, ",")),
        ("crypto_method", plain(())),
        ("min_proto_version", plain((!tls.tls12).then_some("TLSv1.3"))),
        ("max_proto_version", plain((!tls.tls13).then_some("TLSv1.2"))),
        ("ciphers", joined(&tls.ciphers, ":")),
        ("honor_cipher_order", plain(tls.honor_cipher_order)),
        ("no_ticket", plain(tls.no_ticket)),
    ])
}

fn all_limits(limits: &Limits) -> Value {
    object(Limits::NAMES.iter().map(|name| (*name, plain(limits.value(name)))))
}

fn list(apps: &[App]) -> Value {
    Value::List(apps.iter().map(app).collect())
}

fn app(app: &App) -> Value {
    let limit = app.rate_limit.unwrap_or(DEFAULT_RATE_LIMIT);
    let client_events = match app.accept_client_events_from {
        ClientEvents::All => "all",
        ClientEvents::Members => "members",
        ClientEvents::None => "none",
    };
    let rate_limiting = object([
        ("enabled", plain(app.rate_limit.is_some())),
        ("max_attempts", plain(limit.max_attempts)),
        ("decay_seconds", plain(limit.decay_seconds)),
        ("terminate_on_limit", plain(limit.terminate_on_limit)),
    ]);
    let secret = match &app.previous_secret {
        None => ("secret", plain(&*app.secret)),
        Some(previous) => ("secrets", plain(vec![&*app.secret, previous])),
    };
    let mut fields = vec![
        ("app_id", plain(&*app.id)),
        ("key", plain(&*app.key)),
        secret,
        ("enabled", plain(app.enabled)),
        ("options", object([])),
        ("allowed_origins", plain(app.allowed_origins.clone())),
        ("ping_interval", plain(app.ping_interval_s)),
        ("activity_timeout", plain(app.activity_timeout_s)),
        ("max_connections", plain(app.max_connections)),
        ("max_message_size", plain(app.max_message_size)),
        ("accept_client_events_from", plain(client_events)),
        ("client_events_on_public_channels", plain(app.client_events_on_public_channels)),
        ("rate_limiting", rate_limiting),
        ("subscription_count", plain(app.subscription_count)),
        ("strict_channel_names", plain(app.strict_channel_names)),
        ("empty_users_ok", plain(app.empty_users_ok)),
    ];
    fields.extend(app.limits.values().map(|(key, value)| (key, plain(value))));
    fields.push(("webhooks", Value::List(app.webhooks.iter().map(webhook).collect())));
    object(fields)
}

fn webhook(webhook: &Webhook) -> Value {
    let names: Vec<&str> = webhook.events.iter().map(WebhookEvent::name).collect();
    let headers = webhook.headers.iter().map(|(name, value)| (&**name, plain(&**value)));
    object([
        ("url", plain(webhook.url.text())),
        ("events", plain(names)),
        ("channels", plain(webhook.channels.clone())),
        ("headers", object(headers)),
        ("batch_ms", plain(webhook.batch_ms)),
        ("timeout_ms", plain(webhook.timeout_ms)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::apps_folder::parse_file;
    use crate::config::{Findings, RateLimit, json};

    fn read_back(config: &Config) -> Config {
        let mut read = Config::default();
        let mut findings = Findings::default();
        read.apps = json::read("f", &render(config), &mut read, &mut findings).unwrap();
        assert_eq!(findings.warnings, [""; 0]);
        read
    }

    #[test]
    fn the_defaults_survive_a_round_trip() {
        let config = Config { apps: vec![App::new("1", "k", "s")], ..Config::default() };
        assert_eq!(read_back(&config), config);
        assert_eq!(read_back(&Config::default()), Config::default());
    }

    #[test]
    fn a_configuration_without_defaults_survives_a_round_trip() {
        let mut config = Config::default();
        let server = &mut config.server;
        (server.host, server.port, server.path) = ("::1".into(), 1, "/a/b".into());
        (server.hostname, server.max_request_size) = (Some("h".into()), 9_999);
        server.reuse_port = true;
        server.trusted_proxies = crate::config::values::networks("10.0.0.0/8,::1").unwrap();
        server.apps_dir = Some("/apps".into());
        server.metrics = Some("[::1]:9100".parse().unwrap());
        server.console.token = Some("0123456789abcdef".into());
        (server.console.anywhere, server.console.write) = (true, true);
        #[cfg(feature = "console")]
        {
            let address = "0.0.0.0:9101".parse().unwrap();
            server.console.address = Some(crate::config::ConsoleAddress::Tcp(address));
        }
        (server.webhook_spool, server.webhook_private_addresses) = (Some("/s".into()), false);
        server.feed_payload = false;
        #[cfg(feature = "tls")]
        {
            let sni = crate::config::tls::SniCertificate {
                name: "*.d".into(),
                local_cert: "/d".into(),
                local_pk: None,
            };
            server.tls = Tls {
                local_cert: Some("/c".into()),
                local_pk: Some("/k".into()),
                passphrase: Some("p\"".into()),
                verify_peer: true,
                cafile: Some("/a".into()),
                capath: Some("/b".into()),
                sni_server_certs: vec![sni],
                alpn_protocols: vec!["http/1.1".into()],
                tls12: true,
                tls13: false,
                ciphers: vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
                honor_cipher_order: true,
                no_ticket: true,
            };
        }
        server.compression = Compression {
            enabled: false,
            minimum_bytes: 2,
            level: 9,
            subscribers: 1,
            safari: true,
        };
        let scaling = &mut server.scaling;
        (scaling.enabled, scaling.channel) = (true, "c\"\\".into());
        scaling.url = Some("redis://u".into());
        (scaling.host, scaling.port) = ("r".into(), 2);
        (scaling.username, scaling.password) = (Some("u".into()), Some("p".into()));
        (scaling.database, scaling.timeout_s) = (3, 4);
        scaling.scheme = Some("tls".into());
        scaling.sentinels = crate::config::sentinel::addresses("a:1,[::1]:2").unwrap();
        scaling.sentinel_service = "s".into();
        (scaling.sentinel_username, scaling.sentinel_password) =
            (Some("v".into()), Some("q".into()));
        scaling.cluster = true;
        scaling.tls = RedisTls {
            cafile: Some("/a".into()),
            verify_peer: false,
            peer_name: Some("n".into()),
            local_cert: Some("/c".into()),
            local_pk: Some("/k".into()),
            passphrase: Some("p\"".into()),
        };
        for name in Limits::NAMES {
            let value = config.limits.value(name).unwrap();
            config.limits.set(name, value + 1).or_else(|_| config.limits.set(name, 2)).unwrap();
        }
        config.apps = vec![app_without_defaults(), App::new("2", "l", "t")];
        assert_eq!(read_back(&config), config);
    }

    fn app_without_defaults() -> App {
        let mut app = App::new("1", "k", "s\n");
        (app.previous_secret, app.enabled) = (Some("t".into()), false);
        (app.ping_interval_s, app.activity_timeout_s) = (5, 6);
        app.allowed_origins = vec!["a".into(), "*.b".into()];
        (app.max_connections, app.max_message_size) = (Some(0), 0);
        app.accept_client_events_from = ClientEvents::None;
        app.client_events_on_public_channels = true;
        app.rate_limit =
            Some(RateLimit { max_attempts: 7, decay_seconds: 8, terminate_on_limit: true });
        app.subscription_count = true;
        app.strict_channel_names = true;
        app.empty_users_ok = false;
        app.limits = crate::config::AppLimits {
            max_backend_events_per_second: Some(11),
            max_read_requests_per_second: Some(12),
            max_client_events_per_second: Some(13),
            max_presence_members: Some(14),
            max_channels: Some(15),
            max_event_payload_bytes: Some(16),
            max_event_name_length: Some(17),
            max_channel_name_length: Some(18),
            max_event_channels_at_once: Some(19),
            max_event_batch_size: Some(20),
            authorization_timeout_s: Some(21),
        };
        if cfg!(feature = "webhooks") {
            let url = crate::config::Url::parse("https://[::1]:8/a?b=c").unwrap();
            let events = crate::config::WebhookEvents::default().with(WebhookEvent::MessageSent);
            app.webhooks = vec![Webhook {
                url,
                events,
                channels: vec!["private-*".into()],
                headers: vec![("A".into(), "b\"".into()), ("C".into(), "d".into())],
                batch_ms: 6,
                timeout_ms: 700,
                laravel_cause: None,
            }];
        }
        app
    }

    #[test]
    fn files_of_apps_survive_a_round_trip() {
        let apps = [app_without_defaults(), App::new("2", "l", "t")];
        for app in &apps {
            let (read, findings) = parse_file("a.json", &app_file(app)).unwrap();
            assert_eq!(read, std::slice::from_ref(app));
            assert_eq!(findings.warnings, [""; 0]);
        }
        assert_eq!(parse_file("a.json", &apps_file(&apps)).unwrap().0, apps);
    }

    #[test]
    fn every_known_key_is_written() {
        let mut app = App::new("1", "k", "s");
        app.webhooks = vec![Webhook::new(crate::config::Url::parse("http://a").unwrap())];
        let mut rotated = App::new("2", "l", "t");
        rotated.previous_secret = Some("s".into());
        let config = Config { apps: vec![app, rotated], ..Config::default() };
        let written = render(&config);
        for key in json::keys().flat_map(|key| key.split('.')) {
            assert!(written.contains(&format!("\"{key}\":")), "{key}");
        }
    }
}
