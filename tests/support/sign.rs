//! The signatures of the protocol, written from its specification without the server's code.

use super::App;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lower-case hex HMAC-SHA256.
pub fn hmac_hex(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// Lower-case hex MD5.
pub fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The `auth` of a subscription; `data` is its `channel_data`, or empty.
pub fn channel_auth(app: &App, socket_id: &str, channel: &str, data: &str) -> String {
    let mut text = format!("{socket_id}:{channel}");
    if !data.is_empty() {
        text.push(':');
        text.push_str(data);
    }
    format!("{}:{}", app.key, hmac_hex(app.secret, &text))
}

/// The target of a signed API request. `params` are the further parameters, as `a=b` pairs joined
/// with `&`; they must not need decoding.
pub fn signed(app: &App, method: &str, path: &str, params: &str, body: &[u8]) -> String {
    let mut pairs = vec![
        format!("auth_key={}", app.key),
        format!("auth_timestamp={}", now()),
        "auth_version=1.0".to_owned(),
    ];
    if !body.is_empty() {
        pairs.push(format!("body_md5={}", md5_hex(body)));
    }
    pairs.extend(params.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned));
    pairs.sort();
    let query = pairs.join("&");
    let signature = hmac_hex(app.secret, &format!("{method}\n{path}\n{query}"));
    format!("{path}?{query}&auth_signature={signature}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
