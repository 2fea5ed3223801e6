//! A Redis server that rejects a node, or a server that is not Redis: one log line gives the
//! reason, the node serves local clients, retries, and connects once it may.

use super::cluster::{BUS, connections, scaled};
use super::daemon::Redis;
use crate::support::{Client, Server, Setup, logged, until};

/// A node on this Redis server with more settings.
#[track_caller]
fn node(redis: &Redis, settings: &[(&str, &str)]) -> Server {
    let add = |setup: Setup, (name, value): &(&str, &str)| setup.env(name, value);
    let setup = Setup::new().env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 200);
    settings.iter().fold(scaled(setup, redis.port()), add).start()
}

/// Fails unless the rejected node serves local clients, logs one line with all of these words,
/// retries without another line, and connects after `mend`.
#[track_caller]
fn is_rejected_until(redis: &Redis, node: &Server, words: &[&str], mend: impl FnOnce()) {
    logs_once(node, words);
    let before = redis.accepted_connections();
    // Each query of the number is a connection, too.
    let mut queries = 0;
    until("the node retries", || {
        queries += 1;
        redis.accepted_connections() >= before + queries + 3
    });
    logs_once(node, words);
    serves_local_clients(node);
    mend();
    until("the node connects", || redis.subscribers(BUS) == 1);
    node.is_up();
}

/// Fails unless the log has one line about Redis, with all of these words.
#[track_caller]
fn logs_once(node: &Server, words: &[&str]) {
    logged(node, &["[WARN]", "Redis: "]);
    let log = node.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("Redis: ")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in {log}");
    }
}

#[track_caller]
fn serves_local_clients(node: &Server) {
    node.is_up();
    let mut client = Client::connect(node);
    client.subscribe("a");
    node.publish("a", "e", "{}");
    assert_eq!(client.event()["event"], "e");
    assert_eq!(connections(node), 1);
}

#[test]
fn a_wrong_password_is_logged_without_its_text_until_it_is_right() {
    let redis = Redis::with_password("the-right-one");
    let node = node(&redis, &[("REDIS_PASSWORD", "pass-of-mine")]);
    is_rejected_until(&redis, &node, &["WRONGPASS", "REDIS_PASSWORD"], || {
        redis.call(&["CONFIG", "SET", "requirepass", "pass-of-mine"]);
        redis.log_in_with("pass-of-mine");
    });
    let log = node.stderr();
    assert!(!log.contains("pass-of-mine") && !log.contains("the-right-one"), "{log}");
}

#[test]
fn a_missing_password_is_logged() {
    let redis = Redis::with_password("secret-of-redis");
    let node = node(&redis, &[]);
    is_rejected_until(&redis, &node, &["NOAUTH", "REDIS_PASSWORD"], || {
        redis.call(&["CONFIG", "SET", "requirepass", ""]);
        redis.log_in_with("");
    });
}

#[test]
fn a_redis_user_without_rights_to_the_channel_is_logged() {
    let redis = Redis::start();
    let rights = ["ACL", "SETUSER", "app", "on", ">of-app", "+@all", "~*", "resetchannels"];
    redis.call(&rights);
    let login = [("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "of-app")];
    let node = node(&redis, &login);
    is_rejected_until(&redis, &node, &["NOPERM", "REVERB_SCALING_CHANNEL"], || {
        redis.call(&["ACL", "SETUSER", "app", &format!("&{BUS}")]);
    });
}

#[test]
fn a_missing_database_is_logged() {
    let redis = Redis::start();
    let node = node(&redis, &[("REDIS_DB", "99")]);
    is_rejected_until(&redis, &node, &["DB index is out of range", "REDIS_DB"], || {
        redis.restart_with(&["--databases", "100"]);
    });
}

#[test]
fn a_redis_version_that_is_too_old_is_logged() {
    let redis = Redis::with(&["--rename-command", "HELLO", ""]);
    let node = node(&redis, &[]);
    is_rejected_until(&redis, &node, &["older than version 6"], || redis.restart_with(&[]));
}

#[test]
fn a_replica_is_rejected_until_it_is_promoted() {
    let master = Redis::start();
    let redis = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let node = node(&redis, &[]);
    is_rejected_until(&redis, &node, &["is a replica", "REDIS_HOST", "the master"], || {
        redis.call(&["REPLICAOF", "NO", "ONE"]);
    });
}

#[test]
fn a_redis_at_its_client_limit_is_logged() {
    let redis = Redis::start();
    let mut session = redis.session();
    session.call(&["CONFIG", "SET", "maxclients", "1"]);
    let node = node(&redis, &[]);
    logs_once(&node, &["max number of clients reached"]);
    serves_local_clients(&node);
    session.call(&["CONFIG", "SET", "maxclients", "100"]);
    until("the node connects", || redis.subscribers(BUS) == 1);
}

#[test]
fn a_redis_that_does_not_listen_is_logged() {
    let redis = Redis::start();
    redis.kill();
    let node = node(&redis, &[]);
    logs_once(&node, &["refused"]);
    serves_local_clients(&node);
    redis.restart();
    until("the node connects", || redis.subscribers(BUS) == 1);
}

#[test]
fn an_unresolvable_host_name_is_logged_and_delays_no_client() {
    let redis = Redis::start();
    let node = node(&redis, &[("REDIS_HOST", "redis.invalid")]);
    serves_local_clients(&node);
    logs_once(&node, &["redis.invalid"]);
    serves_local_clients(&node);
}

#[test]
fn a_server_that_is_not_redis_is_logged() {
    let redis = Redis::start();
    let web = Server::start();
    let port = web.address().port().to_string();
    let node = node(&redis, &[("REDIS_PORT", &port)]);
    logs_once(&node, &["does not speak Redis' protocol"]);
    serves_local_clients(&node);
    web.is_up();
}

#[test]
fn lost_and_regained_rights_to_publish_are_logged() {
    let redis = Redis::start();
    redis.call(&["ACL", "SETUSER", "app", "on", ">of-app", "+@all", "~*", &format!("&{BUS}")]);
    let node = node(&redis, &[("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "of-app")]);
    until("the node connects", || redis.subscribers(BUS) == 1);
    redis.call(&["ACL", "SETUSER", "app", "-publish"]);
    (0..3).for_each(|_| node.publish("a", "e", "{}"));
    let refused = ["[WARN]", "Redis rejects messages", "NOPERM", "REDIS_USERNAME"];
    logged(&node, &refused);
    serves_local_clients(&node);
    redis.call(&["ACL", "SETUSER", "app", "+publish"]);
    node.publish("a", "e", "{}");
    logged(&node, &["[INFO]", "Redis accepts messages to other nodes again"]);
    assert_eq!(node.stderr().matches("rejects messages").count(), 1, "{}", node.stderr());
}
