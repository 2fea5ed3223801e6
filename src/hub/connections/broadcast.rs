//! Queues one event for many connections: each outbox shares the frame, or its compressed form. Which
//! connections are members of a channel is in `pubsub`.

use super::{Connections, push, text_of};
use crate::hub::ids::{ConnId, SocketId};
use crate::hub::peer::{Mark, Peer};
use crate::proto::websocket::Frame;

impl<T> Connections<T> {
    /// Queues a frame for all members of a channel of this app, except for one of them; its compressed
    /// form for those that negotiated it, if this is worthwhile. Returns how many receive it.
    pub(crate) fn broadcast(
        &mut self,
        app: u32,
        members: &[ConnId],
        frame: &Frame,
        except: Option<SocketId>,
    ) -> u64 {
        let compressed = self.compress_for(members, frame, except);
        self.broadcast_forms(app, members, frame, compressed, except)
    }

    /// As [`Connections::broadcast`], with the compressed form if there is one.
    pub(crate) fn broadcast_forms(
        &mut self,
        app: u32,
        members: &[ConnId],
        frame: &Frame,
        compressed: Option<Frame>,
        except: Option<SocketId>,
    ) -> u64 {
        if log::log_enabled!(log::Level::Debug)
            && let Some(text) = text_of(frame)
        {
            log::debug!("{} subscribers < {text}", members.len());
        }
        self.work.add(members.len() as u64);
        self.work.add_bytes(frame.len());
        let lane = self.lanes.lane_of_event(members.len());
        let is_wanted = self.happenings.wants_sent(app);
        if is_wanted {
            for &member in members {
                if self.get(member).is_some_and(|peer| is_recipient(peer, except)) {
                    self.notify_sent(member, frame);
                }
            }
        }
        // Count the skipped members: there are fewer of them than recipients.
        let (mut skipped, mut compressed_recipients) = (0, 0);
        let outbox_bytes = self.limits.outbox_bytes as usize;
        let mut lanes = self.lanes.of(app);
        let mut over = Vec::new();
        for &member in members {
            let peer = self.slab.get_mut(member.0 as usize);
            // A closing connection may still be a member; it receives no more events.
            let Some(peer) = peer.filter(|peer| is_recipient(peer, except)) else {
                skipped += 1;
                continue;
            };
            let shorter = compressed.as_ref().filter(|_| peer.marks.has(Mark::Deflate));
            let frame = Frame::clone(shorter.unwrap_or(frame));
            match push(member, peer, frame, lane, &mut lanes, outbox_bytes) {
                true => compressed_recipients += u64::from(shorter.is_some()),
                false => over.push(member),
            }
        }
        skipped += over.len() as u64;
        over.into_iter().for_each(|member| self.not_pushed(member));
        let recipients = (members.len() as u64).saturating_sub(skipped);
        let counters = &mut self.counters.apps[app as usize];
        counters.sent(recipients - compressed_recipients, frame.len());
        counters.sent(compressed_recipients, compressed.map_or(0, |shorter| shorter.len()));
        recipients
    }

    /// Queues these frames for all members of a channel of this app.
    pub(crate) fn broadcast_all(&mut self, app: u32, members: &[ConnId], frames: &[Frame]) {
        let is_watched = self.happenings.wants_sent(app) || log::log_enabled!(log::Level::Debug);
        if frames.len() < 2 || is_watched {
            frames.iter().for_each(|frame| _ = self.broadcast(app, members, frame, None));
            return;
        }
        let count_before = self.counters.apps[app as usize].messages_out;
        self.broadcast_forms(app, members, &frames.concat().into(), None, None);
        // The call counted one message per recipient; count the other frames as well.
        let counters = &mut self.counters.apps[app as usize];
        counters.messages_out += (counters.messages_out - count_before) * (frames.len() as u64 - 1);
    }
}

/// Whether a member of a channel receives an event.
fn is_recipient<T>(peer: &Peer<T>, except: Option<SocketId>) -> bool {
    peer.subscriber().is_some_and(|subscriber| except != Some(subscriber.socket_id))
}
