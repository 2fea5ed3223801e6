//! The feed: lines of JSON about what happens in an app, for viewers with its secret.

#[cfg(feature = "redis")]
mod nodes;
mod viewers;

use crate::support::{APP, App, Client, Feed, Server, Setup, channel_auth, signed};
use serde_json::{Value, json};
use std::process::Command;

/// Fails unless a line has these members, and no other than `kind` and `time_ms`.
#[track_caller]
fn is(line: &Value, kind: &str, members: Value) {
    let mut expected = members.as_object().unwrap().clone();
    expected.insert("kind".into(), kind.into());
    expected.insert("time_ms".into(), line["time_ms"].clone());
    assert_eq!(line, &Value::Object(expected));
    assert!(line["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
}

#[test]
fn a_connection_is_reported_from_its_handshake_to_its_close_frame() {
    let server = Server::start();
    let mut feed = Feed::of(&server, &APP, "");
    let hello = json!({
        "app": "app-id", "version": env!("CARGO_PKG_VERSION"), "node": null, "nodes": [],
        "payload": true,
    });
    is(&feed.next(), "hello", hello);
    let mut client = Client::open(&server, "/app/app-key", "Origin: http://site.test\r\n");
    let established = client.event()["data"].as_str().unwrap().to_owned();
    let id = &serde_json::from_str::<Value>(&established).unwrap()["socket_id"];
    let origin = "http://site.test";
    let members = json!({"socket_id": id, "address": "127.0.0.1", "origin": origin});
    is(&feed.next(), "connected", members);

    client.subscribe("news");
    is(&feed.next(), "occupied", json!({"channel": "news"}));
    is(&feed.next(), "subscribed", json!({"socket_id": id, "channel": "news"}));
    client.subscribe("news");
    client.unsubscribe("news");
    is(&feed.next(), "unsubscribed", json!({"socket_id": id, "channel": "news"}));
    is(&feed.next(), "vacated", json!({"channel": "news"}));

    client.socket_id = id.as_str().unwrap().to_owned();
    client.join("presence-a", "7");
    let member = json!({"channel": "presence-a", "user_id": "7"});
    is(&feed.next(), "occupied", json!({"channel": "presence-a"}));
    is(&feed.next(), "member_added", member.clone());
    let subscription = json!({"socket_id": id, "channel": "presence-a", "user_id": "7"});
    is(&feed.next(), "subscribed", subscription.clone());

    client.frame(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
    is(&feed.next(), "unsubscribed", subscription);
    is(&feed.next(), "member_removed", member);
    is(&feed.next(), "vacated", json!({"channel": "presence-a"}));
    let members = json!({"socket_id": id, "code": 1000, "reason": "bye"});
    is(&feed.next(), "disconnected", members);

    drop(Client::connect(&server));
    assert_eq!(feed.next_of("disconnected")["code"], 1006);
}

#[test]
fn an_event_has_its_recipients_and_its_data() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.join("presence-a", "7");
        client.subscribe("news");
    }
    let mut feed = Feed::open(&server, "kinds=api,client");
    let body = json!({
        "name": "e", "channels": ["news", "presence-a", "empty"], "data": "{\"n\":1}",
        "socket_id": clients[0].socket_id,
    });
    server.post("/apps/app-id/events", body).is(200, json!({}));
    let event = json!({
        "channels": ["news", "presence-a", "empty"], "event": "e", "bytes": 7, "recipients": 4,
        "except": clients[0].socket_id, "data": "{\"n\":1}",
    });
    is(&feed.next(), "api_event", event);

    clients[1].text(r#"{"event":"client-\u0078","channel":"presence-a","data":{"a": [1]}}"#);
    let event = json!({
        "socket_id": clients[1].socket_id, "channel": "presence-a", "event": "client-x",
        "user_id": "7", "bytes": 10, "recipients": 2, "data": "{\"a\": [1]}",
    });
    is(&feed.next(), "client_event", event);

    server.publish("news", "long", &"é".repeat(600));
    let line = feed.next();
    assert_eq!((&line["bytes"], &line["cut"]), (&json!(1_200), &json!(true)));
    assert_eq!(line["data"], "é".repeat(512));
    server.publish("news", "exact", &"x".repeat(1_024));
    assert_eq!(feed.next().get("cut"), None);
}

#[test]
fn a_refusal_has_its_reason_and_the_text_that_should_have_been_signed() {
    let server = Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 1).start();
    let mut feed = Feed::open(&server, "kinds=error");
    let mut client = Client::connect(&server);
    let id = client.socket_id.clone();
    let auth = format!("app-key:{}", "0".repeat(64));
    let subscribe = |data: Value| json!({"event": "pusher:subscribe", "data": data});
    let refused = |members: Value| {
        let mut line = json!({"socket_id": id, "address": "127.0.0.1", "code": 4009});
        line.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        line
    };

    client.send(subscribe(json!({"channel": "private-a", "auth": auth})));
    let reason = "Connection is unauthorized (wrong signature)";
    let expected = format!("{id}:private-a");
    let members = json!({"channel": "private-a", "reason": reason, "expected": expected});
    is(&feed.next(), "refused", refused(members));

    let data = r#"{"user_id":"7"}"#;
    let with_data = json!({"channel": "presence-a", "auth": auth, "channel_data": data});
    client.send(subscribe(with_data));
    let expected = format!("{id}:presence-a:{data}");
    let members = json!({"channel": "presence-a", "reason": reason, "expected": expected});
    is(&feed.next(), "refused", refused(members));

    client.send(subscribe(json!({"channel": "private-a", "auth": "other:1"})));
    let reason = "Connection is unauthorized (signed with the key of another app)";
    let expected = format!("{id}:private-a");
    let members = json!({"channel": "private-a", "reason": reason, "expected": expected});
    is(&feed.next(), "refused", refused(members));

    let data = r#"{"id":"7"}"#;
    let sign_in = json!({"auth": auth, "user_data": data});
    client.send(json!({"event": "pusher:signin", "data": sign_in}));
    let reason = "Connection is unauthorized (wrong signature of the user)";
    let expected = format!("{id}::user::{data}");
    is(&feed.next(), "refused", refused(json!({"reason": reason, "expected": expected})));

    client.text("no JSON");
    let reason = "Invalid message format (not a JSON object)";
    is(&feed.next(), "refused", refused(json!({"code": 4200, "reason": reason})));

    client.send(subscribe(json!({"channel": "a"})));
    client.send(subscribe(json!({"channel": "b"})));
    let limit = "limits.channels_per_connection";
    let line = feed.next();
    let members = json!({
        "limit": limit, "reason": "subscribed to too many channels and was rejected",
        "socket_id": id, "address": "127.0.0.1",
    });
    is(&line, "limit", members);
    let line = feed.next();
    assert_eq!((&line["kind"], &line["channel"]), (&json!("refused"), &json!("b")));
    assert!(line["reason"].as_str().unwrap().contains(limit), "{line}");
}

#[test]
fn a_rejected_handshake_is_a_refusal_without_a_socket() {
    let settings = json!({"allowed_origins": ["good.test"], "max_connections": 1});
    let server = Setup::bare().apps(&[(&APP, settings)]).start();
    let mut feed = Feed::open(&server, "kinds=refused,limit");
    let _bad = Client::open(&server, "/app/app-key", "Origin: http://bad.test\r\n");
    let members = |code: u16, reason: &str| json!({"socket_id": null, "address": "127.0.0.1", "code": code, "reason": reason});
    is(&feed.next(), "refused", members(4009, "Origin not allowed"));
    let good = "Origin: http://good.test\r\n";
    let clients = [(); 2].map(|()| Client::open(&server, "/app/app-key", good));
    assert_eq!(feed.next()["limit"], "max_connections");
    is(&feed.next(), "refused", members(4004, "Application is over connection quota"));
    drop(clients);
}

#[test]
fn an_api_error_says_what_was_wrong() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "kinds=error");
    let target = signed(&APP, "GET", "/apps/app-id/channels", "info=user_count", b"");
    let query = target.split_once('?').unwrap().1;
    let expected = query.split("&auth_signature").next().unwrap();
    // A digit of the signature is another one.
    let wrong = match target.strip_suffix('0') {
        Some(start) => format!("{start}1"),
        None => format!("{}0", &target[..target.len() - 1]),
    };
    server.request(&format!("GET {wrong} HTTP/1.1\r\nHost: x\r\n\r\n")).is_error(401);
    let members = json!({
        "method": "GET", "path": "/apps/app-id/channels", "status": 401,
        "reason": "Authentication signature invalid.",
        "expected": format!("GET\n/apps/app-id/channels\n{expected}"), "address": "127.0.0.1",
    });
    is(&feed.next(), "api_error", members);

    server.post("/apps/app-id/events", json!({"name": "e", "data": "d"}));
    let line = feed.next();
    assert_eq!((&line["status"], line.get("expected")), (&json!(422), None));
    assert!(line["reason"].as_str().unwrap().contains("The channel field is required"), "{line}");
    // A body that arrives after its head is rejected before it arrives.
    let head = "POST /apps/app-id/events?auth_key=app-key HTTP/1.1\r\nHost: x\r\n";
    server.request(&format!("{head}Content-Length: 10\r\n\r\n")).is_error(401);
    assert_eq!(
        feed.next()["reason"],
        "Authentication signature invalid: auth_version must be 1.0."
    );
}

