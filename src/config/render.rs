//! Writes a configuration as `reverb.json`, every key with its value: the example that
//! `reverb install` leaves, and the proof that the file can say all there is to say.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::settings::DEFAULT_RATE_LIMIT;
use super::{App, ClientEvents, Config, Limits, RedisTls, Server, Tls};

/// The text of a `reverb.json` that sets exactly this configuration. It holds the secrets of the
/// apps.
pub fn render(config: &Config) -> String {
    format!(
        r#"{{
    "default": "reverb",
    "servers": {{
        "reverb": {{{server},
            "limits": {{{limits}
            }}
        }}
    }},
    "apps": {{
        "provider": "config",
        "apps": [{apps}
        ]
    }}
}}
"#,
        server = server(&config.server),
        limits = limits(&config.limits),
        apps = config.apps.iter().map(app).collect::<Vec<_>>().join(","),
    )
}

fn server(server: &Server) -> String {
    let scaling = &server.scaling;
    format!(
        r#"
            "host": {host},
            "port": {port},
            "reuse_port": {reuse_port},
            "path": {path},
            "hostname": {hostname},
            "metrics": {metrics},
            "trusted_proxies": {trusted_proxies},
            "options": {{
                "tls": {tls}
            }},
            "max_request_size": {max_request_size},
            "scaling": {{
                "enabled": {enabled},
                "channel": {channel},
                "server": {{
                    "url": {redis_url},
                    "scheme": {redis_scheme},
                    "host": {redis_host},
                    "port": {redis_port},
                    "username": {redis_username},
                    "password": {redis_password},
                    "database": {redis_database},
                    "timeout": {redis_timeout_s},
                    "tls": {redis_tls}
                }}
            }},
            "pulse_ingest_interval": {pulse_interval_s},
            "pulse_sample_rate": {pulse_sample_rate},
            "telescope_ingest_interval": 15"#,
        host = text(&server.host),
        port = server.port,
        reuse_port = server.reuse_port,
        path = text(&server.path),
        hostname = optional(server.hostname.as_deref()),
        metrics = optional(server.metrics.map(|address| address.to_string()).as_deref()),
        trusted_proxies = joined(&server.trusted_proxies),
        tls = tls(&server.tls),
        max_request_size = server.max_request_size,
        pulse_interval_s = server.pulse_interval_s,
        pulse_sample_rate = server.pulse_sample_ppm.map_or("null".to_owned(), |ppm| {
            format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
        }),
        enabled = scaling.enabled,
        channel = text(&scaling.channel),
        redis_url = optional(scaling.url.as_deref()),
        redis_scheme = optional(scaling.scheme.as_deref()),
        redis_host = text(&scaling.host),
        redis_port = scaling.port,
        redis_username = optional(scaling.username.as_deref()),
        redis_password = optional(scaling.password.as_deref()),
        redis_database = scaling.database,
        redis_timeout_s = scaling.timeout_s,
        redis_tls = redis_tls(&scaling.tls),
    )
}

fn redis_tls(tls: &RedisTls) -> String {
    format!(
        r#"{{
                        "cafile": {cafile},
                        "verify_peer": {verify_peer},
                        "peer_name": {peer_name},
                        "local_cert": {local_cert},
                        "local_pk": {local_pk},
                        "passphrase": {passphrase}
                    }}"#,
        cafile = path(&tls.cafile),
        verify_peer = tls.verify_peer,
        peer_name = optional(tls.peer_name.as_deref()),
        local_cert = path(&tls.local_cert),
        local_pk = path(&tls.local_pk),
        passphrase = optional(tls.passphrase.as_deref()),
    )
}

fn tls(tls: &Tls) -> String {
    let names = tls.sni_server_certs.iter().map(|one| {
        let (certificate, key) = (Some(one.local_cert.clone()), &one.local_pk);
        let pair =
            format!(r#"{{ "local_cert": {}, "local_pk": {} }}"#, path(&certificate), path(key));
        format!("{}: {pair}", text(&one.name))
    });
    let oldest = (!tls.tls12).then_some("TLSv1.3");
    let newest = (!tls.tls13).then_some("TLSv1.2");
    let joined = |list: String| optional(Some(list).as_deref().filter(|list| !list.is_empty()));
    format!(
        r#"{{
                    "local_cert": {local_cert},
                    "local_pk": {local_pk},
                    "passphrase": {passphrase},
                    "verify_peer": {verify_peer},
                    "cafile": {cafile},
                    "capath": {capath},
                    "SNI_server_certs": {{{names}}},
                    "alpn_protocols": {alpn_protocols},
                    "crypto_method": null,
                    "min_proto_version": {oldest},
                    "max_proto_version": {newest},
                    "ciphers": {ciphers},
                    "honor_cipher_order": {honor_cipher_order},
                    "no_ticket": {no_ticket}
                }}"#,
        local_cert = path(&tls.local_cert),
        local_pk = path(&tls.local_pk),
        passphrase = optional(tls.passphrase.as_deref()),
        verify_peer = tls.verify_peer,
        cafile = path(&tls.cafile),
        capath = path(&tls.capath),
        names = names.collect::<Vec<_>>().join(", "),
        alpn_protocols = joined(tls.alpn_protocols.join(",")),
        oldest = optional(oldest),
        newest = optional(newest),
        ciphers = joined(tls.ciphers.join(":")),
        honor_cipher_order = tls.honor_cipher_order,
        no_ticket = tls.no_ticket,
    )
}

