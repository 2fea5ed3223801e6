//! All connections: their queues, the list of those the shell must look at, and their deadlines.
//! What is put in a queue, and why, is decided elsewhere.

use std::collections::VecDeque;
use std::rc::Rc;

use slab::Slab;

use super::counters::Counters;
use super::listener::Listener;
use super::peer::{ConnId, Peer, SocketId};
use super::wheel::Wheel;
use crate::proto::websocket::{self, Frame};

/// The connections of a hub.
pub(crate) struct Peers<T> {
    slab: Slab<Peer<T>>,
    /// When no more connections than this are left, the room of those who have gone is given back.
    room_back_at: usize,
    /// Whether so much room was given back since the shell last asked that others will have done so.
    gave_back: bool,
    dirty: VecDeque<ConnId>,
    /// Those whose outbox is over its limit, to be dropped before anything is written.
    pub too_slow: Vec<ConnId>,
    pub wheel: Wheel,
    pub listener: Option<Box<dyn Listener>>,
    /// The ids of the apps, for the listener.
    pub app_ids: Vec<Rc<str>>,
    pub counters: Counters,
    outbox_bytes_max: usize,
}

impl<T> Peers<T> {
    pub(crate) fn new(wheel: Wheel, app_ids: Vec<Rc<str>>, outbox_bytes_max: usize) -> Self {
        Peers {
            slab: Slab::new(),
            room_back_at: 0,
            gave_back: false,
            dirty: VecDeque::new(),
            too_slow: Vec::new(),
            wheel,
            listener: None,
            counters: Counters::new(app_ids.len()),
            app_ids,
            outbox_bytes_max,
        }
    }

