//! `reverb install --from-soketi`: configurations of soketi become ones with which a server starts, and
//! each setting is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::{App, Client, Setup, binary};

/// A directory with these files, removed after the test.
struct Dir(PathBuf);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("reverb-soketi-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
        Dir(dir)
    }

    /// Runs `reverb install --from-soketi` with this file. Returns the exit code and what it printed.
    fn convert(&self, file: &str, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.args(["install", "--from-soketi", file]).args(args);
        let output = command.current_dir(&self.0).env_clear().output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// The same, and the `reverb.json` that was written.
    #[track_caller]
    fn converted(&self, file: &str) -> (String, Value) {
        let (code, text) = self.convert(file, &[]);
        assert_eq!(code, Some(0), "{text}");
        (text, self.read("reverb.json"))
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.0.join(name)).unwrap()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Fails unless the report has this line.
#[track_caller]
fn has(report: &str, line: &str) {
    assert!(report.lines().any(|found| found == line), "{line}\n\n{report}");
}

/// The paths of all values, as the report names them. What is below an app is named by its key.
fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                paths(&path, value, found);
            }
        }
        Value::Array(list) if prefix.ends_with("apps") => {
            let list = list.iter().enumerate();
            list.for_each(|(at, value)| paths(&format!("{prefix}.{at}"), value, found));
        }
        _ => found.push(prefix.to_owned()),
    }
}

/// Fails unless the report has a line for each value of the file.
#[track_caller]
fn names_all(report: &str, file: &Value) {
    let mut all = Vec::new();
    paths("", file, &mut all);
    for path in all {
        let named = |line: &str| {
            let name = line.get(12..).unwrap_or_default();
            let rest = name.strip_prefix(&*path);
            rest.is_some_and(|rest| rest.starts_with([' ', ':', '[', '.']))
        };
        assert!(report.lines().any(named), "{path}\n\n{report}");
    }
}

/// The report about this file and the `reverb.json` from it. The report names every setting and no
/// secret.
#[track_caller]
fn converted(file: &Value) -> (String, Value) {
    let dir = Dir::new(&[("soketi.json", &file.to_string())]);
    let (report, written) = dir.converted("soketi.json");
    names_all(&report, file);
    assert!(!report.contains("hush"), "{report}");
    (report, written)
}

/// A server on one machine with TLS in a proxy, as many Laravel apps have it: variables of a container.
const VARIABLES: &str = "\
SOKETI_DEBUG=1
SOKETI_DEFAULT_APP_ID=laravel
SOKETI_DEFAULT_APP_KEY=laravel-key
SOKETI_DEFAULT_APP_SECRET=hush
SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true
SOKETI_DEFAULT_APP_MAX_CONNS=250
SOKETI_DEFAULT_APP_WEBHOOKS='[{\"url\":\"http://127.0.0.1:9/hook\",\"event_types\":[\"channel_occupied\"]}]'
SOKETI_METRICS_SERVER_PORT=9601
SOKETI_EVENT_MAX_SIZE_IN_KB=0.5
SOKETI_NO_SUCH=1
APP_NAME=Laravel
";

#[test]
fn variables_of_a_container_become_an_app() {
    let dir = Dir::new(&[("soketi.env", VARIABLES)]);
    let (report, written) = dir.converted("soketi.env");
    let mut expected = json!({
        "servers": {"reverb": {"port": 6001}},
        "apps": {"apps": [{
            "app_id": "laravel", "key": "laravel-key", "secret": "hush",
            "accept_client_events_from": "members", "max_connections": 250,
            "max_event_payload_size": 512, "max_message_size": 10_000,
            "webhooks": [{"url": "http://127.0.0.1:9/hook", "events": ["channel_occupied"]}],
        }]},
    });
    if cfg!(not(feature = "webhooks")) {
        expected["apps"]["apps"][0].as_object_mut().unwrap().remove("webhooks");
    }
    assert_eq!(written, expected);
    for line in [
        "mapped      SOKETI_DEFAULT_APP_MAX_CONNS -> apps.apps[0].max_connections",
        "not mapped  SOKETI_DEBUG: start the server with --debug",
        "not mapped  SOKETI_METRICS_SERVER_PORT: metrics.enabled is not true",
        "not mapped  SOKETI_NO_SUCH: is not a variable of soketi",
        "note        servers.reverb.port is 6001, the default of soketi",
        "reverb.json: written",
    ] {
        has(&report, line);
    }
    for line in VARIABLES.lines().filter(|line| line.starts_with("SOKETI_")) {
        let name = line.split('=').next().unwrap();
        assert!(report.contains(name), "{name}\n{report}");
    }
    assert!(!report.contains("hush"), "{report}");
    assert_eq!(fs::metadata(dir.0.join("reverb.json")).unwrap().mode() & 0o777, 0o600);

    let server = Setup::bare().config(written).start();
    let app = App { id: "laravel", key: "laravel-key", secret: "hush" };
    let mut client = Client::connect_to(&server, "/app/laravel-key");
    client.subscribe("news");
    let body = r#"{"name":"e","channel":"news","data":"1"}"#;
    server.post_as(&app, "/apps/laravel/events", body).is(200, json!({}));
    client.expect(json!({"event": "e", "channel": "news", "data": "1"}));
}

