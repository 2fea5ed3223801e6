//! One turn of the event loop does no more work than its budget and one step, regardless of what
//! clients request; connections take turns; and clients cannot distinguish the order from that of a
//! loop without a budget. The test acts as the event loop: sockets are buffers, and time does not
//! pass.

mod broadcasts;

use std::collections::BTreeMap;

use reverb::config::{App, Config, Limits};
use reverb::hub::{ConnId, Hub, IoAction};
use reverb::proto::auth::Signer;

use crate::simulation::messages;
use crate::world::{NOW, frame, publish_request, request};

/// The default of `limits.work_per_turn`.
const BUDGET: u64 = 65_536;

/// A client as the event loop sees it.
#[derive(Default)]
struct Socket {
    socket_id: String,
    /// Bytes that the client has sent and the server has not read.
    input: Vec<u8>,
    /// Bytes that the server has sent and the test has not taken.
    output: Vec<u8>,
    /// Whether the client does not read.
    is_deaf: bool,
}

struct Loop {
    hub: Hub<()>,
    limits: Limits,
    sockets: BTreeMap<ConnId, Socket>,
    /// Connections written to since the start.
    writes: usize,
}

impl Loop {
    fn new() -> Self {
        Loop::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Limits)) -> Self {
        let mut app = App::new("1", "key", "secret");
        app.client_events_on_public_channels = true;
        let mut config = Config { apps: vec![app], ..Config::default() };
        config.limits.client_events_per_second = 0;
        set(&mut config.limits);
        let hub = Hub::new(&config, [7; 32], NOW);
        Loop { hub, limits: config.limits, sockets: BTreeMap::new(), writes: 0 }
    }

    fn open(&mut self) -> ConnId {
        let id = self.hub.open((), None, NOW);
        self.sockets.insert(id, Socket::default());
        id
    }

    /// Opens a WebSocket, and takes `connection_established` from its output.
    fn connect(&mut self) -> ConnId {
        let id = self.open();
        let upgrade = "GET /app/key HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        self.send(id, upgrade.as_bytes());
        self.settle();
        let received = String::from_utf8_lossy(&self.take(id)).into_owned();
        let start = received.find("socket_id").expect("the server accepts the client") + 14;
        self.sockets.get_mut(&id).unwrap().socket_id =
            received[start..].split('\\').next().unwrap().to_owned();
        id
    }

    fn subscriber(&mut self, channel: &str) -> ConnId {
        let id = self.connect();
        self.send_text(id, &subscription(channel));
        id
    }

    /// Sends a subscription to a presence channel.
    fn join(&mut self, id: ConnId, channel: &str, user: &str, info: &str) {
        let socket_id = &self.sockets[&id].socket_id;
        let data = format!(r#"{{"user_id":"{user}","user_info":{info}}}"#);
        let auth = Signer::new("secret").sign(&[socket_id, ":", channel, ":", &data]);
        let data = data.replace('\\', "\\\\").replace('"', "\\\"");
        let data =
            format!(r#"{{"channel":"{channel}","auth":"key:{auth}","channel_data":"{data}"}}"#);
        self.send_text(id, &format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
    }

    fn send_text(&mut self, id: ConnId, text: &str) {
        self.send(id, &frame(text));
    }

    fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.sockets.get_mut(&id).unwrap().input.extend_from_slice(bytes);
        self.hub.ready(id);
    }

    /// Runs one turn. Returns the units of work it took.
    fn turn(&mut self) -> u64 {
        let before = self.hub.work_done();
        self.hub.begin_turn();
        while let Some((id, bytes_max)) = self.hub.next_read(NOW) {
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            let mut piece: Vec<u8> =
                socket.input.drain(..socket.input.len().min(bytes_max)).collect();
            let has_more = !socket.input.is_empty();
            if !piece.is_empty() {
                self.hub.receive(id, &mut piece, NOW);
            }
            if has_more {
                self.hub.ready(id);
            }
        }
        if self.hub.is_tick_due(NOW) {
            self.hub.tick(NOW);
        }
        self.flush();
        self.hub.work_done() - before
    }

    fn flush(&mut self) {
        let mut left = self.limits.flush_bytes_per_turn as usize;
        for _ in 0..self.hub.flushes_of_turn() {
            let Some(id) = self.hub.next_dirty(NOW) else { return };
            let (Some((_, outbox)), Some(socket)) =
                (self.hub.outbox(id), self.sockets.get_mut(&id))
            else {
                continue;
            };
            self.writes += 1;
            let room = if socket.is_deaf { 0 } else { self.limits.write_bytes_per_turn as usize };
            while !outbox.is_empty() && !socket.is_deaf && left > 0 {
                let mut slices = [std::io::IoSlice::new(&[]); 64];
                let filled = outbox.slices(&mut slices, room);
                let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                outbox.consume(bytes.len());
                left = left.saturating_sub(bytes.len());
                socket.output.extend(bytes);
            }
            let (is_blocked, is_over) = (socket.is_deaf, outbox.is_empty());
            self.hub.written(id, is_blocked, NOW);
            if !is_blocked && !is_over {
                self.hub.touch(id);
            }
            if self.hub.next_action(id) == IoAction::Drop {
                self.hub.close(id, NOW);
                self.sockets.remove(&id);
            }
            if left == 0 {
                return;
            }
        }
    }

    /// Runs turns until no work is left. Returns their number and the units of the longest.
    fn settle(&mut self) -> (usize, u64) {
        let (mut turns, mut most) = (0, 0);
        while self.hub.has_work() || self.hub.has_dirty() {
            most = most.max(self.turn());
            turns += 1;
            assert!(turns < 100_000, "the loop never becomes idle");
        }
        (turns, most)
    }

    /// Runs turns until the server has sent something to this client. Returns their number.
    fn turns_until_answered(&mut self, id: ConnId) -> usize {
        let mut turns = 0;
        while self.sockets[&id].output.is_empty() {
            self.turn();
            turns += 1;
            assert!(turns < 10_000, "the client never receives a response");
        }
        turns
    }

    fn take(&mut self, id: ConnId) -> Vec<u8> {
        std::mem::take(&mut self.sockets.get_mut(&id).unwrap().output)
    }

    fn take_all(&mut self) {
        self.sockets.values_mut().for_each(|socket| socket.output.clear());
    }
}

fn subscription(channel: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
}

const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;

/// Makes a presence channel with this many members, each with this info.
fn presence_channel(world: &mut Loop, members: usize, info: &str) -> Vec<ConnId> {
    let ids: Vec<ConnId> = (0..members).map(|_| world.connect()).collect();
    for (n, id) in ids.iter().enumerate() {
        world.join(*id, "presence-c", &format!("{n:05}"), info);
    }
    world.settle();
    world.take_all();
    ids
}

#[test]
fn hundreds_of_unread_lists_delay_no_ping() {
    let mut world = Loop::new();
    // Escaping within a string makes this nearly twice as long.
    let info = format!("[{}\"\"]", "\"\",".repeat(200));
    presence_channel(&mut world, 400, &info);
    let probe = world.connect();
    for n in 0..300 {
        let id = world.connect();
        world.sockets.get_mut(&id).unwrap().is_deaf = true;
        let user = if n % 2 == 0 { "00007".to_owned() } else { format!("x{n}") };
        world.join(id, "presence-c", &user, &info);
        world.join(id, "presence-c", &user, &info);
    }
    let (mut turns, mut most, mut longest) = (0, 0, 0);
    while world.hub.has_work() {
        world.send_text(probe, PING);
        let before = turns;
        while world.sockets[&probe].output.is_empty() {
            most = most.max(world.turn());
            turns += 1;
        }
        longest = longest.max(turns - before);
        world.take(probe);
    }
    assert!(longest <= 2, "a ping waited for {longest} turns");
    // A join is the longest step: a frame for each member, and the pieces of the list.
    assert!(most <= BUDGET + 3_000, "a turn took {most} units");
}

#[test]
fn client_events_of_a_hundred_clients_take_turns_and_arrive_in_order() {
    let mut world = Loop::new();
    let subscribers: Vec<ConnId> = (0..2_000).map(|_| world.subscriber("c")).collect();
    let senders: Vec<ConnId> = (0..20).map(|_| world.subscriber("d")).collect();
    world.settle();
    world.take_all();
    let probe = world.connect();
    for (at, &sender) in senders.iter().enumerate() {
        world.send_text(sender, &subscription("c"));
        for n in 0..50 {
            let data = at * 100 + n;
            world.send_text(
                sender,
                &format!(r#"{{"event":"client-e","channel":"c","data":{data}}}"#),
            );
        }
    }
    let mut most = 0;
    while world.hub.has_work() || world.hub.has_dirty() {
        world.send_text(probe, PING);
        most = most.max(world.turn());
        world.turn();
        assert!(!world.take(probe).is_empty(), "a ping is answered within two turns");
    }
    assert!(most <= BUDGET + 2_100, "a turn took {most} units");
    for id in [subscribers[0], subscribers[1_999]] {
        let received = messages(&world.take(id));
        let events = received.iter().map(|message| message["data"].as_u64().unwrap() as usize);
        let events: Vec<usize> = events.collect();
        assert_eq!(events.len(), 20 * 50);
        for at in 0..20 {
            let of_one = events.iter().filter(|event| **event / 100 == at);
            assert!(of_one.clone().is_sorted() && of_one.count() == 50, "{at}");
        }
        // The senders take turns: none finishes before all others have begun.
        let firsts = (0..20).map(|at| events.iter().position(|event| *event == at * 100).unwrap());
        let lasts = (0..20).map(|at| events.iter().position(|e| *e == at * 100 + 49).unwrap());
        assert!(firsts.max() < lasts.min(), "round robin");
    }
}

#[test]
fn a_list_of_a_hundred_thousand_channels_takes_many_turns_and_little_memory() {
    let mut world = Loop::with(|limits| limits.channels_per_connection = 100_000);
    let owner = world.connect();
    (0..100_000).for_each(|n| world.send_text(owner, &subscription(&format!("channel-{n}"))));
    world.settle();
    world.take_all();
    let probe = world.connect();
    let askers: Vec<ConnId> = (0..5).map(|_| world.open()).collect();
    for &asker in &askers {
        let get = request("GET", "/apps/1/channels", "");
        (0..50).for_each(|_| world.send(asker, &get));
        world.sockets.get_mut(&asker).unwrap().is_deaf = true;
    }
    for _ in 0..100 {
        world.send_text(probe, PING);
        assert!(world.turns_until_answered(probe) <= 2);
        world.take(probe);
        let waiting: usize =
            askers.iter().map(|asker| world.hub.outbox(*asker).unwrap().1.bytes()).sum();
        assert!(waiting < 5 * 65_536, "{waiting} bytes wait");
    }
    // One of the clients now reads, and receives fifty lists of all channels.
    let reader = askers[3];
    world.sockets.get_mut(&reader).unwrap().is_deaf = false;
    world.hub.touch(reader);
    world.settle();
    let received = String::from_utf8(world.take(reader)).unwrap();
    assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 50);
    assert_eq!(received.matches(r#""channel-99999":{}"#).count(), 50);
    assert_eq!(received.matches("\r\n0\r\n\r\n").count(), 50);
}

#[test]
fn leaving_and_joining_in_a_row_is_bounded_and_is_reported_in_order() {
    let mut world = Loop::new();
    let members = presence_channel(&mut world, 1_000, "1");
    let probe = world.connect();
    for (n, &id) in members[..20].iter().enumerate() {
        for _ in 0..20 {
            let unsubscribe = r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-c"}}"#;
            world.send_text(id, unsubscribe);
            world.join(id, "presence-c", &format!("{n:05}"), "1");
        }
    }
    let mut most = 0;
    while world.hub.has_work() || world.hub.has_dirty() {
        world.send_text(probe, PING);
        most = most.max(world.turn());
        world.turn();
        assert!(!world.take(probe).is_empty());
    }
    assert!(most <= BUDGET + 4_000, "a turn took {most} units");
    let received = messages(&world.take(members[999]));
    for n in 0..20 {
        let user = format!("{n:05}");
        let of_user = received.iter().filter(|message| message["data"]["user_id"] == user.as_str());
        let events: Vec<bool> =
            of_user.map(|m| m["event"] == "pusher_internal:member_added").collect();
        assert_eq!(events.len(), 40);
        assert!(events.iter().enumerate().all(|(n, added)| *added == (n % 2 == 1)), "{events:?}");
    }
}

#[test]
fn departures_in_one_channel_do_not_wait_for_another() {
    let mut world = Loop::new();
    let members = presence_channel(&mut world, 300, "1");
    let flapping = world.connect();
    world.settle();
    world.take_all();
    for &id in &members[..200] {
        world.hub.finished(id, NOW);
    }
    for n in 0..10 {
        world.join(flapping, "presence-d", &n.to_string(), "1");
        world.turn();
    }
    let received = messages(&world.take(members[250]));
    assert!(received.is_empty(), "the departures are not over: {} messages", received.len());
}

#[test]
fn a_full_presence_list_reaches_a_client_that_reads_late_and_events_after_it() {
    // A tenth of the defaults, in the same proportion.
    let mut world = Loop::with(|limits| {
        (limits.presence_bytes, limits.outbox_bytes) = (314_572, 419_430);
    });
    // Mostly quotes, which take twice the space in the message.
    let info = format!("[{}\"\"]", "\"\",".repeat(1_300));
    let mut members = 0;
    let refused = loop {
        let id = world.connect();
        world.join(id, "presence-c", &format!("{members:05}"), &info);
        world.settle();
        let received = String::from_utf8_lossy(&world.take(id)).into_owned();
        if received.contains("LimitReached") {
            break received;
        }
        members += 1;
    };
    assert!(refused.contains("limits.presence_bytes"));
    let late = world.connect();
    world.sockets.get_mut(&late).unwrap().is_deaf = true;
    world.join(late, "presence-c", "00000", &info);
    for size in 0..20 {
        let publisher = world.open();
        world.send(publisher, &publish_request("presence-c", size * 10));
    }
    world.settle();
    world.sockets.get_mut(&late).unwrap().is_deaf = false;
    world.hub.touch(late);
    world.settle();
    let received = String::from_utf8_lossy(&world.take(late)).into_owned();
    let list = received.find("subscription_succeeded").expect("the list has arrived");
    assert!(
        received.len() > world.limits.presence_bytes as usize * 9 / 10,
        "{} bytes",
        received.len()
    );
    assert_eq!(received[list..].matches(r#""event":"App\\Events\\E""#).count(), 20);
}
