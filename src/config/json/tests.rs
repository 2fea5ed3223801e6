//! The contents of `reverb.json`, and the error for each mistake.

use super::*;
use crate::config::ClientEvents;
use serde_json::json;

/// Laravel's own output, but for the values.
const LARAVEL: &str = r#"{"default":"reverb","servers":{"reverb":{"host":"0.0.0.0","port":8081,
    "path":"","hostname":null,"options":{"tls":[]},"max_request_size":10000,"scaling":{
    "enabled":false,"channel":"reverb","server":{"url":null,"host":"127.0.0.1","port":"6380",
    "username":null,"password":null,"database":"0","timeout":60}},"pulse_ingest_interval":15,
    "telescope_ingest_interval":15}},"apps":{"provider":"config","apps":[{"key":"k",
    "secret":"s","app_id":1,"options":{"host":"h","port":443,"scheme":"https","useTLS":true},
    "allowed_origins":["*"],"ping_interval":61,"activity_timeout":30,"max_connections":null,
    "max_message_size":10000,"accept_client_events_from":"all","rate_limiting":{
    "enabled":true,"max_attempts":61,"decay_seconds":60,"terminate_on_limit":false}}]}}"#;

fn read_text(text: &str) -> Result<(Config, Vec<App>, Vec<String>), String> {
    let mut config = Config::default();
    let mut warnings = Vec::new();
    let apps = read("f", text, &mut config, &mut warnings).map_err(|e| e.to_string())?;
    Ok((config, apps, warnings))
}

fn refused(tree: Value) -> String {
    read_text(&tree.to_string()).err().unwrap()
}

fn with_server(server: Value) -> Value {
    json!({"servers": {"reverb": server}})
}

fn with_apps(apps: Value) -> Value {
    json!({"apps": {"apps": apps}})
}

fn app(id: &str, key: &str) -> Value {
    json!({"app_id": id, "key": key, "secret": "hush"})
}

#[test]
fn laravels_own_output_is_read() {
    let (config, apps, warnings) = read_text(LARAVEL).unwrap();
    assert_eq!(config.server.port, 8081);
    assert_eq!(config.server.max_request_size, 10_000);
    assert_eq!(config.server.scaling.port, 6380);
    assert_eq!(config.server.hostname, None);
    assert_eq!(apps.len(), 1);
    assert_eq!((apps[0].id.as_str(), apps[0].key.as_str()), ("1", "k"));
    assert_eq!(apps[0].secret, "s");
    assert_eq!(apps[0].ping_interval_s, 61);
    assert_eq!(apps[0].accept_client_events_from, ClientEvents::All);
    assert_eq!(apps[0].rate_limit.unwrap().max_attempts, 61);
    assert!(warnings.is_empty());
}

#[test]
fn an_empty_php_array_stands_for_an_empty_object() {
    for text in ["{}", "[]", "null", r#"{"servers":[],"apps":[]}"#, r#"{"apps":{"apps":[]}}"#] {
        let (config, apps, _) = read_text(text).unwrap();
        assert_eq!(config, Config::default(), "{text}");
        assert!(apps.is_empty());
    }
    let nested = json!({"options": [], "scaling": [], "limits": []});
    assert!(read_text(&with_server(nested).to_string()).is_ok());
    let nested = json!({"scaling": {"server": []}, "options": null});
    assert!(read_text(&with_server(nested).to_string()).is_ok());
}

#[test]
fn limits_are_set_by_name() {
    let limits = json!({"connections": 5, "cache_ttl_s": "60", "drain_window_ms": null,
        "cache_bytes": ""});
    let (config, ..) = read_text(&with_server(json!({"limits": limits})).to_string()).unwrap();
    let expected = Limits { connections: 5, cache_ttl_s: 60, ..Limits::default() };
    assert_eq!(config.limits, expected);
}

#[test]
fn settings_that_laravel_lacks_are_read() {
    let mut entry = app("1", "k");
    for key in [
        "subscription_count",
        "strict_channel_names",
        "empty_users_ok",
        "client_events_on_public_channels",
    ] {
        entry[key] = json!(true);
    }
    let (_, apps, _) = read_text(&with_apps(json!([entry])).to_string()).unwrap();
    assert!(apps[0].subscription_count && apps[0].strict_channel_names);
    assert!(apps[0].empty_users_ok && apps[0].client_events_on_public_channels);
}