/// A cluster with Sentinel, metrics and webhooks.
#[cfg(all(feature = "redis", feature = "webhooks"))]
fn cluster() -> Value {
    json!({
        "debug": false,
        "host": "0.0.0.0",
        "port": 6002,
        "pathPrefix": "/ws",
        "mode": "full",
        "shutdownGracePeriod": 5000,
        "adapter": {"driver": "redis", "redis": {"prefix": "prod_", "requestsTimeout": 5000}},
        "cache": {"driver": "redis"},
        "queue": {"driver": "redis", "redis": {"concurrency": 4}},
        "rateLimiter": {"driver": "redis"},
        "cors": {"credentials": true, "origin": ["*"]},
        "database": {"redis": {
            "host": "127.0.0.1", "port": 1, "db": 2, "username": null, "password": "hush-redis",
            "keyPrefix": "x:", "name": "main", "sentinelPassword": "hush-sentinel",
            "sentinels": [{"host": "127.0.0.1", "port": 1}, {"host": "127.0.0.2", "port": 1}],
        }},
        "metrics": {
            "enabled": true, "driver": "prometheus", "host": "127.0.0.1", "port": 0,
            "prometheus": {"prefix": "pws_"},
        },
        "ssl": {"certPath": "", "keyPath": "", "passphrase": "", "caPath": ""},
        "httpApi": {"requestLimitInMb": 4, "acceptTraffic": {"memoryThreshold": 85}},
        "webhooks": {"batching": {"enabled": true, "duration": 200}},
        "appManager": {"driver": "array", "cache": {"enabled": false, "ttl": -1}, "array": {"apps": [{
            "id": 1, "key": "one", "secret": "hush-one", "enabled": true,
            "maxConnections": -1, "enableClientMessages": false,
            "webhooks": [{
                "url": "https://shop.example/hook", "event_types": ["member_added", "cache_missed", "odd"],
                "filter": {"channel_name_starts_with": "presence-", "channel_name_ends_with": ".room"},
                "headers": {"X-Token": "hush-token", "Host": "shop.example"},
            }, {"lambda_function": "notify", "event_types": ["client_event"]}],
        }]}},
    })
}

