//! The layout of a saved state, and whether its version identifies it.
//!
//! `tests/state` holds a state of this version and of released ones, in hexadecimal digits: a hub
//! with a distinct value in every field.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use crate::config::{App as Settings, Config, Url, Webhook};
use crate::hub::bus::{Bus, FullSync};
use crate::hub::channel::Kind;
use crate::hub::listing::Listing;
use crate::hub::peer::*;
use crate::hub::port::Port;
use crate::hub::presence::Member;
use crate::hub::schedule::Held;
use crate::hub::webhooks::Cluster;
use crate::hub::{
    AppCounters, ConnId, Counters, Hub, Now, Outbox, SocketId, WebhookOutcome, state_version,
    version_of,
};
use crate::proto::envelope::NodeId;
use crate::proto::http::Chunked;
use crate::proto::webhook::ClientEvent;
use crate::proto::websocket::{Bounds, Frame, Inflater, Reader};

/// The state of each version, in hexadecimal digits.
const STATES: [(&str, &str); 2] = [
    ("1", include_str!("../../../../tests/state/1.hex")),
    ("11-2f66efd8db38f12c", include_str!("../../../../tests/state/11-2f66efd8db38f12c.hex")),
];

const NOW: Now = Now { ms: 1_000, unix_s: 1_795_450_533 };

fn config() -> Config {
    let apps = ["1", "2"].map(|id| Settings::new(id, format!("key-{id}"), "secret"));
    let mut config = Config { apps: apps.into(), ..Config::default() };
    config.server.scaling.enabled = true;
    for (app, urls) in
        config.apps.iter_mut().zip([["http://a/1", "http://a/2"], ["http://a/1", "http://b"]])
    {
        app.webhooks = urls.map(|url| Webhook::new(Url::parse(url).unwrap())).into();
    }
    config
}

fn frame(text: &str) -> Frame {
    text.as_bytes().into()
}

/// A hub with a distinct value in every field that is saved, and an item of every kind.
fn complete() -> Hub<()> {
    let mut hub = Hub::new(&config(), [0; 32], NOW);
    hub.pubsub.by_id.remove("2");
    requests(&mut hub);
    let members =
        [Liveness::Quiet, Liveness::Pinged { at_ms: 71 }, Liveness::PingedTwice { at_ms: 72 }];
    let members: Vec<ConnId> =
        (0..).zip(members).map(|(n, it)| subscriber(&mut hub, n, it)).collect();
    for (n, mode) in (0..).zip([
        CloseMode::Now,
        CloseMode::AfterOutbox,
        CloseMode::AfterPeer { half_closed: false },
        CloseMode::AfterPeer { half_closed: true },
        CloseMode::Deferred,
    ]) {
        let id = hub.open((), None, NOW);
        hub.reject(id, "", NOW);
        let Some(peer) = hub.connections.get_mut(id) else { panic!("{id:?}") };
        (peer.last_seen_ms, peer.outbox) = (90 + n, Outbox::default());
        let (deadline_ms, end_ms, left_bytes) = (100 + n, 110 + n, 120 + n as usize);
        let port = if n == 1 { Port::Metrics } else { Port::Clients };
        let closing = Closing { deadline_ms, end_ms, left_bytes, mode, port };
        peer.phase = Phase::Closing(closing);
    }
    channels(&mut hub, &members);
    let Some(place) = hub.pubsub.apps[0].place("presence-a") else { panic!("no channel") };
    hub.pubsub.add_leave(0, place, "left".into());
    let held = Held { message: Some("held".into()), bytes: b"after it".to_vec() };
    hub.connections.schedule.hold(members[1], held);
    count(&mut hub.connections.counters);
    let Some(bus) = &mut hub.pubsub.bus else { panic!("no bus") };
    fill(bus);
    webhooks(&mut hub);
    hub
}

/// A batch that has failed and one that waits, with tags that they share; changes that wait.
fn webhooks(hub: &mut Hub<()>) {
    let Some(webhooks) = hub.connections.happenings.webhooks_mut() else { panic!("no webhooks") };
    webhooks.set_now(NOW);
    let (news, presence) = (Rc::from("news"), Rc::from("presence-a"));
    webhooks.set_cluster(Cluster { me: 501, up_ms: 60_000, ..Cluster::default() });
    webhooks.changed(0, &Rc::from("gone"), None, false);
    webhooks.changed(0, &news, None, true);
    webhooks.changed(0, &presence, Some(&"left".into()), false);
    webhooks.changed(0, &presence, Some(&"user-1".into()), true);
    let later = Now { ms: NOW.ms + 100, ..NOW };
    webhooks.set_now(later);
    webhooks.changed(0, &Rc::from("gone-later"), None, false);
    webhooks.subscription_count(1, &news, 601);
    webhooks.take_reports();
    hub.tick_webhooks(later);
    let Some(request) = hub.next_webhook(later) else { panic!("no request") };
    hub.webhook_done(request.endpoint, WebhookOutcome::Status(500), NOW);
    let Some(webhooks) = hub.connections.happenings.webhooks_mut() else { panic!("no webhooks") };
    webhooks.client_event(
        0,
        &ClientEvent { channel: "news", event: "\"client-x\"", data: "{}", user: None },
        SocketId(602, 603),
    );
}