#[test]
fn a_viewer_gets_only_what_it_asked_for() {
    let server = Server::with(&[("REVERB_LIMIT_FEED_VIEWERS", "5")]);
    let mut client = Client::connect(&server);
    client.subscribe_private("private-a");
    client.join("presence-a", "7");
    let queries = ["kinds=connection", "channels=private-*", "events=client-*", "user_id=7"];
    let mut feeds = queries.map(|query| Feed::open(&server, query));
    let [connections, channels, events, users] = &mut feeds;
    let mut other = Client::connect(&server);
    client.send(json!({"event": "client-e", "channel": "private-a", "data": "x"}));
    server.publish("private-a", "e", "x");
    client.unsubscribe("private-a");
    client.unsubscribe("presence-a");
    other.subscribe("b");
    assert_eq!(client.event()["event"], "e");
    client.nothing();
    other.frame(0x88, &[]);
    assert_eq!(connections.kinds(2), ["connected", "disconnected"]);
    assert_eq!(channels.kinds(4), ["client_event", "api_event", "unsubscribed", "vacated"]);
    assert_eq!(events.kinds(1), ["client_event"]);
    assert_eq!(users.kinds(2), ["unsubscribed", "member_removed"]);
    // Nothing else has arrived: the next line is about what follows.
    let mut one = Feed::open(&server, &format!("socket_id={}", client.socket_id));
    client.subscribe("c");
    assert_eq!(one.kinds(1), ["subscribed"]);
    Client::connect(&server);
    assert_eq!(connections.next()["kind"], "connected");
    server.publish("private-z", "client-z", "x");
    assert_eq!(channels.next()["event"], "client-z");
    assert_eq!(events.next()["event"], "client-z");
    client.join("presence-b", "7");
    assert_eq!(users.kinds(2), ["member_added", "subscribed"]);
}

