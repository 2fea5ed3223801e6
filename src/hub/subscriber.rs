//! WebSocket input: reads frames, calls the handler of each client message, and closes connections
//! that break the protocol. The handlers are methods of [`PubSub`](super::pubsub::PubSub).

use super::Hub;
use super::client_error::ClientError;
use super::client_event::over_event_rate;
use super::ids::{ConnId, Now};
use super::schedule::Held;
use super::work::{MESSAGE_UNITS, SIGNATURE_UNITS};
use crate::config::LimitKind;
use crate::proto::message::{self, ClientMessage};
use crate::proto::websocket::{self, Bounds, Item, Reader, Violation};

impl<T> Hub<T> {
    /// Handles bytes of a WebSocket, and holds those that must wait.
    pub(super) fn handle_frames(
        &mut self,
        id: ConnId,
        mut reader: Reader,
        bytes: &mut [u8],
        now: Now,
    ) {
        if let Some(held) = self.connections.schedule.held_mut(id) {
            // Held input must be handled first.
            held.bytes.extend_from_slice(bytes);
            return self.connections.store_reader(id, reader);
        }
        let Some(bounds) = self.bounds(id) else { return };
        let mut at = 0;
        while !self.connections.holds_rest(id, bytes, at) {
            let item =
                reader.next(bytes, &mut at, bounds, &mut self.connections.compressor.inflater);
            self.connections.count_decompressed();
            match item {
                Ok(Some(item)) => {
                    if let Handled::Deferred(message) = self.handle_item(id, item, now) {
                        self.connections.hold(id, Some(message), bytes, at);
                        return self.connections.store_reader(id, reader);
                    }
                }
                Ok(None) => break,
                Err(violation) => return self.close_on_violation(id, violation, bounds, now),
            }
            // The item may have ended the connection; the input after it is discarded.
            if self.connections.has_ended(id) {
                return;
            }
        }
        self.connections.store_reader(id, reader);
    }

    /// Handles the held input of a WebSocket.
    pub(super) fn handle_held(&mut self, id: ConnId, mut held: Held, now: Now) {
        if let Some(message) = held.message.take() {
            if let Handled::Deferred(message) = self.handle_text(id, &message, now) {
                return self.connections.hold(id, Some(message), &held.bytes, 0);
            }
            if self.connections.has_ended(id) {
                return;
            }
        }
        let subscriber = self.connections.subscriber_mut(id);
        let Some(reader) = subscriber.map(|subscriber| std::mem::take(&mut subscriber.reader))
        else {
            return;
        };
        self.handle_frames(id, reader, &mut held.bytes, now);
    }

    fn close_on_violation(&mut self, id: ConnId, violation: Violation, bounds: Bounds, now: Now) {
        log::debug!("closing after an invalid frame: {} {}", violation.code, violation.reason);
        let (kind, max, unit) = match violation {
            websocket::TOO_BIG => {
                let max = bounds.message_bytes;
                let kind = match max < self.connections.limits.message_bytes as usize {
                    true => LimitKind::MessageSize,
                    false => LimitKind::MessageBytes,
                };
                (kind, max as u64, "bytes")
            }
            websocket::TOO_MANY_FRAMES => {
                (LimitKind::MessageFragments, bounds.fragments.into(), "frames")
            }
            _ => return self.send_close(id, violation.code, violation.reason, now),
        };
        let reason = format!("a message may have {max} {unit} ({})", kind.setting());
        self.connections.limit_exceeded_by(id, kind, max, now);
        self.send_close(id, violation.code, &reason, now);
    }

    fn bounds(&self, id: ConnId) -> Option<Bounds> {
        let subscriber = self.connections.subscriber(id)?;
        let app_max = self.pubsub.apps[subscriber.app].settings.max_message_size;
        let server_max = self.connections.limits.message_bytes as usize;
        let message_bytes = if app_max == 0 { server_max } else { app_max.min(server_max) };
        let (fragments, binary) = (self.connections.limits.message_fragments, self.echoes);
        let deflate = self.connections.has_deflate(id);
        Some(Bounds { message_bytes, fragments, binary, masked: true, deflate })
    }

    fn handle_item(&mut self, id: ConnId, item: Item<'_>, now: Now) -> Handled {
        match item {
            Item::Text(_) | Item::Binary(_) if self.echoes => self.connections.echo_back(id, &item),
            Item::Text(text) => return self.handle_text(id, text, now),
            Item::Ping(payload) => self.connections.queue(id, websocket::pong(payload)),
            Item::Pong | Item::Binary(_) => {}
            Item::Close(close) => {
                let (code, reason) = close.unwrap_or((1000, ""));
                self.send_close(id, code, reason, now);
            }
        }
        Handled::Done
    }

