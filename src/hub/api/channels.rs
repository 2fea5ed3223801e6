//! API requests about connections, channels and users, and the requests that end connections. Lists
//! of channels are in `listing`.

use super::super::channel::{Access, Kind};
use super::super::channel_info::Info;
use super::super::ids::{Now, SocketId};
use super::Api;
use crate::proto::envelope::Item;
use crate::proto::http::Response;
use crate::proto::message::push_json_string;
use crate::proto::query::Query;

impl<T> Api<'_, T> {
    /// `GET connections`: every WebSocket of the app, subscribed or not.
    pub(super) fn connections_of(&self, app: u32) -> Response {
        let connections = self.pubsub.apps[app].all_connections();
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
        info.write(&mut body, &self.pubsub.apps[app], name, now);
        Response::json(200, body)
    }

    /// `GET channels/{name}/users`: each user of a presence channel once.
    pub(super) fn users_of(&self, app: u32, channel: &str) -> Response {
        let app = &self.pubsub.apps[app];
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

    /// `POST users/{id}/terminate_connections`: closes the connections that are signed in as this
    /// user, and those that are this user in a presence channel, at all nodes.
    pub(in crate::hub) fn terminate(&mut self, app: u32, user: &str, now: Now) -> Response {
        if let Some(bus) = &mut self.pubsub.bus {
            let app = self.pubsub.apps[app].settings.id.as_str();
            bus.publish(&Item::Terminate { app: app.into(), user: user.into() });
        }
        self.pubsub.end_connections(self.connections, app, user, now);
        Response::json(200, "{}")
    }

    /// `POST connections/{socket_id}/terminate`: closes this connection. If this node does not have
    /// it, the other nodes are asked to close it; they do not report whether they have it.
    pub(in crate::hub) fn terminate_one(
        &mut self,
        app: u32,
        socket_id: &str,
        now: Now,
    ) -> Response {
        let Some(id) = SocketId::parse(socket_id) else {
            let text = "A socket id is two numbers, as in 1234.5678.";
            return Response::text(400, text);
        };
        if self.pubsub.end_connection(self.connections, app, id, now) {
            return Response::json(200, "{}");
        }
        let bus = self.pubsub.bus.as_mut().filter(|bus| bus.nodes.live_count() > 0);
        let Some(bus) = bus else {
            return Response::text(404, "This app has no connection with this socket id.");
        };
        let app = self.pubsub.apps[app].settings.id.as_str().into();
        bus.publish(&Item::TerminateOne { app, socket_id: socket_id.into() });
        Response::json(200, "{}")
    }
}