#[test]
#[cfg(all(feature = "redis", feature = "webhooks"))]
fn a_cluster_keeps_its_redis_and_its_webhooks() {
    let file = cluster();
    let (report, written) = converted(&file);
    let expected = json!({
        "host": "0.0.0.0", "port": 6002, "path": "/ws", "metrics": "127.0.0.1:0",
        "max_request_size": 4 << 20,
        "scaling": {
            "enabled": true, "channel": "prod_reverb", "sentinels": "127.0.0.1:1,127.0.0.2:1",
            "server": {
                "host": "127.0.0.1", "port": 1, "database": 2, "password": "hush-redis",
                "sentinel": {"service": "main", "password": "hush-sentinel"},
            },
        },
    });
    assert_eq!(written["servers"]["reverb"], expected);
    let expected = json!([{
        "app_id": "1", "key": "one", "secret": "hush-one", "enabled": true,
        "accept_client_events_from": "none",
        "webhooks": [{
            "url": "https://shop.example/hook", "events": ["member_added", "cache_miss"],
            "channels": ["presence-*.room"], "headers": {"X-Token": "hush-token"}, "batch_ms": 200,
        }],
    }]);
    assert_eq!(written["apps"]["apps"], expected);
    for line in [
        "mapped      adapter.driver -> servers.reverb.scaling.enabled",
        "mapped      metrics.port -> servers.reverb.metrics",
        "not mapped  appManager.array.apps.0.webhooks[0].event_types: there is no event odd",
        "not mapped  appManager.array.apps.0.maxConnections: no limit is the default",
        "not mapped  ssl.certPath: is empty",
        "not mapped  queue.driver: webhooks need no queue; webhook_spool keeps those that wait on the disk",
    ] {
        has(&report, line);
    }
    assert!(report.contains("headers.Host: webhooks[0].headers.Host is a header that"), "{report}");
    assert!(report.contains("webhooks[1]: has no url"), "{report}");

    // Redis does not run, and the server serves its own clients.
    let server = Setup::bare().config(written).start();
    Client::connect_to(&server, "/ws/app/one").subscribe("news");
}

#[test]
#[cfg(feature = "redis")]
fn what_the_whole_configuration_does_not_allow_is_left_out() {
    let file = json!({
        "httpApi": {"requestLimitInMb": 100}, "adapter": {"driver": "redis"},
        "appManager": {"driver": "mysql"}, "eventLimits": {"maxPayloadInKb": 10},
    });
    let (report, written) = converted(&file);
    let expected = json!({"servers": {"reverb": {"port": 6001, "scaling": {"enabled": true}}}});
    assert_eq!(written, expected);
    assert!(
        report.contains("not mapped  httpApi.requestLimitInMb: servers.reverb.limits."),
        "{report}"
    );
    assert!(!report.contains("-> servers.reverb.max_request_size"), "{report}");
    has(&report, "not mapped  eventLimits.maxPayloadInKb: set max_event_payload_size of each app");
}

/// Apps of several customers with limits, and the rest of an attempt with a database.
fn customers() -> Value {
    json!({
        "appManager.driver": "array",
        "appManager": {"mysql": {"table": "apps", "version": "8.0"}, "array": {"apps": [
            {
                "id": "a", "key": "key-a", "secret": "hush-a", "enableClientMessages": "1",
                "maxConnections": "100", "maxBackendEventsPerSecond": 50, "maxClientEventsPerSecond": 200,
                "maxReadRequestsPerSecond": -1, "maxPresenceMembersPerChannel": 20000,
                "maxPresenceMemberSizeInKb": 4, "maxChannelNameLength": 250,
                "maxEventChannelsAtOnce": 10, "maxEventNameLength": 50, "maxEventPayloadInKb": 1.5,
                "maxEventBatchSize": 20, "enableUserAuthentication": true, "webhooks": "[]",
                "plan": "gold",
            },
            {"id": "b", "key": "key-b", "secret": "hush-b", "enabled": 0, "maxConnections": "many"},
        ]}},
        "database": {"mysql": {"host": "db", "password": "hush"}},
        "databasePooling": {"enabled": true, "min": 0, "max": 7},
        "channelLimits": {"maxNameLength": 150, "cacheTtl": 600},
        "eventLimits": {
            "maxChannelsAtOnce": 50, "maxNameLength": 100, "maxPayloadInKb": 20, "maxBatchSize": 5,
        },
        "presence": {"maxMembersPerChannel": 100, "maxMemberSizeInKb": 2},
        "userAuthenticationTimeout": 15_000,
        "unheard": {"of": 1},
    })
}

