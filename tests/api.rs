//! The routes of the HTTP API: their responses, and the events that subscribers receive.

use crate::support::{APP, Client, Got, Server, Setup, signed};
use serde_json::{Value, json};

const EVENTS: &str = "/apps/app-id/events";
const BATCH: &str = "/apps/app-id/batch_events";

fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

/// Fails unless this publish is rejected with this 422 body.
#[track_caller]
fn rejected(server: &Server, path: &str, body: Value, errors: Value) {
    server.post(path, body).is(422, errors);
}

#[test]
fn an_event_reaches_the_subscribers_of_its_channel_and_no_other() {
    let server = Server::start();
    let mut inside = Client::connect(&server);
    inside.subscribe("c");
    let mut outside = Client::connect(&server);
    outside.subscribe("other");
    server.publish("c", "my-event", "{\"x\":1}");
    server.publish("C", "my-event", "2");
    server.publish("nobody", "my-event", "3");
    inside.expect(event("my-event", "c", "{\"x\":1}"));
    inside.nothing();
    outside.nothing();
}

#[test]
fn the_text_of_data_is_relayed_to_the_byte() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    for data in [r#""plain""#, r#""{\"k\":\"é/\\u00e9 😀\"}""#, r#""\u00e9\/\u0041\n""#, r#"" ""#]
    {
        let body = format!(r#"{{"name":"e","channel":"c","data":{data}}}"#);
        if data == r#"" ""# {
            assert_eq!(server.post_as(&APP, EVENTS, &body).status, 422);
            continue;
        }
        server.post_as(&APP, EVENTS, &body).is(200, json!({}));
        match client.receive() {
            Got::Text(text) => assert!(text.contains(&format!("\"data\":{data}")), "{text}"),
            got => panic!("{got:?}"),
        }
    }
}

#[test]
fn an_event_may_be_published_to_several_channels() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    client.subscribe("b");
    let body = json!({"name": "e", "channels": ["a", "nobody", "b"], "data": "d"});
    server.post(EVENTS, body).is(200, json!({}));
    client.expect(event("e", "a", "d"));
    client.expect(event("e", "b", "d"));
    let body = json!({"name": "e", "channel": "a", "channels": ["b"], "data": "d"});
    server.post(EVENTS, body).is(200, json!({}));
    client.expect(event("e", "b", "d"));
    client.nothing();
}

#[test]
fn an_event_is_not_sent_to_the_connection_of_its_socket_id() {
    let server = Server::start();
    let mut sender = Client::connect(&server);
    let mut other = Client::connect(&server);
    sender.subscribe("c");
    other.subscribe("c");
    let body =
        |socket: &str| json!({"name": "e", "channel": "c", "data": "d", "socket_id": socket});
    server.post(EVENTS, body(&sender.socket_id)).is(200, json!({}));
    other.expect(event("e", "c", "d"));
    sender.nothing();
    server.post(EVENTS, body("1.1")).is(200, json!({}));
    other.expect(event("e", "c", "d"));
    sender.expect(event("e", "c", "d"));
    let item = body(&sender.socket_id);
    server.post(BATCH, json!({"batch": [item]})).is(200, json!({}));
    other.expect(event("e", "c", "d"));
    sender.nothing();
}

#[test]
fn the_response_has_the_info_of_every_channel_of_the_event() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    client.join("presence-p", "1");
    let channels = ["c", "presence-p", "nobody"];
    let send = |info: &str| {
        server.post(EVENTS, json!({"name": "e", "channels": channels, "data": "d", "info": info}))
    };
    send("user_count,subscription_count").is(
        200,
        json!({"channels": {
            "c": {"subscription_count": 1}, "presence-p": {"user_count": 1}, "nobody": {},
        }}),
    );
    send("occupied").is(200, json!({"channels": {
        "c": {"occupied": true}, "presence-p": {"occupied": true}, "nobody": {"occupied": false},
    }}));
    send("nonsense").is(200, json!({"channels": {"c": {}, "presence-p": {}, "nobody": {}}}));
}

