//! Exceeded limits: the client gets an error that names the setting, and the log has one line for
//! many occurrences.

use crate::support::{APP, Client, Got, Http, Server, Setup, frame, signed};
use serde_json::{Value, json};

/// Starts a server with this limit, makes a client exceed it three times, and fails unless the log
/// has one line for it, with the setting and its value.
#[track_caller]
fn is_logged_once(variable: &str, value: u32, setting: &str, exceed: impl Fn(&Server)) {
    let server = Setup::new().env(variable, value).start();
    (0..3).for_each(|_| exceed(&server));
    let named = format!("({setting} is {value})");
    server.logs(&named);
    server.is_up();
    let log = server.killed();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&named)).collect();
    assert!(matches!(lines[..], [line] if line.contains("[WARN] 127.0.0.1 ")), "{log}");
}

/// The same for a limit, by its name.
#[track_caller]
fn limit_is_logged_once(name: &str, value: u32, exceed: impl Fn(&Server)) {
    let variable = format!("REVERB_LIMIT_{}", name.to_uppercase());
    is_logged_once(&variable, value, &format!("limits.{name}"), exceed);
}

/// Fails unless the request gets this status and an error that names the setting.
#[track_caller]
fn rejected(server: &Server, request: &str, status: u16, setting: &str) {
    let mut http = Http::connect(server);
    http.send(request);
    let response = http.response();
    let text = response.is_error(status);
    assert!(text.contains(setting), "{text}");
}

/// Fails unless the publish gets 422 and an error that names the setting.
#[track_caller]
fn publish_rejected(server: &Server, path: &str, body: Value, setting: &str) {
    let response = server.post(path, body);
    assert_eq!(response.status, 422);
    assert!(response.text().contains(setting), "{}", response.text());
}

/// Receives `pusher:error` and `pusher:subscription_error`, the latter with this text.
#[track_caller]
pub fn subscription_rejected(client: &mut Client, text: &str) {
    assert_eq!(client.event()["event"], "pusher:error");
    let event = client.event();
    assert_eq!(event["event"], "pusher:subscription_error");
    assert!(event["data"].to_string().contains(text), "{event}");
}

/// Receives a close frame with code 1009 and a reason that names the setting.
#[track_caller]
fn too_big(client: &mut Client, setting: &str) {
    match client.receive() {
        Got::Close(Some(1009), reason) => assert!(reason.contains(setting), "{reason}"),
        other => panic!("received {other:?}"),
    }
}

#[test]
fn a_request_over_a_limit_is_rejected_and_logged_once() {
    limit_is_logged_once("request_head_bytes", 2_000, |server| {
        let request = format!("GET /up HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(2_000));
        rejected(server, &request, 431, "limits.request_head_bytes");
    });
    limit_is_logged_once("request_headers", 3, |server| {
        server.request("GET /up HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n").is(200, up());
        let request = "GET /up HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n";
        rejected(server, request, 431, "limits.request_headers");
    });
    limit_is_logged_once("request_headers", 256, |server| {
        let headers = |count: usize| "A: b\r\n".repeat(count);
        server.request(&format!("GET /up HTTP/1.1\r\n{}\r\n", headers(256))).is(200, up());
        let request = format!("GET /up HTTP/1.1\r\n{}\r\n", headers(257));
        rejected(server, &request, 431, "limits.request_headers");
    });
    is_logged_once("REVERB_MAX_REQUEST_SIZE", 1_500, "max_request_size", |server| {
        let body = json!({"name": "e", "channel": "c", "data": "d".repeat(2_000)});
        let response = server.post("/apps/app-id/events", body);
        assert!(response.is_error(413).contains("max_request_size"));
    });
    limit_is_logged_once("request_timeout_ms", 100, |server| {
        let mut http = Http::connect(server);
        http.send("GET /up HT");
        assert!(http.response().is_error(408).contains("limits.request_timeout_ms"));
    });
}

fn up() -> Value {
    json!({"health": "OK"})
}

#[test]
fn connections_without_a_request_are_closed_and_logged_once() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 100).start();
    let mut silent: Vec<Http> = (0..50).map(|_| Http::connect(&server)).collect();
    silent.iter_mut().for_each(|http| http.ended());
    let log = server.killed();
    assert_eq!(log.matches("limits.request_timeout_ms is 100").count(), 1, "{log}");
}

