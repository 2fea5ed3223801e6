//! Reports API requests that were rejected: finds the app of the request, and what should have been
//! signed.

use super::EVERY_APP;
use super::reports::ApiError;
use crate::hub::Hub;
use crate::hub::ids::ConnId;
use crate::proto::http::{Head, Response};
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// Reports the response to an API request, if it is an error.
    pub(in crate::hub) fn report_api_error(
        &mut self,
        id: ConnId,
        head: &Head<'_>,
        response: &Response,
    ) {
        if response.status < 400 || self.connections.happenings.feed().is_none() {
            return;
        }
        let Some(found) = self.routes.find(head.path) else { return };
        // Without such an app, only the console gets the line.
        let app = self.pubsub.by_id.get(&*found.app_id).copied().unwrap_or(EVERY_APP);
        if !self.connections.happenings.wants_errors(app) {
            return;
        }
        let expected = (response.status == 401).then(|| {
            let method = head.method.to_ascii_uppercase();
            format!("{method}\n{}\n{}", found.path, Query::parse(head.query).signed())
        });
        let address = self.connections.get(id).and_then(|peer| peer.address);
        let error = ApiError {
            method: head.method,
            path: head.path,
            response,
            expected: expected.as_deref(),
            address,
        };
        self.connections.happenings.api_error(app, &error);
    }
}
