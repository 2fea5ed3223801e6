//! The wires of the simulation: they move bytes between hubs and the Redis in memory, and advance
//! the time. The faults of wires are here, too.

use reverb::hub::{BusWant, Now};

use super::World;
use super::redis::Connection;

/// The network between one node and Redis.
#[derive(Default)]
pub struct Wire {
    /// When the attempt to connect that is under way succeeds or fails.
    pub dial_ms: Option<u64>,
    /// Attempts fail.
    pub is_closed: bool,
    /// Bytes are held, without an error for the node.
    pub is_held: bool,
}

impl World {
    /// Lets time pass, and does everything that is due in it.
    pub fn pass(&mut self, ms: u64) {
        let end_ms = self.now.ms + ms;
        // A hub that always has work due at once would block the loop.
        let (mut turns, mut turns_ms) = (0, self.now.ms);
        loop {
            let moved = self.turn();
            let due = self.nodes.iter().flatten().filter_map(|node| node.hub.next_tick_ms());
            let due = due.chain(self.receiver.next_ms());
            let moving = self.wires.iter().filter(|wire| !wire.is_held);
            let dials = moving.filter_map(|wire| wire.dial_ms);
            let next_ms = due.chain(dials).min().unwrap_or(end_ms);
            let step_ms = match moved {
                true => self.below(4) as u64,
                false => next_ms.saturating_sub(self.now.ms),
            };
            if self.now.ms + step_ms >= end_ms {
                self.set_time(end_ms);
                return;
            }
            self.set_time(self.now.ms + step_ms);
            turns += 1;
            if self.now.ms != turns_ms {
                (turns, turns_ms) = (0, self.now.ms);
            }
            if turns >= 10_000 {
                let due: Vec<_> =
                    self.nodes.iter().flatten().map(|node| node.hub.next_tick_ms()).collect();
                panic!("the hubs always have work due: {:?} {moved} {due:?}", self.now);
            }
        }
    }

    fn set_time(&mut self, ms: u64) {
        self.now = Now { ms, unix_s: 1_795_450_533 + ms / 1_000 };
    }

    /// One turn of every node's loop, and of Redis. Returns whether bytes were moved.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.nodes.len() {
            moved |= self.turn_of(at);
        }
        if self.redis.is_up && self.now.ms >= self.redis.paused_until_ms {
            self.redis.serve(&mut self.connections);
        }
        for at in 0..self.nodes.len() {
            moved |= self.deliver(at);
        }
        moved
    }

    fn turn_of(&mut self, at: usize) -> bool {
        let now = self.now;
        self.exchange_webhooks(at);
        let dial_ms = now.ms + self.below(20) as u64;
        let Some(node) = &mut self.nodes[at] else { return false };
        let wire = &mut self.wires[at];
        node.hub.tick(now);
        match node.hub.bus_wants(now) {
            BusWant::Nothing => {}
            BusWant::Connect => {
                assert!(self.connections[at].is_none() && wire.dial_ms.is_none());
                wire.dial_ms = Some(dial_ms);
            }
            BusWant::Drop => (wire.dial_ms, self.connections[at]) = (None, None),
        }
        if wire.dial_ms.is_some_and(|due_ms| now.ms >= due_ms) && !wire.is_held {
            wire.dial_ms = None;
            if self.redis.is_up && !wire.is_closed {
                self.connections[at] = Some(Connection::default());
                node.hub.bus_connected(now);
            } else {
                node.hub.bus_lost("connection refused", now);
            }
        }
        self.send(at)
    }

    /// Moves some of a node's bytes to Redis.
    fn send(&mut self, at: usize) -> bool {
        let most = 1 + self.below(30_000);
        let (Some(node), Some(connection)) = (&mut self.nodes[at], &mut self.connections[at])
        else {
            return false;
        };
        let Some(outbox) = node.hub.bus_outbox() else { return false };
        if outbox.is_empty() || self.wires[at].is_held {
            return false;
        }
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices, most);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(most);
        outbox.consume(bytes.len());
        connection.to_redis.extend(bytes);
        true
    }

    /// Moves some of the bytes of Redis to a node.
    fn deliver(&mut self, at: usize) -> bool {
        let most = 1 + self.below(30_000);
        let (Some(node), Some(connection)) = (&mut self.nodes[at], &mut self.connections[at])
        else {
            return false;
        };
        if connection.to_node.is_empty() || self.wires[at].is_held {
            return false;
        }
        let len = most.min(connection.to_node.len());
        let piece: Vec<u8> = connection.to_node.drain(..len).collect();
        node.hub.bus_receive(&piece, self.now);
        true
    }

    /// Causes a random fault, or ends all faults.
    pub fn cause_fault(&mut self) {
        let at = self.below(self.nodes.len());
        match self.below(9) {
            0..=2 => self.cut(at),
            3 => {
                self.wires[at].is_closed = true;
                self.cut(at);
            }
            4 => self.wires[at].is_held = true,
            5 => self.redis.paused_until_ms = self.now.ms + self.below(12_000) as u64,
            6 => self.kill_redis(),
            7 => self.redis.doubles = Some(1 + self.below(5)),
            _ => self.mend(),
        }
    }

    /// Ends all faults.
    pub fn mend(&mut self) {
        self.redis.is_up = true;
        self.redis.paused_until_ms = 0;
        self.redis.doubles = None;
        for wire in &mut self.wires {
            (wire.is_closed, wire.is_held) = (false, false);
        }
    }

    /// Ends a node's connection; bytes in transit are lost.
    pub fn cut(&mut self, at: usize) {
        if self.connections[at].take().is_some()
            && let Some(node) = &mut self.nodes[at]
        {
            node.hub.bus_lost("the connection was closed", self.now);
        }
    }

    fn kill_redis(&mut self) {
        self.redis.is_up = false;
        for at in 0..self.nodes.len() {
            self.cut(at);
        }
    }
}
