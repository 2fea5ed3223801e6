//! Outages of Redis and of the connection to it. Clients of the same node receive events at once,
//! clients of other nodes after the outage, and none receives an event twice.

use serde_json::json;

use super::cluster::{BUS, Cluster};
use super::daemon::Redis;
use super::presence::{ROOM, member};
use super::traffic::{burst, exchange, exchange_between, take};
use crate::support::{Client, Setup, logged, until};

/// A client on each of two nodes, subscribed to "traffic".
#[track_caller]
fn near_and_far(cluster: &Cluster) -> [Client; 2] {
    [0, 1].map(|node| {
        let mut client = Client::connect(cluster.node(node));
        client.subscribe("traffic");
        client
    })
}

/// Both nodes publish during an outage: clients of the same node receive each event at once,
/// clients of the other node after `mend`.
#[track_caller]
fn nothing_is_lost_until(cluster: &Cluster, mend: impl FnOnce()) {
    let [mut near, mut far] = near_and_far(cluster);
    burst(cluster.node(0), "traffic", "near", 500);
    take(&mut near, "near", 500);
    burst(cluster.node(1), "traffic", "far", 500);
    take(&mut far, "far", 500);
    mend();
    take(&mut near, "far", 500);
    take(&mut far, "near", 500);
    exchange(cluster, 10, || {});
    for _ in 0..20 {
        near.event();
        far.event();
    }
    near.nothing();
    far.nothing();
}

#[test]
fn nothing_is_lost_when_redis_is_killed_and_restarted() {
    let cluster = Cluster::of(2);
    cluster.redis.kill();
    nothing_is_lost_until(&cluster, || cluster.redis.restart());
}

#[test]
fn nothing_is_lost_while_redis_is_suspended() {
    let cluster = Cluster::of(2);
    cluster.redis.stand_still();
    nothing_is_lost_until(&cluster, || cluster.redis.go_on());
}

#[test]
fn a_node_reconnects_after_redis_was_suspended_for_long() {
    let setup = || Setup::new().env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 1_000);
    let cluster = Cluster::with(2, setup);
    cluster.redis.stand_still();
    nothing_is_lost_until(&cluster, || {
        for node in cluster.nodes() {
            logged(node, &["[WARN]", "edis"]);
        }
        cluster.redis.go_on();
    });
}

#[test]
fn nothing_is_lost_while_redis_pauses_its_clients() {
    let cluster = Cluster::of(2);
    cluster.redis.call(&["CLIENT", "PAUSE", "2000"]);
    nothing_is_lost_until(&cluster, || {});
}

#[test]
fn nothing_is_lost_while_connections_to_redis_are_refused() {
    let cluster = Cluster::of(2);
    cluster.proxy(0).refuse();
    nothing_is_lost_until(&cluster, || cluster.proxy(0).mend());
}

#[test]
fn nothing_is_lost_while_redis_is_unresponsive() {
    let cluster = Cluster::of(2);
    for number in 0..2 {
        cluster.proxy(number).hold();
    }
    nothing_is_lost_until(&cluster, || {
        for number in 0..2 {
            cluster.proxy(number).mend();
        }
    });
}

