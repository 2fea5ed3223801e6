//! Tests of the hub as a whole, without a socket: behaviour that no single part shows. Tests of one
//! part are in its file.

mod app_changes;
mod app_limits;
#[cfg(feature = "deflate")]
mod compression;
#[cfg(feature = "console")]
mod feed;
#[cfg(feature = "webhooks")]
mod message_counts;
mod snapshot;
mod turns;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::io::IoSlice;

use super::*;
use crate::config::App as Settings;
use crate::config::Limits;
use crate::proto::auth::Signer;

const SECRET: &str = "secret";

/// A hub with one app, and a clock.
struct World {
    hub: Hub<()>,
    now: Now,
}

impl World {
    fn new(settings: impl FnOnce(&mut Settings, &mut Limits)) -> Self {
        let mut config =
            Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
        config.apps[0].client_events_on_public_channels = true;
        settings(&mut config.apps[0], &mut config.limits);
        let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
        World { hub: Hub::new(&config, [0; 32], now), now }
    }

    fn open(&mut self) -> ConnId {
        self.hub.open((), None, self.now)
    }

    fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.hub.receive(id, &mut bytes.to_vec(), self.now);
    }

    /// Connects a WebSocket. Returns its connection and its socket id.
    fn connect(&mut self) -> (ConnId, String) {
        let id = self.open();
        self.send(id, HANDSHAKE);
        let output = self.take(id);
        let start = output.find("socket_id").unwrap() + 14;
        let socket_id = output[start..].split('\\').next().unwrap().to_owned();
        (id, socket_id)
    }

    fn send_text(&mut self, id: ConnId, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.send(id, &frame);
    }

    fn subscribe(&mut self, id: ConnId, channel: &str) {
        self.send_text(
            id,
            &format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#),
        );
    }

    fn sign_in(&mut self, id: ConnId, socket_id: &str, user_data: &str) {
        let auth = Signer::new(SECRET).sign(&[socket_id, "::user::", user_data]);
        let user_data = crate::proto::message::json_string(user_data);
        self.send_text(
            id,
            &format!(
                r#"{{"event":"pusher:signin","data":{{"auth":"key:{auth}","user_data":{user_data}}}}}"#
            ),
        );
    }

    /// Takes the output for a connection.
    fn take(&mut self, id: ConnId) -> String {
        String::from_utf8_lossy(&self.take_bytes(id)).into_owned()
    }

    fn take_bytes(&mut self, id: ConnId) -> Vec<u8> {
        let (_, outbox) = self.hub.outbox(id).unwrap();
        let mut slices = vec![IoSlice::new(&[]); 100_000];
        let filled = outbox.slices(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        outbox.consume(bytes.len());
        bytes
    }

    /// Advances the clock, with the ticks that an event loop would call.
    fn pass(&mut self, ms: u64) {
        let end_ms = self.now.ms + ms;
        while let Some(due_ms) = self.hub.next_tick_ms().filter(|due| *due <= end_ms) {
            self.now.ms = due_ms.max(self.now.ms + 1);
            self.hub.tick(self.now);
        }
        self.now.ms = end_ms;
        self.hub.tick(self.now);
        while self.hub.next_read(self.now).is_some() {}
    }
}

const HANDSHAKE: &[u8] = b"GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn an_incomplete_request_is_dropped_soon_after_its_408() {
    let mut world = World::new(|_, _| {});
    let id = world.open();
    world.send(id, b"GET /up HT");
    world.pass(10_500);
    assert!(world.take(id).starts_with("HTTP/1.1 408 "));
    assert_eq!(world.hub.next_action(id), IoAction::ShutdownWrite);
    world.pass(3_500);
    assert_eq!(world.hub.next_action(id), IoAction::Drop);
}

#[test]
fn a_pruned_client_that_stays_silent_is_dropped_soon_after() {
    let mut world = World::new(|_, _| {});
    let (id, _) = world.connect();
    world.pass(60_500);
    assert_eq!(world.take_bytes(id), [0x89, 0]);
    world.pass(15_500);
    assert!(world.take(id).contains("pusher:ping"));
    world.pass(15_500);
    assert!(world.take(id).contains("4201"));
    assert_eq!(world.hub.next_action(id), IoAction::ShutdownWrite);
    world.pass(3_500);
    assert_eq!(world.hub.next_action(id), IoAction::Drop);
}

