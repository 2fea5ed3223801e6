//! Viewers as connections: how many there may be, slow ones, and how a feed ends.

use crate::hostile::memory;
use crate::reload::reload;
use crate::support::{APP, App, Client, Feed, Http, Server, Setup, signed, until};
use serde_json::json;

/// The value of a metric of [`APP`].
fn metric(server: &Server, address: std::net::SocketAddr, name: &str) -> u64 {
    let mut http = Http::connect_to(address);
    http.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let text = http.response().text().to_owned();
    let line = format!("{name}{{app=\"app-id\"}} ");
    let value = text.lines().find_map(|it| it.strip_prefix(&line)).unwrap_or_else(|| {
        panic!("no {name} in {text}{}", server.stderr());
    });
    value.parse().unwrap()
}

/// A server with metrics, and their address.
fn measured() -> (Server, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let setup = Setup::new().env("REVERB_LIMIT_FEED_EVENTS_PER_SECOND", 1_000_000);
    (setup.env("REVERB_SERVER_METRICS", address).start(), address)
}

#[test]
fn an_app_has_four_viewers_and_the_fifth_is_rejected() {
    let other = App { id: "id2", key: "key2", secret: "secret2" };
    let server = Setup::bare().apps(&[(&APP, json!({})), (&other, json!({}))]).start();
    let mut feeds: Vec<Feed> = (0..4).map(|_| Feed::open(&server, "")).collect();
    let rejected = Feed::rejected(&server, "");
    let text = "The feed of this app has 4 viewers already (limits.feed_viewers).";
    assert_eq!(rejected.is_error(429), text);
    let limit = feeds[0].next_of("api_error");
    assert_eq!((&limit["status"], &limit["reason"]), (&json!(429), &json!(text)));
    Feed::of(&server, &other, "");
    // A viewer that closes makes room at once.
    feeds.pop();
    until("there is room", || {
        let target = signed(&APP, "GET", "/apps/app-id/feed", "", b"");
        let mut http = Http::connect(&server);
        http.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        http.head().status == 200
    });
    server.publish("a", "e", "d");
    for feed in &mut feeds {
        assert_eq!(feed.next_of("api_event")["event"], "e");
    }
}

#[test]
fn a_viewer_that_does_not_read_loses_lines_and_delays_no_other_client() {
    let (server, metrics) = measured();
    let mut slow = Feed::open(&server, "");
    let mut fast = Feed::open(&server, "kinds=api");
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let before = memory(&server);
    // 20,000 lines of 1.1 KB: 22 MB, of which the sockets of the viewer hold a few.
    let data = "x".repeat(1_000);
    let event = json!({"name": "e", "channel": "news", "data": data});
    let body = json!({"batch": vec![&event; 10]});
    let mut seen = 0;
    for _ in 0..2_000 {
        server.post("/apps/app-id/batch_events", body.clone()).is(200, json!({}));
        for _ in 0..10 {
            assert_eq!(client.event()["event"], "e");
            assert_eq!(fast.next()["event"], "e");
            seen += 1;
        }
    }
    assert_eq!(seen, 20_000);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4_096, "{grown} KB");
    assert_eq!(metric(&server, metrics, "reverb_feed_viewers"), 2);
    let lost = metric(&server, metrics, "reverb_feed_lines_dropped_total");
    assert!(lost > 1_000, "{lost}");
    // The viewer reads what was kept, then the number of what was not. The test publishes a further
    // event, so that the number of lines is known.
    let (mut events, mut dropped) = (0, 0);
    server.publish("news", "last", "d");
    while events + dropped < 20_001 {
        let line = slow.next();
        match line["kind"].as_str().unwrap() {
            "api_event" => events += 1,
            "dropped" => dropped += line["count"].as_u64().unwrap(),
            // The lines before the events.
            kind => {
                assert!(["alive", "connected", "occupied", "subscribed"].contains(&kind), "{line}")
            }
        }
    }
    assert_eq!(events + dropped, 20_001);
    assert_eq!(dropped, metric(&server, metrics, "reverb_feed_lines_dropped_total"));
    server.publish("news", "after", "d");
    assert_eq!(slow.next()["event"], "after");
}

#[test]
fn a_reload_ends_the_feed_in_order() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "kinds=api");
    let mut client = Client::connect(&server);
    server.publish("a", "e", "d");
    reload(&server);
    assert_eq!(feed.next()["event"], "e");
    assert_eq!(feed.line(), None);
    feed.http().ended();
    let mut feed = Feed::open(&server, "kinds=subscription");
    client.subscribe("a");
    assert_eq!(feed.next()["socket_id"], client.socket_id.as_str());
}

#[test]
fn a_stop_ends_the_feed_in_order() {
    let mut server = Server::start();
    let mut feed = Feed::open(&server, "kinds=api");
    server.publish("a", "e", "d");
    server.signal("TERM");
    assert_eq!(feed.next()["event"], "e");
    assert_eq!(feed.line(), None);
    feed.http().ended();
    drop(feed);
    assert!(server.wait().success());
}

#[test]
fn a_client_of_http_1_0_gets_lines_without_chunks() {
    let server = Server::start();
    let target = signed(&APP, "GET", "/apps/app-id/feed", "kinds=api", b"");
    let mut http = Http::connect(&server);
    http.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
    until("the response begins", || http.has_answer());
    server.publish("a", "e", "d");
    server.signal("TERM");
    let response = http.response();
    assert_eq!((response.status, response.header("Transfer-Encoding")), (200, None));
    let lines: Vec<serde_json::Value> =
        response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["kind"], &lines[1]["kind"]), (&json!("hello"), &json!("api_event")));
}

#[test]
fn a_connection_is_closed_by_its_socket_id() {
    let server = Server::start();
    let mut feed = Feed::open(&server, "kinds=disconnected");
    let mut clients = [(); 2].map(|()| Client::connect(&server));
    let path = format!("/apps/app-id/connections/{}/terminate", clients[0].socket_id);
    server.post(&path, json!({})).is(200, json!({}));
    clients[0].error(4009, "Connection terminated by the application");
    clients[0].closed(4009);
    clients[1].nothing();
    let line = feed.next();
    assert_eq!((&line["socket_id"], &line["code"]), (&json!(clients[0].socket_id), &json!(4009)));
    let gone = server.post(&path, json!({}));
    assert_eq!(gone.is_error(404), "This app has no connection with this socket id.");
    server.post("/apps/app-id/connections/x/terminate", json!({})).is_error(400);
}
