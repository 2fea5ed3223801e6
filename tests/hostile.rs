//! Malicious clients: none of them can crash the process, harm another client, or exhaust memory.

use crate::support::{Client, Got, HANDSHAKE, Http, Server, Setup, frame};
use serde_json::json;
use std::fs;
use std::net::TcpStream;

/// Random bytes that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// The resident memory of the server in kilobytes.
pub fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Another client, which the attack must not disturb.
struct Bystander(Client);

impl Bystander {
    fn new(server: &Server) -> Self {
        let mut client = Client::connect(server);
        client.subscribe("quiet");
        Bystander(client)
    }

    #[track_caller]
    fn is_well(&mut self, server: &Server) {
        server.is_up();
        server.publish("quiet", "e", "d");
        self.0.expect(json!({"event": "e", "channel": "quiet", "data": "d"}));
        self.0.nothing();
    }
}

#[test]
fn random_bytes_instead_of_a_request_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..200 {
        let length = random.below(2_000);
        let mut http = Http::connect(&server);
        http.try_send(&random.bytes(length));
    }
    bystander.is_well(&server);
}

#[test]
fn requests_with_random_damage_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let good = format!(
        "POST /apps/app-id/events?auth_key=app-key HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}\
         GET /app/app-key HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n"
    );
    for _ in 0..300 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..1 + random.below(5) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        Http::connect(&server).try_send(&bytes);
    }
    bystander.is_well(&server);
}

#[test]
fn unfinished_requests_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let halves: Vec<Http> = [
        "",
        "G",
        "GET /up HTTP/1.1\r\nHost: x\r\n",
        "POST /apps/app-id/events HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{",
    ]
    .iter()
    .cycle()
    .take(200)
    .map(|half| {
        let mut http = Http::connect(&server);
        http.send(half);
        http
    })
    .collect();
    bystander.is_well(&server);
    drop(halves);
    bystander.is_well(&server);
}

#[test]
fn random_bytes_instead_of_frames_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut random = Random(0xA076_1D64_78BD_642F);
    for _ in 0..200 {
        let mut client = Client::connect(&server);
        let length = 1 + random.below(500);
        client.try_raw(&random.bytes(length));
    }
    bystander.is_well(&server);
}

#[test]
fn frames_of_random_kinds_and_contents_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut random = Random(0xE703_7ED1_A0B4_28DB);
    for _ in 0..200 {
        let mut client = Client::connect(&server);
        for _ in 0..5 {
            let first = [0x81, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x82, 0x88][random.below(8)];
            let length = random.below(300);
            if !client.try_raw(&frame(first, &random.bytes(length))) {
                break;
            }
        }
    }
    bystander.is_well(&server);
}

#[test]
fn messages_with_random_damage_disturb_no_client() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut random = Random(0x8EBC_6AF0_9C88_C6E3);
    let mut client = Client::connect(&server);
    let good = [
        r#"{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"app-key:00","channel_data":"{\"user_id\":1}"}}"#,
        r#"{"event":"client-x","channel":"private-a","data":{"a":[1,2,{"b":null}]}}"#,
        r#"{"event":"pusher:signin","data":{"auth":"app-key:00","user_data":"{\"id\":\"1\"}"}}"#,
        r#"{"event":"pusher:unsubscribe","data":"{\"channel\":\"c\"}"}"#,
    ];
    const INSERTED: [&str; 12] =
        ["\"", "{", "}", "[", "\\", "\\u0000", "\\ud800", ",", ":", "é", "0", "null"];
    for _ in 0..2_000 {
        let mut text = good[random.below(good.len())].to_owned();
        for _ in 0..1 + random.below(3) {
            let at = random.below(text.len());
            match random.below(2) {
                0 if text.is_char_boundary(at) => text.truncate(at),
                _ if text.is_char_boundary(at) => text.insert_str(at, INSERTED[random.below(12)]),
                _ => {}
            }
            if text.is_empty() {
                break;
            }
        }
        client.text(&text);
    }
    client.frame(0x89, b"the end");
    while client.receive() != Got::Pong(b"the end".to_vec()) {}
    bystander.is_well(&server);
}

