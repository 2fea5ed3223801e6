//! `GET channels` of an app with many channels: the hub sends the list in pieces, each after the
//! previous one was written to the socket. No list can block the event loop or fill the memory,
//! regardless of how many lists are requested.
//!
//! A list is not a snapshot: a channel that is occupied or vacated while the list is sent may be in
//! it or not. A channel that is vacated and occupied again may be listed twice; a JSON parser
//! keeps one of the duplicate keys.

use super::super::channel_info::{Info, write_entry};
use super::super::ids::{ConnId, Now};
use super::super::listing::{END, Listing, START};
use super::super::peer::Request;
use super::super::work::{CHANNEL_UNITS, Lane};
use super::{Answer, Api};
use crate::proto::http::Response;
use crate::proto::query::Query;

/// An app with room for at most this many channels gets its list in one piece, which takes a tenth
/// of a millisecond.
const AT_ONCE: usize = 512;
/// The number of places visited for one piece.
const PLACES_PER_PIECE: usize = 4_096;
/// A piece ends once it has this many bytes.
const PIECE_BYTES: usize = 32_768;

impl<T> Api<'_, T> {
    /// `GET channels`: the channels that have subscribers.
    pub(super) fn list_channels(&mut self, app: u32, query: &Query<'_>, now: Now) -> Answer {
        let mut listing = Listing {
            app,
            info: Info::parse(query.value("info").unwrap_or_default()),
            prefix: query.value("filter_by_prefix").unwrap_or_default().to_owned(),
            ..Listing::default()
        };
        if self.pubsub.apps[app].channels.capacity() > AT_ONCE {
            return Answer::Listing(Box::new(listing));
        }
        let mut body = String::from(START);
        self.write_piece(&mut listing, &mut body, (usize::MAX, usize::MAX), now);
        body.push_str(END);
        Response::json(200, body).into()
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
        let is_complete =
            self.write_piece(listing, &mut piece, (PLACES_PER_PIECE, PIECE_BYTES), now);
        if is_complete {
            piece.push_str(END);
        } else if piece.is_empty() {
            // An empty chunk would end the body.
            self.connections.schedule_in(id, Lane::Heavy);
            return false;
        }
        self.connections.queue(id, listing.frame(piece, is_complete));
        if let Some(peer) = self.connections.get_mut(id) {
            // A client that reads its response is not idle.
            peer.last_seen_ms = now.ms;
        }
        self.connections.pause(id, now);
        if is_complete && listing.keeps_alive && !self.connections.is_draining() {
            request.listing = None;
        } else if is_complete {
            _ = self.connections.end_connection(id, now);
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
        let app = &self.pubsub.apps[to.app];
        // The capacity may exceed the last used place; an empty place costs only a lookup.
        let end = app.channels.capacity().min(to.place.saturating_add(places));
        while to.place < end && piece.len() < bytes {
            let channel = app.channels.get(to.place).filter(|channel| channel.kind.is_listed());
            to.place += 1;
            self.connections.work.add(CHANNEL_UNITS);
            let Some(channel) = channel.filter(|c| c.name.starts_with(&to.prefix)) else {
                continue;
            };
            if std::mem::replace(&mut to.has_entries, true) {
                piece.push(',');
            }
            write_entry(piece, to.info, app, &channel.name, now);
        }
        self.connections.work.add_bytes(piece.len());
        to.place >= app.channels.capacity()
    }
}
