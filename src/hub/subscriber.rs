//! A connection while it speaks WebSocket: frames in, verbs called, and the ways it ends.

use super::Hub;
use super::peer::{CloseMode, ConnId, Mark, Now, Subscriber};
use super::schedule::Held;
use super::work::{Lane, MEMBERSHIP_UNITS, MESSAGE_UNITS, SIGNATURE_UNITS};
use crate::config::LimitKind;
use crate::proto::message::{self, ClientMessage, Malformed};
use crate::proto::websocket::{self, Bounds, Item, Reader, Violation};

impl<T> Hub<T> {
    /// Handles bytes of a WebSocket connection, and holds those that may not be handled now.
    pub(super) fn frames(&mut self, id: ConnId, mut reader: Reader, bytes: &mut [u8], now: Now) {
        if let Some(held) = self.schedule.held_mut(id) {
            // Held input must be handled first.
            held.bytes.extend_from_slice(bytes);
            return self.put_back(id, reader);
        }
        let Some(bounds) = self.bounds(id) else { return };
        let mut at = 0;
        while !self.holds_rest(id, bytes, at) {
            match reader.next(bytes, &mut at, bounds) {
                Ok(Some(item)) => {
                    if let Handled::Deferred(message) = self.item(id, item, now) {
                        self.hold(id, Some(message), bytes, at);
                        return self.put_back(id, reader);
                    }
                }
                Ok(None) => break,
                Err(violation) => return self.end_broken(id, violation, bounds, now),
            }
            // The item may have ended the connection; what follows it is not read then.
            if self.has_ended(id) {
                return;
            }
        }
        self.put_back(id, reader);
    }

