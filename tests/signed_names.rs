//! The signature of a subscription is valid for one channel only, regardless of its name.

use crate::support::{APP, Client, Server, channel_auth};
use serde_json::json;

/// Subscribes with this `auth` and `channel_data`. The server must reject that with an error of
/// this `kind`, such as `InvalidData`.
#[track_caller]
fn is_rejected(client: &mut Client, channel: &str, auth: &str, data: &str, kind: &str) {
    let data = json!({"channel": channel, "auth": auth, "channel_data": data});
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    client.error(4200, "Invalid message format");
    let event = client.event();
    assert_eq!(event["event"], "pusher:subscription_error", "{channel}");
    assert_eq!(event["channel"], channel);
    assert!(event["data"].to_string().contains(kind), "{event}");
}

#[test]
fn a_signature_for_a_name_with_a_colon_fits_no_other_channel() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for (channel, data) in [
        ("private-chat", "42"),
        ("private-chat", "x"),
        ("private-chat", "[]"),
        ("private-chat", r#"{"a":1}:{"user_id":"7"}"#),
        ("presence-chat", "42"),
        ("presence-chat", r#""{}""#),
        ("private-cache-a", "null"),
    ] {
        let auth = channel_auth(&APP, &client.socket_id, &format!("{channel}:{data}"), "");
        is_rejected(&mut client, channel, &auth, data, "InvalidData");
    }
    client.nothing();
    client.subscribe_private("private-chat:42");
    client.subscribe_private("private-chat:{42");
    let occupied = json!({"private-chat:42": {}, "private-chat:{42": {}});
    server.get("/apps/app-id/channels", "").is(200, json!({"channels": occupied}));
}

#[test]
fn a_signature_with_data_fits_no_channel_whose_name_ends_with_the_data() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for name in [r#"private-chat:{"user_id":"7"}"#, r#"presence-a:b: {"a":{"b":":{}"}} "#] {
        let auth = channel_auth(&APP, &client.socket_id, name, "");
        is_rejected(&mut client, name, &auth, "", "InvalidName");
    }
    client.subscribe(r#"chat:{"user_id":"7"}"#);
    client.nothing();
}
