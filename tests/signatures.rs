//! Signatures of the HTTP API: the published vectors, and every kind of invalid signature.

use crate::support::{APP, App, Response, Server, Setup, hmac_hex, md5_hex, now, signed};
use serde_json::json;

const EVENTS: &str = "/apps/app-id/events";
const EVENT: &str = r#"{"name":"x","channel":"c","data":"d"}"#;
const CHANNELS: &str = "/apps/app-id/channels";

fn request(server: &Server, method: &str, target: &str, body: &str) -> Response {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
    server.request(&format!("{head}\r\n{body}"))
}

/// A GET of the channels with this query, signed over this text of parameters.
fn get(server: &Server, query: &str, signed_over: &str) -> Response {
    let signature = hmac_hex(APP.secret, &format!("GET\n{CHANNELS}\n{signed_over}"));
    request(server, "GET", &format!("{CHANNELS}?{query}&auth_signature={signature}"), "")
}

/// The three parameters of every request, in order, with a timestamp this far from now.
fn auth(offset: i64) -> String {
    let timestamp = i64::try_from(now()).unwrap() + offset;
    format!("auth_key=app-key&auth_timestamp={timestamp}&auth_version=1.0")
}

/// Publishes [`EVENT`] with exactly these parameters and a valid signature.
fn post(server: &Server, query: &str) -> Response {
    let signature = hmac_hex(APP.secret, &format!("POST\n{EVENTS}\n{query}"));
    request(server, "POST", &format!("{EVENTS}?{query}&auth_signature={signature}"), EVENT)
}

#[test]
fn the_published_vectors_are_accepted() {
    let app = App { id: "3", key: "278d425bdf160c739803", secret: "7ad3773142a6692b25b8" };
    let server = Setup::bare()
        .env("REVERB_APP_ID", app.id)
        .env("REVERB_APP_KEY", app.key)
        .env("REVERB_APP_SECRET", app.secret)
        .env("REVERB_LIMIT_API_TIMESTAMP_WINDOW_S", 0)
        .start();
    let auth = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0";
    let body = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    let md5 = "ec365a775a4cd0599faeb73354201b6f";
    let signature = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
    assert_eq!(md5_hex(body.as_bytes()), md5);
    let target = format!("/apps/3/events?{auth}&body_md5={md5}&auth_signature={signature}");
    request(&server, "POST", &target, body).is(200, json!({}));
    let signature = "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291";
    let query = format!("{auth}&filter_by_prefix=presence-&info=user_count");
    let target = format!("/apps/3/channels?{query}&auth_signature={signature}");
    request(&server, "GET", &target, "").is(200, json!({"channels": {}}));
}

#[test]
fn a_wrong_signature_is_rejected() {
    let server = Server::start();
    let good = signed(&APP, "POST", EVENTS, "", EVENT.as_bytes());
    request(&server, "POST", &good, EVENT).is(200, json!({}));
    let (query, digits) = good.split_once("&auth_signature=").unwrap();
    let last = if digits.ends_with('0') { "1" } else { "0" };
    for signature in [
        format!("&auth_signature={}{last}", &digits[..63]),
        format!("&auth_signature={}", "0".repeat(64)),
        format!("&auth_signature={}", &digits[..62]),
        format!("&auth_signature={digits}00"),
        format!("&auth_signature[]={digits}"),
        format!("&x={digits}"),
        "&auth_signature=".to_owned(),
        "&auth_signature=%00%FF".to_owned(),
        String::new(),
    ] {
        request(&server, "POST", &format!("{query}{signature}"), EVENT).is_error(401);
    }
    request(&server, "POST", EVENTS, EVENT).is_error(401);
}