#[test]
fn limits_of_the_server_become_limits_of_its_apps() {
    let file = customers();
    let (report, written) = converted(&file);
    let expected = json!([
        {
            "app_id": "a", "key": "key-a", "secret": "hush-a", "accept_client_events_from": "members",
            "max_connections": "100", "max_backend_events_per_second": 50,
            "max_client_events_per_second": 200, "max_presence_members": 20_000,
            "max_channel_name_length": 250, "max_event_channels_at_once": 10,
            "max_event_name_length": 50, "max_event_payload_size": 1_536, "max_message_size": 10_000,
            "max_event_batch_size": 20, "authorization_timeout": 15,
        },
        {
            "app_id": "b", "key": "key-b", "secret": "hush-b", "accept_client_events_from": "none",
            "enabled": false, "max_presence_members": 100, "max_channel_name_length": 150,
            "max_event_channels_at_once": 50, "max_event_name_length": 100,
            "max_event_payload_size": 20_480, "max_message_size": 40_960, "max_event_batch_size": 5,
        },
    ]);
    assert_eq!(written["apps"]["apps"], expected);
    let expected = json!({
        "port": 6001,
        "limits": {
            "cache_ttl_s": 600, "presence_data_bytes": 2_048, "presence_members": 20_000,
            "channel_name_length": 250, "events_per_batch": 20, "client_events_per_second": 200,
        },
    });
    assert_eq!(written["servers"]["reverb"], expected);
    for line in [
        "not mapped  appManager.array.apps.0.plan: is not a setting of an app of soketi 1",
        "not mapped  appManager.array.apps.1.maxConnections: \"many\" is not a whole number",
        "not mapped  unheard.of: is not a setting of soketi 1",
        "mapped      channelLimits.maxNameLength -> apps.apps[1].max_channel_name_length",
        "mapped      max_presence_members of the apps -> servers.reverb.limits.presence_members",
    ] {
        has(&report, line);
    }
    let server = Setup::bare().config(written).start();
    Client::connect_to(&server, "/app/key-a").subscribe(&"c".repeat(250));
}

#[test]
fn apps_are_files_if_there_is_a_folder() {
    let file = customers().to_string();
    let dir = Dir::new(&[("soketi.json", &file), (".env", "REVERB_APPS_DIR=apps\n")]);
    fs::create_dir(dir.0.join("apps")).unwrap();
    let taken = json!({"app_id": "x", "key": "key-b", "secret": "s"});
    fs::write(dir.0.join("apps/x.json"), taken.to_string()).unwrap();
    let (code, text) = dir.convert("soketi.json", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("apps/x.json: has an app with the id or the key of app b"), "{text}");
    assert!(!dir.0.join("apps/a.json").exists() && !dir.0.join("reverb.json").exists());

    fs::remove_file(dir.0.join("apps/x.json")).unwrap();
    let (report, written) = dir.converted("soketi.json");
    assert!(report.contains("apps/a.json: written\napps/b.json: written\n"), "{report}");
    assert_eq!(written.get("apps"), None);
    assert_eq!(dir.read("apps/b.json")["key"], "key-b");
    let mut list = Command::new(binary());
    list.args(["apps", "list", "--json"]).current_dir(&dir.0).env_clear();
    let list: Value = serde_json::from_slice(&list.output().unwrap().stdout).unwrap();
    assert_eq!(list["problems"], json!([]));
    assert_eq!((&list["apps"][0]["id"], &list["apps"][1]["id"]), (&json!("a"), &json!("b")));
}

#[test]
fn an_existing_file_stays_and_a_wrong_one_is_an_error() {
    let twice =
        r#"{"appManager": {"array": {"apps": [{"id": 1, "key": "k"}, {"id": 1, "key": "l"}]}}}"#;
    let dir =
        Dir::new(&[("reverb.json", "{}"), ("a.json", "{"), ("b.json", "{}"), ("c.json", twice)]);
    let (code, text) = dir.convert("b.json", &[]);
    assert_eq!(code, Some(2));
    assert_eq!(text, "reverb: reverb.json: exists already; it was not changed\n");
    assert_eq!(dir.read("reverb.json"), json!({}));
    let (code, text) = dir.convert("a.json", &["--config", "new.json"]);
    assert!(code == Some(2) && text.starts_with("reverb: a.json: EOF while parsing"), "{text}");
    let (code, text) = dir.convert("c.json", &["--config", "new.json"]);
    assert!(code == Some(2) && text.contains("app_id: is the same as in apps.apps[0]"), "{text}");
    assert!(!dir.0.join("new.json").exists());
    // Without settings soketi has one app, with credentials that everybody knows.
    let (code, text) = dir.convert("b.json", &["--config", "new.json"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("apps.apps[0].secret is the default of soketi, which everybody knows"),
        "{text}"
    );
    assert_eq!(dir.read("new.json")["apps"]["apps"][0]["app_id"], "app-id");
}