#[test]
fn a_body_that_is_no_json_object_is_a_bad_request() {
    let server = Server::start();
    for path in [EVENTS, BATCH] {
        for body in ["", "{nope", "{} x", "null", "1", "\"x\"", "true", "\u{FEFF}{}"] {
            server.post_as(&APP, path, body).is_error(400);
        }
        let deep = format!(r#"{{"name":"x","channel":"c","data":"d","z":{}}}"#, "[".repeat(600));
        server.post_as(&APP, path, &deep).is_error(400);
    }
}

#[test]
fn a_body_in_another_encoding_is_a_bad_request() {
    let server = Server::start();
    let body = b"{\"name\":\"x\",\"channel\":\"c\",\"data\":\"\xC3\x28\"}";
    let target = signed(&APP, "POST", EVENTS, "", body);
    let mut http = crate::support::Http::connect(&server);
    http.send(format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    http.send(body);
    http.response().is_error(400);
}

#[test]
fn an_invalid_event_gets_the_validation_errors_of_laravel_reverb() {
    let server = Server::start();
    let name = "The name field is required.";
    let data = "The data field is required.";
    let channels = "The channels field is required when channel is not present.";
    let channel = "The channel field is required when channels is not present.";
    let all = json!({"name": [name], "data": [data], "channels": [channels], "channel": [channel]});
    for body in
        [json!({}), json!([]), json!([1]), json!({"name": "", "data": null, "channel": " "})]
    {
        rejected(&server, EVENTS, body, all.clone());
    }
    let body = json!({"name": "x", "channel": "c"});
    rejected(&server, EVENTS, body, json!({"data": [data]}));
    for nowhere in
        [json!({}), json!({"channel": null}), json!({"channels": []}), json!({"channels": {}})]
    {
        let mut body = json!({"name": "x", "data": "d"});
        body.as_object_mut().unwrap().extend(nowhere.as_object().unwrap().clone());
        rejected(&server, EVENTS, body, json!({"channels": [channels], "channel": [channel]}));
    }
    let wrong = json!({
        "name": 1, "channels": "c", "channel": 2, "data": {"a": 1}, "socket_id": 4, "info": ["x"],
    });
    let errors = json!({
        "name": ["The name field must be a string."],
        "data": ["The data field must be a string."],
        "channels": ["The channels field must be an array."],
        "channel": ["The channel field must be a string."],
        "socket_id": ["The socket id field must be a string."],
        "info": ["The info field must be a string."],
    });
    rejected(&server, EVENTS, wrong, errors);
}

#[test]
fn an_event_over_a_limit_is_rejected_and_not_delivered() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c0");
    let channels = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>();
    let body = |count| json!({"name": "e", "channels": channels(count), "data": "d"});
    server.post(EVENTS, body(100)).is(200, json!({}));
    client.expect(event("e", "c0", "d"));
    let errors = server.post(EVENTS, body(101));
    assert_eq!(errors.status, 422);
    assert!(errors.json()["channels"][0].is_string(), "{}", errors.text());
    let named = |length| json!({"name": "n".repeat(length), "channel": "c0", "data": "d"});
    server.post(EVENTS, named(200)).is(200, json!({}));
    client.expect(event(&"n".repeat(200), "c0", "d"));
    let errors = server.post(EVENTS, named(201));
    assert_eq!(errors.status, 422);
    assert!(errors.json()["name"][0].is_string(), "{}", errors.text());
    let long = json!({"name": "e", "channel": "c".repeat(201), "data": "d"});
    assert_eq!(server.post(EVENTS, long).status, 422);
    client.nothing();
}

#[test]
fn a_large_event_is_delivered_by_default() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let data = "x".repeat(500_000);
    server.publish("c", "e", &data);
    client.expect(event("e", "c", &data));
}

#[test]
fn a_batch_response_has_the_info_of_each_event_by_position() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let item = |info: Value| {
        let mut item = json!({"name": "e", "channel": "c", "data": "d"});
        item.as_object_mut().unwrap().extend(info.as_object().unwrap().clone());
        item
    };
    let count = json!({"info": "subscription_count"});
    let batch = json!({"batch": [item(json!({})), item(json!({}))]});
    server.post(BATCH, batch).is(200, json!({}));
    let batch =
        json!({"batch": [item(json!({})), item(count), item(json!({"info": "user_count"}))]});
    server.post(BATCH, batch).is(200, json!({"batch": [{}, {"subscription_count": 1}, {}]}));
    for _ in 0..5 {
        client.expect(event("e", "c", "d"));
    }
    client.nothing();
}

