//! Checks that an API request is signed by its app, and not too old (protocol section 14.1).

use std::borrow::Cow;

use super::super::ids::Now;
use super::Api;
use crate::proto::auth::is_md5_hex;
use crate::proto::http::{Head, HttpError};
use crate::proto::query::Query;

impl<T> Api<'_, T> {
    /// Checks key, version, time and signature, which covers the hash of the body. `path` is the
    /// path without the prefix, which official libraries sign; a signature of the path as sent is
    /// accepted as well.
    pub(super) fn verify(
        &self,
        app: u32,
        path: &str,
        head: &Head<'_>,
        query: &Query<'_>,
        now: Now,
    ) -> Result<(), HttpError> {
        let app = &self.pubsub.apps[app];
        match query.value("auth_key") {
            None => return Err(invalid("auth_key is missing.")),
            Some(key) if key != app.settings.key => {
                return Err(invalid("auth_key is not the key of this app."));
            }
            Some(_) => {}
        }
        if query.value("auth_version") != Some("1.0") {
            return Err(invalid("auth_version must be 1.0."));
        }
        self.check_time(query, now)?;
        let Some(signature) = query.value("auth_signature") else {
            return Err(invalid("auth_signature is missing."));
        };
        let mut method = Cow::Borrowed(head.method);
        if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            method.to_mut().make_ascii_uppercase();
        }
        let parameters = query.signed();
        let signs = |path: &str, parameters: &str| {
            app.verify(&[&method, "\n", path, "\n", parameters], signature)
        };
        if signs(path, &parameters) || (path != head.path && signs(head.path, &parameters)) {
            return Ok(());
        }
        // The remaining possibility is PHP's form of array parameters, which is rare.
        match query.signed_with_joined_arrays() {
            Some(joined) if signs(path, &joined) || signs(head.path, &joined) => Ok(()),
            _ => {
                let signed = format!("{method}\n{path}\n{parameters}");
                log::debug!("wrong signature; the signed text is {signed:?}");
                Err(HttpError::new(401, "Authentication signature invalid."))
            }
        }
    }

    /// Checks the body against its signed hash. For an empty body most libraries send no hash, and
    /// some send that of the empty text.
    pub(super) fn check_body(&self, query: &Query<'_>, body: &[u8]) -> Result<(), HttpError> {
        match query.value("body_md5") {
            None if body.is_empty() => Ok(()),
            Some(hash) if is_md5_hex(hash, body) => Ok(()),
            None => Err(invalid("body_md5 is missing.")),
            Some(_) => Err(invalid("body_md5 is not that of the body.")),
        }
    }

    /// Checks that the request was signed recently, so that it cannot be replayed later.
    fn check_time(&self, query: &Query<'_>, now: Now) -> Result<(), HttpError> {
        let window_s = u64::from(self.connections.limits.api_timestamp_window_s);
        if window_s == 0 {
            return Ok(());
        }
        let Some(given) = query.value("auth_timestamp") else {
            return Err(invalid("auth_timestamp is missing."));
        };
        let Ok(given_s) = given.parse::<u64>() else {
            return Err(invalid("auth_timestamp is not a number of seconds."));
        };
        let off_s = given_s.abs_diff(now.unix_s);
        if off_s >= window_s {
            let text = format!(
                "Timestamp expired: {given_s} is {off_s} seconds from the server's clock, the \
                 limit is {window_s} (limits.api_timestamp_window_s)."
            );
            return Err(HttpError::new(401, text));
        }
        Ok(())
    }
}

fn invalid(why: &str) -> HttpError {
    HttpError::new(401, format!("Authentication signature invalid: {why}"))
}
