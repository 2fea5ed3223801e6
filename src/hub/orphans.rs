//! Closes the connections of apps that were removed from the configuration, spread over
//! `drain_window_ms`. Until then, `snapshot` keeps the app.

use super::Hub;
use super::ids::{ConnId, Now};

impl<T> Hub<T> {
    /// Closes the next connections of removed apps.
    pub(super) fn close_orphans(&mut self, now: Now) {
        let Some(orphans) = &mut self.connections.orphans else { return };
        for id in orphans.take_due(self.connections.limits.drain_window_ms.into(), now.ms) {
            if self.is_orphan(id) {
                self.close_with(id, 4200, "Application was removed", now);
            }
        }
    }

    /// Whether a connection belongs to a removed app.
    pub(super) fn is_orphan(&self, id: ConnId) -> bool {
        let app = self.connections.subscriber(id).map(|s| s.app);
        app.is_some_and(|app| !self.pubsub.is_served(app))
    }
}