#[test]
fn a_batch_with_one_invalid_event_is_rejected_whole() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let good = json!({"name": "e", "channel": "c", "data": "d"});
    let bad = json!({"name": "x", "data": {"a": 1}, "socket_id": 1});
    let errors = json!({
        "batch.1.data": ["The batch.1.data field must be a string."],
        "batch.1.channel": ["The batch.1.channel field is required when channels is not present."],
        "batch.1.socket_id": ["The batch.1.socket_id field must be a string."],
    });
    rejected(&server, BATCH, json!({"batch": [good, bad]}), errors);
    let required = json!({"batch": ["The batch field is required."]});
    for body in [json!({}), json!({"batch": []}), json!([good])] {
        rejected(&server, BATCH, body, required.clone());
    }
    let array = json!({"batch": ["The batch field must be an array."]});
    rejected(&server, BATCH, json!({"batch": "x"}), array);
    let eleven = server.post(BATCH, json!({"batch": vec![good.clone(); 11]}));
    assert_eq!(eleven.status, 422);
    assert!(eleven.json()["batch"][0].is_string(), "{}", eleven.text());
    client.nothing();
    assert_eq!(server.post(BATCH, json!({"batch": vec![good; 10]})).status, 200);
}

#[test]
fn every_connection_is_counted() {
    let server = Server::start();
    let count =
        |n: u32| server.get("/apps/app-id/connections", "").is(200, json!({"connections": n}));
    count(0);
    let mut idle = Client::connect(&server);
    count(1);
    let mut busy = Client::connect(&server);
    busy.subscribe("a");
    busy.subscribe("b");
    count(2);
    idle.frame(0x88, b"");
    idle.closed(1000);
    count(1);
}

#[test]
fn the_occupied_channels_are_listed() {
    let server = Server::start();
    let list =
        |params: &str| server.get("/apps/app-id/channels", params).json()["channels"].clone();
    assert_eq!(list(""), json!({}));
    assert_eq!(list("info=user_count"), json!({}));
    let mut client = Client::connect(&server);
    client.subscribe("0");
    client.subscribe_private("private-x");
    client.join("presence-p", "1");
    assert_eq!(list(""), json!({"0": {}, "private-x": {}, "presence-p": {}}));
    assert_eq!(list("filter_by_prefix=presence-"), json!({"presence-p": {}}));
    assert_eq!(list("filter_by_prefix=zzz"), json!({}));
    assert_eq!(list("filter_by_prefix="), list(""));
    let counts = json!({
        "0": {"subscription_count": 1}, "private-x": {"subscription_count": 1},
        "presence-p": {"user_count": 1},
    });
    assert_eq!(list("info=user_count,subscription_count"), counts);
    let only = json!({"presence-p": {"user_count": 1}});
    assert_eq!(list("filter_by_prefix=presence-&info=user_count"), only);
    client.unsubscribe("private-x");
    client.nothing();
    assert_eq!(list("filter_by_prefix=private-"), json!({}));
}

#[test]
fn the_state_of_one_channel_is_returned() {
    let server = Server::start();
    let get = |channel: &str, params: &str| {
        server.get(&format!("/apps/app-id/channels/{channel}"), params)
    };
    let mut client = Client::connect(&server);
    for channel in ["c", "c@=,.;_-1", "é"] {
        client.subscribe(channel);
    }
    client.join("presence-p", "1");
    get("c", "").is(200, json!({"occupied": true}));
    let both = "info=subscription_count,user_count";
    get("c", both).is(200, json!({"occupied": true, "subscription_count": 1}));
    get("presence-p", both).is(200, json!({"occupied": true, "user_count": 1}));
    get("c@=,.;_-1", "").is(200, json!({"occupied": true}));
    get("c%40%3D%2C.%3B_-1", "").is(200, json!({"occupied": true}));
    get("%C3%A9", "").is(200, json!({"occupied": true}));
    get("%c3%a9", "").is(200, json!({"occupied": true}));
    for channel in ["nobody", "presence-nobody", "private-nobody"] {
        get(channel, both).is(200, json!({"occupied": false}));
    }
}

