//! What the responses of the console have in common, and the bodies of its requests.

use crate::proto::http::Response;
use crate::proto::json_object::JsonObject;
use crate::proto::message::{self, Object};

/// A response with an error as the page shows it.
pub(super) fn error(status: u16, text: &str) -> Response {
    Response::json(status, JsonObject::new().text("error", text).end())
}

/// The body of a request, which must be a JSON object.
pub(super) fn object(body: &[u8]) -> Result<Object<'_>, Response> {
    let object = std::str::from_utf8(body).ok().and_then(message::object);
    object.ok_or_else(|| error(400, NOT_AN_OBJECT))
}

pub(super) const NOT_AN_OBJECT: &str = "The body is not a JSON object.";

/// Adds the headers that each response of the console has.
pub(super) fn with_headers(response: Response) -> Response {
    response
        .with_header("Cache-Control", "no-store")
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Cross-Origin-Resource-Policy", "same-origin")
}
