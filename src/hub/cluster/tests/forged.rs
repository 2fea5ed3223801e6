//! Messages that no correct node or client sends: the receiving node must reject them.

use super::cluster::{Cluster, publish};
use crate::config::ClientEvents;
use crate::hub::ConnId;

/// Publishes an envelope with this number in the name of a node that does not exist.
fn forge(cluster: &mut Cluster, seq: u64, items: &str) {
    let node = "00000000000000ff";
    let text = format!(
        r#"{{"type":"reverb.1","payload":{{"node":"{node}","seq":{seq},"say":[{items}]}}}}"#
    );
    cluster.publish(text.as_bytes());
    cluster.settle();
}

/// Two nodes that accept the events of all clients, and a user at the second.
fn with_a_user() -> (Cluster, ConnId) {
    let mut cluster = Cluster::new(2);
    for node in &mut cluster.nodes {
        node.hub.pubsub.apps[0].settings.accept_client_events_from = ClientEvents::All;
    }
    let user = cluster.user(1, "7");
    cluster.settle();
    assert!(cluster.output(1, user).contains("subscription_succeeded"));
    (cluster, user)
}

#[test]
fn a_client_event_to_a_user_channel_is_rejected_at_any_node() {
    let (mut cluster, user) = with_a_user();
    let outside = cluster.member(0, "a", "");
    cluster.output(0, outside);
    for channel in ["#server-to-user-7", "#server-to-user-8", "#signed-in-7", "#other"] {
        cluster.whisper(0, outside, channel, 1);
        assert!(cluster.output(0, outside).contains("4009"), "{channel}");
    }
    cluster.settle();
    assert_eq!(cluster.output(1, user), "");
    publish(&mut cluster, 0, "#server-to-user-7", "2");
    publish(&mut cluster, 0, "#signed-in-7", "3");
    cluster.settle();
    let output = cluster.output(1, user);
    assert_eq!((output.matches(r#""data":"2""#).count(), output.matches("data").count()), (1, 1));
    assert_eq!(cluster.counters(1).foreign, 0);
}

#[test]
fn a_forged_client_event_to_a_user_channel_is_dropped() {
    let (mut cluster, user) = with_a_user();
    let event = |channel: &str, user: &str, clock: u64| {
        format!(r#"["event","1","client-e","1",["{channel}"],1,null,{user},{clock}]"#)
    };
    forge(&mut cluster, 0, &event("#server-to-user-7", "null", 0));
    forge(&mut cluster, 1, &event("#server-to-user-7", "\"x\"", 5));
    forge(&mut cluster, 2, &event("#signed-in-7", "null", 5));
    assert_eq!(cluster.output(1, user), "");
    assert_eq!(cluster.counters(1).foreign, 3);
    forge(&mut cluster, 3, &event("#server-to-user-7", "null", 5));
    assert!(cluster.output(1, user).contains("client-e"));
    assert_eq!(cluster.counters(1).foreign, 3);
}

/// The data of the event a node caches for this channel, and the clock of its version.
fn cached(cluster: &Cluster, at: usize, channel: &str) -> Option<(String, u64)> {
    let (hub, now) = (&cluster.nodes[at].hub, cluster.now);
    let (frame, _) = hub.pubsub.apps[0].cache.event(channel, now.ms)?;
    let event = hub.pubsub.apps[0].cache.after(0).find(|(_, name, _)| *name == channel);
    let text = String::from_utf8_lossy(frame);
    let data = text.split(r#""data":""#).nth(1)?.split('"').next()?.to_owned();
    Some((data, event?.2.version.0))
}

#[test]
fn a_clock_from_the_future_does_not_block_a_cache_channel() {
    let mut cluster = Cluster::new(2);
    let reader = cluster.member(1, "cache-a", "");
    cluster.output(1, reader);
    publish(&mut cluster, 0, "cache-a", "1");
    cluster.settle();
    let second = 1 << 20;
    let latest = (cluster.now.unix_s + 86_400) * second;
    for (n, clock) in [u64::MAX, u64::MAX - 1, latest + 1].into_iter().enumerate() {
        let data = format!("forged {n}");
        let event = format!(r#"["event","1","e","{data}",["cache-a"],0,null,null,{clock}]"#);
        forge(&mut cluster, n as u64, &event);
        // The event is delivered all the same, and cached as the newest of this node.
        assert!(cluster.output(1, reader).contains(&data));
        assert_eq!(cached(&cluster, 1, "cache-a").unwrap().0, data);
        assert_eq!(cluster.counters(1).foreign, n as u64 + 1);
    }
    publish(&mut cluster, 0, "cache-a", "2");
    cluster.settle();
    for at in 0..2 {
        let (data, clock) = cached(&cluster, at, "cache-a").unwrap();
        assert!(data == "2" && clock < latest, "{data} {clock}");
    }
    // A plausible clock raises the clock of all nodes.
    let late = latest - 1;
    let event = format!(r#"["event","1","e","late",["cache-a"],0,null,null,{late}]"#);
    forge(&mut cluster, 3, &event);
    publish(&mut cluster, 0, "cache-a", "3");
    cluster.settle();
    assert_eq!(cached(&cluster, 1, "cache-a"), Some(("3".to_owned(), latest)));
    assert_eq!(cluster.counters(1).foreign, 3);
}

#[test]
fn a_cached_event_raises_the_clock_unless_it_is_from_the_future() {
    let mut cluster = Cluster::new(1);
    let now = cluster.now.unix_s << 20;
    let cached_item = |channel: &str, data: &str, clock: u64| {
        let message = format!(r#"{{"event":"e","data":"{data}"}}"#);
        format!(r#"["kept","1","{channel}",{message},60000,{clock},7]"#)
    };
    forge(&mut cluster, 0, &cached_item("cache-a", "told", now + 5_000));
    forge(&mut cluster, 1, &cached_item("cache-b", "future", u64::MAX));
    assert_eq!(cached(&cluster, 0, "cache-a"), Some(("told".to_owned(), now + 5_000)));
    assert_eq!(cached(&cluster, 0, "cache-b"), Some(("future".to_owned(), 0)));
    forge(&mut cluster, 2, &cached_item("cache-a", "future", u64::MAX));
    assert_eq!(cached(&cluster, 0, "cache-a"), Some(("told".to_owned(), now + 5_000)));
    assert_eq!(cluster.counters(0).foreign, 2);
    for channel in ["cache-a", "cache-b"] {
        publish(&mut cluster, 0, channel, "new");
        let (data, clock) = cached(&cluster, 0, channel).unwrap();
        assert!(data == "new" && clock > now + 5_000, "{channel} {data} {clock}");
    }
}

#[test]
fn events_of_channels_with_too_long_names_are_not_cached() {
    let mut cluster = Cluster::with(1, |limits| limits.channel_name_length = 10);
    let long = format!("cache-{}", "x".repeat(100));
    forge(&mut cluster, 0, &format!(r#"["kept","1","{long}",{{"event":"e"}},60000,5,7]"#));
    forge(&mut cluster, 1, &format!(r#"["event","1","e","1",["{long}"],0,null,null,5]"#));
    forge(&mut cluster, 2, r#"["kept","1","news",{"event":"e"},60000,5,7]"#);
    assert!(cluster.nodes[0].hub.pubsub.apps[0].cache.is_empty());
    assert_eq!(cluster.counters(0).foreign, 3);
    forge(&mut cluster, 3, r#"["kept","1","cache-a",{"event":"e"},60000,5,7]"#);
    assert!(!cluster.nodes[0].hub.pubsub.apps[0].cache.is_empty());
}

#[test]
fn a_user_without_an_id_does_not_join() {
    let mut cluster = Cluster::new(1);
    let member = cluster.member(0, "presence-a", "1");
    cluster.settle();
    cluster.output(0, member);
    forge(&mut cluster, 0, r#"["joined","1","presence-a","",{}]"#);
    assert_eq!((cluster.output(0, member).as_str(), cluster.counters(0).foreign), ("", 1));
    forge(&mut cluster, 1, r#"["joined","1","presence-a","2",{}]"#);
    assert!(cluster.output(0, member).contains("member_added"));
}
