//! The connections to the endpoints of webhooks, and their deadlines. When a request begins is
//! decided in `webhooks`.

use std::collections::VecDeque;

use mio::event::Event;
use slab::Slab;

use crate::config::Url;
use crate::hub::{EndpointId, Now, Timers};
use crate::net::http_client::{Connection, Context, Destination, Request, RequestError};
use crate::net::token;
use crate::proto::http::ResponseReader;

/// A connection for each endpoint with a request under way, and for others if it is kept.
#[derive(Default)]
pub(super) struct Slots {
    slots: Slab<Slot>,
    /// The key of the slot of each endpoint, by endpoint. A sorted list, as they are few: for 512
    /// connections, adding one moves at most 8 KB of others.
    keys: Vec<(EndpointId, usize)>,
    /// When a request times out or an idle connection is closed, with the key of the slot.
    deadlines: Timers,
    /// The slots without a request, by the time they became idle.
    idle: Timers,
}

struct Slot {
    endpoint: EndpointId,
    connection: Connection,
    /// The entry in `deadlines`.
    deadline_ms: Option<u64>,
    /// The entry in `idle`.
    idle_since_ms: Option<u64>,
    /// Whether the slot is queued to continue.
    is_queued: bool,
}

/// The endpoint of a request that has ended, with its result.
pub(super) type Done = (EndpointId, Result<ResponseReader, RequestError>);

impl Slots {
    /// The number of connections, idle ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of requests under way.
    pub(super) fn requests(&self) -> usize {
        self.slots.len() - self.idle.len()
    }

    /// Whether this endpoint has a connection.
    pub(super) fn has(&self, endpoint: EndpointId) -> bool {
        self.find(endpoint).is_ok()
    }

    /// When the earliest deadline is.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.deadlines.next_ms()
    }

    /// Begins a request to an endpoint. Returns the key of its slot.
    pub(super) fn send(
        &mut self,
        endpoint: EndpointId,
        url: &Url,
        request: Request,
        now: Now,
    ) -> usize {
        let key = match self.find(endpoint) {
            Ok(at) => self.keys[at].1,
            Err(at) => self.add(at, endpoint, url),
        };
        self.set_idle(key, None);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.connection.send(request, now);
        }
        key
    }

    /// Records an event. Returns whether the slot must be queued.
    pub(super) fn on_event(&mut self, key: usize, event: &Event) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        slot.connection.on_event(event);
        !std::mem::replace(&mut slot.is_queued, true)
    }

    /// Marks a slot as queued.
    pub(super) fn queue(&mut self, key: usize) {
        self.slots.get_mut(key).into_iter().for_each(|slot| slot.is_queued = true);
    }

    /// Queues the slots that wait for a host name.
    pub(super) fn queue_resolving(&mut self, ready: &mut VecDeque<usize>) {
        for (key, slot) in &mut self.slots {
            if slot.connection.is_resolving() && !std::mem::replace(&mut slot.is_queued, true) {
                ready.push_back(key);
            }
        }
    }

    /// Queues the slots whose deadline has passed. Idle connections are closed instead.
    pub(super) fn queue_due(&mut self, ready: &mut VecDeque<usize>, now: Now) {
        while let Some((_, key)) = self.deadlines.take_due(now.ms) {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.deadline_ms = None;
            if slot.idle_since_ms.is_some() {
                self.remove(key);
            } else if !std::mem::replace(&mut slot.is_queued, true) {
                ready.push_back(key);
            }
        }
    }

    /// Continues a request. Returns its result if it has ended, and whether there is more work that
    /// the poller will not report.
    pub(super) fn advance(
        &mut self,
        key: usize,
        context: &mut Context<'_>,
    ) -> (Option<Done>, bool) {
        let Some(slot) = self.slots.get_mut(key) else { return (None, false) };
        slot.is_queued = false;
        let result = slot.connection.advance(context);
        let done = result.map(|result| (slot.endpoint, result));
        let has_work = slot.connection.has_work();
        match slot.connection.deadline_ms() {
            Some(deadline_ms) => self.set_deadline(key, Some(deadline_ms)),
            None if slot.connection.is_closed() => self.remove(key),
            None => self.set_idle(key, Some(context.now.ms)),
        }
        (done, has_work)
    }

    /// Closes the connection that has been idle for the longest time.
    pub(super) fn close_oldest_idle(&mut self) {
        if let Some((_, key)) = self.idle.first() {
            self.remove(key);
        }
    }

    /// The index in `keys` of an endpoint, or where it belongs.
    fn find(&self, endpoint: EndpointId) -> Result<usize, usize> {
        self.keys.binary_search_by_key(&endpoint, |(known, _)| *known)
    }

    /// Adds a slot, whose index in `keys` is `at`.
    fn add(&mut self, at: usize, endpoint: EndpointId, url: &Url) -> usize {
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        let Url { is_tls, host, port, .. } = url;
        let destination = Destination { host: host.clone(), port: *port, is_secure: *is_tls };
        entry.insert(Slot {
            endpoint,
            connection: Connection::new(destination, token::webhook(key)),
            deadline_ms: None,
            idle_since_ms: None,
            is_queued: false,
        });
        self.keys.insert(at, (endpoint, key));
        key
    }

    fn remove(&mut self, key: usize) {
        self.set_deadline(key, None);
        self.set_idle(key, None);
        if let Some(slot) = self.slots.try_remove(key)
            && let Ok(at) = self.find(slot.endpoint)
        {
            self.keys.remove(at);
        }
    }

    /// Sets since when a slot is idle, and with it when its connection is closed.
    fn set_idle(&mut self, key: usize, since_ms: Option<u64>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.idle_since_ms.is_some() && since_ms.is_some() {
            return;
        }
        if let Some(before_ms) = std::mem::replace(&mut slot.idle_since_ms, since_ms) {
            self.idle.remove(before_ms, key);
        }
        if let Some(since_ms) = since_ms {
            self.idle.insert(since_ms, key);
        }
        self.set_deadline(key, since_ms.map(|since_ms| since_ms + IDLE_MS));
    }

    fn set_deadline(&mut self, key: usize, deadline_ms: Option<u64>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.deadline_ms == deadline_ms {
            return;
        }
        if let Some(before_ms) = std::mem::replace(&mut slot.deadline_ms, deadline_ms) {
            self.deadlines.remove(before_ms, key);
        }
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines.insert(deadline_ms, key);
        }
    }
}

/// How long a connection is kept without a request, in milliseconds. nginx closes after 75 seconds,
/// Node after 5; a request on a connection that the server has closed is sent again on a new one.
const IDLE_MS: u64 = 60_000;