/// An incomplete request for each state of a chunked body.
fn requests(hub: &mut Hub<()>) {
    let pieces = ["5", "5;x", "5\r\nhe", "5\r\nhello", "0\r\nT", "0\r\n\r\n"];
    for (n, piece) in (0..).zip(pieces) {
        let id = hub.open((), Some(Ipv4Addr::new(203, 0, 113, n as u8).into()), NOW);
        let Some(peer) = hub.connections.get_mut(id) else { panic!("{id:?}") };
        (peer.last_seen_ms, peer.pending_replies) = (10 + n, 20 + n as u8);
        let Phase::Request(request) = &mut peer.phase else { panic!("no request") };
        let mut chunked = ChunkedBody { decoder: Chunked::default(), body: Vec::new() };
        chunked.decoder.decode(piece.as_bytes(), &mut chunked.body, 100).unwrap();
        request.buffer = format!("POST /{n}").into();
        request.needed = 30 + n as usize;
        request.chunked = Some(Box::new(chunked));
        request.deadline_ms = (n > 0).then_some(40 + n);
        request.is_counted = n == 2;
        request.port = if n == 3 { Port::Console } else { Port::Clients };
        request.is_held = n == 4;
        request.listing = (n == 5).then(|| {
            // The listing is at the first place, which no channel precedes.
            let (prefix, has_entries) = ("listed".to_owned(), true);
            Box::new(Listing { prefix, has_entries, ..Listing::default() })
        });
        hub.connections.api_requests += u32::from(n == 2);
    }
}

/// A WebSocket client that has sent half a frame, and has not read all of its output.
fn subscriber(hub: &mut Hub<()>, n: u32, liveness: Liveness) -> ConnId {
    let id = hub.open((), Some(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96).into()), NOW);
    let handshake = "GET /app/key-1 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Origin: https://shop.test\r\n\r\n";
    hub.receive(id, &mut handshake.as_bytes().to_vec(), NOW);
    let Some(peer) = hub.connections.get_mut(id) else { panic!("{id:?}") };
    (peer.last_seen_ms, peer.pending_replies, peer.outbox) =
        (50 + u64::from(n), n as u8, Outbox::default());
    peer.outbox.push(frame("first"));
    peer.outbox.push(frame("second"));
    peer.outbox.consume(n as usize);
    if n == 1 {
        hub.connections.set_deflate(id);
    }
    if n == 2 {
        hub.connections.set_authorized(id);
    }
    let subscriber = hub.connections.subscriber_mut(id);
    let Some(subscriber) = subscriber else { panic!("no WebSocket") };
    subscriber.socket_id = SocketId(60 + n, 65 + n);
    subscriber.window = (80 + n, 85 + n);
    subscriber.client_events = (87 + n as u16, 88 + n as u16);
    subscriber.opened_ms = 91 + n;
    subscriber.liveness = liveness;
    subscriber.reader = Reader::default();
    // Half of a header; a ping within a message of several frames; half of a frame.
    let input: [&[u8]; 3] = [
        &[0x81, 0x85],
        &[
            0x01,
            0x84,
            1,
            2,
            3,
            4,
            b'a' ^ 1,
            b'b' ^ 2,
            0xC3 ^ 3,
            0xA9 ^ 4,
            0x89,
            0x83,
            5,
            6,
            7,
            8,
            9,
        ],
        &[0x02, 0x81, 0, 0, 0, 0, 7, 0x80, 0x89, 9, 8, 7, 6, 5],
    ];
    let bounds =
        Bounds { message_bytes: 1_000, fragments: 10, binary: true, masked: true, deflate: true };
    let mut bytes = input[n as usize].to_vec();
    while subscriber
        .reader
        .next(&mut bytes, &mut 0, bounds, &mut Inflater::default())
        .unwrap()
        .is_some()
    {}
    id
}