#[test]
fn invalid_parameters_are_named() {
    let server = Server::start();
    for (query, text) in [
        ("kinds=x", "kinds: \"x\" is no kind of line. Kinds: connected, "),
        ("payload=no", "payload: must be true or false."),
        ("socket_id=x", "socket_id: must be two numbers"),
    ] {
        let response = Feed::rejected(&server, query);
        assert!(response.is_error(400).starts_with(text), "{}", response.text());
    }
    let wrong = App { secret: "other", ..APP };
    let target = signed(&wrong, "GET", "/apps/app-id/feed", "", b"");
    server.request(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).is_error(401);
    server.request("POST /apps/app-id/feed HTTP/1.1\r\nHost: x\r\n\r\n").is_error(405);
}

#[test]
fn data_is_left_out_if_the_viewer_or_the_server_says_so() {
    let server = Server::start();
    let (mut with, mut without) =
        (Feed::open(&server, ""), Feed::of(&server, &APP, "payload=false"));
    assert_eq!(without.next()["payload"], false);
    server.publish("a", "e", "text");
    assert_eq!(with.next_of("api_event")["data"], "text");
    let line = without.next_of("api_event");
    assert_eq!((line.get("data"), &line["bytes"]), (None, &json!(4)));

    let server = Server::with(&[("REVERB_FEED_PAYLOAD", "false")]);
    let mut feed = Feed::of(&server, &APP, "payload=true");
    assert_eq!(feed.next()["payload"], false);
    server.publish("a", "e", "text");
    assert_eq!(feed.next().get("data"), None);
}

