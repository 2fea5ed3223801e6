//! Connections without TLS.

use super::daemon::{Redis, logged, node, nodes_connect};
use super::startup_error;
use crate::support::Client;

#[test]
fn nodes_connect_by_every_notation_of_a_unix_socket() {
    let redis = Redis::with(&["--port", "0", "--unixsocket", "{folder}/r.sock"]);
    let path = redis.path("r.sock");
    nodes_connect(&[("REDIS_HOST", &path), ("REDIS_PORT", "0")]);
    nodes_connect(&[("REDIS_HOST", &format!("unix:{path}")), ("REDIS_SCHEME", "unix")]);
    nodes_connect(&[("REDIS_URL", &format!("unix://{path}?db=2")), ("REDIS_HOST", "other")]);
}

#[test]
fn nodes_connect_by_address_or_host_name() {
    // `localhost` has an IPv4 and an IPv6 address on most systems; Redis listens at one of them.
    let redis = Redis::with(&["--port", "{port}"]);
    let port = redis.port().to_string();
    nodes_connect(&[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)]);
    nodes_connect(&[("REDIS_HOST", "localhost"), ("REDIS_PORT", &port)]);
    nodes_connect(&[("REDIS_HOST", "tcp://localhost"), ("REDIS_PORT", &port)]);
    nodes_connect(&[("REDIS_URL", &format!("redis://localhost:{port}/3")), ("REDIS_PORT", "1")]);
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
    nodes_connect(&[("REDIS_URL", &url)]);
    let single = [("REDIS_USERNAME", "u/1"), ("REDIS_PASSWORD", "p@ss:w/rd?#")];
    nodes_connect(&[single[0], single[1], ("REDIS_PORT", &port)]);
    // The password without a user is that of the user `default`.
    nodes_connect(&[("REDIS_URL", &format!("redis://:other@127.0.0.1:{port}"))]);
}

#[test]
fn a_failed_connection_is_logged_with_its_address() {
    for (variables, expected) in [
        ([("REDIS_HOST", "/nowhere/r.sock")], "/nowhere/r.sock: No such file"),
        ([("REDIS_URL", "redis://:hush@127.0.0.1:1")], "127.0.0.1:1: Connection refused"),
        (
            [("REDIS_URL", "redis://:hush@redis.invalid")],
            "redis.invalid:6379: the host name cannot be resolved",
        ),
    ] {
        let node = node(&variables);
        logged(&node, &["[WARN] Redis: ", expected]);
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
    for (name, value, expected) in [
        ("REDIS_URL", "localhost:6379", "must begin with redis://"),
        ("REDIS_URL", "redis://:hu/sh@localhost", "write @ : / ? # % as"),
        ("REDIS_HOST", "localhost:6379", "a port belongs in REDIS_PORT"),
        ("REDIS_SCHEME", "http", "must be one of tcp, redis, tls, rediss, unix"),
    ] {
        let error = startup_error(&[(name, value)]);
        assert!(error.starts_with(&format!("environment: {name}: ")), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("sh@"), "{error}");
    }
    let error = startup_error(&[("REDIS_HOST", "/r.sock"), ("REDIS_SCHEME", "tls")]);
    assert!(error.contains("is a Unix socket, which does not support TLS"), "{error}");
}
