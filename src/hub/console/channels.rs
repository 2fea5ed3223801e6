//! `GET /api/channels`: one page of the channels of an app, searched and sorted.
//!
//! A request visits all channels, a few thousand each time the loop comes to it, so that 100,000
//! channels delay no client. It keeps only the entries of its page, and the next page begins after the
//! last entry of this one.

use super::responses::error;
use crate::hub::Hub;
use crate::hub::api::Answer;
use crate::hub::app::App;
use crate::hub::channel::{Access, Channel, is_encrypted};
use crate::hub::peer::Request;
use crate::hub::scan::{PAGE, Scan};
use crate::hub::work::CHANNEL_UNITS;
use crate::proto::http::Response;
use crate::proto::json_object::JsonObject;
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// Continues the search of a request, or begins it.
    pub(super) fn channels_of_console(
        &mut self,
        request: &mut Request,
        query: &Query<'_>,
    ) -> Result<Answer, Response> {
        let mut scan = match request.scan.take() {
            Some(scan) => scan,
            None => {
                let scan = Scan::begin(self.app_of(query)?, query);
                Box::new(scan.map_err(|why| error(400, why))?)
            }
        };
        let app = &self.pubsub.apps[scan.app];
        let visited = scan.visit(app);
        self.connections.work.add(visited as u64 * CHANNEL_UNITS);
        if !scan.is_complete(app) {
            request.scan = Some(scan);
            return Ok(Answer::Deferred);
        }
        Ok(response(&scan, app).into())
    }
}

fn response(scan: &Scan, app: &App) -> Response {
    let has_more = scan.entries.len() > PAGE;
    let entries = scan.entries.iter().take(PAGE).map(|entry| {
        let channel = app.channel(&entry.name);
        JsonObject::new()
            .text("name", &entry.name)
            .number("subscribers", entry.subscribers)
            .nullable_number("users", entry.users.map(|users| users as u64))
            .text("kind", channel.map_or("", kind))
            .flag("cache", channel.is_some_and(|channel| channel.kind.cache))
            .number("count", entry.count)
            .end()
    });
    let channels: Vec<String> = entries.collect();
    let mut body = JsonObject::new();
    body.list("channels", &channels).number("found", scan.found);
    body.number("all", app.listed.into()).flag("more", has_more);
    Response::json(200, body.end())
}

/// The kind of a channel, as the page shows it.
pub(super) fn kind(channel: &Channel) -> &'static str {
    match channel.kind.access {
        Access::Public => "public",
        Access::Private if is_encrypted(&channel.name) => "encrypted",
        Access::Private => "private",
        Access::Presence => "presence",
        Access::User | Access::Internal => "internal",
    }
}
