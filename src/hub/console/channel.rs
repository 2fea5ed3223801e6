//! `GET /api/channel`: one channel with its members, its cached event and its clients, a page of
//! each.

use serde_json::{Value, json};

use super::channels::kind;
use super::routes::error;
use crate::hub::Hub;
use crate::hub::app::App;
use crate::hub::channel::Channel;
use crate::hub::ids::{ConnId, Now};
use crate::hub::origins::Origin;
use crate::proto::http::Response;
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
            if cached.is_null() {
                return Err(error(404, "This channel has no subscriber."));
            }
            let body = json!({ "name": name, "subscribers": 0, "cached": cached });
            return Ok(Response::json(200, body.to_string()));
        };
        let ids = channel.members.iter().skip(clients_from).take(PAGE);
        let clients: Vec<Value> = ids.filter_map(|id| self.client(*id, place, now)).collect();
        let body = json!({
            "name": name,
            "kind": kind(channel),
            "subscribers": channel.subscriptions(),
            "clients_here": channel.members.len(),
            "clients": clients,
            "clients_from": clients_from,
            "users": channel.presence.as_deref().map(|presence| presence.len()),
            "members": members(channel, members_from),
            "members_from": members_from,
            "cached": cached,
        });
        // Skipping is linear.
        let units = (clients.len() + PAGE) as u64 * 4 + members_from as u64 / 64;
        self.connections.work.add(units);
        Ok(Response::json(200, body.to_string()))
    }

    /// A subscriber of the channel at this place.
    fn client(&self, id: ConnId, place: u32, now: Now) -> Option<Value> {
        let peer = self.connections.get(id)?;
        let subscriber = peer.subscriber()?;
        let member = subscriber.membership(place).and_then(|it| it.user.as_deref());
        let signed_in = subscriber.user.as_ref().map(|user| &*user.id);
        Some(json!({
            "socket_id": subscriber.socket_id.to_string(),
            "address": peer.address.map(|address| address.to_string()),
            "origin": subscriber.origin.as_ref().map(Origin::as_str),
            "user_id": member.or(signed_in),
            "channels": subscriber.channels(),
            "waiting_bytes": peer.outbox.bytes(),
            "idle_ms": now.ms.saturating_sub(peer.last_seen_ms),
        }))
    }
}

/// A page of the users of a presence channel; `null` for other channels.
fn members(channel: &Channel, from: usize) -> Value {
    let Some(presence) = channel.presence.as_deref() else { return Value::Null };
    presence.ids().skip(from).take(PAGE).map(Value::from).collect()
}

/// The cached event of a channel, or `null`.
fn cached_event(app: &App, name: &str, now: Now) -> Value {
    let Some((frame, ttl_s)) = app.cache.event(name, now.ms) else { return Value::Null };
    let text = String::from_utf8_lossy(websocket::payload(frame));
    let end = text.char_indices().nth(CACHED_CHARACTERS).map_or(text.len(), |(at, _)| at);
    json!({ "text": text[..end], "is_cut": end < text.len(), "ttl_s": ttl_s })
}

/// Clients or members on a page.
const PAGE: usize = 100;
/// The most characters of a cached event that the page shows.
const CACHED_CHARACTERS: usize = 8_192;
