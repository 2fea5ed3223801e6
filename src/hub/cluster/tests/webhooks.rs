//! Webhooks of several nodes: each change is sent once, by one node, and a node that is lost is
//! replaced.

use super::cluster::Cluster;
use crate::hub::{WebhookOutcome, WebhookRequest};
use crate::proto::message;

/// The events of a request, without `{"name":` and the closing brace.
fn events(request: &WebhookRequest) -> Vec<String> {
    let body = message::object(std::str::from_utf8(&request.body).unwrap()).unwrap();
    let events = message::array(body.get("events").unwrap().get()).unwrap();
    let shown = |raw: &str| raw[r#"{"name":"#.len()..raw.len() - 1].replace('"', "");
    let events = events.into_iter().map(|raw| shown(raw.get()));
    events.filter(|event| !event.starts_with("subscription_count")).collect()
}

impl Cluster {
    /// The events that each node sends within this time; each request gets this status.
    fn sent(&mut self, ms: u64, status: u16) -> Vec<(usize, String)> {
        let mut sent = Vec::new();
        let end_ms = self.now.ms + ms;
        while self.now.ms < end_ms {
            self.pass(10);
            let now = self.now;
            for (at, node) in self.nodes.iter_mut().enumerate() {
                while let Some(request) = node.hub.next_webhook(now) {
                    let outcome = WebhookOutcome::Status(status);
                    node.hub.webhook_done(request.endpoint, outcome, now);
                    sent.extend(events(&request).into_iter().map(|event| (at, event)));
                }
                node.hub.audit().unwrap();
            }
            self.settle();
        }
        sent
    }

    fn events(&mut self, ms: u64) -> Vec<String> {
        let mut events: Vec<_> = self.sent(ms, 200).into_iter().map(|(_, event)| event).collect();
        events.sort();
        events
    }

    fn changes(&self) -> Vec<usize> {
        let webhooks = |at: usize| self.nodes[at].hub.connections.happenings.webhooks();
        (0..self.nodes.len()).map(|at| webhooks(at).unwrap().change_count()).collect()
    }
}

#[test]
fn each_change_is_sent_once_and_the_channels_are_shared() {
    let mut cluster = Cluster::with_webhooks(3);
    let mut ids = Vec::new();
    for n in 0..60 {
        for at in [n % 3, (n + 1) % 3] {
            ids.push((at, cluster.member(at, &format!("c{n}"), "")));
        }
    }
    let sent = cluster.sent(500, 200);
    assert_eq!(sent.len(), 60, "{sent:?}");
    for at in 0..3 {
        let share = sent.iter().filter(|(node, _)| *node == at).count();
        assert!((10..30).contains(&share), "node {at} has sent {share}");
    }
    assert_eq!(cluster.changes(), [0, 0, 0], "every node knows what was acknowledged");
    // Half of the subscribers leave: no channel is vacated.
    for (at, id) in ids.iter().step_by(2) {
        cluster.close(*at, *id);
    }
    assert_eq!(cluster.events(4_000), [""; 0]);
    for (at, id) in ids.iter().skip(1).step_by(2) {
        cluster.close(*at, *id);
    }
    let vacated = cluster.events(4_000);
    assert_eq!(vacated.len(), 60);
    assert!(vacated.iter().all(|event| event.starts_with("channel_vacated,")));
    assert_eq!(cluster.changes(), [0, 0, 0]);
}

#[test]
fn a_client_that_moves_to_another_node_sends_nothing() {
    let mut cluster = Cluster::with_webhooks(2);
    let channels: Vec<String> = (0..8).map(|n| format!("presence-{n}")).collect();
    let ids: Vec<_> = channels.iter().map(|channel| cluster.member(0, channel, "7")).collect();
    assert_eq!(cluster.events(500).len(), 16);
    ids.iter().for_each(|id| cluster.close(0, *id));
    cluster.pass(2_500);
    channels.iter().for_each(|channel| _ = cluster.member(1, channel, "7"));
    assert_eq!(cluster.events(60_000), [""; 0]);
    assert_eq!(cluster.changes(), [0, 0]);
}

#[test]
fn a_node_that_is_lost_is_replaced_and_its_members_are_removed() {
    let mut cluster = Cluster::with_webhooks(2);
    for n in 0..8 {
        cluster.member(0, "presence-a", &n.to_string());
        cluster.member(1, &format!("c{n}"), "");
    }
    // The webhook fails, so nothing is acknowledged.
    let tried = cluster.sent(300, 500);
    assert!(tried.iter().any(|(at, _)| *at == 1), "node 1 owns some of the channels");
    cluster.forget_connection(1);
    cluster.nodes.remove(1);
    let mut sent = cluster.events(20_000);
    // What node 1 owned is sent by node 0; its subscribers are gone, which is sent in any case.
    let vacated: Vec<String> = (0..8).map(|n| format!("channel_vacated,channel:c{n}")).collect();
    assert!(vacated.iter().all(|event| sent.contains(event)), "{sent:?}");
    sent.retain(|event| event.contains("presence-a"));
    let mut expected: Vec<String> =
        (0..8).map(|n| format!("member_added,channel:presence-a,user_id:{n}")).collect();
    expected.insert(0, "channel_occupied,channel:presence-a".into());
    assert_eq!(sent, expected);
    assert_eq!(cluster.changes(), [0]);
}

#[test]
fn a_node_that_starts_repeats_nothing() {
    let mut cluster = Cluster::with_webhooks(1);
    for n in 0..30 {
        cluster.member(0, "presence-a", &n.to_string());
        cluster.member(0, &format!("c{n}"), "");
    }
    assert_eq!(cluster.events(500).len(), 61);
    cluster.add(|_| {});
    cluster.add(|_| {});
    assert_eq!(cluster.events(60_000), [""; 0]);
    assert_eq!(cluster.changes(), [0, 0, 0]);
    cluster.member(1, "new", "");
    assert_eq!(cluster.events(500), ["channel_occupied,channel:new"]);
}

#[test]
fn without_redis_each_node_speaks_for_itself_and_then_they_agree() {
    let mut cluster = Cluster::with_webhooks(2);
    let _a = cluster.member(0, "presence-a", "1");
    let _b = cluster.member(1, "presence-a", "2");
    assert_eq!(cluster.events(500).len(), 3);
    cluster.stop_redis();
    let removed = cluster.events(20_000);
    let expected =
        ["1", "2"].map(|user| format!("member_removed,channel:presence-a,user_id:{user}"));
    assert_eq!(removed, expected);
    cluster.is_up = true;
    let mut added = cluster.events(60_000);
    added.dedup();
    let expected = ["1", "2"].map(|user| format!("member_added,channel:presence-a,user_id:{user}"));
    assert_eq!(added, expected);
    assert_eq!(cluster.changes(), [0, 0]);
}

#[test]
fn a_node_without_webhooks_owns_no_channel() {
    let mut cluster = Cluster::with_webhooks(1);
    cluster.webhook = None;
    cluster.add(|_| {});
    cluster.pass(10_000);
    for n in 0..20 {
        cluster.member(1, &format!("c{n}"), "");
    }
    let sent = cluster.sent(500, 200);
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|(at, _)| *at == 0));
}

#[test]
fn a_reload_of_a_node_loses_and_repeats_nothing() {
    let mut cluster = Cluster::with_webhooks(2);
    let channels: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    channels[..5].iter().for_each(|channel| _ = cluster.member(0, channel, ""));
    cluster.reload(0, |_| {});
    channels[5..].iter().for_each(|channel| _ = cluster.member(0, channel, ""));
    let expected: Vec<String> =
        channels.iter().map(|channel| format!("channel_occupied,channel:{channel}")).collect();
    assert_eq!(cluster.events(20_000), expected);
    assert_eq!(cluster.changes(), [0, 0]);
}