#[test]
fn apps_may_have_names_as_php_arrays_do() {
    let apps = json!({"0": app("1", "a"), "shop": app("2", "b")});
    let (_, apps, _) = read_text(&with_apps(apps).to_string()).unwrap();
    assert_eq!(apps.iter().map(|app| app.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn the_default_selects_the_server() {
    let text = json!({"default": "b", "servers": {"a": {"port": 1}, "b": {"port": 2}}});
    assert_eq!(read_text(&text.to_string()).unwrap().0.server.port, 2);
    let missing = json!({"default": "c", "servers": {"a": {}}});
    assert_eq!(refused(missing), "f: default: servers has no entry \"c\"");
    let missing = json!({"servers": {"a": {}}});
    assert_eq!(refused(missing), "f: default: servers has no entry \"reverb\"");
    assert_eq!(refused(json!({"default": 1})), "f: default: must be text");
    let unused = json!({"default": "b", "servers": {"a": {"port": "x"}, "b": {}}});
    assert_eq!(refused(unused), "f: servers.a.port: \"x\" is not a whole number");
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let known = [
        (json!({"server": {}}), "f: server: is not a known key; did you mean servers?"),
        (json!({"apps": {"app": []}}), "f: apps.app: is not a known key; did you mean apps?"),
        (
            with_server(json!({"prot": 1})),
            "f: servers.reverb.prot: is not a known key; did you mean port?",
        ),
        (
            with_server(json!({"limit": {}})),
            "f: servers.reverb.limit: is not a known key; did you mean limits?",
        ),
        (
            with_server(json!({"limits": {"connection": 1}})),
            "f: servers.reverb.limits.connection: is not a known key; did you mean connections?",
        ),
        (
            with_server(json!({"scaling": {"server": {"hots": "x"}}})),
            "f: servers.reverb.scaling.server.hots: is not a known key; did you mean host?",
        ),
        (
            with_server(json!({"scaling.enabled": true})),
            "f: servers.reverb.scaling.enabled: is not a known key",
        ),
        (
            with_server(json!({"options": {"tsl": []}})),
            "f: servers.reverb.options.tsl: is not a known key; did you mean tls?",
        ),
        (
            with_apps(json!([{"ping_intervall": 1}])),
            "f: apps.apps[0].ping_intervall: is not a known key; did you mean ping_interval?",
        ),
        (
            with_apps(json!([{"rate_limiting": {"max": 1}}])),
            "f: apps.apps[0].rate_limiting.max: is not a known key",
        ),
        (json!({"a\nb": 1}), "f: a\\nb: is not a known key"),
    ];
    for (tree, message) in known {
        assert_eq!(refused(tree), message);
    }
}

#[test]
fn an_invalid_value_is_named_by_its_path() {
    let wrong = [
        (json!([1]), "f: must be an object"),
        (json!({"servers": 1}), "f: servers: must be an object"),
        (with_server(json!("x")), "f: servers.reverb: must be an object"),
        (with_server(json!({"scaling": true})), "f: servers.reverb.scaling: must be an object"),
        (
            with_server(json!({"port": 70_000})),
            "f: servers.reverb.port: 70000 is not between 0 and 65535",
        ),
        (
            with_server(json!({"limits": {"accepts_per_turn": 0}})),
            "f: servers.reverb.limits.accepts_per_turn: must be between 1 and 65536",
        ),
        (
            with_server(json!({"limits": {"accepts_per_turn": "x"}})),
            "f: servers.reverb.limits.accepts_per_turn: \"x\" is not a whole number",
        ),
        (
            with_server(json!({"limits": {"accepts_per_turn": []}})),
            "f: servers.reverb.limits.accepts_per_turn: must be a whole number",
        ),
        (with_apps(json!("x")), "f: apps.apps: must be a list"),
        (with_apps(json!(["x"])), "f: apps.apps[0]: must be an object"),
        (
            with_apps(json!([app("1", "a"), {"max_connections": "many"}])),
            "f: apps.apps[1].max_connections: \"many\" is not a whole number",
        ),
        (json!({"apps": {"provider": 1}}), "f: apps.provider: must be text"),
    ];
    for (tree, message) in wrong {
        assert_eq!(refused(tree), message);
    }
}

#[test]
fn an_app_needs_all_its_credentials() {
    for (key, without) in [
        ("app_id", json!({"key": "k", "secret": "hush"})),
        ("key", json!({"app_id": "1", "key": null, "secret": "hush"})),
        ("secret", json!({"app_id": "1", "key": "k", "secret": ""})),
    ] {
        let message = refused(with_apps(json!([without])));
        assert_eq!(message, format!("f: apps.apps[0].{key}: is missing"));
    }
}

#[test]
fn no_two_apps_share_an_id_or_a_key() {
    let message = refused(with_apps(json!([app("1", "a"), app("2", "b"), app("1", "c")])));
    assert_eq!(message, "f: apps.apps[2].app_id: is the same as in apps.apps[0]");
    let message = refused(with_apps(json!([app("1", "a"), app("2", "a")])));
    assert_eq!(message, "f: apps.apps[1].key: is the same as in apps.apps[0]");
}

#[test]
#[cfg(feature = "tls")]
fn tls_options_are_read_and_errors_name_their_path() {
    let tls = |value| with_server(json!({"options": {"tls": value}}));
    let tree = tls(json!({"local_cert": "c", "ciphers": "HIGH:RC4-SHA"}));
    let (config, _, warnings) = read_text(&tree.to_string()).unwrap();
    assert_eq!(config.server.tls.local_cert, Some("c".into()));
    let place = "f: servers.reverb.options.tls";
    assert_eq!(
        warnings,
        [format!("{place}.ciphers: names unsupported cipher suites: \"RC4-SHA\"")]
    );
    let message = refused(tls(json!({"local_crt": "c"})));
    assert_eq!(message, format!("{place}.local_crt: is not a known key; did you mean local_cert?"));
    let message = refused(tls(json!({"crypto_method": 16})));
    assert!(
        message.starts_with(&format!("{place}: leave no supported version of TLS")),
        "{message}"
    );
    assert_eq!(refused(tls(json!("c"))), format!("{place}: must be an object"));
}

#[test]
#[cfg(not(feature = "tls"))]
fn a_server_with_tls_is_rejected() {
    let tls = |value| with_server(json!({"options": {"tls": value}}));
    assert!(read_text(&tls(json!({"local_cert": null})).to_string()).is_ok());
    assert_eq!(
        refused(tls(json!({"local_cert": "/etc/cert.pem"}))),
        "f: servers.reverb.options.tls: this build has no TLS; terminate TLS in nginx, or build \
         with the feature tls"
    );
}

#[test]
fn settings_without_effect_cause_warnings() {
    let mut tree = with_apps(json!([app("1", "k")]));
    tree["apps"]["provider"] = json!("database");
    tree["apps"]["apps"][0]["allowed_origins"] = json!([]);
    tree["servers"] = json!({"reverb": {"options": {"tcp": {"backlog": 1}}}});
    let (_, _, warnings) = read_text(&tree.to_string()).unwrap();
    assert_eq!(
        warnings,
        [
            "f: servers.reverb.options.tcp: is an option of PHP's sockets and has no effect",
            "f: apps.provider: only the provider config is supported; using apps.apps",
            "f: apps.apps[0].allowed_origins: is empty, so no browser can connect; use [\"*\"] to allow \
             all",
        ]
    );
}

#[test]
fn no_error_shows_a_secret() {
    let mut trees = vec![
        with_apps(json!([app("1", "a"), app("1", "a")])),
        with_apps(json!([{"secret": "hush"}])),
        with_apps(json!([{"app_id": "hush hush", "key": "k", "secret": "hush"}])),
        with_apps(json!([{"app_id": "1", "key": "k", "secret": ["hush"]}])),
        with_server(json!({"scaling": {"server": {"password": {"hush": 1}}}})),
    ];
    trees.push(json!({"apps": {"apps": [{"secret": "hush", "sekret": "hush"}]}}));
    for tree in trees {
        let message = refused(tree);
        assert!(!message.contains("hush"), "{message}");
    }
}
