//! The other nodes and the connection to Redis for the target `hub`: forged messages, and outages.

use super::pieces::pieces;
use super::script::{CHANNELS, Script, USERS};
use crate::hub::{BusLink, BusWant, Hub, Now};
use crate::proto::envelope::{AfterPart, Event, Item, NodeId, Transfer, envelope};
use crate::proto::message::KeyOrder;

/// Redis and the other nodes.
pub(super) struct Bus {
    /// Whether Redis can be reached.
    pub is_up: bool,
    /// Whether Redis is a cluster.
    is_cluster: bool,
    /// The sequence numbers of the next envelopes of the other nodes.
    next: [u64; 3],
    /// The node id of the hub, once it has published it.
    own: NodeId,
}

impl Bus {
    pub(super) fn new(is_cluster: bool) -> Self {
        Bus { is_up: true, is_cluster, next: [1; 3], own: NodeId(0) }
    }

    pub(super) fn step(
        &mut self,
        hub: &mut Hub<()>,
        now: Now,
        script: &mut Script<'_>,
        lengths: &[u8],
    ) {
        let (link, bytes) = match script.byte().unwrap_or(0) % 8 {
            0 => return self.turn(hub, now),
            1 => return self.toggle(hub, now),
            2 => (script.choose(&BusLink::ALL), script.bytes().to_vec()),
            3 => {
                let byte = script.byte().unwrap_or(1);
                let moves = MOVES.get(usize::from(byte >> 3)).filter(|_| self.is_cluster);
                let &(link, reply) = moves.unwrap_or(&(BusLink::Publisher, b":2\r\n"));
                (link, reply.repeat(usize::from(byte % 8)))
            }
            _ => (BusLink::Subscriber, self.publish(script)),
        };
        for piece in pieces(lengths, &bytes) {
            hub.bus_receive(link, piece, now);
        }
        self.turn(hub, now);
    }

    /// Connects if the hub wants that, and reads what it writes.
    pub(super) fn turn(&mut self, hub: &mut Hub<()>, now: Now) {
        match hub.bus_wants(now) {
            BusWant::Connect if self.is_up => {
                assert_eq!(hub.bus_server().is_some(), self.is_cluster);
                hub.bus_connected(now);
                let welcome = if self.is_cluster { CLUSTER_WELCOME } else { WELCOME };
                hub.bus_receive(BusLink::Subscriber, welcome, now);
                hub.bus_receive(BusLink::Publisher, GREETING, now);
            }
            BusWant::Connect => hub.bus_lost("connection refused", now),
            BusWant::Drop | BusWant::Nothing => {}
        }
        let Some(outbox) = hub.bus_outbox(BusLink::Publisher) else { return };
        while !outbox.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let filled = outbox.slices(&mut slices, usize::MAX);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            outbox.consume(bytes.len());
            let text = String::from_utf8_lossy(&bytes);
            let node = text.split(r#""payload":{"node":""#).nth(1).and_then(|rest| rest.get(..16));
            self.own = node.and_then(NodeId::parse).unwrap_or(self.own);
        }
    }

    fn toggle(&mut self, hub: &mut Hub<()>, now: Now) {
        self.is_up = !self.is_up;
        if !self.is_up {
            hub.bus_lost("connection reset", now);
        }
    }

    /// Another node publishes an envelope, mostly in sequence.
    fn publish(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let (kind, mut items) = (script.byte().unwrap_or(0), String::new());
        let node = usize::from(kind) % self.next.len();
        for _ in 0..=kind >> 6 {
            if !items.is_empty() {
                items.push(',');
            }
            let text = script.text();
            self.item(script, &text).write(&mut items);
        }
        let next = &mut self.next[node];
        let seq = match kind >> 2 & 7 {
            0 => None,
            1 => Some(next.saturating_sub(1)),
            2 => Some(*next + 1),
            _ => {
                *next += 1;
                Some(*next - 1)
            }
        };
        let text = envelope(NodeId(node as u64 + 1), seq, &items);
        let (name, len) = match self.is_cluster && kind & 2 == 0 {
            true => ("$8\r\nsmessage", text.len()),
            false => ("$7\r\nmessage", text.len()),
        };
        format!(">3\r\n{name}\r\n$6\r\nreverb\r\n${len}\r\n{text}\r\n").into_bytes()
    }

