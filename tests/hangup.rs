//! SIGHUP: limits change while the server runs, and limits that are removed from the configuration
//! return to their defaults.

use serde_json::{Value, json};
use std::fs;

use crate::support::{APP, Client, Http, Server, Setup};

/// A configuration of one app with these limits.
fn with_limits(limits: Value) -> Value {
    let app = json!({"app_id": APP.id, "key": APP.key, "secret": APP.secret});
    json!({"servers": {"reverb": {"limits": limits}}, "apps": {"apps": [app]}})
}

/// Makes a server reload a configuration with these limits.
#[track_caller]
fn change(server: &Server, limits: Value) {
    let file = server.directory().join("reverb.json");
    fs::write(file, with_limits(limits).to_string()).unwrap();
    server.signal("HUP");
}

#[test]
fn a_removed_limit_returns_to_its_default() {
    let config = with_limits(json!({"connections": 3, "event_name_length": 3}));
    let setup = Setup::bare().config(config).descriptors(200).arg("--metrics=127.0.0.1:0");
    let mut server = setup.start();
    let address = server.line().split('/').nth(2).unwrap().parse().unwrap();
    let connections_max = || {
        let mut http = Http::connect_to(address);
        http.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let figures = http.response().text().to_owned();
        let line = figures.lines().find_map(|line| line.strip_prefix("reverb_sockets_max "));
        line.unwrap().to_owned()
    };
    assert_eq!(connections_max(), "3");
    change(&server, json!({}));
    server.logs("applied the configuration, for 1 app");
    assert_eq!(connections_max(), "136", "what 200 open files allow");
    server.publish("c", "long-name", "d");
}

#[test]
fn a_hangup_that_changes_nothing_is_logged() {
    let server = Setup::bare().config(with_limits(json!({}))).start();
    server.signal("HUP");
    server.logs("the configuration has not changed");
    let server = Setup::bare().start();
    server.signal("HUP");
    server.logs("no app was configured at the start, so the configuration is not read again");
}

#[test]
fn a_hangup_while_the_server_stops_is_logged() {
    let limits = json!({"drain_window_ms": 600_000});
    let server = Setup::bare().config(with_limits(limits)).start();
    let _clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    server.signal("TERM");
    server.logs("stopping: ");
    change(&server, json!({}));
    server.logs("the configuration stays as it was, because connections are being closed");
}

#[test]
fn a_reload_changes_the_interval_of_restart_checks() {
    let limits = json!({"restart_check_ms": 86_400_000});
    let setup = Setup::bare().config(with_limits(limits));
    let storage = std::env::temp_dir().join(format!("reverb-hangup-{}", std::process::id()));
    let key = storage.join("framework/cache/data/4f/e4/4fe44729b03e0a0a2586ebe0d445f50c083d0ff3");
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    let mut server = setup.env("LARAVEL_STORAGE_PATH", storage.display()).start();
    server.is_up();
    change(&server, json!({"restart_check_ms": 100}));
    server.logs("applied the configuration, for 1 app");
    fs::write(key, "9999999999i:1718000000;").unwrap();
    assert_eq!(server.wait().code(), Some(0));
    fs::remove_dir_all(storage).unwrap();
}

#[cfg(feature = "redis")]
#[test]
fn a_reload_changes_the_reply_timeout_of_redis() {
    use crate::redis::{cluster::scaled, daemon::Redis};

    let redis = Redis::start();
    let limits = json!({"redis_reply_timeout_ms": 60_000});
    let setup = scaled(Setup::bare().config(with_limits(limits)), redis.port());
    let server = setup.start();
    server.logs("connected to Redis");
    redis.stand_still();
    change(&server, json!({"redis_reply_timeout_ms": 300}));
    server.logs("applied the configuration, for 1 app");
    server.publish("c", "e", "d");
    server.logs("no answer within 300 ms (limits.redis_reply_timeout_ms)");
    redis.go_on();
    server.logs("Redis is back");
}
