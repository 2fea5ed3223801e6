//! permessage-deflate: which offers are accepted, which events are compressed, and what clients may
//! send compressed. `tests/clients` has the same with browsers and libraries.

use crate::metrics::{figure, get, watched};
use crate::reload::reload;
use crate::support::{APP, Client, Got, HANDSHAKE, Http, Server, Setup, deflated, frame};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const TARGET: &str = "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false";
const CHROME: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The handshake of OkHttp on Android.
const OKHTTP: &str = "GET /app/app-key?client=java-client&protocol=5&version=2.4.4 HTTP/1.1\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
    Host: localhost:8080\r\nAccept-Encoding: gzip\r\nUser-Agent: okhttp/4.12.0\r\n\r\n";
/// The handshake of Safari on macOS.
const SAFARI: &str = "GET /app/app-key?protocol=7&client=js&version=8.4.0&flash=false HTTP/1.1\r\n\
    Host: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Origin: http://localhost\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    Accept: */*\r\nAccept-Encoding: gzip, deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
    Gecko) Version/18.6 Safari/605.1.15\r\n\r\n";

/// A client that has negotiated compression.
#[track_caller]
fn negotiated(server: &Server) -> Client {
    let request = format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}{CHROME}\r\n");
    let (response, mut client) = Client::handshake(server, request.as_bytes());
    assert_eq!(response.header("Sec-WebSocket-Extensions"), Some(ANSWER));
    let established = client.event();
    let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
    client.socket_id = data["socket_id"].as_str().unwrap().to_owned();
    client
}

#[track_caller]
fn subscribed(mut client: Client, channel: &str) -> Client {
    client.subscribe(channel);
    client
}

/// The answer to the offer in a handshake, if it is accepted.
fn answer(server: &Server, request: &str) -> Option<String> {
    let (response, mut client) = Client::handshake(server, request.as_bytes());
    assert_eq!(response.status, 101, "{request}");
    assert_eq!(client.event()["event"], "pusher:connection_established");
    client.nothing();
    response.header("Sec-WebSocket-Extensions").map(str::to_owned)
}

/// JSON of an order, as text, that compresses as usual.
fn order(lines: usize) -> String {
    let line = |n| json!({"id": n, "sku": format!("SKU-{}", n * 7_919), "name": "USB-C cable"});
    json!({"lines": (0..lines).map(line).collect::<Vec<Value>>()}).to_string()
}

#[track_caller]
fn plain(client: &mut Client) -> Value {
    match client.receive() {
        Got::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("expected a plain message, received {other:?}"),
    }
}

#[track_caller]
fn compressed(client: &mut Client) -> Value {
    match client.receive() {
        Got::Deflated(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("expected a compressed message, received {other:?}"),
    }
}

#[test]
fn one_answer_is_given_to_each_client_that_can_use_it() {
    let server = Server::start();
    let offer = |headers: &str| {
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}{headers}\r\n");
        answer(&server, &request)
    };
    let header = |value: &str| format!("Sec-WebSocket-Extensions: {value}\r\n");
    assert_eq!(offer(""), None);
    assert_eq!(offer(CHROME).as_deref(), Some(ANSWER));
    assert_eq!(offer(&header("permessage-deflate")).as_deref(), Some(ANSWER));
    assert_eq!(offer(&header("permessage-deflate; server_max_window_bits=10")), None);
    assert_eq!(offer(&header("permessage-deflate; client_max_window_bits=7")), None);
    assert_eq!(offer(&header("permessage-deflate; foo")), None);
    let second = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    assert_eq!(offer(&header(second)).as_deref(), Some(ANSWER));
    let two = [header("x-custom"), header("permessage-deflate")].concat();
    assert_eq!(offer(&two).as_deref(), Some(ANSWER));
    assert_eq!(answer(&server, OKHTTP).as_deref(), Some(ANSWER));
    assert_eq!(answer(&server, SAFARI), None);
}

#[test]
fn compression_can_be_disabled_and_safari_included() {
    let server = Server::with(&[("REVERB_SERVER_COMPRESSION", "off")]);
    assert_eq!(answer(&server, OKHTTP), None);
    let server = Server::with(&[("REVERB_SERVER_COMPRESSION_SAFARI", "true")]);
    assert_eq!(answer(&server, SAFARI).as_deref(), Some(ANSWER));
    let config = json!({
        "servers": {"reverb": {"compression": {"enabled": false}}},
        "apps": {"apps": [{"app_id": APP.id, "key": APP.key, "secret": APP.secret}]},
    });
    assert_eq!(answer(&Setup::bare().config(config).start(), OKHTTP), None);
}

#[test]
fn an_event_is_compressed_once_for_all_who_negotiated_it() {
    let (server, metrics) = watched(Setup::new());
    let mut with: Vec<Client> = (0..3).map(|_| subscribed(negotiated(&server), "orders")).collect();
    let mut without = subscribed(Client::connect(&server), "orders");
    let data = order(100);
    server.publish("orders", "OrderShipped", &data);
    let expected = json!({"event": "OrderShipped", "channel": "orders", "data": data});
    with.iter_mut().for_each(|client| assert_eq!(compressed(client), expected));
    assert_eq!(plain(&mut without), expected);
    let figures = get(&mut Http::connect_to(metrics), "/metrics").text().to_owned();
    assert_eq!(figure(&figures, "reverb_events_compressed_total"), 1.0);
    let before = figure(&figures, "reverb_compression_input_bytes_total");
    let after = figure(&figures, "reverb_compression_output_bytes_total");
    // The frame has a header of four bytes, and less than a quarter is left.
    assert_eq!(before, (expected.to_string().len() + 4) as f64);
    assert!(after > 100.0 && after < before / 4.0, "{after} of {before}");
}

