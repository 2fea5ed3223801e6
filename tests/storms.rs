//! Bursts: thousands of clients that connect and disconnect, or repeat the same message.
//! `cargo bench -- storms` measures the cost; here the server must recover, with no state left
//! and no harm to other clients.

use crate::support::{APP, Client, DEADLINE, Http, Server, Setup, frame, signed};
use serde_json::json;
use std::fs;
use std::time::Instant;

/// The number of descriptors the server has open.
fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Waits until the server has at most this many descriptors open.
#[track_caller]
fn wait_until_closed_to(server: &Server, most: usize) {
    let started = Instant::now();
    while descriptors(server) > most {
        assert!(started.elapsed() < DEADLINE, "{} are open", descriptors(server));
        server.is_up();
    }
}

/// Fails unless another client still receives an event.
#[track_caller]
fn receives_an_event(server: &Server, client: &mut Client) {
    server.publish("quiet", "e", "d");
    client.expect(json!({"event": "e", "channel": "quiet", "data": "d"}));
}

fn bystander(server: &Server) -> Client {
    let mut client = Client::connect(server);
    client.subscribe("quiet");
    client
}

#[test]
fn the_server_recovers_from_ten_thousand_resets() {
    let server = Server::start();
    let mut bystander = bystander(&server);
    let before = descriptors(&server);
    for round in 0..100 {
        let mut some: Vec<Http> = (0..100).map(|_| Http::connect(&server)).collect();
        some.iter_mut().for_each(|http| http.send("GET /up HTTP/1.1\r\n\r\n"));
        // Closing a socket with an unread response resets the connection.
        some.iter_mut().for_each(|http| while !http.has_answer() {});
        drop(some);
        if round % 10 == 0 {
            receives_an_event(&server, &mut bystander);
        }
    }
    wait_until_closed_to(&server, before);
    receives_an_event(&server, &mut bystander);
}

#[test]
fn hundreds_of_slow_requests_all_time_out() {
    let server = Setup::new().env("REVERB_LIMIT_REQUEST_TIMEOUT_MS", 1_000).start();
    let mut bystander = bystander(&server);
    let mut slow: Vec<Http> = (0..300).map(|_| Http::connect(&server)).collect();
    let began = ["GET /up HTTP/1.1\r\nX: ", "GET /app/app-key HTTP/1.1\r\nUpgrade: web", "P"];
    slow.iter_mut().zip(began.iter().cycle()).for_each(|(http, begin)| http.send(begin));
    let started = Instant::now();
    // Each sends one byte at a time until the server closes it.
    while !slow.is_empty() {
        slow.retain_mut(|http| !http.has_answer() && http.send_some(b"a"));
        receives_an_event(&server, &mut bystander);
        assert!(started.elapsed() < DEADLINE, "{} are still there", slow.len());
    }
}

#[test]
fn a_publisher_that_sends_byte_by_byte_delays_no_other() {
    let server = Server::start();
    let mut bystander = bystander(&server);
    let body = json!({"name": "slow", "channel": "quiet", "data": "x"}).to_string();
    let target = signed(&APP, "POST", "/apps/app-id/events", "", body.as_bytes());
    let request = format!("POST {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut publisher = Http::connect(&server);
    for (n, byte) in request.bytes().enumerate() {
        publisher.send([byte]);
        if n % 50 == 0 {
            receives_an_event(&server, &mut bystander);
        }
    }
    publisher.response().is(200, json!({}));
    bystander.expect(json!({"event": "slow", "channel": "quiet", "data": "x"}));
}

#[test]
fn pipelined_garbage_gets_one_error_and_the_rest_is_not_read() {
    let server = Server::start();
    let mut bystander = bystander(&server);
    for garbage in ["\0\0\0\0", "GET\r\n\r\n", "GET /up HTTP/9.9\r\n\r\n", "{\"event\":1}\r\n\r\n"]
    {
        let mut http = Http::connect(&server);
        http.send("GET /up HTTP/1.1\r\n\r\n".repeat(3));
        http.try_send(garbage.repeat(10_000).as_bytes());
        for _ in 0..3 {
            http.response().is(200, json!({"health": "OK"}));
        }
        http.response().is_error(400);
        http.end_or_reset();
        receives_an_event(&server, &mut bystander);
    }
}

#[test]
fn many_clients_subscribe_and_unsubscribe_continuously() {
    let server = Server::start();
    let mut bystander = bystander(&server);
    let pair = |channel: &str| {
        let data = json!({"channel": channel});
        ["subscribe", "unsubscribe"]
            .map(|verb| json!({"event": format!("pusher:{verb}"), "data": data}).to_string())
            .map(|text| frame(0x81, text.as_bytes()))
            .concat()
    };
    let storm = pair("storm").repeat(100);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(&server)).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.raw(&storm));
        receives_an_event(&server, &mut bystander);
        for client in &mut clients {
            (0..100).for_each(|_| client.subscribed("storm"));
            client.nothing();
        }
    }
    server.get("/apps/app-id/channels", "").is(200, json!({"channels": {"quiet": {}}}));
}

