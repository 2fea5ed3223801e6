//! The number and size of allocations of the hub: a regression test of its hot paths that does not
//! depend on the load of the machine. It drives a `Hub` without sockets.
//!
//! Exact counts and bounds are what the code needs today. A change that needs more increases the
//! cost, and must change the number here.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

#[path = "support/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use reverb::hub::{ConnId, Now};
use world::{NOW, World, frame, publish_request, request};

/// The system's allocator, which counts the allocations of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { calls: 0, bytes: 0, kept: 0 }) };
}

/// Allocations and their bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    /// Allocations and reallocations.
    calls: i64,
    /// Bytes of all of them.
    bytes: i64,
    /// Bytes that have not been freed.
    kept: i64,
}

fn count(calls: i64, bytes: usize, freed: usize) {
    // A thread that ends allocates after its counters are dropped; no test needs those.
    let _ = COUNTS.try_with(|counts| {
        let Counts { calls: c, bytes: b, kept } = counts.get();
        let (bytes, freed) = (bytes as i64, freed as i64);
        counts.set(Counts { calls: c + calls, bytes: b + bytes, kept: kept + bytes - freed });
    });
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What is allocated during `act`.
fn counted(act: impl FnOnce()) -> Counts {
    let before = COUNTS.get();
    act();
    let after = COUNTS.get();
    Counts {
        calls: after.calls - before.calls,
        bytes: after.bytes - before.bytes,
        kept: after.kept - before.kept,
    }
}

/// What one publish of this much data costs with so many subscribers.
fn publish(subscribers: usize, size: usize) -> Counts {
    let mut world = World::new();
    for _ in 0..subscribers {
        world.subscriber("c");
    }
    let publisher = world.open();
    let mut bytes = publish_request("c", size);
    // The first publish allocates the list of dirty connections, which stays.
    assert_eq!(world.handle(publisher, &mut bytes), subscribers + 1);
    counted(|| _ = world.handle(publisher, &mut bytes))
}

#[test]
fn a_publish_allocates_the_same_for_one_subscriber_and_for_a_thousand() {
    let one = publish(1, 200);
    assert_eq!(publish(100, 200), one);
    assert_eq!(publish(1_000, 200), one);
    assert_eq!(one.kept, 0);
    assert!(one.calls <= 10, "{one:?}");
}

#[test]
fn a_publish_copies_its_data_a_few_times_only() {
    let (short, long) = (publish(10, 200), publish(10, 9_200));
    let copies = (long.bytes - short.bytes) as f64 / 9_000.0;
    assert!(copies < 2.1, "{copies} copies");
    assert_eq!(long.calls, short.calls);
}

#[test]
fn a_signed_request_allocates_a_few_times() {
    let mut world = World::new();
    let client = world.open();
    let mut bytes = request("GET", "/apps/1/connections", "");
    world.handle(client, &mut bytes);
    let cost = counted(|| _ = world.handle(client, &mut bytes));
    assert!(cost.calls <= 6, "{cost:?}");
    assert_eq!(cost.kept, 0);
}

/// What one client event costs with so many other subscribers of the channel.
fn client_event(others: usize) -> Counts {
    let mut world = World::new();
    let sender = world.subscriber("c");
    for _ in 0..others {
        world.subscriber("c");
    }
    let data = "x".repeat(200);
    let text = format!(r#"{{"event":"client-e","channel":"c","data":{{"text":"{data}"}}}}"#);
    let mut bytes = frame(&text);
    assert_eq!(world.handle(sender, &mut bytes), others);
    counted(|| _ = world.handle(sender, &mut bytes))
}

#[test]
fn a_client_event_allocates_the_same_for_one_recipient_and_for_a_thousand() {
    let one = client_event(1);
    assert_eq!(client_event(1_000), one);
    assert!(one.calls <= 3, "{one:?}");
    assert_eq!(one.kept, 0);
}

#[test]
fn a_ping_message_and_a_ping_frame_allocate_little() {
    let mut world = World::new();
    let client = world.subscriber("c");
    let mut message = frame(r#"{"event":"pusher:ping","data":{}}"#);
    let mut control = vec![0x89, 0x80, 0, 0, 0, 0];
    world.handle(client, &mut message);
    let cost = counted(|| _ = world.handle(client, &mut message));
    assert!(cost.calls <= 3, "{cost:?}");
    let cost = counted(|| _ = world.handle(client, &mut control));
    assert!(cost.calls <= 2, "{cost:?}");
}

#[test]
fn an_idle_subscriber_keeps_less_than_half_a_kilobyte() {
    let mut world = World::new();
    let cost = counted(|| {
        for n in 0..16_384 {
            world.subscriber(&format!("{}", n % 99));
        }
    });
    let each = cost.kept / 16_384;
    assert!(each <= 240, "{each} bytes each");
    // A burst leaves no memory allocated for its recipients.
    let publisher = world.open();
    let body = r#"{"name":"e","channel":"7","data":"x"}"#;
    let mut bytes = request("POST", "/apps/1/events", body);
    world.handle(publisher, &mut bytes);
    let burst = counted(|| {
        (0..50).for_each(|_| world.hub.receive(publisher, &mut bytes, NOW));
        world.write();
    });
    assert_eq!(burst.kept, 0);
}

#[test]
fn closed_connections_keep_no_memory() {
    let mut world = World::new();
    // Allocate the tables of apps and slots first.
    let first = world.subscriber("c");
    world.hub.close(first, world.now);
    world.pass(200);
    let cost = counted(|| {
        let ids: Vec<ConnId> = (0..5_000).map(|n| world.subscriber(&format!("{n}"))).collect();
        for id in ids {
            world.hub.close(id, world.now);
        }
        world.write();
        // Their deadlines are removed when they expire.
        world.pass(200);
    });
    assert_eq!(world.hub.connections(), 0);
    // The list of dirty connections keeps its capacity: four bytes each.
    assert!(cost.kept.abs() <= 5_000 * 4, "{cost:?}");
}

#[test]
fn closed_connections_keep_little_memory_while_a_subscriber_stays() {
    let mut world = World::new();
    let _stays = world.subscriber("c");
    let cost = counted(|| {
        let ids: Vec<ConnId> = (0..5_000).map(|_| world.subscriber("c")).collect();
        for id in ids {
            world.hub.close(id, world.now);
            world.write();
        }
        world.pass(200);
    });
    assert!(cost.kept < 8_192, "{cost:?}");
}

#[test]
fn a_join_and_leave_of_a_presence_channel_allocate_a_bounded_number_of_times() {
    let join_and_leave = |others: usize| {
        let mut world = World::new();
        for user in 0..others {
            world.member(user);
        }
        let id = world.member(99_998);
        world.hub.close(id, NOW);
        world.write();
        counted(|| {
            let id = world.member(99_999);
            world.hub.close(id, NOW);
            world.write();
        })
    };
    let (few, many) = (join_and_leave(10), join_and_leave(300));
    // The list of members in the response grows by doubling, and its bytes with its length.
    assert!(many.calls <= few.calls + 24, "{few:?} {many:?}");
    assert!(few.calls <= 71, "{few:?}");
    assert_eq!(many.kept, 0, "{many:?}");
}

#[test]
fn a_mass_disconnect_allocates_in_proportion_to_its_size() {
    let leave_together = |members: usize| {
        let mut world = World::new();
        let watcher = world.member(99_999);
        let ids: Vec<ConnId> = (0..members).map(|user| world.member(user)).collect();
        let mut waiting = 0;
        let cost = counted(|| {
            for &id in &ids {
                world.hub.close(id, NOW);
            }
            // The events about many leaves are sent when no more members have left for a while.
            assert_eq!(world.hub.next_dirty(NOW), None);
            let later = Now { ms: NOW.ms + 50, ..NOW };
            world.hub.tick(later);
            assert_eq!(world.hub.next_dirty(later), Some(watcher));
            waiting = world.waiting(watcher).matches("member_removed").count();
        });
        assert_eq!(waiting, members);
        cost.calls as f64 / members as f64
    };
    let (few, many) = (leave_together(100), leave_together(1_000));
    assert!(many <= few * 1.05, "{few} allocations each of a hundred, {many} of a thousand");
    assert!(many <= 4.2, "{many} allocations each");
}
