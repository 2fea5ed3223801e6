//! One connection as the hub sees it: its phase, its memberships, its outbox. The socket is an
//! opaque value of the hub's owner. What happens to a connection is in `connections`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;

use super::app_queues::NO_APP;
use super::ids::{SocketId, Tick};
use super::listing::Listing;
use super::origins::Origin;
use super::outbox::Outbox;
use super::port::Port;
use super::scan::Scan;
use crate::proto::http::Chunked;
use crate::proto::websocket::Reader;

/// A connection.
pub(crate) struct Peer<T> {
    /// The value of the hub's owner: the socket.
    pub io: T,
    pub address: Option<IpAddr>,
    pub phase: Phase,
    pub outbox: Outbox,
    /// When input was last received; for HTTP, also when output was written.
    pub last_seen_ms: u64,
    /// The tick of its valid entry in the wheel. Entries with another tick are ignored.
    pub armed: Tick,
    pub marks: Marks,
    /// Replies queued since the outbox was last empty. One byte: a larger type would make every
    /// connection larger.
    pub pending_replies: u8,
}

/// A flag of a connection. One bit each: more bytes would make every connection larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is in the prompt lane of connections to write to.
    Prompt = 1,
    /// It is in the bulk lane of connections to write to.
    Bulk = 2,
    /// Its outbox exceeded the limit, and the hub is about to drop it.
    TooSlow = 4,
    /// Its socket did not accept everything at the last write.
    Blocked = 8,
    /// It is in the light lane of connections with input.
    Light = 16,
    /// It is in the heavy lane of connections with input.
    Heavy = 32,
    /// Its input is not handled until its outbox is empty.
    Paused = 64,
    /// This pause was counted as exceeding the limit `pipelined_requests`.
    PauseCounted = 128,
    /// Its client has negotiated permessage-deflate.
    Deflate = 256,
    /// It has signed in as a user or joined a private or presence channel.
    Authorized = 512,
}

/// A set of [`Mark`]s.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks(u16);

impl Marks {
    pub(crate) fn has(self, mark: Mark) -> bool {
        self.0 & mark as u16 != 0
    }

    pub(crate) fn set(&mut self, mark: Mark) {
        self.0 |= mark as u16;
    }

    pub(crate) fn clear(&mut self, mark: Mark) {
        self.0 &= !(mark as u16);
    }

    /// Clears a mark. Returns whether it was set.
    pub(crate) fn take(&mut self, mark: Mark) -> bool {
        let was_set = self.has(mark);
        self.clear(mark);
        was_set
    }

    /// Whether the connection is in a lane of connections to write to.
    pub(crate) fn is_queued(self) -> bool {
        self.0 & (Mark::Prompt as u16 | Mark::Bulk as u16) != 0
    }
}

/// The phase of a connection.
pub(crate) enum Phase {
    /// HTTP: between requests, or with an incomplete request.
    Request(Request),
    /// WebSocket.
    Open(Subscriber),
    /// HTTP: the response is a feed that does not end.
    Viewing(Viewing),
    /// Closing: the outbox is still sent, no input is handled.
    Closing(Closing),
}

/// An HTTP connection: the state of the current request, if any.
pub(crate) struct Request {
    /// The input of the incomplete request.
    pub buffer: Vec<u8>,
    /// The minimum length of the complete request, as far as it is known: while the buffer is
    /// shorter, it is not parsed again. At most `max_request_size`, which is 1 GiB at most.
    pub needed: u32,
    /// The body, if it is chunked; the head stays in `buffer`.
    pub chunked: Option<Box<ChunkedBody>>,
    /// When the request must be complete. The time of a connection's first request begins when it
    /// connects, that of later requests with their first byte.
    pub deadline_ms: Option<u64>,
    /// Whether the head was accepted and the body is incomplete, so that the request counts against
    /// the limit of API requests.
    pub is_counted: bool,
    /// The port on which the connection was accepted.
    pub port: Port,
    /// Whether `buffer` may contain a complete request that must wait for the next visit.
    pub is_held: bool,
    /// The list of channels that is being sent as the response, if any.
    pub listing: Option<Box<Listing>>,
    /// The number of the request about apps that waits for its answer, if there is one. It is not
    /// part of the state: a process that takes over asks the request again.
    pub app_request: Option<NonZeroU32>,
    /// The search for channels that the console has requested, if it is not complete.
    pub scan: Option<Box<Scan>>,
    /// The app of the connection's last request with a valid signature; [`NO_APP`] before the first.
    pub app: u32,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            buffer: Vec::new(),
            needed: 0,
            chunked: None,
            deadline_ms: None,
            is_counted: false,
            port: Port::default(),
            is_held: false,
            listing: None,
            app_request: None,
            scan: None,
            app: NO_APP,
        }
    }
}

/// A chunked body as far as it has arrived.
#[derive(Default)]
pub(crate) struct ChunkedBody {
    pub decoder: Chunked,
    pub body: Vec<u8>,
}

/// A viewer of the feed of an app; the lines that wait for it are in `feed`.
pub(crate) struct Viewing {
    /// Index of the app; [`EVERY_APP`](super::feed::EVERY_APP) for the console.
    pub app: u32,
    /// When the next line `alive` is due.
    pub alive_ms: u64,
    /// See [`Request`].
    pub port: Port,
}

/// A WebSocket connection.
pub(crate) struct Subscriber {
    /// Index of its app.
    pub app: u32,
    pub socket_id: SocketId,
    /// The origin of the page, if the client has sent one of at most 300 bytes.
    pub origin: Option<Origin>,
    pub reader: Reader,
    /// Its memberships, sorted by channel.
    pub memberships: Vec<Membership>,
    /// The user it is signed in as.
    pub user: Option<Box<User>>,
    /// Messages since the window of the rate limit began, and when that was: milliseconds modulo
    /// 2^32, which repeat after 49 days.
    pub window: (u32, u32),
    /// Client events in the second of the last one, and the number of that second modulo 65,536.
    pub client_events: (u16, u16),
    /// When the WebSocket was opened: milliseconds modulo 2^32, as for `window`.
    pub opened_ms: u32,
    pub liveness: Liveness,
}

