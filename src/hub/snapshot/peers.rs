//! Encodes and decodes a connection. Its memberships are saved with the channels, in `snapshot`.

use std::net::IpAddr;

use crate::hub::ids::SocketId;
use crate::hub::origins::Origin;
use crate::hub::outbox::Outbox;
use crate::hub::peer::{
    ChunkedBody, CloseMode, Closing, Liveness, Mark, Marks, Peer, Phase, Request, Subscriber, User,
};
use crate::hub::port::Port;
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
use crate::proto::websocket::Reader;

/// A connection with an empty state, to decode into.
pub(super) fn blank<T>(io: T) -> Peer<T> {
    Peer {
        io,
        address: None,
        phase: Phase::Request(Request::default()),
        outbox: Outbox::default(),
        last_seen_ms: 0,
        armed: 0,
        marks: Marks::default(),
        pending_replies: 0,
    }
}

impl<T> Peer<T> {
    /// Encodes or decodes the connection.
    pub(super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        address(&mut self.address, c)?;
        c.number(&mut self.last_seen_ms)?;
        c.int(&mut self.pending_replies)?;
        self.outbox.snapshot(c)?;
        let mut has_deflate = self.marks.has(Mark::Deflate);
        c.flag(&mut has_deflate)?;
        if has_deflate {
            self.marks.set(Mark::Deflate);
        }
        let mut is_authorized = self.marks.has(Mark::Authorized);
        c.flag(&mut is_authorized)?;
        if is_authorized {
            self.marks.set(Mark::Authorized);
        }
        self.phase.snapshot(c)
    }
}

fn address(address: &mut Option<IpAddr>, c: &mut Codec) -> DecodeResult {
    let mut octets = match address {
        None => Vec::new(),
        Some(IpAddr::V4(v4)) => v4.octets().to_vec(),
        Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
    };
    c.bytes(&mut octets)?;
    *address = match (<[u8; 4]>::try_from(&*octets), <[u8; 16]>::try_from(&*octets)) {
        (Ok(v4), _) => Some(IpAddr::from(v4)),
        (_, Ok(v6)) => Some(IpAddr::from(v6)),
        _ => None,
    };
    Ok(())
}

impl Phase {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        let mut kind = match self {
            Phase::Request(_) => 0,
            Phase::Open(_) => 1,
            Phase::Closing(_) => 2,
            // `Hub::save` has ended all feeds.
            Phase::Viewing(_) => return Err(DecodeError),
        };
        c.number(&mut kind)?;
        if c.reads() {
            *self = match kind {
                0 => Phase::Request(Request::default()),
                1 => Phase::Open(blank_subscriber()),
                2 => Phase::Closing(blank_closing()),
                _ => return Err(DecodeError),
            };
        }
        match self {
            Phase::Request(request) => request.snapshot(c),
            Phase::Open(subscriber) => subscriber.snapshot(c),
            Phase::Closing(closing) => closing.snapshot(c),
            Phase::Viewing(_) => Err(DecodeError),
        }
    }
}

impl Request {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.bytes(&mut self.buffer)?;
        c.int(&mut self.needed)?;
        c.option(&mut self.chunked, |c, chunked| {
            let ChunkedBody { decoder, body } = &mut **chunked;
            decoder.snapshot(c)?;
            c.bytes(body)
        })?;
        c.option(&mut self.deadline_ms, Codec::number)?;
        c.flag(&mut self.is_counted)?;
        self.port.snapshot(c)?;
        c.flag(&mut self.is_held)?;
        c.option(&mut self.listing, |c, listing| listing.snapshot(c))
    }
}

fn blank_subscriber() -> Subscriber {
    Subscriber {
        app: 0,
        socket_id: SocketId(0, 0),
        origin: None,
        reader: Reader::default(),
        memberships: Vec::new(),
        user: None,
        window: (0, 0),
        client_events: (0, 0),
        opened_ms: 0,
        liveness: Liveness::Quiet,
    }
}

impl Subscriber {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.int(&mut self.app)?;
        c.int(&mut self.socket_id.0)?;
        c.int(&mut self.socket_id.1)?;
        let mut origin = self.origin.as_ref().map(|origin| origin.as_str().to_string());
        c.option(&mut origin, Codec::text)?;
        if c.reads() {
            self.origin = origin.map(Origin::new);
        }
        self.reader.snapshot(c)?;
        let mut user = self.user.take().map(|user| *user);
        c.option(&mut user, |c, user| {
            c.text(&mut user.id)?;
            c.option(&mut user.info, Codec::text)?;
            c.int(&mut user.internal_memberships)
        })?;
        self.user = user.map(Box::new);
        c.int(&mut self.window.0)?;
        c.int(&mut self.window.1)?;
        c.int(&mut self.client_events.0)?;
        c.int(&mut self.client_events.1)?;
        c.int(&mut self.opened_ms)?;
        let (mut kind, mut ping_ms) = match self.liveness {
            Liveness::Quiet => (0, 0),
            Liveness::Pinged { at_ms } => (1, at_ms),
            Liveness::PingedTwice { at_ms } => (2, at_ms),
        };
        c.number(&mut kind)?;
        c.int(&mut ping_ms)?;
        self.liveness = match kind {
            0 => Liveness::Quiet,
            1 => Liveness::Pinged { at_ms: ping_ms },
            2 => Liveness::PingedTwice { at_ms: ping_ms },
            _ => return Err(DecodeError),
        };
        Ok(())
    }
}

impl Default for User {
    fn default() -> Self {
        User { id: "".into(), info: None, internal_memberships: 0 }
    }
}

/// A closing state that drops the connection at once.
pub(super) fn blank_closing() -> Closing {
    let mode = CloseMode::Now;
    Closing { deadline_ms: 0, end_ms: 0, left_bytes: 0, mode, port: Port::Clients }
}

impl Closing {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.number(&mut self.deadline_ms)?;
        c.number(&mut self.end_ms)?;
        c.int(&mut self.left_bytes)?;
        let mut mode = match self.mode {
            CloseMode::Now => 0,
            CloseMode::AfterOutbox => 1,
            CloseMode::AfterPeer { half_closed: false } => 2,
            CloseMode::AfterPeer { half_closed: true } => 3,
            CloseMode::Deferred => 4,
        };
        c.number(&mut mode)?;
        self.mode = match mode {
            0 => CloseMode::Now,
            1 => CloseMode::AfterOutbox,
            2 => CloseMode::AfterPeer { half_closed: false },
            3 => CloseMode::AfterPeer { half_closed: true },
            4 => CloseMode::Deferred,
            _ => return Err(DecodeError),
        };
        self.port.snapshot(c)
    }
}