#[test]
fn a_message_over_a_limit_is_rejected_and_logged_once() {
    is_logged_once("REVERB_APP_MAX_MESSAGE_SIZE", 100, "max_message_size", |server| {
        let mut client = Client::connect(server);
        client.text(&"a".repeat(101));
        too_big(&mut client, "100 bytes (max_message_size)");
    });
    limit_is_logged_once("message_bytes", 1_024, |server| {
        let mut client = Client::connect(server);
        client.text(&"a".repeat(1_025));
        too_big(&mut client, "1024 bytes (limits.message_bytes)");
    });
    limit_is_logged_once("message_fragments", 3, |server| {
        let mut client = Client::connect(server);
        client.frame(0x01, b"{");
        (0..3).for_each(|_| client.frame(0x00, b" "));
        too_big(&mut client, "3 frames (limits.message_fragments)");
    });
}

#[test]
fn a_subscription_over_a_limit_is_rejected_and_logged_once() {
    limit_is_logged_once("channels_per_connection", 2, |server| {
        let mut client = Client::connect(server);
        client.subscribe("a");
        client.subscribe("b");
        client.send(json!({"event": "pusher:subscribe", "data": {"channel": "c"}}));
        subscription_rejected(&mut client, "limits.channels_per_connection");
        client.unsubscribe("a");
        client.subscribe("c");
    });
    limit_is_logged_once("channel_name_length", 5, |server| {
        let mut client = Client::connect(server);
        client.send(json!({"event": "pusher:subscribe", "data": {"channel": "éééééé"}}));
        subscription_rejected(&mut client, "limits.channel_name_length");
        client.subscribe("ééééé");
    });
    limit_is_logged_once("presence_members", 1, |server| {
        let (mut one, mut two) = (Client::connect(server), Client::connect(server));
        one.join("presence-a", "1");
        two.ask_to_join("presence-a", r#"{"user_id":"2"}"#);
        subscription_rejected(&mut two, "limits.presence_members");
        one.unsubscribe("presence-a");
        one.nothing();
    });
    limit_is_logged_once("presence_bytes", 1_024, |server| {
        let (mut one, mut two) = (Client::connect(server), Client::connect(server));
        one.join("presence-a", &"1".repeat(400));
        two.ask_to_join("presence-a", &json!({"user_id": "2".repeat(700)}).to_string());
        subscription_rejected(&mut two, "limits.presence_bytes");
        one.unsubscribe("presence-a");
        one.nothing();
    });
    limit_is_logged_once("presence_data_bytes", 64, |server| {
        let mut client = Client::connect(server);
        client.ask_to_join("presence-a", &json!({"user_id": "1".repeat(64)}).to_string());
        subscription_rejected(&mut client, "limits.presence_data_bytes");
    });
}

#[test]
fn a_publish_over_a_limit_is_rejected_and_logged_once() {
    const EVENTS: &str = "/apps/app-id/events";
    limit_is_logged_once("event_name_length", 5, |server| {
        let body = json!({"name": "abcdef", "channel": "c", "data": "d"});
        publish_rejected(server, EVENTS, body, "limits.event_name_length");
    });
    limit_is_logged_once("channels_per_event", 2, |server| {
        let body = json!({"name": "e", "channels": ["a", "b", "c"], "data": "d"});
        publish_rejected(server, EVENTS, body, "limits.channels_per_event");
    });
    limit_is_logged_once("events_per_batch", 1, |server| {
        let event = json!({"name": "e", "channel": "c", "data": "d"});
        let body = json!({"batch": [event, event]});
        publish_rejected(server, "/apps/app-id/batch_events", body, "limits.events_per_batch");
    });
    limit_is_logged_once("api_requests", 1, |server| {
        let half = format!(
            "POST {} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{",
            signed(&APP, "POST", EVENTS, "", b"{}")
        );
        let mut first = Http::connect(server);
        first.send(half.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
        assert_eq!(first.response().status, 100);
        rejected(server, &half, 503, "limits.api_requests");
        first.send("}");
        assert_eq!(first.response().status, 422);
        // A request that was answered, or whose client disconnected, no longer counts.
        let mut closed = Http::connect(server);
        closed.send(half.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
        assert_eq!(closed.response().status, 100);
        closed.finish();
        closed.ended();
    });
}

#[test]
fn connections_over_a_limit_are_logged_once() {
    limit_is_logged_once("connections", 2, |server| {
        let mut inside = [Client::connect(server), Client::connect(server)];
        let mut client = Client::open(server, "/app/app-key", "");
        client.error(4100, "Server is over capacity");
        client.closed(4100);
        inside.iter_mut().for_each(Client::nothing);
        // Its socket counts until the server has noticed that it is closed, as it has when the others
        // are closed.
        drop(client);
        let [one, two] = inside;
        for client in [one, two] {
            close(client);
        }
    });
    is_logged_once("REVERB_APP_MAX_CONNECTIONS", 1, "max_connections", |server| {
        let inside = Client::connect(server);
        let mut client = Client::open(server, "/app/app-key", "");
        client.error(4004, "Application is over connection quota");
        client.closed(4004);
        close(inside);
    });
    limit_is_logged_once("accepts_per_turn", 1, |server| {
        // A suspended process accepts all of them in one turn.
        server.signal("STOP");
        let mut several: Vec<Http> = (0..5).map(|_| Http::connect(server)).collect();
        several.iter_mut().for_each(|http| http.send("GET /up HTTP/1.1\r\n\r\n"));
        server.signal("CONT");
        several.iter_mut().for_each(|http| http.response().is(200, up()));
    });
}

/// Does the close handshake, so that the server has removed the client when this returns.
#[track_caller]
fn close(mut client: Client) {
    client.frame(0x88, &1000_u16.to_be_bytes());
    assert!(matches!(client.receive(), Got::Close(Some(1000), _)));
    client.ended();
}

#[test]
fn a_client_over_its_rate_limit_is_logged_once() {
    let limits =
        [("REVERB_APP_RATE_LIMITING_ENABLED", "true"), ("REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS", "1")];
    let server = Server::with(&limits);
    let mut client = Client::connect(&server);
    client.subscribe("c");
    for _ in 0..3 {
        client.ping();
        client.error(4301, "Rate limit exceeded");
    }
    let log = server.killed();
    assert_eq!(log.matches("(rate_limiting.max_attempts is 1)").count(), 1, "{log}");
}

#[test]
fn the_server_pauses_a_client_that_reads_no_responses_and_loses_nothing() {
    limit_is_logged_once("pipelined_requests", 5, |server| {
        let mut bystander = Client::connect(server);
        bystander.subscribe("c");
        let mut client = Client::connect(server);
        client.subscribe("c");
        let payload = [b'x'; 125];
        let pings = frame(0x89, &payload).repeat(4_000);
        let (mut sent, mut rounds) = (0, 0);
        // The socket is full once it accepts no bytes although the server had time to read.
        loop {
            let taken = client.send_some(&pings[sent % 131..]);
            sent += taken;
            bystander.nothing();
            rounds = if taken == 0 { rounds + 1 } else { 0 };
            if rounds == 20 {
                break;
            }
        }
        server.publish("c", "e", "d");
        bystander.expect(json!({"event": "e", "channel": "c", "data": "d"}));
        let (mut pongs, mut events) = (0, 0);
        while pongs < sent / 131 {
            match client.receive() {
                Got::Pong(echo) if echo == payload => pongs += 1,
                Got::Text(text) if text.contains(r#""event":"e""#) => events += 1,
                other => panic!("received {other:?}"),
            }
        }
        assert_eq!(events, 1);
        // The ping that was cut off gets its pong as well, and no other frame arrives.
        client.raw(&pings[sent % 131..131]);
        assert_eq!(client.receive(), Got::Pong(payload.to_vec()));
        client.nothing();
    });
}
