//! An event that is longer than another node's `redis_reply_bytes`.

use super::cluster::{Cluster, post, publish};

/// Two nodes, the second of which accepts at most 100,000 bytes in a message.
fn uneven() -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.add(|limits| limits.redis_reply_bytes = 100_000);
    cluster.settle();
    cluster
}

#[test]
fn a_too_long_message_counts_as_missing_and_the_state_is_synced() {
    let mut cluster = uneven();
    cluster.member(0, "a", "");
    let b = cluster.member(1, "a", "");
    cluster.settle();
    cluster.output(1, b);
    for round in 1..=3 {
        // In one envelope with a fact that the other node needs.
        cluster.member(0, "presence-a", &round.to_string());
        publish(&mut cluster, 0, "a", &"x".repeat(100_000));
        cluster.settle();
        publish(&mut cluster, 0, "a", "short");
        cluster.settle();
        let output = cluster.output(1, b);
        assert!(output.contains(r#""data":"short""#) && output.len() < 1_000, "{output:.200}");
        assert_eq!(cluster.counters(1).missing, round);
        cluster.pass(2_000);
        assert_eq!(cluster.view(0), cluster.view(1));
    }
    assert!(cluster.nodes.iter().all(|node| node.hub.is_bus_up()));
    // Nothing is requested without end.
    let published = cluster.counters(0).published;
    cluster.pass(60_000);
    assert_eq!((cluster.counters(0).published, cluster.counters(1).missing), (published, 3));
}

#[test]
fn a_too_long_cached_event_is_not_requested_forever() {
    let mut cluster = Cluster::new(1);
    publish(&mut cluster, 0, "cache-a", &"x".repeat(100_000));
    publish(&mut cluster, 0, "cache-b", "short");
    cluster.member(0, "presence-a", "1");
    cluster.settle();
    cluster.add(|limits| limits.redis_reply_bytes = 100_000);
    cluster.settle();
    cluster.pass(20_000);
    assert_eq!(cluster.view(0), cluster.view(1));
    let published = cluster.counters(0).published;
    cluster.pass(60_000);
    assert_eq!(cluster.counters(0).published, published);
}

#[test]
fn an_envelope_adds_little_to_the_length_of_an_event() {
    // The longest form of a text in JSON, and as many items as fit before it in an envelope.
    let escapes = r#"\u0001\"\\é"#.repeat(5_000);
    let names: Vec<String> = (0..100).map(|n| format!("\"c{n}-{}\"", "é".repeat(190))).collect();
    let body = format!(r#"{{"name":"e","data":"{escapes}","channels":[{}]}}"#, names.join(","));
    let mut cluster = Cluster::new(1);
    for n in 0.. {
        let bus = cluster.nodes[0].hub.pubsub.bus.as_ref().unwrap();
        if (65_000..65_500).contains(&bus.pending.len()) {
            break;
        }
        cluster.member(0, "presence-a", &n.to_string());
    }
    let bytes = |cluster: &Cluster| {
        let bus = cluster.nodes[0].hub.pubsub.bus.as_ref().unwrap();
        (bus.pending.len(), bus.queue.unwritten_bytes())
    };
    let (_, before) = bytes(&cluster);
    post(&mut cluster, 0, &body);
    let (pending, after) = bytes(&cluster);
    assert_eq!(pending, 0, "the event has completed the envelope");
    let least = body.len() + 65_000;
    assert!((least..least + 16_384).contains(&(after - before)), "{least} {before} {after}");
}
