//! `GET channels` of an app with many of them: the list is sent a piece at a time, each when the
//! client has taken the one before, so that no list holds up the loop or fills the memory, however
//! many are asked for.
//!
//! A list is not of one moment: a channel that is occupied or vacated while it is sent may be in it
//! or not. One that is vacated and occupied again may be named twice; as members of a JSON object
//! both are one.

use super::super::Hub;
use super::super::peer::{ConnId, Now, Request};
use super::super::request::Step;
use super::super::work::{CHANNEL_UNITS, Lane};
use super::Answer;
use super::info::{Info, write_entry};
use crate::proto::carry::{Carried, Carrier};
use crate::proto::http::{Head, Response};
use crate::proto::query::Query;
use crate::proto::websocket::Frame;

/// A list that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub app: u32,
    /// The next place in the app that is looked at.
    pub place: usize,
    /// What the names begin with.
    pub prefix: String,
    pub info: Info,
    /// Whether a channel was named already.
    pub has_entries: bool,
    /// Whether the body is in chunks. One that is not ends with the connection.
    pub is_chunked: bool,
    /// Whether the connection stays after it.
    pub keeps: bool,
}

/// Channels up to which a list is made at once: a tenth of a millisecond.
const AT_ONCE: usize = 512;
/// Places that are looked at for one piece.
const PLACES_PER_PIECE: usize = 4_096;
/// Bytes after which a piece is complete.
const PIECE_BYTES: usize = 32_768;

impl<T> Hub<T> {
    /// `GET channels`: those that have subscribers.
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
        self.write_piece(&mut listing, &mut body, usize::MAX, now);
        body.push_str(END);
        Response::json(200, body).into()
    }

    /// Sends the head of the answer; the pieces follow.
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

    /// Sends the next piece of the list that a connection is being sent, if there is one. Returns
    /// whether requests may be served now.
    pub(in super::super) fn go_on_listing(
        &mut self,
        id: ConnId,
        request: &mut Request,
        now: Now,
    ) -> bool {
        let Some(listing) = &mut request.listing else { return true };
        let mut piece = String::with_capacity(PIECE_BYTES + 256);
        let is_over = self.write_piece(listing, &mut piece, PLACES_PER_PIECE, now);
        if is_over {
            piece.push_str(END);
        } else if piece.is_empty() {
            // An empty chunk would end the body.
            self.schedule_in(id, Lane::Heavy);
            return false;
        }
        self.peers.queue(id, listing.frame(piece, is_over));
        if let Some(peer) = self.peers.get_mut(id) {
            // A client that takes what it asked for is no idle one.
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

    /// Writes the entries of so many places, or fewer if they are long; whether they were the last.
    fn write_piece(
        &mut self,
        to: &mut Listing,
        piece: &mut String,
        places: usize,
        now: Now,
    ) -> bool {
        let app = &self.apps[to.app as usize];
        // Places above the last channel's are passed in no time.
        let end = app.channels.capacity().min(to.place.saturating_add(places));
        while to.place < end && piece.len() < PIECE_BYTES.max(places) {
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
    /// A piece of the body as it is sent.
    fn frame(&self, piece: String, is_last: bool) -> Frame {
        match (self.is_chunked, is_last) {
            (true, false) => format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes().into(),
            (true, true) => {
                format!("{:x}\r\n{piece}\r\n0\r\n\r\n", piece.len()).into_bytes().into()
            }
            (false, _) => piece.into_bytes().into(),
        }
    }

    /// Writes it down, or reads it. The place is carried as the number of channels before it.
    pub(in super::super) fn carry(&mut self, c: &mut Carrier) -> Carried {
        c.int(&mut self.app)?;
        c.int(&mut self.place)?;
        c.text(&mut self.prefix)?;
        self.info.carry(c)?;
        let flags = [&mut self.has_entries, &mut self.is_chunked, &mut self.keeps];
        flags.into_iter().try_for_each(|flag| c.flag(flag))
    }
}

const START: &str = r#"{"channels":{"#;
const END: &str = "}}";