    fn handle_text(&mut self, id: ConnId, text: &str, now: Now) -> Handled {
        let Some(subscriber) = self.connections.subscriber(id) else {
            return Handled::Done;
        };
        let app = subscriber.app;
        self.connections.work.add(MESSAGE_UNITS);
        self.connections.work.add_bytes(text.len());
        let rate = self.pubsub.client_event_rate(app);
        if message::is_plain_client_event(text)
            && self.connections.is_over_event_rate(id, rate.max, now)
        {
            self.connections.counters.apps[app as usize].messages_in += 1;
            let error = over_event_rate(&rate);
            self.connections.send_error(id, &error, now);
            return Handled::Done;
        }
        let parsed = message::parse(text);
        if let Ok(ClientMessage::Subscribe(request)) = &parsed
            && self.pubsub.must_read_list_first(&self.connections, id, app, &request.channel)
        {
            self.connections.pause(id, now);
            return Handled::Deferred(text.to_owned());
        }
        if let Ok(parsed) = &parsed
            && self.connections.must_defer(|| self.units_of(id, app, parsed))
        {
            return Handled::Deferred(text.to_owned());
        }
        self.connections.counters.apps[app as usize].messages_in += 1;
        if log::log_enabled!(log::Level::Debug) {
            let from = self.connections.subscriber(id).map(|s| s.socket_id);
            from.inspect(|from| log::debug!("{from} > {text}"));
        }
        // The server asks for pongs, so they do not count against the rate limit.
        if parsed != Ok(ClientMessage::Pong) && !self.within_rate(id, now) {
            return Handled::Done;
        }
        let handled = match parsed {
            Ok(ClientMessage::Ping) => {
                self.connections.queue(id, message::pong());
                Ok(())
            }
            Ok(ClientMessage::Pong | ClientMessage::Ignored) => Ok(()),
            Ok(ClientMessage::Subscribe(request)) => {
                self.pubsub.subscribe(&mut self.connections, id, request, now)
            }
            Ok(ClientMessage::Unsubscribe(channel)) => {
                self.pubsub.unsubscribe(&mut self.connections, id, &channel, now);
                Ok(())
            }
            Ok(ClientMessage::SignIn { auth, user_data }) => {
                self.pubsub.sign_in(&mut self.connections, id, &auth, &user_data, now)
            }
            Ok(ClientMessage::Event(event)) => {
                self.pubsub.client_event(&mut self.connections, id, &event, now)
            }
            Err(malformed) => Err(malformed.into()),
        };
        match handled {
            Ok(()) => {
                self.connections.counters.apps[app as usize].messages_handled += 1;
                self.connections.notify_received(id, text);
            }
            Err(error) => {
                if error.is_unsigned {
                    self.log_unsigned_message(id, app, &error, now);
                }
                self.connections.send_error(id, &error, now);
            }
        }
        Handled::Done
    }

    /// Estimated units of work of a message, before it is handled.
    fn units_of(&self, id: ConnId, app: u32, parsed: &ClientMessage<'_>) -> u64 {
        let members = |channel: &str| {
            let channel = self.pubsub.apps[app].channel(channel);
            channel.map_or(0, |channel| channel.members.len() as u64)
        };
        match parsed {
            ClientMessage::Event(event) => members(&event.channel),
            ClientMessage::Subscribe(request) => {
                self.pubsub.units_to_subscribe(&self.connections, id, app, &request.channel)
            }
            ClientMessage::SignIn { .. } => SIGNATURE_UNITS,
            _ => 0,
        }
    }

    /// Counts a message against the app's rate limit. Returns whether it may be handled.
    fn within_rate(&mut self, id: ConnId, now: Now) -> bool {
        let Some(subscriber) = self.connections.subscriber_mut(id) else {
            return false;
        };
        let Some(limit) = self.pubsub.apps[subscriber.app].settings.rate_limit else {
            return true;
        };
        let (count, since_ms) = &mut subscriber.window;
        let now_ms = now.ms as u32;
        let age_ms = u64::from(now_ms.wrapping_sub(*since_ms));
        // A longer window than the range of the times would never end.
        let window_ms = (u64::from(limit.decay_seconds) * 1_000).min(u32::MAX.into());
        if *count == 0 || age_ms >= window_ms {
            (*count, *since_ms) = (0, now_ms);
        }
        if *count < limit.max_attempts {
            *count += 1;
            return true;
        }
        let attempts = limit.max_attempts.into();
        self.connections.limit_exceeded_by(id, LimitKind::RateLimit, attempts, now);
        let error = ClientError::new(4301, RATE_LIMIT, "rate_limiting.max_attempts");
        self.connections.send_error(id, &error, now);
        if limit.terminate_on_limit {
            // Not with 4301: clients treat every code from 4300 on as final and do not reconnect.
            self.send_close(id, 4100, RATE_LIMIT, now);
        }
        false
    }
}

/// The result of handling a message.
pub(super) enum Handled {
    /// It was handled or rejected.
    Done,
    /// It was not started and waits for a later visit: it is expensive, or its client must read a
    /// member list first.
    Deferred(String),
}

const RATE_LIMIT: &str = "Rate limit exceeded";