#[test]
fn what_one_client_gets_is_plain_unless_every_byte_counts() {
    let server = Server::start();
    let mut first = subscribed(negotiated(&server), "cache-orders");
    assert_eq!(plain(&mut first)["event"], "pusher:cache_miss");
    server.publish("cache-orders", "e", &order(100));
    assert_eq!(plain(&mut first)["event"], "e");
    // The cached event goes to one client.
    let mut second = negotiated(&server);
    second.subscribe("cache-orders");
    assert_eq!(plain(&mut second)["event"], "e");
    server.publish("cache-orders", "e", &order(101));
    assert_eq!(compressed(&mut second), compressed(&mut first));
    // The publisher is excluded, so one is left.
    let body = json!({"name": "e", "channel": "cache-orders", "data": order(102),
        "socket_id": first.socket_id});
    server.post("/apps/app-id/events", body).is(200, json!({}));
    plain(&mut second);

    let server = Server::with(&[("REVERB_SERVER_COMPRESSION_SUBSCRIBERS", "1")]);
    let mut only = subscribed(negotiated(&server), "orders");
    server.publish("orders", "e", &order(100));
    compressed(&mut only);
}

#[test]
fn short_and_encrypted_events_are_plain() {
    let server = Server::start();
    let mut clients = [negotiated(&server), negotiated(&server)];
    for client in &mut clients {
        client.subscribe("orders");
        client.subscribe_private("private-encrypted-orders");
    }
    server.publish("orders", "short", &"x".repeat(900));
    server.publish("private-encrypted-orders", "encrypted", &order(100));
    server.publish("orders", "long", &"x".repeat(1_000));
    for client in &mut clients {
        assert_eq!(plain(client)["event"], "short");
        assert_eq!(plain(client)["event"], "encrypted");
        assert_eq!(compressed(client)["event"], "long");
    }
}

#[test]
fn compressed_messages_of_clients_are_handled() {
    let (server, metrics) = watched(Setup::new());
    let (mut sender, mut receiver) = (negotiated(&server), Client::connect(&server));
    sender.subscribe_private("private-chat");
    receiver.subscribe_private("private-chat");
    let message = json!({"event": "client-typing", "channel": "private-chat", "data": {"n": 1}});
    sender.frame(0xC1, &deflated(message.to_string().as_bytes()));
    receiver.expect(message.clone());
    // In fragments, with a ping between them.
    let payload = deflated(message.to_string().as_bytes());
    sender.frame(0x41, &payload[..20]);
    sender.frame(0x89, b"x");
    sender.frame(0x80, &payload[20..]);
    receiver.expect(message);
    assert_eq!(sender.receive(), Got::Pong(b"x".to_vec()));
    let figures = get(&mut Http::connect_to(metrics), "/metrics").text().to_owned();
    assert_eq!(figure(&figures, "reverb_messages_decompressed_total"), 2.0);
}

#[test]
fn invalid_compressed_messages_close_the_connection() {
    let server = Server::start();
    let closes = |bytes: &[u8], code| {
        let mut client = negotiated(&server);
        client.raw(bytes);
        client.closed(code);
    };
    closes(&frame(0xC1, &[7, 7, 7]), 1007);
    closes(&frame(0xC1, &deflated(b"\"\xFF\"")), 1007);
    closes(&frame(0xC1, &deflated(&order(100).into_bytes())[..50]), 1007);
    // A thousand times its size, and the limit is 10,000 bytes.
    closes(&frame(0xC1, &deflated(&vec![b' '; 1_000_000])), 1009);
    closes(&frame(0xC9, b""), 1002);
    closes(&[frame(0x01, b"{"), frame(0xC0, b"}")].concat(), 1002);
    closes(&frame(0xA1, b"{}"), 1002);
    let mut client = Client::connect(&server);
    client.raw(&frame(0xC1, &deflated(b"{}")));
    client.closed(1002);
    server.is_up();
}

#[test]
fn a_reload_amid_compressed_events_loses_nothing() {
    let server = Server::start();
    let mut with: Vec<Client> = (0..5).map(|_| subscribed(negotiated(&server), "news")).collect();
    let mut without: Vec<Client> =
        (0..5).map(|_| subscribed(Client::connect(&server), "news")).collect();
    let mut halfway = negotiated(&server);
    let ping = deflated(br#"{"event":"pusher:ping"}"#);
    halfway.raw(&frame(0x41, &ping[..9]));
    let (is_over, pid, data) = (AtomicBool::new(false), server.pid(), order(30));
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                server.publish("news", &format!("n-{count}"), &data);
                count += 1;
            }
            count
        });
        (0..3).for_each(|_| reload(&server));
        is_over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    assert!(published > 3, "{published}");
    for n in 0..published {
        let expected = json!({"event": format!("n-{n}"), "channel": "news", "data": data});
        with.iter_mut().for_each(|client| assert_eq!(compressed(client), expected));
        without.iter_mut().for_each(|client| assert_eq!(plain(client), expected));
    }
    halfway.raw(&frame(0x80, &ping[9..]));
    halfway.expect(json!({"event": "pusher:pong"}));
    with.iter_mut().chain(&mut without).for_each(Client::nothing);
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "reverb\n");
}