    /// Handles the held input of a WebSocket.
    pub(super) fn held_frames(&mut self, id: ConnId, mut held: Held, now: Now) {
        if let Some(message) = held.message.take() {
            if let Handled::Deferred(message) = self.text(id, &message, now) {
                return self.hold(id, Some(message), &held.bytes, 0);
            }
            if self.has_ended(id) {
                return;
            }
        }
        let subscriber = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut());
        let Some(reader) = subscriber.map(|subscriber| std::mem::take(&mut subscriber.reader))
        else {
            return;
        };
        self.frames(id, reader, &mut held.bytes, now);
    }

    /// Whether a connection's messages are no longer handled: it is closing, or reads too slowly.
    fn has_ended(&self, id: ConnId) -> bool {
        let peer = self.peers.get(id);
        peer.is_none_or(|peer| peer.subscriber().is_none() || peer.marks.has(Mark::TooSlow))
    }

    /// Holds the rest of the input if the visit is over. Returns whether it did.
    fn holds_rest(&mut self, id: ConnId, bytes: &[u8], at: usize) -> bool {
        let holds = at < bytes.len() && self.peers.work.is_visit_over();
        if holds {
            self.hold(id, None, bytes, at);
        }
        holds
    }

    fn hold(&mut self, id: ConnId, message: Option<String>, bytes: &[u8], at: usize) {
        let lane = match &message {
            Some(_) => Lane::Heavy,
            None => self.peers.work.lane_after_visit(),
        };
        self.schedule.hold(id, Held { message, bytes: bytes[at..].to_vec() });
        self.schedule_in(id, lane);
    }

    fn put_back(&mut self, id: ConnId, reader: Reader) {
        if let Some(subscriber) = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut()) {
            subscriber.reader = reader;
        }
    }

    fn end_broken(&mut self, id: ConnId, violation: Violation, bounds: Bounds, now: Now) {
        log::debug!("broken frame: {} {}", violation.code, violation.reason);
        let (bound, reason) = match violation {
            websocket::TOO_BIG => {
                let bytes = bounds.message_bytes;
                let bound = match bytes < self.limits.message_bytes as usize {
                    true => LimitKind::MessageSize,
                    false => LimitKind::MessageBytes,
                };
                (bound, format!("a message may have {bytes} bytes ({})", bound.setting()))
            }
            websocket::TOO_MANY_FRAMES => {
                let (bound, frames) = (LimitKind::MessageFragments, bounds.fragments);
                (bound, format!("a message may have {frames} frames ({})", bound.setting()))
            }
            _ => return self.send_close(id, violation.code, violation.reason, now),
        };
        self.limit_exceeded(id, bound, now);
        self.send_close(id, violation.code, &reason, now);
    }

    fn bounds(&self, id: ConnId) -> Option<Bounds> {
        let subscriber = self.peers.get(id)?.subscriber()?;
        let of_app = self.apps[subscriber.app as usize].settings.max_message_size;
        let of_all = self.limits.message_bytes as usize;
        let message_bytes = if of_app == 0 { of_all } else { of_app.min(of_all) };
        let (fragments, binary) = (self.limits.message_fragments, self.echoes);
        Some(Bounds { message_bytes, fragments, binary })
    }

    fn item(&mut self, id: ConnId, item: Item<'_>, now: Now) -> Handled {
        match item {
            Item::Text(_) | Item::Binary(_) if self.echoes => self.echo_back(id, &item),
            Item::Text(text) => return self.text(id, text, now),
            Item::Ping(payload) => self.peers.queue(id, websocket::pong(payload)),
            Item::Pong | Item::Binary(_) => {}
            Item::Close(said) => {
                let (code, reason) = said.unwrap_or((1000, ""));
                self.send_close(id, code, reason, now);
            }
        }
        Handled::Done
    }

    fn text(&mut self, id: ConnId, text: &str, now: Now) -> Handled {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return Handled::Done;
        };
        let app = subscriber.app;
        self.peers.work.add(MESSAGE_UNITS);
        self.peers.work.add_bytes(text.len());
        if message::is_plain_client_event(text) && self.is_over_event_rate(id, now) {
            self.peers.counters.apps[app as usize].messages_in += 1;
            let refusal = self.over_event_rate();
            self.send_error(id, &refusal, now);
            return Handled::Done;
        }
        let parsed = message::parse(text);
        if let Ok(ClientMessage::Subscribe(asked)) = &parsed
            && self.must_take_list_first(id, app, &asked.channel)
        {
            self.pause(id, now);
            return Handled::Deferred(text.to_owned());
        }
        if let Ok(asked) = &parsed
            && self.is_put_off(|hub| hub.units_of(id, app, asked))
        {
            return Handled::Deferred(text.to_owned());
        }
        self.peers.counters.apps[app as usize].messages_in += 1;
        if log::log_enabled!(log::Level::Debug) {
            let from = self.peers.get(id).and_then(|p| p.subscriber()).map(|s| s.socket_id);
            from.inspect(|from| log::debug!("{from} > {text}"));
        }
        // A pong is asked for by the server, so it costs the client nothing.
        if parsed != Ok(ClientMessage::Pong) && !self.within_rate(id, now) {
            return Handled::Done;
        }
        let handled = match parsed {
            Ok(ClientMessage::Ping) => {
                self.peers.queue(id, message::pong());
                Ok(())
            }
            Ok(ClientMessage::Pong | ClientMessage::Ignored) => Ok(()),
            Ok(ClientMessage::Subscribe(asked)) => self.subscribe(id, asked, now),
            Ok(ClientMessage::Unsubscribe(channel)) => {
                self.unsubscribe(id, &channel, now);
                Ok(())
            }
            Ok(ClientMessage::SignIn { auth, user_data }) => {
                self.sign_in(id, &auth, &user_data, now)
            }
            Ok(ClientMessage::Event(event)) => self.client_event(id, &event, now),
            Err(malformed) => Err(malformed.into()),
        };
        match handled {
            Ok(()) => {
                self.peers.counters.apps[app as usize].messages_handled += 1;
                self.notify_listener(id, text);
            }
            Err(refusal) => self.send_error(id, &refusal, now),
        }
        Handled::Done
    }

    /// Estimated units of work of a message, before it is handled.
    fn units_of(&self, id: ConnId, app: u32, asked: &ClientMessage<'_>) -> u64 {
        let members = |channel: &str| {
            let channel = self.apps[app as usize].channel(channel);
            channel.map_or(0, |channel| channel.members.len() as u64)
        };
        match asked {
            ClientMessage::Event(event) => members(&event.channel),
            ClientMessage::Subscribe(asked) => self.units_to_subscribe(id, app, &asked.channel),
            ClientMessage::SignIn { .. } => SIGNATURE_UNITS,
            _ => 0,
        }
    }

    fn notify_listener(&mut self, id: ConnId, text: &str) {
        let Some(mut listener) = self.peers.listener.take() else { return };
        if let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) {
            let app_id = &self.peers.app_ids[subscriber.app as usize];
            listener.message_received(app_id, subscriber.socket_id, text);
        }
        self.peers.listener = Some(listener);
    }

    /// Counts a message against the app's rate limit. Returns whether it may be handled.
    fn within_rate(&mut self, id: ConnId, now: Now) -> bool {
        let Some(subscriber) = self.peers.get_mut(id).and_then(|peer| peer.subscriber_mut()) else {
            return false;
        };
        let Some(limit) = self.apps[subscriber.app as usize].settings.rate_limit else {
            return true;
        };
        let (count, since_ms) = &mut subscriber.window;
        if *count == 0 || now.ms >= *since_ms + u64::from(limit.decay_seconds) * 1_000 {
            (*count, *since_ms) = (0, now.ms);
        }
        if *count < limit.max_attempts {
            *count += 1;
            return true;
        }
        self.limit_exceeded(id, LimitKind::RateLimit, now);
        self.peers.queue(id, message::error(4301, RATE_LIMIT));
        if limit.terminate_on_limit {
            // Not with 4301: clients take every code from 4300 up for "never come back".
            self.send_close(id, 4100, RATE_LIMIT, now);
        }
        false
    }

    /// Tells a client why it was refused, and leaves it connected.
    fn send_error(&mut self, id: ConnId, refusal: &ClientError, now: Now) {
        if let Some(bound) = refusal.bound {
            self.limit_exceeded(id, bound, now);
        }
        log::debug!("refused: {}", refusal.detail);
        self.peers.queue(id, message::error(refusal.code, &refusal.message));
        if let Some((channel, kind, error, status)) = &refusal.subscription {
            self.peers.queue(id, message::subscription_error(channel, kind, error, *status));
        }
    }

    /// Closes a WebSocket with one of Pusher's codes: the event first, for clients that cannot
    /// see the code of a close frame, then the frame (protocol section 4.1).
    pub(super) fn close_with(&mut self, id: ConnId, code: u16, message: &str, now: Now) {
        self.peers.queue(id, message::error(code, message));
        self.send_close(id, code, message, now);
    }

    /// Queues a close frame, and waits for the client's.
    fn send_close(&mut self, id: ConnId, code: u16, reason: &str, now: Now) {
        self.peers.counters.closes.count(code);
        self.peers.queue(id, websocket::close(code, reason));
        self.retire(id, CloseMode::AfterPeer { half_closed: false }, now);
    }

    /// Takes a subscriber that is going out of its channels and its app.
    pub(super) fn forget(&mut self, id: ConnId, subscriber: Subscriber, now: Now) {
        let app = subscriber.app;
        for membership in subscriber.memberships {
            self.remove_member(id, app, membership, now);
        }
        self.peers.work.add(MEMBERSHIP_UNITS);
        self.apps[app as usize].connections -= 1;
        self.bus.iter_mut().for_each(|bus| bus.note_connections(app));
        log::debug!("{} has gone", subscriber.socket_id);
    }
}

