//! Without TLS.

use super::daemon::{Redis, join, logged, node};
use super::refused;
use crate::support::Client;

#[test]
fn nodes_connect_by_every_notation_of_a_unix_socket() {
    let redis = Redis::with(&["--port", "0", "--unixsocket", "{folder}/r.sock"]);
    let path = redis.path("r.sock");
    join(&[("REDIS_HOST", &path), ("REDIS_PORT", "0")]);
    join(&[("REDIS_HOST", &format!("unix:{path}")), ("REDIS_SCHEME", "unix")]);
    join(&[("REDIS_URL", &format!("unix://{path}?db=2")), ("REDIS_HOST", "other")]);
}

#[test]
fn nodes_connect_by_address_or_host_name() {
    // `localhost` is an address of each kind on most systems; Redis listens at one of them.
    let redis = Redis::with(&["--port", "{port}"]);
    let port = redis.port().to_string();
    join(&[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)]);
    join(&[("REDIS_HOST", "localhost"), ("REDIS_PORT", &port)]);
    join(&[("REDIS_HOST", "tcp://localhost"), ("REDIS_PORT", &port)]);
    join(&[("REDIS_URL", &format!("redis://localhost:{port}/3")), ("REDIS_PORT", "1")]);
}

#[test]
fn a_user_and_a_password_with_any_characters_log_in() {
    let acl = "user u/1 on >p@ss:w/rd?# ~* &* +@all";
    let mut arguments = vec!["--port", "{port}", "--requirepass", "other"];
    arguments
        .extend(acl.split(' ').enumerate().map(|(n, word)| if n == 0 { "--user" } else { word }));
    let redis = Redis::with(&arguments);
    let port = redis.port().to_string();
    let url = format!("redis://u%2F1:p%40ss%3Aw%2Frd%3F%23@127.0.0.1:{port}");
    join(&[("REDIS_URL", &url)]);
    let single = [("REDIS_USERNAME", "u/1"), ("REDIS_PASSWORD", "p@ss:w/rd?#")];
    join(&[single[0], single[1], ("REDIS_PORT", &port)]);
    // The password without a user is that of the user `default`.
    join(&[("REDIS_URL", &format!("redis://:other@127.0.0.1:{port}"))]);
}

#[test]
fn a_failed_connection_is_logged_with_its_address() {
    for (variables, said) in [
        ([("REDIS_HOST", "/nowhere/r.sock")], "/nowhere/r.sock: No such file"),
        ([("REDIS_URL", "redis://:hush@127.0.0.1:1")], "127.0.0.1:1: Connection refused"),
        (
            [("REDIS_URL", "redis://:hush@redis.invalid")],
            "redis.invalid:6379: the host name cannot be resolved",
        ),
    ] {
        let node = node(&variables);
        logged(&node, &["[WARN] Redis: ", said]);
        assert!(!node.stderr().contains("hush"));
        node.is_up();
        let mut client = Client::connect(&node);
        client.subscribe("news");
        node.publish("news", "hello", "{}");
        assert_eq!(client.event()["event"], "hello");
    }
}

#[test]
fn an_invalid_address_prevents_the_start() {
    for (name, value, said) in [
        ("REDIS_URL", "localhost:6379", "must begin with redis://"),
        ("REDIS_URL", "redis://:hu/sh@localhost", "write @ : / ? # % as"),
        ("REDIS_HOST", "localhost:6379", "a port belongs in REDIS_PORT"),
        ("REDIS_SCHEME", "http", "must be one of tcp, redis, tls, rediss, unix"),
    ] {
        let told = refused(&[(name, value)]);
        assert!(told.starts_with(&format!("environment: {name}: ")), "{told}");
        assert!(told.contains(said), "{told}");
        assert!(!told.contains("sh@"), "{told}");
    }
    let told = refused(&[("REDIS_HOST", "/r.sock"), ("REDIS_SCHEME", "tls")]);
    assert!(told.contains("is a Unix socket, which does not support TLS"), "{told}");
}
