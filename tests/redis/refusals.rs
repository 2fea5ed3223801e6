//! A Redis that does not let a node in, or is none: one line says why, the node serves alone, asks
//! again, and is in as soon as it may.

use super::cluster::{BUS, connections, scaled};
use super::daemon::Redis;
use crate::support::{Client, Server, Setup, logged, until};

/// A node on this Redis with further settings.
#[track_caller]
fn node(redis: &Redis, settings: &[(&str, &str)]) -> Server {
    let add = |setup: Setup, (name, value): &(&str, &str)| setup.env(name, value);
    let setup = Setup::new().env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 200);
    settings.iter().fold(scaled(setup, redis.port()), add).start()
}

/// Fails unless the node, shut out, serves alone, says so in one line with all of these words,
/// tries again without saying more, and is in after `mend`.
#[track_caller]
fn is_shut_out_until(redis: &Redis, node: &Server, words: &[&str], mend: impl FnOnce()) {
    says_once(node, words);
    let before = redis.visits();
    // Each look at the number is a visit, too.
    let mut looks = 0;
    until("it tries again", || {
        looks += 1;
        redis.visits() >= before + looks + 3
    });
    says_once(node, words);
    serves_alone(node);
    mend();
    until("it is in", || redis.subscribers(BUS) == 1);
    node.is_up();
}

/// Fails unless the log has one line about Redis, with all of these words.
#[track_caller]
fn says_once(node: &Server, words: &[&str]) {
    logged(node, &["[WARN]", "Redis: "]);
    let log = node.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("Redis: ")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in {log}");
    }
}

#[track_caller]
fn serves_alone(node: &Server) {
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
    is_shut_out_until(&redis, &node, &["WRONGPASS", "REDIS_PASSWORD"], || {
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
    is_shut_out_until(&redis, &node, &["NOAUTH", "REDIS_PASSWORD"], || {
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
    is_shut_out_until(&redis, &node, &["NOPERM", "REVERB_SCALING_CHANNEL"], || {
        redis.call(&["ACL", "SETUSER", "app", &format!("&{BUS}")]);
    });
}

#[test]
fn a_missing_database_is_logged() {
    let redis = Redis::start();
    let node = node(&redis, &[("REDIS_DB", "99")]);
    is_shut_out_until(&redis, &node, &["DB index is out of range", "REDIS_DB"], || {
        redis.restart_with(&["--databases", "100"]);
    });
}

#[test]
fn a_redis_version_that_is_too_old_is_logged() {
    let redis = Redis::with(&["--rename-command", "HELLO", ""]);
    let node = node(&redis, &[]);
    is_shut_out_until(&redis, &node, &["older than version 6"], || redis.restart_with(&[]));
}

#[test]
fn a_replica_is_rejected_until_it_is_promoted() {
    let master = Redis::start();
    let redis = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let node = node(&redis, &[]);
    is_shut_out_until(&redis, &node, &["is a replica", "REDIS_HOST", "the master"], || {
        redis.call(&["REPLICAOF", "NO", "ONE"]);
    });
}

#[test]
fn a_redis_at_its_client_limit_is_logged() {
    let redis = Redis::start();
    let mut session = redis.session();
    session.call(&["CONFIG", "SET", "maxclients", "1"]);
    let node = node(&redis, &[]);
    says_once(&node, &["max number of clients reached"]);
    serves_alone(&node);
    session.call(&["CONFIG", "SET", "maxclients", "100"]);
    until("it is in", || redis.subscribers(BUS) == 1);
}

#[test]
fn a_redis_that_does_not_listen_is_logged() {
    let redis = Redis::start();
    redis.kill();
    let node = node(&redis, &[]);
    says_once(&node, &["refused"]);
    serves_alone(&node);
    redis.restart();
    until("it is in", || redis.subscribers(BUS) == 1);
}

#[test]
fn an_unresolvable_host_name_is_logged_and_delays_no_client() {
    let redis = Redis::start();
    let node = node(&redis, &[("REDIS_HOST", "redis.invalid")]);
    serves_alone(&node);
    says_once(&node, &["redis.invalid"]);
    serves_alone(&node);
}

#[test]
fn a_server_that_is_not_redis_is_logged() {
    let redis = Redis::start();
    let web = Server::start();
    let port = web.address().port().to_string();
    let node = node(&redis, &[("REDIS_PORT", &port)]);
    says_once(&node, &["does not speak Redis' protocol"]);
    serves_alone(&node);
    web.is_up();
}

#[test]
fn lost_and_regained_rights_to_publish_are_logged() {
    let redis = Redis::start();
    redis.call(&["ACL", "SETUSER", "app", "on", ">of-app", "+@all", "~*", &format!("&{BUS}")]);
    let node = node(&redis, &[("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "of-app")]);
    until("it is in", || redis.subscribers(BUS) == 1);
    redis.call(&["ACL", "SETUSER", "app", "-publish"]);
    (0..3).for_each(|_| node.publish("a", "e", "{}"));
    let refused = ["[WARN]", "Redis rejects messages", "NOPERM", "REDIS_USERNAME"];
    logged(&node, &refused);
    serves_alone(&node);
    redis.call(&["ACL", "SETUSER", "app", "+publish"]);
    node.publish("a", "e", "{}");
    logged(&node, &["[INFO]", "Redis accepts messages to other nodes again"]);
    assert_eq!(node.stderr().matches("rejects messages").count(), 1, "{}", node.stderr());
}