/// The result of handling a message.
pub(super) enum Handled {
    /// It was handled, or refused.
    Done,
    /// It was not started and is handled on a later visit: it is expensive, or its client must read
    /// a member list first.
    Deferred(String),
}

const RATE_LIMIT: &str = "Rate limit exceeded";

/// The answer to a client whose message is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientError {
    pub code: u16,
    pub message: String,
    /// Which rule it was, for the log.
    pub detail: &'static str,
    /// For a subscription: the channel, what kind of error, a sentence and a status.
    pub subscription: Option<(String, &'static str, String, u16)>,
    /// The bound that was hit, if it was one.
    pub bound: Option<LimitKind>,
}

impl ClientError {
    pub(super) fn new(code: u16, message: impl Into<String>, detail: &'static str) -> Self {
        ClientError { code, message: message.into(), detail, subscription: None, bound: None }
    }

    /// The same for a bound that was hit.
    pub(super) fn at(self, bound: LimitKind) -> Self {
        ClientError { bound: Some(bound), ..self }
    }

    /// The same, with an error event for a channel in addition.
    pub(super) fn about(
        mut self,
        channel: &str,
        kind: &'static str,
        error: impl Into<String>,
        status: u16,
    ) -> Self {
        self.subscription = Some((channel.to_owned(), kind, error.into(), status));
        self
    }

    /// Reverb's answer to everything it cannot read.
    pub(super) fn malformed(detail: &'static str) -> Self {
        ClientError::new(4200, "Invalid message format", detail)
    }

    pub(super) fn unauthorized(detail: &'static str) -> Self {
        ClientError::new(4009, "Connection is unauthorized", detail)
    }
}

impl From<Malformed> for ClientError {
    fn from(Malformed(detail): Malformed) -> Self {
        ClientError::malformed(detail)
    }
}
