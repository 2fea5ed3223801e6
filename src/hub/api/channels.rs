//! What the API tells of connections, channels and users, and how it ends a user's connections.

use super::super::Hub;
use super::super::channel::{Access, Kind};
use super::super::peer::{ConnId, Now};
use super::info::Info;
use crate::proto::envelope::Item;
use crate::proto::http::Response;
use crate::proto::message::push_json_string;
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// `GET connections`: every WebSocket of the app, subscribed or not.
    pub(super) fn connections_of(&self, app: u32) -> Response {
        let connections = self.apps[app as usize].all_connections();
        Response::json(200, format!(r#"{{"connections":{connections}}}"#))
    }

    /// `GET channels/{name}`.
    pub(super) fn channel_info(
        &self,
        app: u32,
        name: &str,
        query: &Query<'_>,
        now: Now,
    ) -> Response {
        let info = Info::parse(query.value("info").unwrap_or_default()).with_occupied();
        let mut body = String::new();
        info.write(&mut body, &self.apps[app as usize], name, now);
        Response::json(200, body)
    }

    /// `GET channels/{name}/users`: each user of a presence channel once.
    pub(super) fn users_of(&self, app: u32, channel: &str) -> Response {
        let app = &self.apps[app as usize];
        let presence = app.channel(channel).and_then(|channel| channel.presence.as_deref());
        let Some(presence) = presence else {
            return match Kind::of(channel).access {
                Access::Presence if app.settings.empty_users_ok => {
                    Response::json(200, r#"{"users":[]}"#)
                }
                Access::Presence => Response::json(404, "{}"),
                _ if app.channel(channel).is_some() => Response::json(400, "{}"),
                _ => Response::json(404, "{}"),
            };
        };
        let mut body = String::from(r#"{"users":["#);
        for (n, id) in presence.ids().enumerate() {
            body.push_str(if n == 0 { r#"{"id":"# } else { r#",{"id":"# });
            push_json_string(&mut body, id);
            body.push('}');
        }
        body.push_str("]}");
        Response::json(200, body)
    }

    /// `POST users/{id}/terminate_connections`: ends the connections that are signed in as this
    /// user, and those that are this user in a presence channel, at all nodes.
    pub(super) fn terminate(&mut self, app: u32, user: &str, now: Now) -> Response {
        if let Some(bus) = &mut self.bus {
            let app = self.apps[app as usize].settings.id.as_str();
            bus.publish(&Item::Terminate { app: app.into(), user: user.into() });
        }
        self.end_connections(app, user, now);
        Response::json(200, "{}")
    }

    /// The same at this node.
    pub(in super::super) fn end_connections(&mut self, app: u32, user: &str, now: Now) {
        let mut ids: Vec<ConnId> = self.signed_in(app, user).to_vec();
        // Looked for in every presence channel: this is asked for rarely, and an index would cost
        // each connection memory.
        for (place, channel) in &self.apps[app as usize].channels {
            if !channel.presence.as_deref().is_some_and(|presence| presence.contains(user)) {
                continue;
            }
            ids.extend(channel.members.iter().copied().filter(|&id| {
                let subscriber = self.peers.get(id).and_then(|peer| peer.subscriber());
                let membership = subscriber.and_then(|s| s.membership(place as u32));
                membership.is_some_and(|membership| membership.user.as_deref() == Some(user))
            }));
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.close_with(id, 4009, "Connection terminated by the application", now);
        }
    }
}