#[test]
fn nothing_is_lost_or_duplicated_when_redis_closes_connections() {
    let cluster = Cluster::of(2);
    let redis = &cluster.redis;
    exchange(&cluster, 2_000, || {
        for round in 0..6 {
            let kind = ["pubsub", "normal"][round % 2];
            until("the nodes are connected", || cluster.redis.subscribers(BUS) == 2);
            redis.call(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    });
}

#[test]
fn nothing_is_lost_or_duplicated_when_connections_break_within_messages() {
    let setup = || Setup::new().env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 100);
    let cluster = Cluster::with(3, setup);
    for number in 0..3 {
        cluster.proxy(number).cut_after(60_000);
        cluster.proxy(number).cut();
    }
    exchange(&cluster, 500, || {});
}

#[test]
fn nothing_is_lost_or_duplicated_when_messages_arrive_twice_and_late() {
    let cluster = Cluster::of(3);
    for number in 0..3 {
        cluster.proxy(number).double();
        cluster.proxy(number).delay(5);
    }
    exchange(&cluster, 1_000, || {});
}

#[test]
fn nothing_is_lost_or_duplicated_when_another_redis_takes_over() {
    let cluster = Cluster::of(2);
    let other = Redis::start();
    let [mut near, mut far] = near_and_far(&cluster);
    cluster.proxy(0).lead_to(other.port());
    until("the first node connects", || other.subscribers(BUS) == 1);
    // One node is still connected to the old Redis server, the other to the new one.
    burst(cluster.node(0), "traffic", "near", 200);
    burst(cluster.node(1), "traffic", "far", 200);
    take(&mut near, "near", 200);
    take(&mut far, "far", 200);
    cluster.proxy(1).lead_to(other.port());
    take(&mut near, "far", 200);
    take(&mut far, "near", 200);
    exchange(&cluster, 10, || {});
}

#[test]
fn nothing_is_lost_or_duplicated_when_redis_sends_invalid_replies() {
    let cluster = Cluster::of(2);
    exchange(&cluster, 2_000, || {
        for nonsense in [
            &b"\0\xff\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"$99999999999999999999\r\n",
            b"*-7\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
            b"+OK\r\n-ERR no\r\n:5\r\n",
            &b"*1\r\n".repeat(5_000),
        ] {
            until("the nodes are connected", || cluster.redis.subscribers(BUS) == 2);
            cluster.proxy(0).say(nonsense);
            cluster.proxy(1).say(nonsense);
        }
    });
    logged(cluster.node(0), &["[WARN]", "edis"]);
}

#[test]
fn a_full_queue_drops_events_with_a_log_line_and_the_state_recovers() {
    let setup = || Setup::new().env("REVERB_LIMIT_BUS_QUEUE_BYTES", 65_536);
    overflow(&Cluster::with(2, setup), "bus_queue_bytes");
}

#[test]
fn expired_events_are_dropped_with_a_log_line_and_the_state_recovers() {
    let setup = || Setup::new().env("REDIS_TIMEOUT", 1);
    overflow(&Cluster::with(2, setup), "REDIS_TIMEOUT");
}

/// Publishes more than the queue holds: some events are lost, none is duplicated or out of order,
/// and state is resynchronised.
#[track_caller]
fn overflow(cluster: &Cluster, limit: &str) {
    let [mut near, mut far] = near_and_far(cluster);
    let bob = member(cluster, 0, "bob");
    cluster.redis.kill();
    // The queue drops his departure, too.
    drop(bob);
    burst(cluster.node(0), "traffic", "near", 2_000);
    take(&mut near, "near", 2_000);
    cluster.node(0).publish("cache-a", "e", "kept");
    let mut ann = Client::connect(cluster.node(0));
    ann.join(ROOM, "ann");
    logged(cluster.node(0), &["[WARN]", "dropped", limit]);
    cluster.redis.restart();
    cluster.users(ROOM, &["ann"]);
    cluster.count(3);
    until("the cached event arrives", || {
        let mut client = Client::connect(cluster.node(1));
        client.subscribe("cache-a");
        client.event()["data"] == "kept"
    });
    cluster.node(0).publish("traffic", "last", "{}");
    let mut next = 0;
    loop {
        let event = far.event();
        if event["event"] == "last" {
            break;
        }
        let (_, number) = event["data"].as_str().unwrap().split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        assert!(number >= next, "{number} after {next}");
        next = number + 1;
    }
    far.nothing();
    cluster.count(3);
}

#[test]
fn a_node_started_before_redis_serves_and_joins_later() {
    let mut cluster = Cluster::of(1);
    cluster.redis.kill();
    let second = cluster.join();
    let [mut near, mut far] = near_and_far(&cluster);
    for node in cluster.nodes() {
        node.is_up();
        logged(node, &["[WARN]", "edis"]);
    }
    let event = |data: &str| json!({"event": "e", "channel": "traffic", "data": data});
    cluster.node(second).publish("traffic", "e", "alone");
    far.expect(event("alone"));
    cluster.redis.restart();
    cluster.count(2);
    cluster.node(second).publish("traffic", "e", "together");
    far.expect(event("together"));
    // An event published before the nodes connected may or may not arrive.
    let mut received = near.event();
    if received == event("alone") {
        received = near.event();
    }
    assert_eq!(received, event("together"));
    near.nothing();
}

#[test]
fn a_node_that_joins_under_load_receives_each_later_event_once() {
    let mut cluster = Cluster::of(2);
    let late = cluster.join();
    // The late node listens, but may not be connected to Redis yet.
    let mut client = Client::connect(cluster.node(late));
    client.subscribe("traffic");
    exchange_between(&[cluster.node(0), cluster.node(1)], 500, || {});
    let mut next = [0; 2];
    while next != [500; 2] {
        let event = client.event();
        let (tag, number) = event["data"].as_str().unwrap().split_once(' ').unwrap();
        let (tag, number): (usize, usize) = (tag.parse().unwrap(), number.parse().unwrap());
        // Events before the node connected may be missing; after the first one, none may.
        assert!(number == next[tag] || next[tag] == 0, "{number} of node {tag} after {next:?}");
        next[tag] = number + 1;
    }
    client.nothing();
}

#[test]
fn a_node_stops_while_redis_is_down() {
    let setup = || {
        let setup = Setup::new().env("REVERB_LIMIT_DRAIN_LINGER_MS", 0);
        setup.env("REVERB_LIMIT_DRAIN_WINDOW_MS", 0)
    };
    for break_redis in [Redis::kill, Redis::stand_still] {
        let mut cluster = Cluster::with(2, setup);
        break_redis(&cluster.redis);
        cluster.node(1).publish("traffic", "e", "{}");
        let mut stopping = cluster.take(1);
        stopping.signal("TERM");
        assert_eq!(stopping.wait().code(), Some(0));
    }
}
