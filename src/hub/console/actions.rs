//! What the console changes, if it may: it publishes events and disconnects clients. Both are the
//! requests of the HTTP API, with the session in place of a signature.

use super::responses::{error, object};
use crate::hub::Hub;
use crate::hub::api::Answer;
use crate::hub::ids::Now;
use crate::proto::http::Response;
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// `POST /api/publish`: the body is that of `POST /apps/ID/events`.
    pub(super) fn publish_from_console(
        &mut self,
        query: &Query<'_>,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, Response> {
        let app = self.app_of(query)?;
        self.api().events(app, body, now)
    }

    /// `POST /api/kick`: disconnects the client with a `socket_id`, or the clients of a `user_id`.
    pub(super) fn kick_from_console(
        &mut self,
        query: &Query<'_>,
        body: &[u8],
        now: Now,
    ) -> Result<Answer, Response> {
        let (app, body) = (self.app_of(query)?, object(body)?);
        // Both search every connection or channel.
        let searched = self.connections.len() + self.pubsub.apps[app].channels.len();
        if self.connections.must_defer(|| searched as u64) {
            return Ok(Answer::Deferred);
        }
        match (body.text("socket_id"), body.text("user_id")) {
            (Some(socket_id), _) => Ok(self.api().terminate_one(app, &socket_id, now).into()),
            (None, Some(user)) => Ok(self.api().terminate(app, &user, now).into()),
            (None, None) => Err(error(422, "The body needs a socket_id or a user_id.")),
        }
    }
}
