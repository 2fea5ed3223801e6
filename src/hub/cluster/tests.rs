//! Several nodes through what may happen to them: what subscribers are told, and what each node
//! knows in the end.

mod cluster;
mod forged;
mod places;
mod reach;
mod reloaded;
mod retransmitted;
mod state;
mod too_long;

use crate::hub::ConnId;
use cluster::{Cluster, publish};

/// How often each number came, in order.
fn numbers(said: &str) -> Vec<u32> {
    said.split(r#""data":"#)
        .filter_map(|part| part.split(['}', ',']).next()?.parse().ok())
        .collect()
}

#[test]
fn an_event_reaches_every_subscriber_of_every_node_once() {
    let mut cluster = Cluster::new(3);
    let ids: Vec<ConnId> = (0..3).map(|at| cluster.member(at, "a", "")).collect();
    cluster.settle();
    (0..3).for_each(|at| _ = cluster.said(at, ids[at]));
    for n in 0..30 {
        cluster.whisper(n as usize % 3, ids[n as usize % 3], "a", n);
    }
    cluster.settle();
    for (at, id) in ids.into_iter().enumerate() {
        let mut received = numbers(&cluster.said(at, id));
        received.sort_unstable();
        let expected: Vec<u32> = (0..30).filter(|n| *n as usize % 3 != at).collect();
        assert_eq!(received, expected);
    }
}

#[test]
fn presence_is_one_list() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.settle();
    let b = cluster.member(1, "presence-a", "2");
    cluster.settle();
    assert!(cluster.said(1, b).contains(r#"\"count\":2,\"ids\":[\"1\",\"2\"]"#));
    assert!(cluster.said(0, a).contains("member_added"));
    let tab = cluster.member(0, "presence-a", "2");
    cluster.settle();
    assert!(!cluster.said(0, a).contains("member_added"));
    cluster.close(1, b);
    cluster.settle();
    assert_eq!(cluster.said(0, a), "");
    cluster.close(0, tab);
    cluster.settle();
    assert!(cluster.said(0, a).contains("member_removed"));
    assert_eq!(cluster.view(0), [("presence-a".into(), 1, vec!["1".into()])]);
    assert_eq!(cluster.view(1), cluster.view(0));
    cluster.close(0, a);
    cluster.settle();
    assert_eq!((cluster.view(0), cluster.view(1)), (vec![], vec![]));
}

#[test]
fn a_node_that_joins_late_knows_everything() {
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
fn a_cut_connection_loses_nothing_and_nobody_flaps() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    let b = cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.said(0, a);
    cluster.said(1, b);
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
    let said = cluster.said(1, b);
    assert_eq!(numbers(&said), (0..50).collect::<Vec<_>>());
    assert!(!said.contains("member"), "{said}");
    assert_eq!(cluster.said(0, a), "");
    assert_eq!(cluster.counters(1).missing, 0);
}

#[test]
fn after_a_long_split_both_sides_agree_again() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    let b = cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.said(0, a);
    cluster.said(1, b);
    cluster.stop_redis();
    cluster.pass(10_000);
    assert_eq!(cluster.said(0, a).matches("member_removed").count(), 1);
    assert_eq!(cluster.view(0), [("presence-a".into(), 1, vec!["1".into()])]);
    cluster.member(0, "presence-a", "3");
    cluster.member(1, "c", "");
    cluster.whisper(1, b, "presence-a", 7);
    cluster.is_up = true;
    cluster.pass(10_000);
    assert_eq!(cluster.view(0), cluster.view(1));
    assert_eq!(cluster.view(0).len(), 2);
    let said = cluster.said(0, a);
    assert_eq!(
        (said.matches(r#"member_added","data":"{\"user_id\":\"2"#).count(), numbers(&said)),
        (1, vec![7])
    );
}

#[test]
fn a_node_that_is_gone_takes_its_members_with_it() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.said(0, a);
    cluster.forget_connection(1);
    let gone = cluster.nodes.remove(1);
    cluster.pass(4_000);
    assert_eq!(cluster.said(0, a), "");
    cluster.pass(2_000);
    assert_eq!(cluster.said(0, a).matches("member_removed").count(), 1);
    assert_eq!(cluster.nodes[0].hub.pubsub.apps[0].all_connections(), 1);
    drop(gone);
}

#[test]
fn a_node_that_stops_says_goodbye() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "presence-a", "1");
    cluster.member(1, "presence-a", "2");
    cluster.settle();
    cluster.said(0, a);
    let now = cluster.now;
    cluster.nodes[1].hub.bus_leave(now);
    cluster.settle();
    assert_eq!(cluster.said(0, a).matches("member_removed").count(), 1);
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
            cluster.said(at, a) + &cluster.said(at, b)
        })
        .collect();
    assert!(cached[0].contains(r#""data":"3""#), "{cached:?}");
    let events = |said: &str| {
        said.split(r#"{"event":"e""#).skip(1).map(|s| s[..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(events(&cached[0]), events(&cached[1]));
    assert_eq!(events(&cached[0]), events(&cached[2]));
}

#[test]
fn what_is_too_much_for_the_queue_is_counted_and_the_rest_is_right() {
    let mut cluster = Cluster::with(2, |limits| limits.bus_queue_bytes = 65_536);
    let a = cluster.member(0, "a", "");
    let b = cluster.member(1, "a", "");
    cluster.settle();
    cluster.said(1, b);
    cluster.cut(1);
    for n in 0..2_000 {
        cluster.whisper(0, a, "a", n);
        cluster.turn(0);
    }
    cluster.member(0, "new", "");
    cluster.pass(10_000);
    let received = numbers(&cluster.said(1, b));
    assert!(received.len() < 2_000 && received.last() == Some(&1_999), "{}", received.len());
    assert!(received.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(cluster.counters(1).missing as usize + received.len(), 2_000);
    assert_eq!(cluster.view(0), cluster.view(1));
}

#[test]
fn what_is_dropped_is_logged_again_in_another_episode() {
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
        assert_eq!(bus.drops.admit(now_ms), None, "it is logged already");
        cluster.now.ms += 200_000;
    }
}

#[test]
fn what_is_foreign_is_passed_over() {
    let mut cluster = Cluster::new(2);
    let b = cluster.member(1, "presence-a", "1");
    cluster.settle();
    cluster.said(1, b);
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
    assert_eq!(cluster.said(1, b), "");
    assert_eq!(cluster.counters(1).foreign, 4 + 4);
    cluster.pass(20_000);
    assert_eq!(cluster.view(0), cluster.view(1));
}
