//! Users: signing in, the channel of a user, termination and watchlists.

use crate::support::{APP, App, Client, Server, Setup, hmac_hex};
use serde_json::{Value, json};

fn user_auth(app: &App, socket_id: &str, user_data: &str) -> String {
    format!("{}:{}", app.key, hmac_hex(app.secret, &format!("{socket_id}::user::{user_data}")))
}

fn send_signin(client: &mut Client, auth: &str, user_data: &str) {
    let data = json!({"auth": auth, "user_data": user_data});
    client.send(json!({"event": "pusher:signin", "data": data}));
}

/// Signs in and expects the confirmation, with the same text as `user_data`.
#[track_caller]
pub fn sign_in(client: &mut Client, user_data: &str) {
    let auth = user_auth(&APP, &client.socket_id, user_data);
    send_signin(client, &auth, user_data);
    let event = client.event();
    assert_eq!(event["event"], "pusher:signin_success");
    let data = match &event["data"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        object => object.clone(),
    };
    assert_eq!(data, json!({"user_data": user_data}));
}

#[track_caller]
pub fn error_code(client: &mut Client) -> Value {
    let event = client.event();
    assert_eq!(event["event"], "pusher:error", "{event}");
    let data = &event["data"];
    data["code"].clone()
}

#[track_caller]
pub fn watched(client: &mut Client) -> Value {
    let event = client.event();
    assert_eq!(event["event"], "pusher_internal:watchlist_events", "{event}");
    assert_eq!(event.get("channel"), None);
    match &event["data"] {
        Value::String(text) => serde_json::from_str::<Value>(text).unwrap()["events"].clone(),
        object => object["events"].clone(),
    }
}

#[test]
fn the_published_vector_of_the_user_signature_holds() {
    let app = App { id: "3", key: "278d425bdf160c739803", secret: "7ad3773142a6692b25b8" };
    let auth = user_auth(&app, "1234.1234", r#"{"id":"12345"}"#);
    let digits = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    assert_eq!(auth, format!("278d425bdf160c739803:{digits}"));
}

#[test]
fn a_client_signs_in_and_receives_events_for_its_user() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let mut tab = Client::connect(&server);
    let mut other = Client::connect(&server);
    for (client, data) in
        [(&mut client, r#"{"id":"42"}"#), (&mut tab, r#"{ "id": "42", "x": 1.0 }"#)]
    {
        sign_in(client, data);
        client.subscribe("#server-to-user-42");
    }
    sign_in(&mut other, r#"{"id":"43"}"#);
    server.publish("#server-to-user-42", "news", "{}");
    let news = json!({"event": "news", "channel": "#server-to-user-42", "data": "{}"});
    client.expect(news.clone());
    tab.expect(news);
    other.nothing();
}

#[test]
fn the_channel_of_another_user_rejects_a_client() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"42"}"#);
    for channel in ["#server-to-user-43", "#server-to-user-", "#server-to-user-4", "#other-42"] {
        let data = json!({"channel": channel, "auth": ""});
        client.send(json!({"event": "pusher:subscribe", "data": data}));
        client.refused(channel);
    }
    client.nothing();
}

#[test]
fn the_channel_of_a_user_is_not_listed() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"42"}"#);
    client.subscribe("#server-to-user-42");
    client.subscribe("c");
    let channels = server.get("/apps/app-id/channels", "").json();
    assert_eq!(channels, json!({"channels": {"c": {}}}));
}

#[test]
fn a_wrong_signature_does_not_sign_in() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let data = r#"{"id":"42"}"#;
    let right = user_auth(&APP, &client.socket_id, data);
    let (_, digits) = right.split_once(':').unwrap();
    for auth in [
        "app-key:00".to_owned(),
        digits.to_owned(),
        format!("other:{digits}"),
        format!("app-key::user::{digits}"),
        user_auth(&APP, "1.1", data),
        user_auth(&APP, &client.socket_id, r#"{"id":"43"}"#),
        crate::support::channel_auth(&APP, &client.socket_id, data, ""),
        String::new(),
    ] {
        send_signin(&mut client, &auth, data);
        assert_eq!(error_code(&mut client), 4009, "{auth}");
    }
    client.nothing();
    let data = json!({"channel": "#server-to-user-42", "auth": ""});
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    client.refused("#server-to-user-42");
}

#[test]
fn user_data_must_name_a_user() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for data in
        ["", "{}", "null", "5", "[]", "{nope", r#"{"id":""}"#, r#"{"id":null}"#, r#"{"id":["x"]}"#]
    {
        let auth = user_auth(&APP, &client.socket_id, data);
        send_signin(&mut client, &auth, data);
        let code = error_code(&mut client);
        assert_eq!(code, 4200, "{data}");
    }
    // A numeric id counts as its text, as in presence channels.
    let mut numbered = Client::connect(&server);
    sign_in(&mut numbered, r#"{"id":42}"#);
    numbered.subscribe("#server-to-user-42");
    for data in [json!({}), json!(null), json!({"auth": 5, "user_data": 5}), json!("x")] {
        client.send(json!({"event": "pusher:signin", "data": data}));
        error_code(&mut client);
    }
    client.nothing();
}

#[test]
fn a_connection_cannot_change_its_user() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"42"}"#);
    sign_in(&mut client, r#"{"id":"42","user_info":{"name":"again"}}"#);
    let data = r#"{"id":"43"}"#;
    let auth = user_auth(&APP, &client.socket_id, data);
    send_signin(&mut client, &auth, data);
    error_code(&mut client);
    client.nothing();
    client.subscribe("#server-to-user-42");
}