fn limits(limits: &Limits) -> String {
    let mut lines = String::new();
    for (at, name) in Limits::NAMES.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let value = limits.value(name).expect("NAMES names limits only");
        // Writing to a String cannot fail.
        _ = write!(lines, "{comma}\n                \"{name}\": {value}");
    }
    lines
}

fn app(app: &App) -> String {
    let limit = app.rate_limit.unwrap_or(DEFAULT_RATE_LIMIT);
    let origins: Vec<String> = app.allowed_origins.iter().map(|origin| text(origin)).collect();
    format!(
        r#"
            {{
                "app_id": {id},
                "key": {key},
                "secret": {secret},
                "options": {{}},
                "allowed_origins": [{origins}],
                "ping_interval": {ping_interval_s},
                "activity_timeout": {activity_timeout_s},
                "max_connections": {max_connections},
                "max_message_size": {max_message_size},
                "accept_client_events_from": "{client_events}",
                "client_events_on_public_channels": {client_events_on_public_channels},
                "rate_limiting": {{
                    "enabled": {is_rate_limited},
                    "max_attempts": {max_attempts},
                    "decay_seconds": {decay_seconds},
                    "terminate_on_limit": {terminate_on_limit}
                }},
                "subscription_count": {subscription_count},
                "strict_channel_names": {strict_channel_names},
                "empty_users_ok": {empty_users_ok}
            }}"#,
        id = text(&app.id),
        key = text(&app.key),
        secret = text(&app.secret),
        origins = origins.join(", "),
        ping_interval_s = app.ping_interval_s,
        activity_timeout_s = app.activity_timeout_s,
        max_connections = app.max_connections.map_or("null".to_owned(), |n| n.to_string()),
        max_message_size = app.max_message_size,
        client_events = match app.accept_client_events_from {
            ClientEvents::All => "all",
            ClientEvents::Members => "members",
            ClientEvents::None => "none",
        },
        client_events_on_public_channels = app.client_events_on_public_channels,
        is_rate_limited = app.rate_limit.is_some(),
        max_attempts = limit.max_attempts,
        decay_seconds = limit.decay_seconds,
        terminate_on_limit = limit.terminate_on_limit,
        subscription_count = app.subscription_count,
        strict_channel_names = app.strict_channel_names,
        empty_users_ok = app.empty_users_ok,
    )
}

fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn path(path: &Option<PathBuf>) -> String {
    optional(path.as_ref().and_then(|path| path.to_str()))
}

/// A list with commas, or nothing.
fn joined(items: &[impl ToString]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    optional((!items.is_empty()).then(|| texts.join(",")).as_deref())
}

fn optional(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RateLimit, json};

    fn read_back(config: &Config) -> Config {
        let mut read = Config::default();
        let mut warnings = Vec::new();
        read.apps = json::read("f", &render(config), &mut read, &mut warnings).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        read
    }

    #[test]
    fn the_defaults_read_back_as_they_were() {
        let config = Config { apps: vec![App::new("1", "k", "s")], ..Config::default() };
        assert_eq!(read_back(&config), config);
        assert_eq!(read_back(&Config::default()), Config::default());
    }

    #[test]
    fn a_configuration_without_any_default_reads_back_as_it_was() {
        let mut config = Config::default();
        let server = &mut config.server;
        (server.host, server.port, server.path) = ("::1".into(), 1, "/a/b".into());
        (server.hostname, server.max_request_size) = (Some("h".into()), 9_999);
        server.reuse_port = true;
        server.trusted_proxies = crate::config::values::networks("10.0.0.0/8,::1").unwrap();
        server.metrics = Some("[::1]:9100".parse().unwrap());
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
        let scaling = &mut server.scaling;
        (scaling.enabled, scaling.channel) = (true, "c\"\\".into());
        scaling.url = Some("redis://u".into());
        (scaling.host, scaling.port) = ("r".into(), 2);
        (scaling.username, scaling.password) = (Some("u".into()), Some("p".into()));
        (scaling.database, scaling.timeout_s) = (3, 4);
        scaling.scheme = Some("tls".into());
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
        let mut app = App::new("1", "k", "s\n");
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
        config.apps = vec![app, App::new("2", "l", "t")];
        assert_eq!(read_back(&config), config);
    }

    #[test]
    fn every_known_key_is_written() {
        let config = Config { apps: vec![App::new("1", "k", "s")], ..Config::default() };
        let written = render(&config);
        for key in json::keys().flat_map(|key| key.split('.')) {
            assert!(written.contains(&format!("\"{key}\":")), "{key}");
        }
    }
}