#[test]
fn a_connection_that_reuses_the_id_of_a_slow_reader_stays_open() {
    let mut world = World::new(|_, limits| limits.outbox_bytes = 16_384);
    let (slow, _) = world.connect();
    world.subscribe(slow, "a");
    let (sender, _) = world.connect();
    world.subscribe(sender, "a");
    let whisper = format!(r#"{{"event":"client-x","channel":"a","data":"{}"}}"#, "x".repeat(5_000));
    (0..3).for_each(|_| world.send_text(sender, &whisper));
    assert_eq!(world.hub.next_action(slow), IoAction::Stay);
    world.send_text(sender, &whisper);
    world.send_text(sender, &whisper);
    assert_eq!(world.hub.next_action(slow), IoAction::Drop);
    world.hub.close(slow, world.now);
    let (newcomer, _) = world.connect();
    assert_eq!(newcomer, slow);
    world.send_text(sender, &whisper);
    world.pass(1_000);
    assert_eq!(world.hub.next_action(newcomer), IoAction::Stay);
}

#[test]
fn tiny_frames_count_for_more_than_their_bytes() {
    let mut world = World::new(|_, limits| {
        (limits.outbox_bytes, limits.pipelined_requests) = (16_384, 250);
    });
    let (id, _) = world.connect();
    (0..250).for_each(|_| world.send(id, &[0x89, 0x80, 0, 0, 0, 0]));
    assert_eq!(world.hub.next_action(id), IoAction::Drop);
}

#[test]
fn a_client_that_watches_itself_receives_nothing_after_its_close_frame() {
    let mut world = World::new(|_, _| {});
    let (id, socket_id) = world.connect();
    world.sign_in(id, &socket_id, r#"{"id":"7","watchlist":["7"]}"#);
    assert!(world.take(id).contains("online"));
    world.send(id, &[0x88, 0x80, 0, 0, 0, 0]);
    assert_eq!(world.take_bytes(id), [0x88, 2, 3, 0xe8]);
}

#[test]
fn the_last_count_of_a_large_channel_is_sent_after_the_interval() {
    let mut world = World::new(|app, _| app.subscription_count = true);
    let ids: Vec<ConnId> = (0..150).map(|_| world.connect().0).collect();
    ids.iter().for_each(|&id| world.subscribe(id, "a"));
    let output = world.take(ids[0]);
    assert!(
        output.contains(r#"\"subscription_count\":100"#) && !output.contains("150"),
        "{output}"
    );
    world.pass(5_000);
    assert!(world.take(ids[0]).contains(r#"\"subscription_count\":150"#));
    world.pass(20_000);
    assert_eq!(world.take(ids[0]), "");
}

#[test]
fn a_wave_of_leaves_is_announced_only_to_the_remaining_member() {
    let mut world = World::new(|_, _| {});
    let members: Vec<ConnId> = (0..100)
        .map(|n| {
            let (id, socket_id) = world.connect();
            let data = format!(r#"{{"user_id":"{n}"}}"#);
            let auth = Signer::new(SECRET).sign(&[&socket_id, ":presence-a:", &data]);
            let data = crate::proto::message::json_string(&data);
            world.send_text(
                id,
                &format!(
                    r#"{{"event":"pusher:subscribe","data":{{"channel":"presence-a",
                    "auth":"key:{auth}","channel_data":{data}}}}}"#
                ),
            );
            id
        })
        .collect();
    members.iter().for_each(|&id| drop(world.take(id)));
    members[1..].iter().for_each(|&id| _ = world.hub.close(id, world.now));
    while world.hub.next_dirty(world.now).is_some() {}
    world.pass(50);
    assert_eq!(world.take(members[0]).matches("member_removed").count(), 99);
}

#[test]
fn a_client_that_reconnects_during_a_stop_is_closed_at_its_end() {
    let mut world = World::new(|_, _| {});
    let clients: Vec<ConnId> = (0..20).map(|_| world.connect().0).collect();
    world.hub.drain(world.now);
    world.pass(100);
    assert!(world.take(clients[0]).contains("4200"), "the end is two seconds away");
    world.hub.close(clients[0], world.now);
    let returned = world.open();
    world.send(returned, HANDSHAKE);
    assert!(world.take(returned).ends_with("\r\n\r\n"));
    world.pass(1_800);
    assert_eq!(
        (world.take(returned).as_str(), world.hub.next_action(returned)),
        ("", IoAction::Stay)
    );
    assert!(world.take(clients[18]).contains("4100"), "the next server is nearer than a second");
    assert!(!world.hub.is_drained());
    world.pass(200);
    assert!(world.take(returned).contains("4100"));
    clients[1..].iter().chain([&returned]).for_each(|id| _ = world.hub.close(*id, world.now));
    assert!(world.hub.is_drained());
}

#[test]
fn few_clients_are_closed_at_once_and_new_ones_do_not_delay_the_end() {
    let mut world = World::new(|_, _| {});
    let clients: Vec<ConnId> = (0..10).map(|_| world.connect().0).collect();
    world.hub.drain(world.now);
    let newcomer = world.open();
    world.send(newcomer, HANDSHAKE);
    assert!(world.take(newcomer).contains("4100"));
    for &id in &clients {
        assert!(!world.hub.is_drained());
        assert!(world.take(id).contains("4100"));
        world.hub.close(id, world.now);
    }
    assert!(world.hub.is_drained(), "a client that came later is still closing");
}

#[test]
fn nothing_is_left_after_all_connections_have_closed() {
    let mut world = World::new(|_, _| {});
    let ids: Vec<(ConnId, String)> = (0..50).map(|_| world.connect()).collect();
    for (n, (id, socket_id)) in ids.iter().enumerate() {
        world.sign_in(*id, socket_id, &format!(r#"{{"id":"{}","watchlist":["1","2"]}}"#, n % 7));
        (0..n % 5).for_each(|channel| world.subscribe(*id, &format!("c{channel}")));
    }
    ids.iter().for_each(|(id, _)| _ = world.hub.close(*id, world.now));
    assert_eq!(world.hub.connections(), 0);
    assert!(world.hub.pubsub.apps[0].channels.is_empty());
    assert_eq!(world.hub.pubsub.apps[0].connections, 0);
    assert!(world.hub.next_dirty(world.now).is_none());
}

#[test]
fn a_rejected_websocket_leaves_its_channels() {
    let mut world = World::new(|_, _| {});
    let (id, _) = world.connect();
    world.subscribe(id, "a");
    world.take(id);
    world.hub.reject(id, "", world.now);
    assert_eq!((world.take(id).as_str(), world.hub.next_action(id)), ("", IoAction::Drop));
    assert!(world.hub.pubsub.apps[0].channels.is_empty());
    assert_eq!(world.hub.audit(), Ok(()));
}