fn channels(hub: &mut Hub<()>, members: &[ConnId]) {
    let app = &mut hub.pubsub.apps[0];
    app.elsewhere.0 = vec![0, 131, 132];
    app.cache.store_remote("cache-a", frame("kept"), 5_000, (133, 134), NOW.ms);
    app.cache.store_remote("cache-b", frame("first"), 6_000, (135, 136), NOW.ms);
    let infos = [None, Some(r#"{"name":"x"}"#.into()), Some("null".into())];
    for (name, counted_ms, count_due) in [("presence-a", 141, false), ("news", 142, true)] {
        let (place, _) = app.occupy(name, Kind::of(name));
        let channel = app.channels.get_mut(place as usize).unwrap();
        (channel.counted_ms, channel.count_due) = (counted_ms, count_due);
        channel.set_elsewhere(3, 143);
        channel.set_elsewhere(4, 144);
        for ((index, &id), info) in (0..).zip(members).zip(&infos) {
            let member = Member { id: format!("user-{index}").as_str().into(), info: info.clone() };
            if let Some(presence) = &mut channel.presence {
                presence.join(&member);
                presence.join_at(index as usize + 3, &member);
            }
            let user = channel.presence.is_some().then(|| Rc::clone(&member.id));
            channel.members.push(id);
            let subscriber = hub.connections.subscriber_mut(id).unwrap();
            subscriber.add_membership(Membership { channel: place, index, user });
            let info = info.clone().filter(|_| index > 0);
            let (id, internal_memberships) = (Rc::clone(&member.id), 0);
            subscriber.user =
                (index < 2).then(|| Box::new(User { id, info, internal_memberships }));
        }
        channel.mark_stale(4);
    }
}

/// Gives each counter a value of its own.
fn count(counters: &mut Counters) {
    counters.apps[0] = AppCounters {
        connections_opened: 201,
        messages_in: 202,
        messages_handled: 203,
        bytes_in: 204,
        messages_out: 205,
        bytes_out: 206,
        client_events: 207,
        feed_lines_dropped: 209,
        api_events: 208,
    };
    (0..).zip(&mut counters.limits_exceeded).for_each(|(n, number)| *number = 300 + n);
    counters.process.frames_dropped = 211;
    counters.process.tls_failures = 212;
    counters.process.accept_failures = 213;
    counters.process.events_compressed = 221;
    counters.process.compression_bytes_in = 222;
    counters.process.compression_bytes_out = 223;
    counters.process.messages_decompressed = 224;
    counters.closes.others = 214;
    for (n, (code, _)) in counters.closes.iter().enumerate().collect::<Vec<_>>() {
        (0..=n).for_each(|_| counters.closes.count(code));
    }
    for (n, route) in (0..).zip(&mut counters.requests) {
        route.others = 220 + n;
        (0..=n).for_each(|_| route.count(404));
    }
    counters.turns.count(Duration::from_millis(3));
    counters.turns.count(Duration::from_secs(9));
}

fn fill(bus: &mut Bus) {
    bus.id = NodeId(501);
    (bus.started_ms, bus.clock, bus.next_alive_ms, bus.sessions) = (502, 503, 504, 505);
    (0..).zip(bus.counters.numbers()).for_each(|(n, number)| *number = 510 + n);
    bus.changed_channels.clear();
    bus.changed_apps.clear();
    bus.pending.clear();
    for n in 0..3 {
        bus.queue.push(frame(&format!("said {n}")), 520 + n);
    }
    (0..2).for_each(|_| drop(bus.queue.take()));
    bus.queue.drop_before(1);
    bus.full_sync = Some(FullSync::new(false));
    bus.next_full_sync = Some(true);
    for n in 0..10 {
        let Some(node) = bus.nodes.add(NodeId(530 + n), 540 + n).and_then(|at| bus.nodes.get(at))
        else {
            panic!("no room")
        };
        node.next = (n > 0).then_some(550 + n);
        (node.is_live, node.has_left, node.sends_webhooks) = (n == 1, n == 2, n == 0);
        (node.is_synced, node.is_syncing) = (n == 3, n == 4);
        (node.requests.retransmission, node.requests.full_sync) = (n == 5, n == 6);
        (node.wants_cache, node.has_rejected_facts) = (n == 7, n == 8);
        node.acknowledged = 560 + n;
        node.regressed_ms = (n == 1).then_some(581);
        node.sync_request_ms = (n == 3).then_some(583);
    }
    bus.nodes.remove(9);
}

fn digits(state: &[u8]) -> String {
    let mut text = String::new();
    for line in state.chunks(48) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b'\n').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn a_state_has_the_layout_of_its_version() {
    let version = state_version();
    let state = digits(&complete().save(NOW, |_, ()| 7).unwrap());
    let Some((_, before)) = STATES.into_iter().find(|(name, _)| *name == version) else {
        panic!(
            "the version is new: save these digits as tests/state/{version}.hex, name the file in \
             STATES, and remove the unreleased one before it\n{state}"
        );
    };
    assert!(
        state == before,
        "a state has another layout than tests/state/{version}.hex, and the same version: raise \
         REVISION in src/hub/snapshot/version.rs"
    );
}

#[test]
fn a_state_of_another_version_is_rejected() {
    for (version, digits) in STATES {
        let state = bytes(digits);
        let mut hub = Hub::new(&config(), [1; 32], NOW);
        let read = hub.restore(state.clone(), NOW, |_| Some(()));
        let is_named = version_of(&state).as_deref() == Some(state_version().as_str());
        assert_eq!(
            (read.is_ok(), is_named),
            (version == state_version(), read.is_ok()),
            "{version}"
        );
        if read.is_ok() {
            hub.audit().unwrap();
            assert_eq!(hub.connections(), complete().connections());
        }
    }
}
