//! `GET feed`: checks the parameters and the number of viewers. The lines are written in
//! `hub/feed`.

use super::super::feed::{EVERY_APP, FeedRequest, Filter, HAS_FEED};
use super::{Answer, Api};
use crate::config::LimitKind;
use crate::proto::http::{HttpError, Response};
use crate::proto::query::Query;

impl<T> Api<'_, T> {
    /// `GET feed`: what happens in the app, as long as the client reads it.
    pub(super) fn feed(&self, app: u32, query: &Query<'_>) -> Result<Answer, Response> {
        if !HAS_FEED {
            let text = "This reverb was built without the feed (the feature `console`).";
            return Err(Response::text(404, text));
        }
        let filter = Filter::parse(query, self.connections.happenings.feed_payload);
        let filter = filter.map_err(|why| Response::text(400, why))?;
        self.begin_feed(app, filter)
    }

    /// Begins a feed of an app, or of every app for the console, unless it has too many viewers.
    pub(in crate::hub) fn begin_feed(&self, app: u32, filter: Filter) -> Result<Answer, Response> {
        let happenings = &self.connections.happenings;
        let limit = self.connections.limits.feed_viewers;
        if happenings.viewers(app) >= limit as usize {
            let of = if app == EVERY_APP { "the console" } else { "this app" };
            let text =
                format!("The feed of {of} has {limit} viewers already (limits.feed_viewers).");
            return Err(HttpError::at(LimitKind::FeedViewers, 429, text).into());
        }
        if self.connections.is_draining() {
            return Err(Response::text(503, "The server stops; connect again in a second."));
        }
        let bus = self.pubsub.bus.as_ref();
        let node = bus.map(|bus| bus.id.to_string());
        let others = bus.iter().flat_map(|bus| bus.nodes.iter());
        let nodes = others.filter(|(_, node)| node.is_live).map(|(_, node)| node.id.to_string());
        let nodes = nodes.collect();
        Ok(Answer::Feed(Box::new(FeedRequest { app, filter, node, nodes })))
    }
}
