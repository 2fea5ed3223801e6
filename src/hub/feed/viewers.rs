//! The viewers as connections: a request becomes a viewer, its lines go to its outbox, and it ends.

use super::filter::Filter;
use super::viewer::Viewer;
use super::{Feed, HAS_FEED};
use crate::config::VERSION;
use crate::hub::Hub;
use crate::hub::connections::Connections;
use crate::hub::connections::requests::Step;
use crate::hub::ids::{ConnId, Now};
use crate::hub::peer::{CloseMode, Phase, Viewing};
use crate::proto::http::{Head, Response};

/// A request for a feed that was accepted.
pub(in crate::hub) struct FeedRequest {
    pub app: u32,
    pub filter: Filter,
    /// The id of this node; `None` for a single node.
    pub node: Option<String>,
    /// The ids of the other live nodes.
    pub nodes: Vec<String>,
}

impl<T> Connections<T> {
    /// Sends the head of the response and the first line. From now on the connection is a viewer.
    pub(in crate::hub) fn begin_feed(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        request: FeedRequest,
        now: Now,
    ) -> Step {
        log::debug!("{} {} 200, a feed", head.method, head.path);
        let FeedRequest { app, filter, node, nodes } = request;
        let (is_chunked, has_payload) = (head.minor > 0, filter.has_payload);
        let response = Response { content_type: "application/x-ndjson", ..Response::json(200, "") };
        // nginx must not collect the lines until it has a buffer full of them.
        let response = response.with_header("Cache-Control", "no-store");
        let response = response.with_header("X-Accel-Buffering", "no");
        let frame = response.encode_chunked_head(is_chunked, Some("close"), self.date(now));
        self.queue(id, frame);
        let viewer = Viewer::new(id, filter, is_chunked, &self.limits);
        let port = self.port(id).unwrap_or_default();
        let feed = self.happenings.begin_feed(now);
        let app_id = feed.app_ids.get(app as usize).cloned();
        feed.add(app, viewer);
        feed.send(app, id, "hello", &|line| {
            let head = line.head.nullable("app", app_id.as_deref()).text("version", VERSION);
            head.nullable("node", node.as_deref());
            head.texts("nodes", &mut nodes.iter().map(String::as_str)).flag("payload", has_payload);
        });
        let alive_ms = now.ms + ALIVE_MS;
        if let Some(peer) = self.get_mut(id) {
            let before = peer.app();
            peer.phase = Phase::Viewing(Viewing { app, alive_ms, port });
            self.app_changed(id, before);
        }
        self.arm_by(id, alive_ms);
        Step::Viewing
    }

    /// Puts the lines that wait in the outboxes of viewers that have read the previous ones, and
    /// counts those that were dropped.
    pub(in crate::hub) fn send_feed(&mut self) {
        let chunks = self.happenings.feed_mut().map(Feed::take_due);
        for (id, chunk) in chunks.into_iter().flatten() {
            self.queue(id, chunk);
        }
        self.count_feed();
    }

    /// Counts the work and the dropped lines since the last call.
    pub(in crate::hub) fn count_feed(&mut self) {
        let Some(feed) = self.happenings.feed_mut() else { return };
        self.work.add(std::mem::take(&mut feed.units));
        for (app, lines) in feed.uncounted.drain(..) {
            // Lines of the console belong to no app.
            let Some(counters) = self.counters.apps.get_mut(app as usize) else { continue };
            counters.feed_lines_dropped += lines;
        }
    }

    /// A connection was written to. If it is a viewer and has nothing left to write, it may get
    /// further lines.
    pub(in crate::hub) fn feed_written(&mut self, id: ConnId) {
        let Some(peer) = self.get(id).filter(|_| HAS_FEED) else { return };
        if let Phase::Viewing(Viewing { app, .. }) = peer.phase
            && peer.outbox.is_empty()
            && let Some(feed) = self.happenings.feed_mut()
        {
            feed.written(app, id);
        }
    }

    /// A viewer is due: sends it a line, so that proxies keep the response open, or drops it if its
    /// client has read nothing for as long as a connection may be idle.
    pub(in crate::hub) fn check_viewer(&mut self, id: ConnId, now: Now) {
        let idle_max_ms = u64::from(self.limits.keep_alive_timeout_ms);
        let Some(peer) = self.get_mut(id) else { return };
        let has_output = !peer.outbox.is_empty();
        let end_ms = peer.last_seen_ms + idle_max_ms;
        let Phase::Viewing(viewing) = &mut peer.phase else { return };
        if has_output && now.ms >= end_ms {
            return self.retire_request(id, CloseMode::Now, now);
        }
        let is_due = now.ms >= viewing.alive_ms;
        if is_due {
            viewing.alive_ms = now.ms + ALIVE_MS;
        }
        let (app, alive_ms) = (viewing.app, viewing.alive_ms);
        self.arm(id, if has_output { alive_ms.min(end_ms) } else { alive_ms });
        if let Some(feed) = self.happenings.feed_mut().filter(|_| is_due) {
            feed.send(app, id, "alive", &|_| {});
        }
    }

    /// Ends the response of a viewer with the lines that wait for it, and closes its connection.
    pub(in crate::hub) fn end_feed(&mut self, id: ConnId, now: Now) {
        let Some(Phase::Viewing(Viewing { app, .. })) = self.get(id).map(|peer| &peer.phase) else {
            return;
        };
        let app = *app;
        let Some(feed) = self.happenings.feed_mut() else { return };
        let frames = [feed.take_chunk(app, id), feed.end(app, id)];
        frames.into_iter().flatten().for_each(|frame| self.queue(id, frame));
        self.retire_request(id, CloseMode::AfterPeer { half_closed: false }, now);
    }

    /// Removes a viewer whose connection closes.
    pub(in crate::hub) fn remove_viewer(&mut self, app: u32, id: ConnId) {
        self.count_feed();
        self.happenings.remove_viewer(app, id);
    }
}

impl<T> Hub<T> {
    /// Ends all feeds: the saved state contains none, and their clients reconnect.
    pub(in crate::hub) fn end_feeds(&mut self, now: Now) {
        if self.connections.happenings.feed_mut().is_some() {
            self.connections.ids().into_iter().for_each(|id| self.connections.end_feed(id, now));
        }
    }
}

/// Milliseconds between two lines `alive`. Proxies close a response without data after 60 s.
const ALIVE_MS: u64 = 30_000;
