//! `GET /api/channel`: one channel with its members, its cached event and its clients, a page of
//! each.

use super::channels::kind;
use super::responses::error;
use crate::hub::Hub;
use crate::hub::app::App;
use crate::hub::ids::{ConnId, Now};
use crate::hub::origins::Origin;
use crate::proto::http::Response;
use crate::proto::json_object::JsonObject;
use crate::proto::query::Query;
use crate::proto::websocket;

impl<T> Hub<T> {
    /// The channel in `name`; `clients_from` and `members_from` are the places where the two lists
    /// begin.
    pub(super) fn channel_of_console(
        &mut self,
        query: &Query<'_>,
        now: Now,
    ) -> Result<Response, Response> {
        let at = self.app_of(query)?;
        let name = query.value("name").unwrap_or_default();
        let from = |key| query.value(key).and_then(|text| text.parse().ok()).unwrap_or(0_usize);
        let (clients_from, members_from) = (from("clients_from"), from("members_from"));
        let app = &self.pubsub.apps[at];
        let place = app.place(name);
        let channel = place.and_then(|place| app.channels.get(place as usize));
        let cached = cached_event(app, name, now);
        let Some((place, channel)) = place.zip(channel.filter(|it| it.kind.is_listed())) else {
            // A cache channel keeps its event without a subscriber.
            let Some(cached) = cached else {
                return Err(error(404, "This channel has no subscriber."));
            };
            let mut body = JsonObject::new();
            body.text("name", name).number("subscribers", 0).raw("cached", &cached);
            return Ok(Response::json(200, body.end()));
        };
        let ids = channel.members.iter().skip(clients_from).take(PAGE);
        let clients: Vec<String> = ids.filter_map(|id| self.client(*id, place, now)).collect();
        let presence = channel.presence.as_deref();
        let mut body = JsonObject::new();
        body.text("name", name)
            .text("kind", kind(channel))
            .number("subscribers", channel.subscriptions())
            .number("clients_here", channel.members.len() as u64)
            .list("clients", &clients)
            .number("clients_from", clients_from as u64)
            .nullable_number("users", presence.map(|presence| presence.len() as u64))
            .number("members_from", members_from as u64)
            .raw("cached", cached.as_deref().unwrap_or("null"));
        match presence {
            Some(users) => body.texts("members", &mut users.ids().skip(members_from).take(PAGE)),
            None => body.raw("members", "null"),
        };
        // Skipping is linear.
        let units = (clients.len() + PAGE) as u64 * 4 + members_from as u64 / 64;
        self.connections.work.add(units);
        Ok(Response::json(200, body.end()))
    }

    /// A subscriber of the channel at this place.
    fn client(&self, id: ConnId, place: u32, now: Now) -> Option<String> {
        let peer = self.connections.get(id)?;
        let subscriber = peer.subscriber()?;
        let member = subscriber.membership(place).and_then(|it| it.user.as_deref());
        let signed_in = subscriber.user.as_ref().map(|user| &*user.id);
        let mut client = JsonObject::new();
        client
            .printed("socket_id", &subscriber.socket_id)
            .nullable_printed("address", peer.address)
            .nullable("origin", subscriber.origin.as_ref().map(Origin::as_str))
            .nullable("user_id", member.or(signed_in))
            .number("channels", subscriber.channels() as u64)
            .number("waiting_bytes", peer.outbox.bytes() as u64)
            .number("idle_ms", now.ms.saturating_sub(peer.last_seen_ms));
        Some(client.end())
    }
}

/// The cached event of a channel, if it has one.
fn cached_event(app: &App, name: &str, now: Now) -> Option<String> {
    let (frame, ttl_s) = app.cache.event(name, now.ms)?;
    let text = String::from_utf8_lossy(websocket::payload(frame));
    let end = text.char_indices().nth(CACHED_CHARACTERS).map_or(text.len(), |(at, _)| at);
    let mut event = JsonObject::new();
    event.text("text", &text[..end]).flag("is_cut", end < text.len()).number("ttl_s", ttl_s);
    Some(event.end())
}

/// Clients or members on a page.
const PAGE: usize = 100;
/// The most characters of a cached event that the page shows.
const CACHED_CHARACTERS: usize = 8_192;
