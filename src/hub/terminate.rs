//! Closes WebSocket connections and removes their memberships in one call, and closes one
//! connection or all of a user (protocol sections 14.7 and 14.9). The phases of a closing connection
//! are in `connections/closing`.

use super::connections::Connections;
use super::feed::End;
use super::ids::{ConnId, Now, SocketId};
use super::peer::{CloseMode, Subscriber};
use super::pubsub::PubSub;
use super::work::MEMBERSHIP_UNITS;
use crate::proto::message;

impl PubSub {
    /// Begins to close a connection, and removes its memberships.
    pub(super) fn retire<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        mode: CloseMode,
        now: Now,
    ) {
        let end = End { code: ABNORMAL, reason: "The connection was closed without a close frame" };
        self.retire_because(connections, id, mode, end, now);
    }

    /// [`PubSub::retire`] for a reason that is known.
    pub(super) fn retire_because<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        mode: CloseMode,
        end: End<'_>,
        now: Now,
    ) {
        if let Some(subscriber) = connections.retire(id, mode, now) {
            self.remove_subscriber(connections, id, subscriber, end, now);
        }
    }

    /// Closes a connection with one of Pusher's close codes. An error event precedes the close
    /// frame, for clients that cannot see the code of a close frame (protocol section 4.1).
    pub(super) fn close_with<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        code: u16,
        message: &str,
        now: Now,
    ) {
        connections.queue(id, message::error(code, message));
        self.send_close(connections, id, code, message, now);
    }

    /// Closes a connection with a close frame alone, and waits for that of the client.
    pub(super) fn send_close<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        code: u16,
        reason: &str,
        now: Now,
    ) {
        connections.queue_close(id, code, reason);
        let mode = CloseMode::AfterPeer { half_closed: false };
        self.retire_because(connections, id, mode, End { code, reason }, now);
    }

    /// Closes this node's connections of a user: connections that are signed in as this user, and
    /// connections that joined a presence channel as this user.
    pub(super) fn end_connections<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        user: &str,
        now: Now,
    ) {
        let mut ids: Vec<ConnId> = self.signed_in(app, user).to_vec();
        // Searches every presence channel: such requests are rare, and an index would cost memory
        // per connection.
        for (place, channel) in &self.apps[app].channels {
            if !channel.presence.as_deref().is_some_and(|presence| presence.contains(user)) {
                continue;
            }
            ids.extend(channel.members.iter().copied().filter(|&id| {
                let membership = connections.membership(id, place as u32);
                membership.is_some_and(|membership| membership.user.as_deref() == Some(user))
            }));
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.close_with(connections, id, 4009, TERMINATED, now);
        }
    }

    /// Closes this node's connection with a socket id. Returns whether there is one.
    pub(super) fn end_connection<T>(
        &mut self,
        connections: &mut Connections<T>,
        app: u32,
        socket_id: SocketId,
        now: Now,
    ) -> bool {
        // Searches every connection: such requests are rare, and an index would cost memory per
        // connection.
        let found = connections.find_subscriber(app, socket_id);
        found.inspect(|&id| self.close_with(connections, id, 4009, TERMINATED, now)).is_some()
    }

    /// Removes the memberships of a closed subscriber, and its connection from its app.
    fn remove_subscriber<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        mut subscriber: Subscriber,
        end: End<'_>,
        now: Now,
    ) {
        let app = subscriber.app;
        for membership in std::mem::take(&mut subscriber.memberships) {
            self.report_unsubscribed(connections, app, subscriber.socket_id, &membership);
            self.remove_member(connections, id, app, membership, now);
        }
        connections.work.add(MEMBERSHIP_UNITS);
        self.apps[app].connections -= 1;
        self.bus.iter_mut().for_each(|bus| bus.queue_connection_count(app));
        connections.happenings.disconnected(app, &subscriber, end);
        log::debug!("{} disconnected", subscriber.socket_id);
    }
}

/// The code of RFC 6455 for a connection that has ended without a close frame.
pub(super) const ABNORMAL: u16 = 1006;
const TERMINATED: &str = "Connection terminated by the application";
