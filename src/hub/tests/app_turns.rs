//! How apps share the budget of a turn, and the writes of one.

use super::*;
use crate::hub::app_queues::NO_APP;
use crate::hub::peer::Mark;
use crate::hub::work::Lane;
use crate::hub::write_lanes::WriteLane;
use crate::proto::websocket::Frame;

/// Units of a turn.
const BUDGET: u64 = 65_536;

/// A hub with apps 1 (key `key`) and 2 (key `key-2`), which has begun its first turn.
fn world() -> World {
    let mut world = World::new(|_, limits| limits.work_per_turn = BUDGET as u32);
    world.hub.put_app(Settings::new("2", "key-2", SECRET), world.now);
    world.pass(10);
    world.hub.begin_turn();
    world
}

/// This many open WebSockets of the app with this key.
fn clients(world: &mut World, key: &str, count: usize) -> Vec<ConnId> {
    let handshake = String::from_utf8_lossy(HANDSHAKE).replace("/app/key", &format!("/app/{key}"));
    let ids: Vec<ConnId> = (0..count)
        .map(|_| {
            let id = world.open();
            world.send(id, handshake.as_bytes());
            assert!(world.hub.connections.subscriber(id).is_some());
            world.hub.connections.clear_outbox(id);
            id
        })
        .collect();
    while world.hub.next_dirty(world.now).is_some() {}
    ids
}

/// One turn of visits, each of this many units. Returns the visited connections.
fn visits(world: &mut World, units: impl Fn(ConnId) -> u64) -> Vec<ConnId> {
    world.hub.begin_turn();
    let mut visited = Vec::new();
    while let Some((id, _)) = world.hub.next_read(world.now) {
        world.hub.connections.work.add(units(id));
        visited.push(id);
    }
    assert_eq!(world.hub.audit(), Ok(()));
    visited
}

/// The connections of this many writes.
fn writes(world: &mut World, count: usize) -> Vec<ConnId> {
    let ids = (0..count).map_while(|_| world.hub.next_dirty(world.now)).collect();
    assert_eq!(world.hub.audit(), Ok(()));
    ids
}

#[test]
fn five_thousand_busy_connections_delay_no_other_app() {
    let mut world = world();
    let crowd = clients(&mut world, "key", 5_000);
    let other = clients(&mut world, "key-2", 1)[0];
    for _ in 0..20 {
        crowd.iter().for_each(|id| world.hub.ready(*id));
        world.hub.ready(other);
        let visited = visits(&mut world, |_| 100);
        let at = visited.iter().position(|id| *id == other);
        assert!(at.is_some_and(|at| at < 2), "{at:?}");
        assert!((500..700).contains(&visited.len()), "the rest of the turn is for the crowd");
    }
}

#[test]
fn expensive_messages_of_an_app_delay_no_other_app() {
    let mut world = world();
    let crowd = clients(&mut world, "key", 5_000);
    let other = clients(&mut world, "key-2", 1)[0];
    for _ in 0..20 {
        for id in crowd.iter().chain([&other]) {
            world.hub.connections.schedule_in(*id, Lane::Heavy);
        }
        let visited = visits(&mut world, |_| 3_000);
        assert!(visited[..2].contains(&other), "{visited:?}");
        assert!(visited.len() > 20);
    }
}

#[test]
fn steps_longer_than_a_turn_alternate_between_apps() {
    let mut world = world();
    let crowd = clients(&mut world, "key", 100);
    let other = clients(&mut world, "key-2", 1)[0];
    let mut turns = Vec::new();
    for _ in 0..20 {
        for id in crowd.iter().chain([&other]) {
            world.hub.connections.schedule_in(*id, Lane::Heavy);
        }
        turns.push(visits(&mut world, |_| 100_000));
    }
    assert!(turns.iter().all(|turn| turn.len() == 1));
    assert!(turns.windows(2).all(|two| two.iter().flatten().any(|id| *id == other)));
}