    pub(crate) fn insert(&mut self, peer: Peer<T>) -> ConnId {
        let key = self.slab.insert(peer);
        // Half of the most there were since the last time: whatever it costs to give room back
        // was paid for by as many who came.
        self.room_back_at = self.room_back_at.max(self.slab.len() / 2);
        ConnId(key as u32)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Peer<T>> {
        let peer = self.slab.try_remove(id.0 as usize)?;
        if peer.too_slow {
            // Whoever gets the id next is another.
            self.too_slow.retain(|&slow| slow != id);
        }
        if self.slab.len() <= self.room_back_at {
            self.gave_back |= self.slab.capacity() >= WORTH_A_TRIM;
            self.slab.shrink_to_fit();
            self.dirty.shrink_to_fit();
            self.room_back_at = self.slab.len() / 2;
        }
        Some(peer)
    }

    /// Whether the room of those who have gone was given back since this was last asked.
    pub(crate) fn take_gave_back(&mut self) -> bool {
        std::mem::take(&mut self.gave_back)
    }

    /// Puts a frame in a connection's queue.
    pub(crate) fn queue(&mut self, id: ConnId, frame: Frame) {
        if log::log_enabled!(log::Level::Debug)
            && let Some(subscriber) = self.get(id).and_then(Peer::subscriber)
            && let Some(text) = text_of(&frame)
        {
            log::debug!("{} < {text}", subscriber.socket_id);
        }
        let Some(peer) = self.get_mut(id) else { return };
        peer.replies = if peer.outbox.is_empty() { 1 } else { peer.replies.saturating_add(1) };
        let app = peer.subscriber().map(|subscriber| subscriber.app);
        let (is_text, len) = (frame.first() == Some(&WHOLE_TEXT), frame.len());
        let left_out = self.counters.frames_left_out;
        self.push(id, frame);
        if let Some(app) = app.filter(|_| self.counters.frames_left_out == left_out) {
            let counters = &mut self.counters.apps[app as usize];
            counters.messages_out += u64::from(is_text);
            counters.bytes_out += len as u64;
        }
    }

    fn push(&mut self, id: ConnId, frame: Frame) {
        let Some(peer) = self.slab.get_mut(id.0 as usize) else { return };
        // What waited before decides: a single frame may be longer than the limit.
        if peer.too_slow {
            self.counters.frames_left_out += 1;
            return;
        }
        if peer.outbox.weight() > self.outbox_bytes_max {
            self.counters.frames_left_out += 1;
            peer.too_slow = true;
            return self.too_slow.push(id);
        }
        if let (Some(listener), Some(subscriber)) = (&mut self.listener, peer.subscriber())
            && let Some(text) = text_of(&frame)
        {
            let app_id = &self.app_ids[subscriber.app as usize];
            listener.message_sent(app_id, subscriber.socket_id, text);
        }
        peer.outbox.push(frame);
        if !peer.dirty {
            peer.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Puts a frame in the queues of all members of a channel of this app but one.
    pub(crate) fn broadcast(
        &mut self,
        app: u32,
        members: &[ConnId],
        frame: &Frame,
        except: Option<SocketId>,
    ) {
        if log::log_enabled!(log::Level::Debug)
            && let Some(text) = text_of(frame)
        {
            log::debug!("{} subscribers < {text}", members.len());
        }
        // Those who are not told are counted, and not those who are: they are few.
        let left_out = self.counters.frames_left_out;
        let mut passed_over = 0;
        for &member in members {
            // Whoever is about to leave its channels has been told to go, and hears no more.
            match self.get(member).and_then(Peer::subscriber) {
                Some(subscriber) if except != Some(subscriber.socket_id) => {
                    self.push(member, Frame::clone(frame));
                }
                _ => passed_over += 1,
            }
        }
        let untold = passed_over + self.counters.frames_left_out - left_out;
        let told = (members.len() as u64).saturating_sub(untold);
        self.counters.apps[app as usize].sent(told, frame.len());
    }

    /// Has the shell look at a connection, whether or not anything waits for it.
    pub(crate) fn touch(&mut self, id: ConnId) {
        if let Some(peer) = self.slab.get_mut(id.0 as usize)
            && !peer.dirty
        {
            peer.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// The next connection the shell must look at.
    pub(crate) fn next_dirty(&mut self) -> Option<ConnId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(peer) = self.slab.get_mut(id.0 as usize)
                && std::mem::take(&mut peer.dirty)
            {
                return Some(id);
            }
        }
        None
    }

    /// Whether there is such a connection.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Puts a connection on the wheel; what stood there before for it no longer counts.
    pub(crate) fn arm(&mut self, id: ConnId, deadline_ms: u64) {
        let tick = self.wheel.tick_for(deadline_ms);
        if let Some(peer) = self.slab.get_mut(id.0 as usize) {
            peer.armed = tick;
            self.wheel.put(id, tick);
        }
    }

    /// The same, unless it is looked at by then anyway.
    pub(crate) fn arm_by(&mut self, id: ConnId, deadline_ms: u64) {
        let tick = self.wheel.tick_for(deadline_ms);
        if self.get(id).is_some_and(|peer| tick < peer.armed) {
            self.arm(id, deadline_ms);
        }
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Peer<T>> {
        self.slab.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Peer<T>> {
        self.slab.get_mut(id.0 as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// All of them, for a look from time to time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer<T>> {
        self.slab.iter().map(|(_, peer)| peer)
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Peer<T>)> {
        self.slab.iter_mut().map(|(key, peer)| (ConnId(key as u32), peer))
    }

    /// All connections there are. For what happens once in the life of a server, never for an
    /// event.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.slab.iter().map(|(key, _)| ConnId(key as u32)).collect()
    }
}

/// Room for so many connections goes with a quarter of a megabyte of theirs elsewhere. Fewer come
/// and go all the time, and the last few of a wave must not put off what is done about the wave.
const WORTH_A_TRIM: usize = 1_024;

/// The payload of a text frame.
fn text_of(frame: &Frame) -> Option<&str> {
    let is_text = frame.first() == Some(&WHOLE_TEXT);
    is_text.then(|| std::str::from_utf8(websocket::payload(frame)).ok()).flatten()
}

/// The first byte of a text frame that is not in fragments.
const WHOLE_TEXT: u8 = 0x81;