#[test]
fn a_signed_in_client_needs_no_channel_data_for_presence() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"42","user_info":{"name":"Ann"}}"#);
    client.ask_to_join("presence-a", "");
    let members = json!({"count": 1, "ids": ["42"], "hash": {"42": {"name": "Ann"}}});
    assert_eq!(client.joined("presence-a"), members);
    let members = client.join("presence-b", "7");
    assert_eq!(members["ids"], json!(["7"]));
}

#[test]
fn terminating_a_user_closes_only_its_connections() {
    let server = Server::start();
    let mut signed = Client::connect(&server);
    sign_in(&mut signed, r#"{"id":"42"}"#);
    let mut member = Client::connect(&server);
    member.subscribe("c");
    member.join("presence-a", "42");
    let mut witness = Client::connect(&server);
    witness.join("presence-a", "7");
    member.event();
    let mut other = Client::connect(&server);
    sign_in(&mut other, r#"{"id":"4"}"#);
    let mut forged = Client::connect(&server);
    let data = json!({"channel": "c", "channel_data": "{\"user_id\":\"42\"}"});
    forged.send(json!({"event": "pusher:subscribe", "data": data}));
    forged.subscribed("c");
    let path = "/apps/app-id/users/42/terminate_connections";
    server.post(path, json!({})).is(200, json!({}));
    for client in [&mut signed, &mut member] {
        assert_eq!(error_code(client), 4009);
        client.closed(4009);
    }
    assert_eq!(witness.event()["event"], "pusher_internal:member_removed");
    for client in [&mut witness, &mut other, &mut forged] {
        client.nothing();
    }
    server.post(path, json!({})).is(200, json!({}));
    server.post_as(&APP, path, "").is(200, json!({}));
}

#[test]
fn the_user_to_terminate_may_be_percent_encoded() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"a@b"}"#);
    let path = "/apps/app-id/users/a%40b/terminate_connections";
    server.post(path, json!({})).is(200, json!({}));
    assert_eq!(error_code(&mut client), 4009);
    client.closed(4009);
}

#[test]
fn a_watchlist_reports_users_that_are_or_become_online_or_offline() {
    let server = Server::start();
    let mut friend = Client::connect(&server);
    sign_in(&mut friend, r#"{"id":"1"}"#);
    let mut watcher = Client::connect(&server);
    sign_in(&mut watcher, r#"{"id":"42","watchlist":["1","2"]}"#);
    let events = watched(&mut watcher);
    let find = |name: &str| {
        events.as_array().unwrap().iter().find(|event| event["name"] == name).cloned().unwrap()
    };
    assert_eq!(find("online")["user_ids"], json!(["1"]));
    assert_eq!(find("offline")["user_ids"], json!(["2"]));
    let mut second = Client::connect(&server);
    sign_in(&mut second, r#"{"id":"2"}"#);
    assert_eq!(watched(&mut watcher), json!([{"name": "online", "user_ids": ["2"]}]));
    let mut tab = Client::connect(&server);
    sign_in(&mut tab, r#"{"id":"1"}"#);
    drop(friend);
    tab.nothing();
    watcher.nothing();
    drop(tab);
    assert_eq!(watched(&mut watcher), json!([{"name": "offline", "user_ids": ["1"]}]));
}

#[test]
fn a_long_watchlist_is_truncated_with_an_error() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let ids: Vec<String> = (1000..1101).map(|id| id.to_string()).collect();
    sign_in(&mut client, &json!({"id": "42", "watchlist": ids}).to_string());
    let (mut offline, mut too_long) = (Value::Null, false);
    for _ in 0..2 {
        let event = client.event();
        let data: Value = match &event["data"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            object => object.clone(),
        };
        if event["event"] == "pusher:error" {
            too_long = data["code"] == 4302;
        } else {
            offline = data["events"][0]["user_ids"].clone();
        }
    }
    assert!(too_long);
    assert_eq!(offline.as_array().unwrap().len(), 100);
    client.nothing();
}

#[test]
fn signing_in_and_watching_do_not_count_towards_the_channel_limit() {
    let server = Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 2).start();
    let mut client = Client::connect(&server);
    sign_in(&mut client, r#"{"id":"42","watchlist":["1","2","3"]}"#);
    watched(&mut client);
    client.subscribe("a");
    client.subscribe("b");
}
