//! Clocks that jump. Deadlines use a monotonic clock; the wall clock is used only for the
//! timestamps of signatures and for `Date`. Both are arguments of the hub, so tests can change them.

use crate::world::{NOW, World, request};
use reverb::hub::{ConnId, IoAction};

/// The status of the response to a request that was signed at [`NOW`], and its `Date`.
fn request_channels(world: &mut World, publisher: ConnId) -> (String, String) {
    world.hub.receive(publisher, &mut request("GET", "/apps/1/channels", ""), world.now);
    let response = world.waiting(publisher);
    world.write();
    let date = response.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
    (response[9..12].to_owned(), date.to_owned())
}

#[test]
fn a_jump_of_the_wall_clock_affects_only_signatures() {
    let mut world = World::new();
    let subscriber = world.subscriber("c");
    let publisher = world.open();
    let expect = |world: &mut World, unix_s, status: &str, year: &str| {
        world.now.unix_s = unix_s;
        world.hub.tick(world.now);
        let (got, date) = request_channels(world, publisher);
        assert_eq!(got, status, "{unix_s}");
        assert!(date.contains(year), "{date}");
        assert_eq!(world.hub.next_action(subscriber), IoAction::Stay);
        assert_eq!(world.hub.connections(), 2);
    };
    expect(&mut world, NOW.unix_s, "200", "2026");
    expect(&mut world, NOW.unix_s + 3_600, "401", "2026");
    expect(&mut world, NOW.unix_s - 3_600, "401", "2026");
    // The times of a machine that starts without a clock battery, and of a broken clock.
    expect(&mut world, 0, "401", "1970");
    expect(&mut world, 253_402_300_800, "401", "9999");
    expect(&mut world, NOW.unix_s + 599, "200", "2026");
    expect(&mut world, NOW.unix_s - 599, "200", "2026");
    assert_eq!(world.waiting(subscriber), "");
}

#[test]
fn after_a_clock_jump_every_client_is_pinged_before_any_is_disconnected() {
    let mut world = World::new();
    let clients: Vec<ConnId> = (0..10).map(|_| world.subscriber("c")).collect();
    world.now.ms += 30 * 86_400_000;
    world.hub.tick(world.now);
    for &id in &clients {
        assert_eq!(world.waiting(id), "\u{fffd}\0", "a ping");
    }
    world.write();
    assert_eq!(world.hub.connections(), 10);
    // The client that answers stays; the others time out.
    world.hub.receive(clients[0], &mut [0x8A, 0x80, 0, 0, 0, 0], world.now);
    world.pass(40);
    assert_eq!(world.hub.connections(), 1);
}

#[test]
fn a_monotonic_clock_that_runs_backwards_does_no_harm() {
    let mut world = World::new();
    world.pass(1_000);
    let silent = world.open();
    let client = world.subscriber("c");
    let publisher = world.open();
    let ahead_ms = world.now.ms;
    world.now.unix_s = NOW.unix_s;
    for ms in [0, 1, 250, 30_000, 100_000] {
        world.now.ms = ms;
        world.hub.tick(world.now);
        world.write();
        world.handle(client, &mut [0x89, 0x80, 0, 0, 0, 0]);
        assert_eq!(request_channels(&mut world, publisher).0, "200");
        world.subscriber("d");
    }
    assert_eq!(world.hub.connections(), 3 + 5);
    world.now.ms = ahead_ms;
    world.pass(15);
    // The connections without a request have timed out, and no WebSocket has.
    assert!(world.hub.outbox(silent).is_none());
    assert_eq!(world.hub.connections(), 1 + 5);
}