#[test]
fn user_supplied_names_are_valid_json_in_one_line() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "");
    let hostile = "\"},{\n\u{1}\u{2028}</script>\\\u{202e}";
    let mut client = Client::open(&server, "/app/app-key", "Origin: http://\"},{<b>\\\r\n");
    client.event();
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": hostile}}));
    client.event();
    assert_eq!(feed.next_of("connected")["origin"], "http://\"},{<b>\\");
    assert_eq!(feed.next()["channel"], hostile);
    let event = format!("client-{hostile}");
    let body = json!({"name": event, "channel": hostile, "data": hostile});
    server.post("/apps/app-id/events", body).is(200, json!({}));
    let line = feed.next_of("api_event");
    assert_eq!(line["event"], event);
    assert_eq!((&line["channels"], &line["data"]), (&json!([hostile]), &json!(hostile)));
    // Half of a surrogate pair is no character: it is shown as it was sent.
    client.text(r#"{"event":"client-e","channel":"presence-x","data":"\ud800"}"#);
    client.text(r#"{"event":"pusher:subscribe","data":{"channel":"private-\ud83d"}}"#);
    assert_eq!(feed.next_of("refused")["code"], 4009);
    assert_eq!(feed.next_of("refused")["code"], 4200);
    client.frame(0x88, &[&1000_u16.to_be_bytes()[..], hostile.as_bytes()].concat());
    assert_eq!(feed.next_of("disconnected")["reason"], hostile);
}

#[test]
fn a_feed_has_neither_the_secret_nor_a_valid_signature() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "");
    let mut client = Client::connect(&server);
    let auth = channel_auth(&APP, &client.socket_id, "private-a", "");
    let wrong = auth.replace("app-key:", "app-kex:");
    for auth in [&auth, &wrong] {
        let data = json!({"channel": "private-a", "auth": auth});
        client.send(json!({"event": "pusher:subscribe", "data": data}));
    }
    let target = signed(&APP, "GET", "/apps/app-id/channels", "", b"");
    let signature = target.rsplit('=').next().unwrap();
    let changed = target.replace("auth_version", "b=1&auth_version");
    server.request(&format!("GET {changed} HTTP/1.1\r\nHost: x\r\n\r\n")).is_error(401);
    assert_eq!(feed.next_of("api_error")["status"], 401);
    let signed = auth.split(':').nth(1).unwrap();
    for text in ["app-secret", signed, signature] {
        assert!(!feed.text.contains(text), "{text} in {}", feed.text);
    }
    assert!(feed.text.contains("refused") && feed.text.contains("subscribed"), "{}", feed.text);
}

