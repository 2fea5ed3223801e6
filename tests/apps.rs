//! Several apps on one server are isolated from each other.

use crate::support::{APP, App, Client, Server, Setup, channel_auth};
use serde_json::json;

const TWO: App = App { id: "id2", key: "key2", secret: "secret2" };

fn server() -> Server {
    let settings = json!({
        "activity_timeout": 77, "max_connections": 2, "accept_client_events_from": "all",
        "client_events_on_public_channels": true,
    });
    Setup::bare().apps(&[(&APP, json!({})), (&TWO, settings)]).start()
}

#[track_caller]
fn second(server: &Server) -> Client {
    Client::connect_to(server, "/app/key2")
}

#[test]
fn channels_with_the_same_name_are_separate() {
    let server = server();
    let mut one = Client::connect(&server);
    let mut two = second(&server);
    one.subscribe("c");
    two.subscribe("c");
    server.publish("c", "e", "1");
    one.expect(json!({"event": "e", "channel": "c", "data": "1"}));
    two.nothing();
    let body = r#"{"name":"e","channel":"c","data":"2"}"#;
    server.post_as(&TWO, "/apps/id2/events", body).is(200, json!({}));
    two.expect(json!({"event": "e", "channel": "c", "data": "2"}));
    one.nothing();
    let list = server.get_as(&TWO, "/apps/id2/channels", "info=subscription_count");
    list.is(200, json!({"channels": {"c": {"subscription_count": 1}}}));
}

#[test]
fn members_and_users_are_separate() {
    let server = server();
    let mut one = Client::connect(&server);
    one.join("presence-a", "1");
    let mut two = second(&server);
    let data = r#"{"user_id":"2"}"#;
    let auth = channel_auth(&TWO, &two.socket_id, "presence-a", data);
    let data = json!({"channel": "presence-a", "auth": auth, "channel_data": data});
    two.send(json!({"event": "pusher:subscribe", "data": data}));
    assert_eq!(two.joined("presence-a")["ids"], json!(["2"]));
    one.nothing();
    let path = "/apps/id2/users/1/terminate_connections";
    server.post_as(&TWO, path, "{}").is(200, json!({}));
    one.nothing();
    two.nothing();
}

#[test]
fn cached_events_are_separate() {
    let server = server();
    server.publish("cache-c", "e", "1");
    let mut two = second(&server);
    two.subscribe("cache-c");
    two.expect(json!({"event": "pusher:cache_miss", "channel": "cache-c"}));
}

#[test]
fn client_events_are_delivered_within_their_app_only() {
    let server = server();
    let mut one = Client::connect(&server);
    let mut other = Client::connect(&server);
    one.subscribe_private("private-a");
    other.subscribe_private("private-a");
    let event = json!({"event": "client-ev", "channel": "private-a", "data": {}});
    let mut two = second(&server);
    two.subscribe("pub");
    one.send(event.clone());
    other.expect(event.clone());
    let mut outside = second(&server);
    outside.send(json!({"event": "client-ev", "channel": "pub", "data": 1}));
    two.expect(json!({"event": "client-ev", "channel": "pub", "data": 1}));
    outside.send(event.clone());
    outside.nothing();
    one.nothing();
    other.nothing();
    one.send(event.clone());
    other.expect(event);
}

#[test]
fn credentials_are_valid_for_their_app_only() {
    let server = server();
    let crossed = App { id: "id2", key: TWO.key, secret: APP.secret };
    server.get_as(&crossed, "/apps/id2/connections", "").is_error(401);
    let crossed = App { id: "id2", key: APP.key, secret: APP.secret };
    server.get_as(&crossed, "/apps/id2/connections", "").is_error(401);
    let crossed = App { id: "id2", key: APP.key, secret: TWO.secret };
    server.get_as(&crossed, "/apps/id2/connections", "").is_error(401);
    let mut one = Client::connect(&server);
    for app in [&TWO, &App { id: "", key: APP.key, secret: TWO.secret }] {
        let auth = channel_auth(app, &one.socket_id, "private-a", "");
        let data = json!({"channel": "private-a", "auth": auth});
        one.send(json!({"event": "pusher:subscribe", "data": data}));
        one.refused("private-a");
    }
}

#[test]
fn each_app_has_its_own_settings_and_counts() {
    let server = server();
    let mut first = Client::open(&server, "/app/key2", "");
    let established = first.event();
    assert!(established["data"].as_str().unwrap().contains("77"), "{established}");
    let _second = second(&server);
    let mut third = Client::open(&server, "/app/key2", "");
    third.error(4004, "Application is over connection quota");
    third.closed(4004);
    let _others: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    server.get("/apps/app-id/connections", "").is(200, json!({"connections": 3}));
    server.get_as(&TWO, "/apps/id2/connections", "").is(200, json!({"connections": 2}));
}

#[test]
fn an_unknown_app_is_named_in_the_error() {
    let server = server();
    let unknown = App { id: "x", key: "x", secret: "x" };
    let response = server.get_as(&unknown, "/apps/x/channels", "");
    assert_eq!(response.is_error(404), "No matching application for ID [x].");
    let mut client = Client::open(&server, "/app/id2", "");
    client.error(4001, "Application does not exist");
    client.closed(4001);
}