#[test]
fn one_connection_may_have_ten_thousand_channels_and_no_more() {
    let server = Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 10_000).start();
    let mut client = Client::connect(&server);
    for first in (0..10_000).step_by(100) {
        // The order differs from that of every list in the server.
        let names = (first..first + 100).map(|n| format!("c-{}", n * 7_919 % 10_000));
        let names: Vec<String> = names.collect();
        for name in &names {
            client.send(json!({"event": "pusher:subscribe", "data": {"channel": name}}));
        }
        names.iter().for_each(|name| client.subscribed(name));
    }
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "one-more"}}));
    assert_eq!(client.event()["event"], "pusher:error");
    let refusal = client.event()["data"].to_string();
    assert!(refusal.contains("10000 channels already (limits.channels_per_connection)"));
    let channels = server.get("/apps/app-id/channels", "").json();
    assert_eq!(channels["channels"].as_object().unwrap().len(), 10_000);
    server.publish("c-9999", "e", "d");
    client.expect(json!({"event": "e", "channel": "c-9999", "data": "d"}));
    drop(client);
    let started = Instant::now();
    while server.get("/apps/app-id/channels", "").json() != json!({"channels": {}}) {
        assert!(started.elapsed() < DEADLINE, "the connection is still subscribed");
    }
}

#[test]
fn the_departure_of_all_members_at_once_reaches_a_watcher() {
    let server = Server::start();
    let mut watcher = Client::connect(&server);
    watcher.join("presence-a", "watcher");
    let members: Vec<Client> = (0..150)
        .map(|n| {
            let mut client = Client::connect(&server);
            client.join("presence-a", &n.to_string());
            client
        })
        .collect();
    for _ in &members {
        assert_eq!(watcher.event()["event"], "pusher_internal:member_added");
    }
    // All members have disconnected before the server continues.
    server.signal("STOP");
    drop(members);
    server.signal("CONT");
    let mut removed: Vec<u32> = (0..150)
        .map(|_| {
            let event = watcher.event();
            assert_eq!(event["event"], "pusher_internal:member_removed");
            let data: serde_json::Value =
                serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
            data["user_id"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    removed.sort_unstable();
    assert_eq!(removed, (0..150).collect::<Vec<u32>>());
    let users = server.get("/apps/app-id/channels/presence-a/users", "");
    users.is(200, json!({"users": [{"id": "watcher"}]}));
}

#[test]
fn the_memory_of_a_subscriber_that_did_not_read_is_freed() {
    let server = Server::start();
    let mut bystander = bystander(&server);
    let slow: Vec<Client> = (0..4)
        .map(|n| {
            let mut client = Client::connect(&server);
            client.subscribe(&format!("loud-{n}"));
            client
        })
        .collect();
    receives_an_event(&server, &mut bystander);
    let before = crate::hostile::memory(&server);
    let data = "d".repeat(200_000);
    // Each client has its own channel, so that no queued frame is shared.
    for n in 0..4 {
        for _ in 0..60 {
            server.publish(&format!("loud-{n}"), "e", &data);
        }
        receives_an_event(&server, &mut bystander);
    }
    let channels = server.get("/apps/app-id/channels", "");
    channels.is(200, json!({"channels": {"quiet": {}}}));
    let kept = crate::hostile::memory(&server).saturating_sub(before);
    // Each client held 4 MiB of the server's memory, all of them 16 MiB, before it was closed.
    assert!(kept < 6_000, "{kept} kB are kept");
    drop(slow);
}