/// A connection in an event about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub socket_id: SocketId,
    pub origin: Option<&'a str>,
}

/// A membership in a channel.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// The channel, by its place in the app.
    pub channel: u32,
    /// This connection's place among the channel's members.
    pub index: u32,
    /// The user it is, in a presence channel.
    pub user: Option<Rc<str>>,
}

/// A signed-in user (protocol section 11).
pub(crate) struct User {
    pub id: Rc<str>,
    /// `user_info` as JSON text.
    pub info: Option<Box<str>>,
    /// The number of memberships in internal channels, which do not count as channels of the
    /// connection.
    pub internal_memberships: u32,
}

/// The state of the pings to a silent client. `at_ms` is the time of the control ping: milliseconds
/// modulo 2^32, as it is at most two `pong_timeout_ms` ago; a `u64` would make every connection larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// No ping was sent since the last input.
    Quiet,
    /// A control ping was sent then.
    Pinged { at_ms: u32 },
    /// A `pusher:ping` was sent as well, for clients that hide control frames.
    PingedTwice { at_ms: u32 },
}

/// A closing connection.
pub(crate) struct Closing {
    /// When it is dropped, unless the client has read some of the outbox since the last check.
    pub deadline_ms: u64,
    /// When it is dropped in any case.
    pub end_ms: u64,
    /// Bytes in the outbox at the last check.
    pub left_bytes: usize,
    pub mode: CloseMode,
    /// See [`Request`].
    pub port: Port,
    /// The app to which the connection belonged.
    pub app: u32,
}

/// When a connection that is closing is dropped.
#[derive(Debug)]
pub(crate) enum CloseMode {
    /// As soon as the outbox is empty: the peer sends no more.
    AfterOutbox,
    /// When the peer closes as well. The writing side is closed once the outbox is empty, and input
    /// is discarded: a reset would make the peer lose bytes that it has not read yet.
    AfterPeer { half_closed: bool },
    /// At the end of a stop: the client connected during the stop, and gets its close frame then.
    Deferred,
    /// Now, even if the outbox is not empty.
    Now,
}

impl<T> Peer<T> {
    /// The app with which the connection takes turns; [`NO_APP`] if it belongs to none.
    pub(crate) fn app(&self) -> u32 {
        match &self.phase {
            Phase::Open(subscriber) => subscriber.app,
            Phase::Request(request) => request.app,
            Phase::Viewing(viewing) => viewing.app,
            Phase::Closing(closing) => closing.app,
        }
    }

    pub(crate) fn subscriber(&self) -> Option<&Subscriber> {
        match &self.phase {
            Phase::Open(subscriber) => Some(subscriber),
            _ => None,
        }
    }

    pub(crate) fn subscriber_mut(&mut self) -> Option<&mut Subscriber> {
        match &mut self.phase {
            Phase::Open(subscriber) => Some(subscriber),
            _ => None,
        }
    }
}

impl Request {
    /// Takes the state of the request to handle it. The connection keeps its port and its app.
    pub(crate) fn take(&mut self) -> Request {
        let next = self.next();
        std::mem::replace(self, next)
    }

    /// The state of a connection whose request was served, before the next one.
    pub(crate) fn next(&self) -> Request {
        Request { port: self.port, app: self.app, ..Request::default() }
    }

    /// Whether no part of a request has arrived, and no list is being sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.listing.is_none()
    }
}

impl Subscriber {
    /// How events name this connection.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { socket_id: self.socket_id, origin: self.origin.as_ref().map(Origin::as_str) }
    }

    /// The number of channels it is subscribed to.
    pub(crate) fn channels(&self) -> usize {
        self.memberships.len()
            - self.user.as_ref().map_or(0, |user| user.internal_memberships as usize)
    }

    pub(crate) fn membership(&self, channel: u32) -> Option<&Membership> {
        let at = self
            .memberships
            .binary_search_by_key(&channel, |membership| membership.channel)
            .ok()?;
        self.memberships.get(at)
    }

    pub(crate) fn membership_mut(&mut self, channel: u32) -> Option<&mut Membership> {
        let at = self
            .memberships
            .binary_search_by_key(&channel, |membership| membership.channel)
            .ok()?;
        self.memberships.get_mut(at)
    }

    /// Adds a membership in a channel of which it is not a member.
    pub(crate) fn add_membership(&mut self, membership: Membership) {
        if let Err(at) = self
            .memberships
            .binary_search_by_key(&membership.channel, |membership| membership.channel)
        {
            // Most connections have one or two channels; doubling would waste more than it saves.
            if self.memberships.len() < 4 {
                self.memberships.reserve_exact(1);
            }
            self.memberships.insert(at, membership);
        }
    }

    /// Removes and returns a membership.
    pub(crate) fn take_membership(&mut self, channel: u32) -> Option<Membership> {
        let at = self
            .memberships
            .binary_search_by_key(&channel, |membership| membership.channel)
            .ok()?;
        Some(self.memberships.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // The README promises less than half a kilobyte for each, channel membership included.
        assert!(size_of::<Peer<[u64; 2]>>() <= 256, "{}", size_of::<Peer<[u64; 2]>>());
        // Two numbers, and the address and length of the user's id: 24 bytes on 64-bit systems.
        assert_eq!(size_of::<Membership>(), 8 + 2 * size_of::<usize>());
    }
}