#[test]
fn a_feed_has_no_line_of_another_app() {
    let apps = [
        App { id: "id1", key: "key1", secret: "secret1" },
        App { id: "id2", key: "key2", secret: "secret2" },
    ];
    let server = Setup::bare().apps(&[(&apps[0], json!({})), (&apps[1], json!({}))]).start();
    let mut feeds = [Feed::of(&server, &apps[0], ""), Feed::of(&server, &apps[1], "")];
    for app in &apps {
        let mut client = Client::connect_to(&server, &format!("/app/{}", app.key));
        client.subscribe(&format!("channel-of-{}", app.id));
        client.text("x");
        client.error(4200, "Invalid message format");
        let body = json!({"name": "e", "channel": format!("to-{}", app.id), "data": app.id});
        server.post_as(app, &format!("/apps/{}/events", app.id), &body.to_string());
        server.request(&format!("GET /apps/{}/channels HTTP/1.1\r\nHost: x\r\n\r\n", app.id));
        client.frame(0x88, &[]);
        client.closed(1000);
    }
    let wrong = signed(&apps[0], "GET", "/apps/id2/channels", "", b"");
    server.request(&format!("GET {wrong} HTTP/1.1\r\nHost: x\r\n\r\n")).is_error(401);
    let kinds = [
        "hello",
        "connected",
        "occupied",
        "subscribed",
        "refused",
        "api_event",
        "api_error",
        "unsubscribed",
        "vacated",
        "disconnected",
    ];
    for (feed, app) in feeds.iter_mut().zip(&apps) {
        assert_eq!(feed.kinds(kinds.len()), kinds);
        let other = if app.id == "id1" { "id2" } else { "id1" };
        assert!(
            !feed.text.contains(&format!("of-{other}"))
                && !feed.text.contains(&format!("to-{other}"))
        );
    }
    assert_eq!(feeds[1].next()["path"], "/apps/id2/channels");
    let mut client = Client::connect_to(&server, "/app/key1");
    client.nothing();
    assert_eq!(feeds[0].kinds(1), ["connected"]);
}

#[test]
fn the_command_of_the_manual_page_prints_lines() {
    let server = Server::start();
    let page = include_str!("../man/reverb-monitoring.7");
    let start = page.find("ID=my-app-id").unwrap();
    let end = start + page[start..].find("\n.Ed").unwrap();
    let script = page[start..end].replace("\\en", "\\n").replace("my-app", "app");
    let script = script.replace("127.0.0.1:8080", &server.address().to_string());
    assert!(script.contains("openssl dgst") && script.contains("curl -sN"), "{script}");
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(shell.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines).map_while(Result::ok);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    assert_eq!(next()["kind"], "hello");
    server.publish("news", "e", "d");
    assert_eq!(next()["channels"], json!(["news"]));
    // `curl` is a child of the shell, and ends with the response.
    drop(server);
    assert!(lines.next().is_none());
    shell.wait().unwrap();
}

#[cfg(feature = "webhooks")]
#[test]
fn the_outcome_of_each_request_to_a_webhook_is_reported() {
    use crate::webhooks::receiver::Receiver;
    use std::sync::atomic::Ordering;

    let (receiver, is_up) = Receiver::failing();
    let url = receiver.url("/hook?token=hidden");
    let server = Setup::new()
        .env("REVERB_APP_WEBHOOK_URL", &url)
        .env("REVERB_APP_WEBHOOK_EVENTS", "channel_occupied")
        .start();
    let mut feed = Feed::open(&server, "kinds=webhook");
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let shown = receiver.url("/hook");
    let members = json!({"url": shown, "events": 1, "reason": "status 503", "retry": true});
    is(&feed.next(), "webhook_failed", members);
    is_up.store(true, Ordering::Relaxed);
    let line = feed.next();
    let members = json!({"url": shown, "events": 1, "status": 200, "ms": line["ms"]});
    is(&line, "webhook_sent", members);
    assert!(line["ms"].is_u64() && !feed.text.contains("hidden"));
}