#[test]
fn an_app_that_has_used_its_share_lets_the_others_go_first_and_then_continues() {
    let mut world = world();
    let first = clients(&mut world, "key", 5);
    let second = clients(&mut world, "key-2", 5);
    for id in first.iter().chain(&second) {
        world.hub.connections.schedule_in(*id, Lane::Heavy);
    }
    let is_first = |id: ConnId| first.contains(&id);
    let visited = visits(&mut world, |id| if is_first(id) { 17_000 } else { 100 });
    // Its second visit is beyond half of the turn.
    let expected =
        [&[first[0], second[0], first[1]], &second[1..4], &[second[4], first[2], first[3]]]
            .concat();
    assert_eq!(visited, expected);
    // In the next turn it also comes after the others.
    world.hub.connections.schedule_in(second[0], Lane::Heavy);
    assert_eq!(visits(&mut world, |_| 100_000), [second[0]]);
    assert_eq!(visits(&mut world, |_| 100_000), [first[4]]);
}

#[test]
fn many_writes_of_an_app_delay_no_other_app() {
    for lane in [WriteLane::Prompt, WriteLane::Bulk] {
        let mut world = world();
        let crowd = clients(&mut world, "key", 5_000);
        let other = clients(&mut world, "key-2", 1)[0];
        for _ in 0..10 {
            for id in crowd.iter().chain([&other]) {
                world.hub.connections.queue_parts(*id, &[Frame::from(vec![0; 2])], lane);
            }
            let written = writes(&mut world, 1_024);
            assert_eq!(written.len(), 1_024);
            assert!(written[..2].contains(&other), "{lane:?}");
            written.iter().for_each(|id| world.hub.connections.clear_outbox(*id));
        }
    }
}

#[test]
fn the_connections_of_a_single_app_keep_their_order() {
    let mut world = world();
    let ids = clients(&mut world, "key", 2_000);
    ids.iter().for_each(|id| world.hub.ready(*id));
    let mut visited = visits(&mut world, |_| 100);
    // Those that join meanwhile come after all that wait.
    let again = visited.clone();
    again.iter().for_each(|id| world.hub.ready(*id));
    while visited.len() < ids.len() + again.len() {
        visited.extend(visits(&mut world, |_| 100));
    }
    assert_eq!(visited, [ids.clone(), again].concat());
    ids.iter().for_each(|id| world.hub.connections.schedule_in(*id, Lane::Heavy));
    let mut heavy = Vec::new();
    while world.hub.has_work() {
        heavy.extend(visits(&mut world, |_| 9_000));
    }
    assert_eq!(heavy, ids);
    ids.iter().for_each(|id| world.hub.touch(*id));
    assert_eq!(writes(&mut world, 2_000), ids);
}

#[test]
fn who_joins_a_lane_in_a_turn_waits_for_the_next_one() {
    let mut world = world();
    let ids = [clients(&mut world, "key", 2), clients(&mut world, "key-2", 2)].concat();
    ids.iter().for_each(|id| world.hub.ready(*id));
    world.hub.begin_turn();
    let mut visited = Vec::new();
    while let Some((id, _)) = world.hub.next_read(world.now) {
        world.hub.ready(id);
        visited.push(id);
    }
    assert_eq!(visited, [ids[0], ids[2], ids[1], ids[3]]);
    assert_eq!(visits(&mut world, |_| 0), [ids[0], ids[2], ids[1], ids[3]]);
    assert!(!world.hub.has_work());
}

#[test]
fn connections_without_an_app_take_turns_as_if_they_were_of_one() {
    let mut world = world();
    let crowd: Vec<ConnId> = (0..5_000).map(|_| world.open()).collect();
    let client = clients(&mut world, "key", 1)[0];
    for _ in 0..5 {
        crowd.iter().for_each(|id| world.hub.ready(*id));
        world.hub.ready(client);
        assert!(visits(&mut world, |_| 100)[..2].contains(&client));
    }
}

/// A request signed with this secret, for an app.
fn request(world: &World, app: &str, key: &str, secret: &str) -> Vec<u8> {
    let (path, time) = (format!("/apps/{app}/connections"), world.now.unix_s);
    let query = format!("auth_key={key}&auth_timestamp={time}&auth_version=1.0");
    let signature = Signer::new(secret).sign(&["GET", "\n", &path, "\n", &query]);
    format!("GET {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\n\r\n")
        .into_bytes()
}

