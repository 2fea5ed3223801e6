//! Saving and restoring: a restored hub has the whole state, and an incomplete state is an error.
//! The recorded layouts are tested in `cluster/tests/state`.

use super::*;
use crate::hub::bus::HAS_REDIS;
use crate::proto::snapshot::DecodeError;

/// The configuration of [`World::new`], with these apps.
fn config(ids: &[&str]) -> Config {
    let apps = ids.iter().map(|id| Settings::new(*id, format!("key-{id}"), SECRET)).collect();
    Config { apps, ..Config::default() }
}

fn connect(world: &mut World, key: &str) -> ConnId {
    let id = world.open();
    let handshake = String::from_utf8_lossy(HANDSHAKE).replace("/app/key", &format!("/app/{key}"));
    world.send(id, handshake.as_bytes());
    world.take(id);
    id
}

/// A hub in which each part of the state has some content.
fn busy(has_bus: bool) -> World {
    let now = Now { ms: 100_000, unix_s: 1_795_450_533 };
    let mut config = config(&["1", "2"]);
    config.apps[0].key = "key".into();
    config.apps[0].subscription_count = true;
    config.server.scaling.enabled = has_bus;
    let mut world = World { hub: Hub::new(&config, [0; 32], now), now };
    let first = world.hub.open((), Some([203, 0, 113, 5].into()), now);
    world.send(first, HANDSHAKE);
    let ids: Vec<(ConnId, String)> = (0..5).map(|_| world.connect()).collect();
    for (n, (id, socket_id)) in ids.iter().enumerate() {
        world.sign_in(*id, socket_id, &format!(r#"{{"id":"u{n}","watchlist":["u0","u1"]}}"#));
        world.subscribe(*id, "news");
        world.subscribe(*id, "cache-news");
        let data = format!(r#"{{"user_id":"{}","user_info":{{"n":{n}}}}}"#, n % 2);
        let auth = Signer::new(SECRET).sign(&[socket_id, ":presence-a:", &data]);
        let data = crate::proto::message::json_string(&data);
        let channel = r#""channel":"presence-a""#;
        let message = format!(
            r#"{{"event":"pusher:subscribe","data":{{{channel},"auth":"key:{auth}","channel_data":{data}}}}}"#
        );
        world.send_text(*id, &message);
    }
    let (writer, _) = ids[0];
    world.take(writer);
    world.send_text(writer, r#"{"event":"client-x","channel":"cache-news","data":"what is kept"}"#);
    // One client has read a part of a frame, one has disconnected, one is closing, one has sent the
    // first frame of a message and half of the second.
    world.hub.outbox(ids[1].0).unwrap().1.consume(3);
    world.hub.close(ids[2].0, now);
    world.send(ids[3].0, &[0x88, 0x80, 0, 0, 0, 0]);
    let half = br#"{"event":"pusher:pi"#;
    let mut frame = vec![0x01, 0x80 | half.len() as u8, 0, 0, 0, 0];
    frame.extend(half);
    frame.extend([0x80, 0x80 | 13, 1, 2, 3]);
    world.send(ids[4].0, &frame);
    let publisher = world.open();
    world.send(publisher, b"GET /up HTTP/1.1\r\nHost: x");
    connect(&mut world, "key-2");
    world
}

fn save(world: &mut World) -> Vec<u8> {
    world.hub.save(world.now, |_, ()| 0).unwrap()
}

fn restore(world: &World, config: &Config, state: Vec<u8>) -> Result<World, DecodeError> {
    let mut hub = Hub::new(config, [1; 32], world.now);
    hub.restore(state, world.now, |_| Some(()))?;
    hub.audit().map_err(|_| DecodeError)?;
    Ok(World { hub, now: world.now })
}

fn config_of(world: &World) -> Config {
    let apps = world.hub.pubsub.apps.iter().map(|app| app.settings.clone()).collect();
    let mut config = Config { apps, ..Config::default() };
    config.server.scaling.enabled = world.hub.pubsub.bus.is_some();
    config
}

#[test]
fn a_restored_hub_saves_to_the_same_bytes() {
    let mut world = busy(HAS_REDIS);
    let state = save(&mut world);
    assert_eq!(save(&mut world), state, "saving changes nothing");
    let config = config_of(&world);
    let mut restored = restore(&world, &config, state.clone()).unwrap();
    assert_eq!(save(&mut restored), state);
    assert_eq!(restored.hub.connections(), world.hub.connections());
}

#[test]
fn a_state_that_is_cut_anywhere_is_an_error() {
    let mut world = busy(HAS_REDIS);
    let state = save(&mut world);
    let config = config_of(&world);
    for len in 0..state.len() {
        assert!(
            restore(&world, &config, state[..len].to_vec()).is_err(),
            "{len} of {}",
            state.len()
        );
    }
    let longer = [&state[..], &[0]].concat();
    assert!(restore(&world, &config, longer).is_err());
}

#[test]
fn restored_connections_continue_in_the_middle_of_their_messages() {
    let mut world = busy(false);
    let config = config_of(&world);
    let waits: Vec<Vec<u8>> = {
        let state = save(&mut world);
        let mut restored = restore(&world, &config, state).unwrap();
        let ids = restored.hub.connections.ids();
        ids.into_iter().map(|id| restored.take_bytes(id)).collect()
    };
    // A restored connection has its index in the saved list as its id.
    let state = save(&mut world);
    let ids = world.hub.connections.ids();
    let before: Vec<Vec<u8>> = ids.iter().map(|id| world.take_bytes(*id)).collect();
    assert_eq!(waits, before);
    assert!(before.iter().any(|bytes| bytes.first() != Some(&0x81) && !bytes.is_empty()));

    let mut restored = restore(&world, &config, state).unwrap();
    let ids = restored.hub.connections.ids();
    ids.iter().for_each(|id| drop(restored.take(*id)));
    let half = ids[5];
    let rest = [4, b'n' ^ 1, b'g' ^ 2, b'"' ^ 3, b'}' ^ 4];
    let spaces: Vec<u8> = (0..9).map(|n| b' ' ^ [1, 2, 3, 4][n % 4]).collect();
    restored.send(half, &[&rest[..], &spaces].concat());
    assert!(restored.take(half).contains("pusher:pong"), "the second half of its message");
    let publisher = ids[3];
    restored.send(publisher, b"\r\n\r\n");
    assert!(restored.take(publisher).starts_with("HTTP/1.1 200"));
    restored.send_text(ids[1], r#"{"event":"client-y","channel":"presence-a","data":"on"}"#);
    assert_eq!(restored.take(ids[2]).matches("client-y").count(), 1);
    assert_eq!(restored.take(ids[1]), "");
    restored.hub.audit().unwrap();
    restored.pass(3_600_000);
    ids.iter().for_each(|id| _ = restored.hub.close(*id, restored.now));
    restored.pass(3_600_000);
    while restored.hub.next_dirty(restored.now).is_some() {}
    assert_eq!(restored.hub.remains(), None);
}

#[test]
fn connections_of_a_removed_app_are_closed_and_others_stay() {
    let mut world = busy(false);
    let state = save(&mut world);
    let mut config = config_of(&world);
    config.apps.remove(1);
    let mut restored = restore(&world, &config, state).unwrap();
    let ids = restored.hub.connections.ids();
    let orphan = ids[ids.len() - 1];
    assert_eq!(restored.take(orphan), "");
    restored.pass(50);
    let output = restored.take(orphan);
    assert!(output.contains("4200") && output.contains("Application was removed"), "{output}");
    assert!(!restored.take(ids[1]).contains("4200"));
    // Saved again: with the connection of the removed app, and without it.
    let state = save(&mut restored);
    let mut second = restore(&restored, &config, state).unwrap();
    second.hub.close(orphan, second.now);
    let state = save(&mut second);
    let second = restore(&second, &config, state).unwrap();
    assert_eq!(second.hub.pubsub.apps.len(), 1);
}

#[test]
fn a_paused_client_is_resumed_after_a_reload_with_any_limit() {
    for limit in [1, 250] {
        let mut world = World::new(|_, limits| limits.pipelined_requests = 10);
        let id = world.open();
        let requests = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n".repeat(11);
        world.send(id, requests.as_bytes());
        world.hub.ready(id);
        assert_eq!(world.hub.next_read(world.now), None, "it has responses to read");
        let mut config = config_of(&world);
        config.limits.pipelined_requests = limit;
        let old_ids = world.hub.reconfigure(&config, world.now).unwrap();
        assert_eq!(old_ids, [id]);
        let is_read = world.hub.next_read(world.now).is_some();
        assert_eq!(is_read, limit > 10, "{limit}");
        assert_eq!(world.take(id).matches("200 OK").count(), 11);
        world.hub.written(id, false, world.now);
        world.hub.ready(id);
        assert!(world.hub.next_read(world.now).is_some(), "{limit}");
    }
}

#[test]
fn a_frame_queued_for_many_connections_is_saved_once() {
    let mut world = World::new(|_, _| {});
    let ids: Vec<ConnId> = (0..100).map(|_| world.connect().0).collect();
    ids.iter().for_each(|&id| world.subscribe(id, "news"));
    ids.iter().for_each(|&id| drop(world.take(id)));
    let event =
        format!(r#"{{"event":"client-x","channel":"news","data":"{}"}}"#, "x".repeat(9_000));
    world.send_text(ids[0], &event);
    let state = save(&mut world);
    assert!((9_000..20_000).contains(&state.len()), "{} bytes", state.len());
}

#[test]
fn a_single_node_keeps_nothing_of_the_nodes_that_a_state_names() {
    let digits = include_str!("../../../tests/state/11-2f66efd8db38f12c.hex");
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let state: Vec<u8> = digits.chunks(2).map(byte).collect();
    let now = Now { ms: 1_000, unix_s: 1_795_450_533 };
    let mut hub = Hub::new(&config(&["1", "2"]), [1; 32], now);
    hub.restore(state, now, |_| Some(())).unwrap();
    assert!(hub.pubsub.known_places().is_empty());
    hub.audit().unwrap();
}
