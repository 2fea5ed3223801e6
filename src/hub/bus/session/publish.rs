//! The commands that publish, and the window that limits them. Which messages are published is
//! decided in `bus/write` and `bus/transfer`.

use super::link::{InFlight, Link, Purpose};
use super::{LINE_END, RedisSession};
use crate::proto::resp;
use crate::proto::websocket::Frame;

impl RedisSession {
    /// Whether the window has room to publish another envelope for the first time. With `resends`,
    /// half of the window is reserved for retransmissions and full syncs.
    pub(in crate::hub) fn has_room(&self, resends: bool) -> bool {
        let share = if resends { 2 } else { 1 };
        let Link { published, resent, .. } = &self.publisher;
        let all = InFlight {
            commands: published.commands + resent.commands,
            bytes: published.bytes + resent.bytes,
        };
        self.is_up() && published.fits(share) && (resends || all.fits(1))
    }

    /// Whether one more message that resends fits into half of the window.
    pub(in crate::hub) fn has_room_to_resend(&self) -> bool {
        self.is_up() && self.publisher.resent.fits(2)
    }

    /// Whether replies to messages that resend are outstanding.
    pub(in crate::hub) fn is_resending(&self) -> bool {
        self.publisher.resent.commands > 0
    }

    /// Publishes a message for the first time.
    pub(in crate::hub) fn publish(&mut self, text: Frame, now_ms: u64) {
        self.send_to_all(text, Purpose::Publish, self.publishes_both(), now_ms);
    }

    /// Publishes a message that every node must receive, whichever kind of messages it knows.
    pub(in crate::hub) fn announce(&mut self, text: Frame, now_ms: u64) {
        self.send_to_all(text, Purpose::Publish, true, now_ms);
    }

    /// Retransmits an envelope to all nodes.
    pub(in crate::hub) fn retransmit(&mut self, text: Frame, now_ms: u64) {
        self.send_to_all(text, Purpose::Retransmit, self.publishes_both(), now_ms);
    }

    /// Publishes a message on a channel. The text ends with the line break that ends the command.
    pub(super) fn send(&mut self, channel: &str, text: Frame, purpose: Purpose, now_ms: u64) {
        let name = if self.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        self.send_as(name, channel, text, purpose, now_ms);
    }

    fn send_as(&mut self, name: &str, channel: &str, text: Frame, purpose: Purpose, now_ms: u64) {
        let head = resp::publish_head(name, channel, text.len().saturating_sub(LINE_END.len()));
        self.publisher.send([head.into(), text], purpose, now_ms);
    }

    /// Publishes a message on the shared channel; in a Redis Cluster in both kinds if `is_for_all`.
    fn send_to_all(&mut self, text: Frame, purpose: Purpose, is_for_all: bool, now_ms: u64) {
        let channel = self.channel.clone();
        let copy = (self.is_sharded() && is_for_all).then(|| Frame::clone(&text));
        self.send(&channel, text, purpose, now_ms);
        if let Some(copy) = copy {
            self.send_as("PUBLISH", &channel, copy, purpose, now_ms);
        }
    }
}
