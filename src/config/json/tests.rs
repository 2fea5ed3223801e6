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

fn read_text(text: &str) -> Result<(Config, Vec<App>, Findings), String> {
    let mut config = Config::default();
    let mut findings = Findings::default();
    let apps = read("f", text, &mut config, &mut findings).map_err(|e| e.to_string())?;
    Ok((config, apps, findings))
}

fn findings(tree: Value) -> Findings {
    read_text(&tree.to_string()).unwrap().2
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

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn app(id: &str, key: &str) -> Value {
    json!({"app_id": id, "key": key, "secret": "hush"})
}

#[test]
fn laravels_own_output_is_read() {
    let (config, apps, findings) = read_text(LARAVEL).unwrap();
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
    assert_eq!(findings, Findings::default());
}

#[test]
fn an_empty_php_array_stands_for_an_empty_object() {
    for text in ["{}", "[]", r#"{"servers":[],"apps":[]}"#, r#"{"apps":{"apps":[]}}"#] {
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
fn secrets_are_the_new_one_and_the_previous_one() {
    let secrets = |value| {
        let entry = json!({"app_id": "1", "key": "k", "secrets": value});
        with_apps(json!([entry]))
    };
    let (_, apps, _) = read_text(&secrets(json!(["new", "old"])).to_string()).unwrap();
    assert_eq!((&*apps[0].secret, apps[0].previous_secret.as_deref()), ("new", Some("old")));
    let (_, apps, _) = read_text(&secrets(json!(["new"])).to_string()).unwrap();
    assert_eq!((&*apps[0].secret, apps[0].previous_secret.as_deref()), ("new", None));
    for wrong in [json!([]), json!(["hush", "hush", "hush"]), json!(["hush", ""]), json!("hush")] {
        let message = refused(secrets(wrong));
        assert!(message.contains("apps.apps[0].secrets: must be a list of"), "{message}");
        assert!(!message.contains("hush"), "{message}");
    }
    let both = with(app("1", "k"), "secrets", json!(["hush"]));
    assert!(refused(with_apps(json!([both]))).contains("secret is set as well"));
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
fn an_unknown_key_is_a_finding_with_a_suggestion() {
    let known = [
        (
            json!({"server": {}}),
            "f: server: is not a known key, so it has no effect; did you mean servers?",
        ),
        (
            json!({"apps": {"app": []}}),
            "f: apps.app: is not a known key, so it has no effect; did you mean apps?",
        ),
        (
            with_server(json!({"prot": 1})),
            "f: servers.reverb.prot: is not a known key, so it has no effect; did you mean port?",
        ),
        (
            with_server(json!({"limit": {}})),
            "f: servers.reverb.limit: is not a known key, so it has no effect; did you mean limits?",
        ),
        (
            with_server(json!({"limits": {"connection": 1}})),
            "f: servers.reverb.limits.connection: is not a known key, so it has no effect; did you mean connections?",
        ),
        (
            with_server(json!({"scaling": {"server": {"hots": "x"}}})),
            "f: servers.reverb.scaling.server.hots: is not a known key, so it has no effect; did you mean host?",
        ),
        (
            with_server(json!({"scaling.enabled": true})),
            "f: servers.reverb.scaling.enabled: is not a known key, so it has no effect",
        ),
        (
            with_server(json!({"options": {"tsl": []}})),
            "f: servers.reverb.options.tsl: is not a known key, so it has no effect; did you mean tls?",
        ),
        (
            with_apps(json!([with(app("1", "k"), "ping_intervall", json!(1))])),
            "f: apps.apps[0].ping_intervall: is not a known key, so it has no effect; did you mean ping_interval?",
        ),
        (
            with_apps(json!([with(app("1", "k"), "rate_limiting", json!({"max": 1}))])),
            "f: apps.apps[0].rate_limiting.max: is not a known key, so it has no effect",
        ),
        (json!({"a\nb": 1}), "f: a\\nb: is not a known key, so it has no effect"),
    ];
    for (tree, message) in known {
        let Findings { warnings, notes } = findings(tree);
        let (found, other) = match message.contains("did you mean") {
            true => (warnings, notes),
            false => (notes, warnings),
        };
        assert_eq!((found, other), (vec![message.to_owned()], Vec::new()));
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
    let (config, _, found) = read_text(&tree.to_string()).unwrap();
    assert_eq!(config.server.tls.local_cert, Some("c".into()));
    let place = "f: servers.reverb.options.tls";
    assert_eq!(
        found.warnings,
        [format!("{place}.ciphers: names unsupported cipher suites: \"RC4-SHA\"")]
    );
    let found = findings(tls(json!({"local_crt": "c", "sni": 1, "allow_self_signed": true})));
    let unknown = "is not a known key, so it has no effect";
    assert_eq!(found.warnings, [format!("{place}.local_crt: {unknown}; did you mean local_cert?")]);
    assert_eq!(
        found.notes,
        [
            format!(
                "{place}.allow_self_signed: has no effect: self-signed client certificates belong \
                 in cafile"
            ),
            format!("{place}.sni: {unknown}"),
        ]
    );
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
    let Findings { warnings, notes } = findings(tree);
    assert_eq!(
        warnings,
        [
            format!("f: apps.provider: {CUSTOM_PROVIDER}"),
            "f: apps.apps[0].allowed_origins: is empty, so no browser can connect; use [\"*\"] to \
             allow all"
                .to_owned(),
        ]
    );
    assert_eq!(
        notes,
        ["f: servers.reverb.options.tcp: has no effect: it is an option of PHP's sockets"]
    );
    let notes = findings(with_apps(json!([]))).notes;
    assert_eq!(
        notes,
        [
            "f: apps.apps: is empty, so the server serves the app of the REVERB_APP_ variables, if any"
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
    let misspelt = with_apps(json!([with(app("1", "a"), "sekret", json!("hush"))]));
    assert!(!format!("{:?}", findings(misspelt)).contains("hush"));
    for tree in trees {
        let message = refused(tree);
        assert!(!message.contains("hush"), "{message}");
    }
}

#[test]
fn a_failed_export_is_explained() {
    let again = format!("; export it again: {EXPORT} > f");
    for (text, what) in [
        ("", "is empty"),
        (" \n", "is empty"),
        ("null\n", "is null, because the Laravel app has no config/reverb.php"),
        (
            "\n   ERROR  There are no commands defined in the \"tinker\" namespace.\n",
            "does not begin with {, so it may contain an error of artisan",
        ),
    ] {
        assert_eq!(read_text(text).err().unwrap(), format!("f: {what}{again}"), "{text:?}");
    }
    assert!(read_text("\u{feff}{}").is_ok());
}