#[test]
fn deeply_nested_messages_disturb_no_client() {
    let server = Setup::new().env("REVERB_APP_MAX_MESSAGE_SIZE", 0).start();
    let mut bystander = Bystander::new(&server);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for member in ["data", "other"] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            let mut client = Client::connect(&server);
            client.text(&format!(r#"{{"event":"client-x","channel":"c","{member}":{deep}}}"#));
            client.text(&format!(r#"{{"event":"pusher:subscribe","data":{{"channel":{deep}}}}}"#));
            client.text(&format!(
                r#"{{"event":"pusher:subscribe","data":"{}"}}"#,
                "[".repeat(100_000)
            ));
            client.frame(0x89, b"the end");
            while client.receive() != Got::Pong(b"the end".to_vec()) {}
        }
    }
    bystander.is_well(&server);
}

#[test]
fn announced_lengths_without_data_use_no_memory() {
    let server = Setup::new()
        .env("REVERB_APP_MAX_MESSAGE_SIZE", 0)
        .env("REVERB_MAX_REQUEST_SIZE", 16_000_000)
        .start();
    let mut bystander = Bystander::new(&server);
    let before = memory(&server);
    let _clients: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = Client::connect(&server);
            client.raw(b"\x81\xFF\x00\x00\x00\x00\x00\xFF\xFF\xFF\x00\x00\x00\x00{");
            client
        })
        .collect();
    let _requests: Vec<Http> = (0..100)
        .map(|_| {
            let mut http = Http::connect(&server);
            http.send("POST /apps/app-id/events HTTP/1.1\r\nContent-Length: 15000000\r\n\r\n{");
            http
        })
        .collect();
    bystander.is_well(&server);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 50_000, "{grown} kB more");
}

#[test]
fn a_slow_client_is_disconnected_and_the_others_stay_connected() {
    let server = Setup::new().env("REVERB_LIMIT_OUTBOX_BYTES", 65_536).start();
    let mut bystander = Bystander::new(&server);
    let mut slow = Client::connect(&server);
    slow.subscribe("loud");
    let mut fast = Client::connect(&server);
    fast.subscribe("loud");
    let data = "d".repeat(100_000);
    let event = json!({"event": "e", "channel": "loud", "data": data});
    let count = json!({"name": "e", "channel": "loud", "data": data, "info": "subscription_count"});
    let closed = (0..500).any(|_| {
        let answer = server.post("/apps/app-id/events", count.clone()).json();
        fast.expect(event.clone());
        answer["channels"]["loud"]["subscription_count"] == 1
    });
    assert!(closed, "a client that does not read is never disconnected");
    fast.nothing();
    bystander.is_well(&server);
    slow.drain();
}

#[test]
fn clients_that_never_read_their_responses_use_little_memory() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let before = memory(&server);
    let pings = frame(0x89, b"").repeat(100_000);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    let requests = format!("GET /up HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200)).repeat(20_000);
    let mut publishers: Vec<Http> = (0..20).map(|_| Http::connect(&server)).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| _ = client.send_some(&pings));
        publishers.iter_mut().for_each(|http| _ = http.send_some(requests.as_bytes()));
        bystander.is_well(&server);
    }
    // The server answers at most one read more than allowed: 1,500 pongs or 200 responses, which
    // take about 100 KB and 50 KB, however much the clients send.
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 10_000, "{grown} kB more");
}

#[test]
fn connections_without_a_descriptor_wait_in_the_backlog() {
    let server = Setup::new().descriptors(30).start();
    let mut bystander = Client::connect(&server);
    let mut waiting: Vec<Http> = (0..60).map(|_| Http::connect(&server)).collect();
    bystander.nothing();
    for http in &mut waiting {
        http.send("GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    for http in &mut waiting {
        http.response().is(200, json!({"health": "OK"}));
    }
    bystander.nothing();
    server.is_up();
}

#[test]
fn closed_connections_leave_no_state() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    for round in 0..300 {
        match round % 4 {
            0 => drop(TcpStream::connect(server.address()).unwrap()),
            1 => Client::connect(&server).subscribe("c"),
            2 => drop(Client::connect(&server).join("presence-a", "1")),
            _ => Client::connect(&server).reset(),
        }
    }
    let mut last = Client::connect(&server);
    while server.get("/apps/app-id/connections", "").json()["connections"] != 2 {
        last.nothing();
    }
    let channels = server.get("/apps/app-id/channels", "");
    channels.is(200, json!({"channels": {"quiet": {}}}));
    bystander.is_well(&server);
}

#[test]
fn rejected_subscriptions_leave_no_state() {
    let server = Server::start();
    let mut bystander = Bystander::new(&server);
    let mut client = Client::connect(&server);
    let before = memory(&server);
    for number in 0..2_000 {
        let channel = format!("private-{number:0>150}");
        client.send(
            json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": "x:y"}}),
        );
        client.refused(&channel);
    }
    let channels = server.get("/apps/app-id/channels", "");
    channels.is(200, json!({"channels": {"quiet": {}}}));
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 2_000, "{grown} kB more");
    bystander.is_well(&server);
}
