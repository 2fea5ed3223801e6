//! Several nodes and the failures between them: the events that subscribers receive, and the final
//! state of each node. The nodes and their Redis are in `tests/cluster`.

mod cluster;
mod forged;
mod places;
mod reach;
mod reloaded;
mod retransmitted;
#[cfg(feature = "webhooks")]
mod state;
mod too_long;
#[cfg(feature = "webhooks")]
mod webhooks;

use crate::hub::ConnId;
use cluster::{Cluster, publish};

/// The numbers in the data of the received events, in order.
fn numbers(output: &str) -> Vec<u32> {
    output
        .split(r#""data":"#)
        .filter_map(|part| part.split(['}', ',']).next()?.parse().ok())
        .collect()
}

/// Two nodes with a member of `presence-a` each, `1` and `2`, whose output so far is discarded.
fn two_members() -> (Cluster, ConnId, ConnId) {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    let b = cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.output(0, a);
    cluster.output(1, b);
    (cluster, a, b)
}

#[test]
fn an_event_reaches_every_subscriber_of_every_node_once() {
    let mut cluster = Cluster::new(3);
    let ids: Vec<ConnId> = (0..3).map(|at| cluster.member(at, "a", "")).collect();
    cluster.settle();
    (0..3).for_each(|at| _ = cluster.output(at, ids[at]));
    for n in 0..30 {
        cluster.whisper(n as usize % 3, ids[n as usize % 3], "a", n);
    }
    cluster.settle();
    for (at, id) in ids.into_iter().enumerate() {
        let mut received = numbers(&cluster.output(at, id));
        received.sort_unstable();
        let expected: Vec<u32> = (0..30).filter(|n| *n as usize % 3 != at).collect();
        assert_eq!(received, expected);
    }
}

#[test]
fn presence_channels_have_one_member_list_for_all_nodes() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.settle();
    let b = cluster.member(1, "presence-a", "2");
    cluster.settle();
    assert!(cluster.output(1, b).contains(r#"\"count\":2,\"ids\":[\"1\",\"2\"]"#));
    assert!(cluster.output(0, a).contains("member_added"));
    let tab = cluster.member(0, "presence-a", "2");
    cluster.settle();
    assert!(!cluster.output(0, a).contains("member_added"));
    cluster.close(1, b);
    cluster.settle();
    assert_eq!(cluster.output(0, a), "");
    cluster.close(0, tab);
    cluster.settle();
    assert!(cluster.output(0, a).contains("member_removed"));
    assert_eq!(cluster.view(0), [("presence-a".into(), 1, vec!["1".into()])]);
    assert_eq!(cluster.view(1), cluster.view(0));
    cluster.close(0, a);
    cluster.settle();
    assert_eq!((cluster.view(0), cluster.view(1)), (vec![], vec![]));
}

#[test]
fn a_late_node_receives_the_whole_state() {
    let mut cluster = Cluster::new(1);
    for n in 0..300 {
        cluster.member(0, &format!("c{}", n % 70), "");
        cluster.member(0, "presence-a", &n.to_string());
    }
    cluster.settle();
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    cluster.settle();
    assert_eq!(cluster.view(1), cluster.view(0));
    assert_eq!(cluster.nodes[1].hub.pubsub.apps[0].all_connections(), 600);
}

#[test]
fn a_lost_connection_loses_no_event_and_removes_no_member() {
    let (mut cluster, a, b) = two_members();
    for n in 0..50 {
        match n % 10 {
            3 => cluster.cut(0),
            7 => cluster.cut(1),
            _ => {}
        }
        cluster.whisper(0, a, "presence-a", n);
        cluster.turn(n as usize % 2);
        cluster.pass(50);
    }
    cluster.pass(10_000);
    let output = cluster.output(1, b);
    assert_eq!(numbers(&output), (0..50).collect::<Vec<_>>());
    assert!(!output.contains("member"), "{output}");
    assert_eq!(cluster.output(0, a), "");
    assert_eq!(cluster.counters(1).missing, 0);
}

#[test]
fn nodes_agree_again_after_a_long_outage() {
    let (mut cluster, a, b) = two_members();
    cluster.stop_redis();
    cluster.pass(10_000);
    assert_eq!(cluster.output(0, a).matches("member_removed").count(), 1);
    assert_eq!(cluster.view(0), [("presence-a".into(), 1, vec!["1".into()])]);
    cluster.member(0, "presence-a", "3");
    cluster.member(1, "c", "");
    cluster.whisper(1, b, "presence-a", 7);
    cluster.is_up = true;
    cluster.pass(10_000);
    assert_eq!(cluster.view(0), cluster.view(1));
    assert_eq!(cluster.view(0).len(), 2);
    let output = cluster.output(0, a);
    assert_eq!(
        (output.matches(r#"member_added","data":"{\"user_id\":\"2"#).count(), numbers(&output)),
        (1, vec![7])
    );
}

#[test]
fn members_of_a_silent_node_are_removed_after_the_lease() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.output(0, a);
    cluster.forget_connection(1);
    let dead = cluster.nodes.remove(1);
    cluster.pass(4_000);
    assert_eq!(cluster.output(0, a), "");
    cluster.pass(2_000);
    assert_eq!(cluster.output(0, a).matches("member_removed").count(), 1);
    assert_eq!(cluster.nodes[0].hub.pubsub.apps[0].all_connections(), 1);
    drop(dead);
}

#[test]
fn a_stopped_node_is_removed_at_once() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.output(0, a);
    let now = cluster.now;
    cluster.nodes[1].hub.bus_leave(now);
    cluster.settle();
    assert_eq!(cluster.output(0, a).matches("member_removed").count(), 1);
    assert_eq!(cluster.nodes[0].hub.bus_counters().unwrap().0, 0);
}

#[test]
fn a_cache_channel_keeps_the_same_event_everywhere() {
    let mut cluster = Cluster::new(2);
    publish(&mut cluster, 0, "cache-a", "1");
    publish(&mut cluster, 1, "cache-a", "2");
    publish(&mut cluster, 0, "cache-b", "3");
    cluster.settle();
    cluster.add(|limits| limits.node_lease_ms = 5_000);
    cluster.settle();
    let cached: Vec<String> = (0..3)
        .map(|at| {
            let (a, b) = (cluster.member(at, "cache-a", ""), cluster.member(at, "cache-b", ""));
            cluster.output(at, a) + &cluster.output(at, b)
        })
        .collect();
    assert!(cached[0].contains(r#""data":"3""#), "{cached:?}");
    let events = |output: &str| {
        output.split(r#"{"event":"e""#).skip(1).map(|s| s[..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(events(&cached[0]), events(&cached[1]));
    assert_eq!(events(&cached[0]), events(&cached[2]));
}

#[test]
fn envelopes_over_the_queue_limit_count_as_missing_and_the_rest_arrives() {
    let mut cluster = Cluster::with(2, |limits| limits.bus_queue_bytes = 65_536);
    let a = cluster.member(0, "a", "");
    let b = cluster.member(1, "a", "");
    cluster.settle();
    cluster.output(1, b);
    cluster.cut(1);
    for n in 0..2_000 {
        cluster.whisper(0, a, "a", n);
        cluster.turn(0);
    }
    cluster.member(0, "new", "");
    cluster.pass(10_000);
    let received = numbers(&cluster.output(1, b));
    assert!(received.len() < 2_000 && received.last() == Some(&1_999), "{}", received.len());
    assert!(received.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(cluster.counters(1).missing as usize + received.len(), 2_000);
    assert_eq!(cluster.view(0), cluster.view(1));
}

#[test]
fn dropped_envelopes_are_logged_once_per_episode() {
    let mut cluster = Cluster::with(1, |limits| limits.bus_queue_bytes = 65_536);
    let a = cluster.member(0, "a", "");
    cluster.settle();
    cluster.stop_redis();
    for _ in 0..2 {
        let dropped = cluster.counters(0).dropped;
        for n in 0..2_000 {
            cluster.whisper(0, a, "a", n);
            cluster.turn(0);
        }
        assert!(cluster.counters(0).dropped > dropped);
        let now_ms = cluster.now.ms;
        let bus = cluster.nodes[0].hub.pubsub.bus.as_mut().unwrap();
        assert_eq!(bus.drops.admit(now_ms), None, "it was logged already");
        cluster.now.ms += 200_000;
    }
}

#[test]
fn foreign_messages_are_ignored_and_counted() {
    let mut cluster = Cluster::new(2);
    let b = cluster.member(1, "presence-a", "1");
    cluster.settle();
    cluster.output(1, b);
    for text in [
        "garbage",
        "{}",
        r#"{"type":"message","application":"O:26:","payload":{"event":"e"}}"#,
        r#"{"type":"reverb.2","payload":{}}"#,
        r#"{"type":"reverb.1","payload":{"node":"00000000000000ff","seq":0,"say":[["new"],["event"],["joined","1","a","x"],["joined","2","presence-a","x"],5]}}"#,
        r#"{"type":"reverb.1","payload":{"node":"00000000000000ff","seq":18446744073709551615,"say":[]}}"#,
        r#"{"type":"reverb.1","payload":{"node":"00000000000000ff","say":[["alive",18446744073709551615,0,0],["alive",0,18446744073709551615,18446744073709551615]]}}"#,
    ] {
        cluster.publish(text.as_bytes());
        cluster.settle();
    }
    assert_eq!(cluster.output(1, b), "");
    assert_eq!(cluster.counters(1).foreign, 4 + 4);
    cluster.pass(20_000);
    assert_eq!(cluster.view(0), cluster.view(1));
}