#[test]
fn a_publisher_belongs_to_the_app_of_its_last_signed_request() {
    let mut world = world();
    let id = world.open();
    let app = |world: &World| world.hub.connections.get(id).unwrap().app();
    assert_eq!(app(&world), NO_APP);
    let forged = request(&world, "2", "key-2", "guess");
    world.send(id, &forged);
    assert!(world.take(id).contains("401"));
    assert_eq!(app(&world), NO_APP, "a stranger does not use up the turns of an app");
    let [first, second] =
        [("1", "key"), ("2", "key-2")].map(|(app, key)| request(&world, app, key, SECRET));
    world.send(id, &second);
    assert!(world.take(id).contains(r#"{"connections":0}"#));
    assert_eq!(app(&world), 1);
    // Responses to earlier requests wait when the app changes.
    world.send(id, &[&second[..], &first, &second, &first, b"GET /up HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(app(&world), 0);
    assert_eq!(world.hub.audit(), Ok(()));
    assert_eq!(writes(&mut world, 9), [id]);
    assert_eq!(world.take(id).matches("200 OK").count(), 5);
    world.send(id, &[&second[..], HANDSHAKE].concat());
    assert_eq!((app(&world), world.hub.audit()), (0, Ok(())));
    assert_eq!(writes(&mut world, 9), [id]);
    world.hub.finished(id, world.now);
    assert_eq!(app(&world), 0, "a closing connection is still one of its app");
}

#[test]
fn unwritten_output_of_an_app_does_not_delay_expensive_work_of_another() {
    let mut world = World::new(|_, limits| limits.outbox_bytes = 16_384);
    world.hub.put_app(Settings::new("2", "key-2", SECRET), world.now);
    world.hub.begin_turn();
    let [slow, busy] = clients(&mut world, "key", 2)[..] else { panic!("two") };
    let other = clients(&mut world, "key-2", 1)[0];
    let frame = Frame::from(vec![0; 5_000]);
    (0..3).for_each(|_| {
        world.hub.connections.queue_parts(slow, &[Frame::clone(&frame)], WriteLane::Prompt);
    });
    [busy, other].iter().for_each(|id| world.hub.connections.schedule_in(*id, Lane::Heavy));
    assert_eq!(visits(&mut world, |_| 0), [other]);
    assert_eq!(visits(&mut world, |_| 0), []);
    assert_eq!(writes(&mut world, 9), [slow]);
    assert_eq!(visits(&mut world, |_| 0), [busy]);
}

#[test]
fn an_id_that_is_used_again_by_another_app_is_in_its_lanes() {
    let mut world = world();
    let id = clients(&mut world, "key", 1)[0];
    world.hub.ready(id);
    world.hub.connections.touch(id);
    world.hub.close(id, world.now);
    assert_eq!(clients(&mut world, "key-2", 1), [id]);
    world.hub.ready(id);
    assert_eq!(visits(&mut world, |_| 0), [id]);
    world.hub.touch(id);
    assert_eq!(writes(&mut world, 9), [id]);
    assert!(!world.hub.has_work() && !world.hub.has_dirty());
    let marks = world.hub.connections.get(id).unwrap().marks;
    assert!(!marks.is_queued() && !marks.has(Mark::Light) && !marks.has(Mark::Heavy));
}

#[test]
fn three_thousand_apps_take_turns() {
    let mut world = world();
    for n in 0..3_000 {
        world.hub.put_app(Settings::new(format!("x{n}"), format!("x{n}"), SECRET), world.now);
    }
    let ids: Vec<ConnId> =
        (0..3_000).map(|n| clients(&mut world, &format!("x{n}"), 1)[0]).collect();
    ids.iter().for_each(|id| world.hub.ready(*id));
    let mut visited = Vec::new();
    while world.hub.has_work() {
        visited.extend(visits(&mut world, |_| 100));
    }
    assert_eq!(visited, ids);
}