    fn item<'t>(&self, script: &mut Script<'_>, text: &'t str) -> Item<'t> {
        let app = script.choose(&["1", "2", "3"]).into();
        let channel = script.choose(&CHANNELS).into();
        let user = script.choose(&USERS).into();
        let number = script.byte().unwrap_or(0);
        let (count, small) = (u32::from(number) % 4, u64::from(number));
        let name = match number % 4 {
            0 => "#signed-in-1".into(),
            1 => "#watching-1".into(),
            2 => text.into(),
            _ => channel,
        };
        let channel = if number & 0x40 == 0 { name } else { script.choose(&CHANNELS).into() };
        let node = script.choose(&[self.own, NodeId(1), NodeId(2), NodeId(9)]);
        let transfer = Transfer { id: small % 4, part: small / 4 % 4 };
        match script.byte().unwrap_or(0) % 18 {
            0 => Item::Event(Event {
                app,
                name: r#""e""#,
                data: r#"{"n":1.0}"#,
                channels: vec![channel, user],
                order: KeyOrder::DataFirst,
                except: None,
                user: None,
                clock: if number > 250 { u64::MAX } else { small },
            }),
            1 if count > 2 => Item::TerminateOne { app, socket_id: "1.2".into() },
            1 => Item::Terminate { app, user },
            2 => Item::Connections { app, count: [0, 1, 2, u32::MAX][count as usize] },
            3 | 4 => Item::Channel { app, channel, count },
            5 | 6 => Item::Joined { app, channel, user, info: Some("{}").filter(|_| count > 1) },
            7 => Item::Left { app, channel, user },
            8 => {
                let (ttl_ms, version) = (small * small * small, (small, small));
                Item::Cached { app, channel, message: r#"{"event":"k"}"#, ttl_ms, version }
            }
            9 => Item::SyncBegin { with_cache: small.is_multiple_of(2) },
            10 => Item::SyncEnd,
            11 => Item::Goodbye,
            12 if count > 1 => Item::Suspect { node, silent_ms: small * small * small },
            12 => Item::Hello,
            13 => {
                let (first, next, inbox) = (small / 16, small % 16, small > 127);
                let sharded = small % 2 > 0;
                Item::Alive { first, next, up_ms: small, end: next, inbox, sharded }
            }
            14 => Item::Ack { node, next: small },
            15 if count > 1 => {
                Item::Nack { node, next: small, inbox: Some(small).filter(|end| *end > 127) }
            }
            15 => {
                let transfer = Some(transfer).filter(|_| small > 127);
                Item::SyncRequest { node, with_cache: count > 0, transfer }
            }
            16 => Item::RetransmissionEnd { next: small },
            _ => {
                let then = [AfterPart::More, AfterPart::Pause, AfterPart::End, AfterPart::More];
                Item::SyncPart { transfer, then: then[count as usize] }
            }
        }
    }
}

/// The reply of Redis to HELLO.
const GREETING: &[u8] = b"%1\r\n+server\r\n+redis\r\n";
/// The replies of Redis to the login of a subscriber; those to SUBSCRIBE need no correct channel.
const WELCOME: &[u8] = b"%1\r\n+server\r\n+redis\r\n\
    >3\r\n$9\r\nsubscribe\r\n$6\r\nreverb\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$6\r\nreverb\r\n:2\r\n";
/// The same in a cluster, with the reply to CLUSTER SLOTS.
const CLUSTER_WELCOME: &[u8] = b"%1\r\n+mode\r\n+cluster\r\n\
    *1\r\n*4\r\n:0\r\n:16383\r\n*2\r\n+a\r\n:1\r\n*2\r\n+\r\n:2\r\n\
    >3\r\n+ssubscribe\r\n+c\r\n:1\r\n>3\r\n+ssubscribe\r\n+i\r\n:2\r\n\
    >3\r\n+subscribe\r\n+c\r\n:3\r\n";
/// What the servers of a cluster send when a slot moves or a replica takes over.
const MOVES: [(BusLink, &[u8]); 6] = [
    (BusLink::Publisher, b"-MOVED 1 b:3\r\n"),
    (BusLink::Subscriber, b"-MOVED 1 :4\r\n"),
    (BusLink::Subscriber, b">3\r\n+sunsubscribe\r\n+c\r\n:0\r\n"),
    (BusLink::Publisher, b"-CLUSTERDOWN The cluster is down\r\n"),
    (BusLink::Publisher, b"%2\r\n+mode\r\n+cluster\r\n+role\r\n+replica\r\n"),
    (BusLink::Publisher, b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n+b\r\n:3\r\n"),
];
