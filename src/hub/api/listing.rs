//! `GET channels` of an app with many channels: the hub sends the list in pieces, each after the
//! previous one was written to the socket. No list can block the event loop or fill the memory,
//! regardless of how many lists are requested.
//!
//! A list is not a snapshot: a channel that is occupied or vacated while the list is sent may be in
//! it or not. A channel that is vacated and occupied again may be listed twice; a JSON parser
//! keeps one of the duplicate keys.

use super::super::Hub;
use super::super::peer::{ConnId, Now, Request};
use super::super::request::Step;
use super::super::work::{CHANNEL_UNITS, Lane};
use super::Answer;
use super::info::{Info, write_entry};
use crate::proto::http::{Head, Response};
use crate::proto::query::Query;
use crate::proto::snapshot::{Codec, DecodeResult};
use crate::proto::websocket::Frame;

/// The state of a list that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub app: u32,
    /// The next place to visit in the app's slab of channels.
    pub place: usize,
    /// The prefix of the names that are listed; empty for all.
    pub prefix: String,
    pub info: Info,
    /// Whether a channel was written already, so that a comma precedes the next.
    pub has_entries: bool,
    /// Whether the body is chunked. For HTTP/1.0 it is not, and closing the connection ends it.
    pub is_chunked: bool,
    /// Whether the connection is kept alive after the list.
    pub keeps: bool,
}

/// An app with room for at most this many channels gets its list in one piece, which takes a tenth
/// of a millisecond.
const AT_ONCE: usize = 512;
/// The number of places visited for one piece.
const PLACES_PER_PIECE: usize = 4_096;
/// A piece ends once it has this many bytes.
const PIECE_BYTES: usize = 32_768;

impl<T> Hub<T> {
    /// `GET channels`: the channels that have subscribers.
    pub(super) fn list_channels(&mut self, app: u32, query: &Query<'_>, now: Now) -> Answer {
        let mut listing = Listing {
            app,
            info: Info::parse(query.value("info").unwrap_or_default()),
            prefix: query.value("filter_by_prefix").unwrap_or_default().to_owned(),
            ..Listing::default()
        };
        if self.apps[app as usize].channels.capacity() > AT_ONCE {
            return Answer::Listing(Box::new(listing));
        }
        let mut body = String::from(START);
        self.write_piece(&mut listing, &mut body, (usize::MAX, usize::MAX), now);
        body.push_str(END);
        Response::json(200, body).into()
    }

    /// Sends the head of the answer and, unless the method is HEAD, the start of the body. The
    /// pieces follow.
    pub(in super::super) fn begin_listing(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        mut listing: Box<Listing>,
        len: usize,
        now: Now,
    ) -> Step {
        log::debug!("{} {} 200, in pieces", head.method, head.path);
        listing.is_chunked = head.minor > 0;
        listing.keeps = listing.is_chunked && self.keeps(id, head);
        let connection = (!listing.keeps).then_some("close");
        let response = Response::json(200, "");
        let frame = response.encode_chunked_head(listing.is_chunked, connection, self.date(now));
        self.peers.queue(id, frame);
        if !head.method.eq_ignore_ascii_case("HEAD") {
            self.peers.queue(id, listing.frame(START.to_owned(), false));
            return Step::Listing(len, listing);
        }
        match listing.keeps {
            true => Step::Served(len),
            false => self.end_connection(id, now),
        }
    }

    /// Sends the next piece of a connection's list, if it has one in progress. Returns whether the
    /// hub may serve requests of the connection now.
    pub(in super::super) fn continue_listing(
        &mut self,
        id: ConnId,
        request: &mut Request,
        now: Now,
    ) -> bool {
        let Some(listing) = &mut request.listing else { return true };
        let mut piece = String::with_capacity(PIECE_BYTES + 256);
        let is_over = self.write_piece(listing, &mut piece, (PLACES_PER_PIECE, PIECE_BYTES), now);
        if is_over {
            piece.push_str(END);
        } else if piece.is_empty() {
            // An empty chunk would end the body.
            self.schedule_in(id, Lane::Heavy);
            return false;
        }
        self.peers.queue(id, listing.frame(piece, is_over));
        if let Some(peer) = self.peers.get_mut(id) {
            // A client that reads its answer is not idle.
            peer.last_seen_ms = now.ms;
        }
        self.pause(id, now);
        if is_over && listing.keeps && !self.is_draining() {
            request.listing = None;
        } else if is_over {
            _ = self.end_connection(id, now);
        }
        false
    }

    /// Writes entries until this many places were looked up or the piece has this many bytes.
    /// Returns whether the list is complete.
    fn write_piece(
        &mut self,
        to: &mut Listing,
        piece: &mut String,
        (places, bytes): (usize, usize),
        now: Now,
    ) -> bool {
        let app = &self.apps[to.app as usize];
        // The capacity may exceed the last used place; an empty place costs only a lookup.
        let end = app.channels.capacity().min(to.place.saturating_add(places));
        while to.place < end && piece.len() < bytes {
            let channel = app.channels.get(to.place).filter(|channel| channel.kind.is_listed());
            to.place += 1;
            self.peers.work.add(CHANNEL_UNITS);
            let Some(channel) = channel.filter(|c| c.name.starts_with(&to.prefix)) else {
                continue;
            };
            if std::mem::replace(&mut to.has_entries, true) {
                piece.push(',');
            }
            write_entry(piece, to.info, app, &channel.name, now);
        }
        self.peers.work.add_bytes(piece.len());
        to.place >= app.channels.capacity()
    }
}

impl Listing {
    /// Encodes a piece of the body, as a chunk if the body is chunked.
    fn frame(&self, piece: String, is_last: bool) -> Frame {
        match (self.is_chunked, is_last) {
            (true, false) => format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes().into(),
            (true, true) => {
                format!("{:x}\r\n{piece}\r\n0\r\n\r\n", piece.len()).into_bytes().into()
            }
            (false, _) => piece.into_bytes().into(),
        }
    }

    /// Encodes or decodes it, depending on the direction of `c`. The caller converts the place to
    /// the number of channels before it, because places differ in the hub that restores it.
    pub(in super::super) fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.int(&mut self.app)?;
        c.int(&mut self.place)?;
        c.text(&mut self.prefix)?;
        self.info.snapshot(c)?;
        let flags = [&mut self.has_entries, &mut self.is_chunked, &mut self.keeps];
        flags.into_iter().try_for_each(|flag| c.flag(flag))
    }
}

const START: &str = r#"{"channels":{"#;
const END: &str = "}}";
