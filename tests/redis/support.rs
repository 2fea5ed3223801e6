//! Tests of the Redis server and the proxy that the other tests use.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use super::daemon::Redis;
use super::proxy::Proxy;
use super::resp::{Reply, Session};
use super::sentinels::Sentinels;
use super::shards::Shards;
use crate::support::until;

/// Publishes a text.
fn publish(session: &mut Session, text: &str) {
    assert!(matches!(session.call(&["PUBLISH", "c", text]), Reply::Number(_)));
}

/// The text of the next message that a subscriber receives.
fn message(subscriber: &mut Session) -> String {
    match subscriber.reply() {
        Reply::List(parts) => parts[2].text().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn subscriber(redis: &Redis) -> Session {
    let mut subscriber = redis.session();
    subscriber.call(&["SUBSCRIBE", "c"]);
    subscriber
}

#[test]
fn a_redis_restarts_on_its_port() {
    let redis = Redis::start();
    redis.call(&["SET", "a", "1"]);
    redis.kill();
    assert!(TcpStream::connect(("127.0.0.1", redis.port())).is_err());
    redis.restart();
    assert_eq!(redis.call(&["GET", "a"]), Reply::Nil);
}

#[test]
fn sentinels_replace_a_killed_master() {
    let sentinels = Sentinels::start(1_000);
    assert_eq!(sentinels.master(), 0);
    sentinels.fail_over();
    until("the old master is a replica", || {
        sentinels.redis[0].has_info("replication", "master_link_status:up")
    });
    sentinels.redis[1].kill();
    until("the first server is the master again", || sentinels.master() == 0);
}

#[test]
fn a_redis_cluster_fails_over_and_moves_slots() {
    let shards = Shards::start();
    let (owner, stranger) = (shards.owner(), shards.stranger());
    shards.fail_over();
    assert_eq!(shards.owner(), owner + 3);
    shards.move_slot(stranger);
    assert_eq!(shards.owner(), stranger);
    shards.servers[stranger].kill();
    shards.wait_for_owner(stranger + 3);
}

#[test]
fn a_proxy_duplicates_only_publishes() {
    let redis = Redis::start();
    let mut subscriber = subscriber(&redis);
    let proxy = Proxy::start(redis.port());
    let mut session = Session::tcp(proxy.port());
    publish(&mut session, "once");
    proxy.double();
    publish(&mut session, "twice");
    session.call(&["INCR", "count"]);
    let got = [0; 3].map(|_| message(&mut subscriber));
    assert_eq!(got, ["once", "twice", "twice"]);
    assert_eq!(session.call(&["GET", "count"]).text(), "1");
}

#[test]
fn a_proxy_cuts_a_connection_within_a_message() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    proxy.cut_after(1_000);
    let mut session = Session::tcp(proxy.port());
    let long = "x".repeat(1_900);
    session.send(&[b"SET", b"a", long.as_bytes()]);
    session.send(&[b"SET", b"b", long.as_bytes()]);
    let length = || redis.call(&["CLIENT", "LIST"]).text().lines().count();
    until("the connection closes", || length() == 1);
    assert_eq!(redis.call(&["GET", "b"]), Reply::Nil);
}

#[test]
fn a_proxy_stalls_refuses_and_injects_bytes() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let mut session = Session::tcp(proxy.port());
    proxy.hold();
    session.send(&[b"SET", b"a", b"1"]);
    assert_eq!(redis.call(&["GET", "a"]), Reply::Nil);
    proxy.mend();
    assert_eq!(session.reply().text(), "OK");
    proxy.say(b"+nonsense\r\n");
    assert_eq!(session.reply().text(), "nonsense");
    proxy.refuse();
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    match stream.read(&mut [0]) {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