#[test]
fn the_users_of_a_presence_channel_are_listed() {
    let server = Server::start();
    let get = |channel: &str| server.get(&format!("/apps/app-id/channels/{channel}/users"), "");
    let mut first = Client::connect(&server);
    first.join("presence-p", "1");
    let mut second = Client::connect(&server);
    second.join("presence-p", "2");
    let mut again = Client::connect(&server);
    again.join("presence-p", "1");
    again.subscribe("c");
    get("presence-p").is(200, json!({"users": [{"id": "1"}, {"id": "2"}]}));
    get("c").is(400, json!({}));
    get("presence-nobody").is(200, json!({"users": []}));
    get("nobody").is(404, json!({}));
}

#[test]
fn a_setting_restores_the_404_for_the_users_of_a_vacant_channel() {
    let server = Server::with(&[("REVERB_APP_EMPTY_USERS_OK", "false")]);
    let get = |channel: &str| server.get(&format!("/apps/app-id/channels/{channel}/users"), "");
    get("presence-nobody").is(404, json!({}));
}

#[test]
fn the_route_is_checked_before_the_app_and_the_app_before_the_signature() {
    let server = Server::start();
    let send = |request: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        server.request(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
    };
    send("GET /apps/nope/events").is_error(405);
    send("POST /apps/nope/nope").is_error(404);
    for request in
        ["POST /apps/nope/events", "GET /apps/nope/channels", "GET /apps/nope/connections"]
    {
        assert_eq!(send(request).is_error(404), "No matching application for ID [nope].");
    }
    for request in [
        "POST /apps/app-id/events",
        "GET /apps/app-id/channels",
        "GET /apps/app-id/connections",
        "POST /apps/app-id/batch_events",
        "GET /apps/app-id/channels/c/users",
        "GET /apps/app-id/channels/c",
        "POST /apps/app-id/users/1/terminate_connections",
        "POST /apps/app-id/connections/1.2/terminate",
        "GET /apps/app-id/feed",
    ] {
        send(request).is_error(401);
    }
}

#[test]
fn every_route_responds_with_the_prefix_and_without() {
    for setting in ["ws", "/ws", "/ws/"] {
        let server = Server::with(&[("REVERB_SERVER_PATH", setting)]);
        for prefix in ["", "/ws"] {
            let up = format!("GET {prefix}/up HTTP/1.1\r\nHost: x\r\n\r\n");
            server.request(&up).is(200, json!({"health": "OK"}));
            let mut client = Client::connect_to(&server, &format!("{prefix}/app/app-key"));
            client.subscribe("c");
            let body = json!({"name": "e", "channel": "c", "data": "d"});
            server.post(&format!("{prefix}{EVENTS}"), body).is(200, json!({}));
            client.expect(event("e", "c", "d"));
            let list = server.get(&format!("{prefix}/apps/app-id/channels"), "");
            list.is(200, json!({"channels": {"c": {}}}));
        }
        server.request("GET /wsup HTTP/1.1\r\nHost: x\r\n\r\n").is_error(404);
        server.request("GET /ws/ws/up HTTP/1.1\r\nHost: x\r\n\r\n").is_error(404);
    }
}

#[test]
fn a_prefix_may_have_several_segments_or_be_set_by_a_flag() {
    let server = Server::with(&[("REVERB_SERVER_PATH", "/a/b")]);
    server.request("GET /a/b/up HTTP/1.1\r\nHost: x\r\n\r\n").is(200, json!({"health": "OK"}));
    server.request("GET /a/up HTTP/1.1\r\nHost: x\r\n\r\n").is_error(404);
    let server = Setup::new().arg("--path=/ws").start();
    Client::connect_to(&server, "/ws/app/app-key").nothing();
}

#[test]
fn the_api_ignores_the_origin_header() {
    let server = Server::with(&[("REVERB_APP_ALLOWED_ORIGINS", "allowed.test")]);
    let target = signed(&APP, "GET", "/apps/app-id/connections", "", b"");
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.test\r\n\r\n");
    server.request(&request).is(200, json!({"connections": 0}));
}
