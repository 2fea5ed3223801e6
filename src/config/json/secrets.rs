//! Checks `secrets` of an app, which replaces `secret` while the secret is being replaced. The values are
//! read in `settings`.

use serde_json::{Map, Value};

/// Checks that an app has one secret or two, in one of the keys.
///
/// # Errors
///
/// What is wrong with `secrets`.
pub(super) fn check(app: &Map<String, Value>) -> Result<(), &'static str> {
    let Some(secrets) = app.get("secrets").filter(|value| !value.is_null()) else {
        return Ok(());
    };
    if app.get("secret").is_some_and(|secret| !secret.is_null()) {
        return Err("secret is set as well: keep one of them");
    }
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    match secrets.as_array().map(Vec::as_slice) {
        Some([one]) if is_text(one) => Ok(()),
        Some([new, old]) if is_text(new) && is_text(old) => Ok(()),
        _ => Err("must be a list of the new secret and the previous one"),
    }
}