#[test]
fn a_signature_is_for_one_method_path_and_query() {
    let server = Server::start();
    let good = signed(&APP, "GET", CHANNELS, "info=user_count", b"");
    request(&server, "GET", &good, "").is(200, json!({"channels": {}}));
    request(&server, "GET", &format!("{good}&filter_by_prefix=x"), "").is_error(401);
    request(&server, "GET", &good.replace("&info=user_count", ""), "").is_error(401);
    request(&server, "GET", &good.replace("user_count", "occupied"), "").is_error(401);
    request(&server, "GET", &good.replace("/channels?", "/connections?"), "").is_error(401);
    let target = signed(&APP, "GET", EVENTS, "", EVENT.as_bytes());
    request(&server, "POST", &target, EVENT).is_error(401);
    let mut http = crate::support::Http::connect(&server);
    http.send(format!("HEAD {good} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(http.head().status, 401);
}

#[test]
fn the_timestamp_must_be_near_the_servers_clock() {
    let server = Server::start();
    for offset in [-590, 0, 590] {
        get(&server, &auth(offset), &auth(offset)).is(200, json!({"channels": {}}));
    }
    for offset in [-610, 610, -100_000_000] {
        let query = auth(offset);
        get(&server, &query, &query).is_error(401);
    }
    for timestamp in ["", "x", "-1", "1e9", "99999999999999999999999"] {
        let query = format!("auth_key=app-key&auth_timestamp={timestamp}&auth_version=1.0");
        get(&server, &query, &query).is_error(401);
    }
    let query = "auth_key=app-key&auth_version=1.0";
    get(&server, query, query).is_error(401);
}

#[test]
fn the_window_can_be_set_and_disabled() {
    let server = Setup::new().env("REVERB_LIMIT_API_TIMESTAMP_WINDOW_S", 30).start();
    let query = auth(-20);
    get(&server, &query, &query).is(200, json!({"channels": {}}));
    let query = auth(-40);
    get(&server, &query, &query).is_error(401);
    let server = Setup::new().env("REVERB_LIMIT_API_TIMESTAMP_WINDOW_S", 0).start();
    let query = auth(-1_000_000);
    get(&server, &query, &query).is(200, json!({"channels": {}}));
}

#[test]
fn the_key_must_belong_to_the_app() {
    let server = Server::start();
    for key in ["other", "APP-KEY", "app-id", ""] {
        let query = auth(0).replace("app-key", key);
        get(&server, &query, &query).is_error(401);
    }
    let query = auth(0).replace("auth_key=app-key&", "");
    get(&server, &query, &query).is_error(401);
}

#[test]
fn the_version_must_be_1_0() {
    let server = Server::start();
    for version in ["2.0", ""] {
        let query = auth(0).replace("1.0", version);
        get(&server, &query, &query).is_error(401);
    }
    let query = auth(0).replace("&auth_version=1.0", "");
    get(&server, &query, &query).is_error(401);
}

#[test]
fn the_body_must_match_the_signature() {
    let server = Server::start();
    let right = md5_hex(EVENT.as_bytes());
    post(&server, &format!("{}&body_md5={right}", auth(0))).is(200, json!({}));
    let other = md5_hex(b"{}");
    for md5 in [other.as_str(), "0", "", &right[1..]] {
        post(&server, &format!("{}&body_md5={md5}", auth(0))).is_error(401);
    }
    post(&server, &auth(0)).is_error(401);
    let target = signed(&APP, "POST", EVENTS, "", EVENT.as_bytes());
    let changed = EVENT.replace("\"d\"", "\"e\"");
    request(&server, "POST", &target, &changed).is_error(401);
}

#[test]
fn a_get_with_a_body_is_signed_with_it() {
    let server = Server::start();
    let target = signed(&APP, "GET", CHANNELS, "", b"{}");
    request(&server, "GET", &target, "{}").is(200, json!({"channels": {}}));
    let target = signed(&APP, "GET", CHANNELS, "", b"");
    request(&server, "GET", &target, "{}").is_error(401);
}

#[test]
fn parameters_are_signed_sorted_lower_cased_and_decoded() {
    let server = Server::start();
    let auth = auth(0);
    for (query, text) in [
        (format!("zeta=1&{auth}&alpha=2"), format!("alpha=2&{auth}&zeta=1")),
        (format!("{auth}&Zeta=1"), format!("{auth}&zeta=1")),
        (format!("{auth}&q=a+b%26c%3Dd+%C3%A9"), format!("{auth}&q=a b&c=d é")),
        (
            format!("{auth}&info=user_count%2Csubscription_count"),
            format!("{auth}&info=user_count,subscription_count"),
        ),
        (
            format!("{auth}&info=user_count,subscription_count"),
            format!("{auth}&info=user_count,subscription_count"),
        ),
        (format!("{auth}&q="), format!("{auth}&q=")),
        (format!("{auth}&q=%c3%a9"), format!("{auth}&q=é")),
        (format!("a.b=1&{auth}"), format!("a.b=1&{auth}")),
    ] {
        get(&server, &query, &text).is(200, json!({"channels": {}}));
    }
}

#[test]
fn lists_are_signed_in_both_notations() {
    let server = Server::start();
    let auth = auth(0);
    for (query, text) in [
        (format!("{auth}&x[]=a&x[]=b"), format!("{auth}&x=a,b")),
        (format!("{auth}&x[]=a&x[]=b"), format!("{auth}&x[]=a&x[]=b")),
        (format!("{auth}&x[0]=a&x[1]=b"), format!("{auth}&x=a,b")),
        (format!("{auth}&x%5B%5D=a&x%5B%5D=b"), format!("{auth}&x=a,b")),
    ] {
        get(&server, &query, &text).is(200, json!({"channels": {}}));
    }
    let (query, text) = (format!("{auth}&x[]=a&x[]=b"), format!("{auth}&x=b,a"));
    get(&server, &query, &text).is_error(401);
}

#[test]
fn the_path_is_signed_as_it_was_sent() {
    let server = Server::start();
    let encoded = "/apps/app%2Did/events";
    let target = signed(&APP, "POST", encoded, "", EVENT.as_bytes());
    request(&server, "POST", &target, EVENT).is(200, json!({}));
    let decoded = signed(&APP, "POST", EVENTS, "", EVENT.as_bytes());
    request(&server, "POST", &decoded.replace("app-id", "app%2Did"), EVENT).is_error(401);
}

#[test]
fn a_slash_within_a_name_is_percent_encoded_and_signed_so() {
    let server = Server::start();
    let mut client = crate::support::Client::connect(&server);
    client.subscribe("a/b");
    client.join("presence-a/b", "x/y");
    let of = |channel: &str| server.get(&format!("/apps/app-id/channels/{channel}"), "");
    of("a%2Fb").is(200, json!({"occupied": true}));
    of("a%2fb").is(200, json!({"occupied": true}));
    of("a/b").is_error(404);
    of("presence-a%2Fb/users").is(200, json!({"users": [{"id": "x/y"}]}));
    let target = signed(&APP, "GET", "/apps/app-id/channels/a/b", "", b"");
    request(&server, "GET", &target.replace("a/b", "a%2Fb"), "").is_error(401);
    let path = "/apps/app-id/users/x%2Fy/terminate_connections";
    server.post(path, json!({})).is(200, json!({}));
    client.error(4009, "Connection terminated by the application");
}

#[test]
fn a_path_prefix_may_be_signed_or_not() {
    let server = Server::with(&[("REVERB_SERVER_PATH", "/ws")]);
    let with = signed(&APP, "GET", "/ws/apps/app-id/channels", "", b"");
    request(&server, "GET", &with, "").is(200, json!({"channels": {}}));
    let without = signed(&APP, "GET", CHANNELS, "", b"");
    request(&server, "GET", &format!("/ws{without}"), "").is(200, json!({"channels": {}}));
    let other = signed(&APP, "GET", "/other/apps/app-id/channels", "", b"");
    request(&server, "GET", &other.replace("/other", "/ws"), "").is_error(401);
}

#[test]
fn a_rejected_request_has_no_effect() {
    let server = Server::start();
    let mut client = crate::support::Client::connect(&server);
    client.subscribe("c");
    request(&server, "POST", EVENTS, EVENT).is_error(401);
    client.nothing();
}

#[test]
fn no_response_contains_the_secret() {
    let server = Setup::new().arg("--debug").start();
    let text = request(&server, "POST", EVENTS, EVENT).is_error(401).to_owned();
    let target =
        signed(&APP, "GET", CHANNELS, "", b"").replace("auth_version=1.0", "auth_version=1.1");
    let other = request(&server, "GET", &target, "").is_error(401).to_owned();
    for visible in [text, other, server.stderr()] {
        assert!(!visible.contains(APP.secret), "{visible}");
    }
}
