//! Compression counts as work of a turn, and belongs to a connection across a reload.

use super::*;
use crate::config::Compression;
use crate::proto::websocket::{Deflater, masked, payload, text};

const OFFER: &[u8] = b"GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// Two clients that have negotiated compression and are subscribed to a channel, and a sender.
fn world() -> (World, [ConnId; 2], ConnId) {
    let mut world = World::new(|_, _| {});
    let clients = [(); 2].map(|()| world.open());
    for id in clients {
        world.send(id, OFFER);
        world.subscribe(id, "c");
        world.take(id);
    }
    let (sender, _) = world.connect();
    world.subscribe(sender, "c");
    world.take(sender);
    (world, clients, sender)
}

fn event() -> String {
    format!(r#"{{"event":"client-e","channel":"c","data":"{}"}}"#, "x".repeat(4_000))
}

fn are_compressed(world: &mut World, clients: [ConnId; 2]) -> [bool; 2] {
    clients.map(|id| world.take_bytes(id)[0] == 0xC1)
}

#[test]
fn nothing_is_compressed_while_a_turn_is_over_its_budget() {
    let (mut world, clients, sender) = world();
    world.hub.begin_turn();
    world.send_text(sender, &event());
    assert_eq!(are_compressed(&mut world, clients), [true; 2]);
    world.hub.connections.work.add(1 << 40);
    world.send_text(sender, &event());
    assert_eq!(are_compressed(&mut world, clients), [false; 2]);
    world.hub.begin_turn();
    world.send_text(sender, &event());
    assert_eq!(are_compressed(&mut world, clients), [true; 2]);
    world.hub.audit().unwrap();
}

#[test]
fn what_a_compressed_message_expands_to_is_work() {
    let (mut world, [client, _], _) = world();
    let units_of = |world: &mut World, spaces: usize| {
        let message = format!(r#"{{"event":"pusher:ping"{}}}"#, " ".repeat(spaces));
        let shorter = Deflater::new(9).compress(&text(&message)).unwrap();
        assert!(payload(&shorter).len() < 100);
        let before = world.hub.connections.work.done();
        world.send(client, &masked(&shorter, [1, 2, 3, 4]));
        assert!(world.take(client).contains("pusher:pong"));
        world.hub.connections.work.done() - before
    };
    let (short, long) = (units_of(&mut world, 100), units_of(&mut world, 9_700));
    // A byte is decompressed (1/32 of a unit) and parsed (1/64).
    assert!(long - short > 9_600 / 32, "{short} {long}");
}

#[test]
fn a_client_keeps_what_it_negotiated_whatever_the_configuration_becomes() {
    let (mut world, clients, sender) = world();
    let apps = world.hub.pubsub.apps.iter().map(|app| app.settings.clone()).collect();
    let mut next = Config { apps, ..Config::default() };
    next.server.compression = Compression { enabled: false, ..Compression::default() };
    world.hub.reconfigure(&next, world.now).unwrap();
    world.hub.audit().unwrap();
    // Events are plain from now on; the client may still send compressed messages.
    world.send_text(sender, &event());
    assert_eq!(are_compressed(&mut world, clients), [false; 2]);
    let ping = format!(r#"{{"event":"pusher:ping"{}}}"#, " ".repeat(100));
    let shorter = Deflater::new(1).compress(&text(&ping)).unwrap();
    world.send(clients[0], &masked(&shorter, [0; 4]));
    assert!(world.take(clients[0]).contains("pusher:pong"));
    next.server.compression.enabled = true;
    world.hub.reconfigure(&next, world.now).unwrap();
    world.send_text(sender, &event());
    assert_eq!(are_compressed(&mut world, clients), [true; 2]);
    for id in clients {
        world.hub.close(id, world.now);
    }
    world.hub.audit().unwrap();
}
