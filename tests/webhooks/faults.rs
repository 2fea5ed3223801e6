//! Servers that answer wrongly, slowly or not at all.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::receiver::{Answer, Receiver, plain};
use super::{server_for, with_webhooks};
use crate::metrics::{figure, get, watched};
use crate::support::{Client, Http, logged, until};

/// Fails unless a request with this first answer is sent again, unchanged, and what follows is in
/// order.
#[track_caller]
fn is_sent_again(first: impl Fn() -> Answer + Send + Sync + 'static, why: &str) {
    let receiver = Receiver::answering(move |_, n| match n {
        0 => first(),
        _ => Answer::Status(204),
    });
    let server = with_webhooks(json!([
        {"url": receiver.url("/hook"), "batch_ms": 1, "timeout_ms": 500}
    ]))
    .start();
    let mut client = Client::connect(&server);
    client.subscribe("first");
    let request = receiver.request();
    client.subscribe("second");
    let again = receiver.request();
    assert_eq!((again.delivery(), &again.body), (request.delivery(), &request.body), "{why}");
    let second = receiver.request();
    assert_eq!(second.events(), [json!({"name": "channel_occupied", "channel": "second"})]);
    assert_ne!(second.delivery(), request.delivery());
    logged(&server, &["webhook", why]);
}

#[test]
fn a_status_other_than_2xx_is_sent_again() {
    is_sent_again(|| Answer::Status(500), "500");
    is_sent_again(|| Answer::Status(404), "404");
}

#[test]
fn a_redirect_is_not_followed_but_sent_again() {
    let other = Arc::new(Receiver::start());
    let url = other.url("/elsewhere");
    let response = move || {
        format!("HTTP/1.1 301 Moved\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    is_sent_again(move || Answer::Raw(response()), "301");
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_request_without_a_response_times_out_and_is_sent_again() {
    is_sent_again(|| Answer::Nothing, "no answer within 500 ms");
}

#[test]
fn a_response_that_ends_in_its_head_is_no_acknowledgement() {
    is_sent_again(|| Answer::Last(b"HTTP/1.1 200 O".to_vec()), "in the middle of its response");
    is_sent_again(|| Answer::Last(Vec::new()), "closed the connection without a response");
}

#[test]
fn a_response_of_another_protocol_is_no_acknowledgement() {
    is_sent_again(|| Answer::Raw(b"220 mail.example ESMTP\r\n".to_vec()), "not HTTP/1");
}

#[test]
fn responses_in_every_form_are_acknowledgements() {
    let bodies = [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ];
    let receiver = Receiver::answering(move |_, n| match n {
        0..3 => Answer::Raw(bodies[n].to_vec()),
        3..6 => Answer::Slowly(bodies[n - 3].to_vec()),
        6 => Answer::Last(b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec()),
        // The application has handled the request, although the rest of its response is lost.
        7 => Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()),
        8 => Answer::Raw(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n".to_vec(), vec![b'x'; 900_000]]
                .concat(),
        ),
        _ => Answer::Status(200),
    });
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    for n in 0..10 {
        client.subscribe(&format!("c{n}"));
        let event = json!({"name": "channel_occupied", "channel": format!("c{n}")});
        assert_eq!(receiver.events(1), [event]);
    }
    // After a response without an end, or with a broken one, a new connection is needed.
    assert_eq!(receiver.connections(), 3);
    assert!(!server.stderr().contains("webhook"), "{}", server.stderr());
}

#[test]
fn a_server_that_starts_later_gets_what_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/hook");
    let server = with_webhooks(json!([{"url": url, "batch_ms": 1}])).start();
    Client::connect(&server).subscribe("news");
    logged(&server, &["webhook", "Connection refused"]);
    let listener = TcpListener::bind(address).unwrap();
    let receiver = Receiver::on(listener, |_, _| Answer::Status(200), plain);
    assert_eq!(receiver.events(1)[0]["channel"], "news");
}

#[test]
fn a_url_that_hangs_delays_no_other() {
    let (hangs, works) = (Receiver::answering(|_, _| Answer::Nothing), Receiver::start());
    let setup = with_webhooks(json!([
        {"url": hangs.url("/hook"), "batch_ms": 1},
        {"url": works.url("/hook"), "batch_ms": 1},
    ]));
    let (server, metrics) = watched(setup);
    let mut client = Client::connect(&server);
    for n in 0..50 {
        client.subscribe(&format!("c{n}"));
        assert_eq!(works.events(1)[0]["channel"], format!("c{n}"));
    }
    // The server reads the last acknowledgement after the receiver has sent it.
    let mut http = Http::connect_to(metrics);
    until("only the events of the first URL wait", || {
        let figures = get(&mut http, "/metrics");
        figure(figures.text(), r#"reverb_webhook_events_waiting{app="app-id"}"#) == 50.0
    });
    assert_eq!(hangs.connections(), 1);
}

#[test]
fn a_host_name_that_does_not_exist_is_logged_and_delays_no_other() {
    let works = Receiver::start();
    let server = with_webhooks(json!([
        {"url": "http://reverb.invalid/hook", "batch_ms": 1},
        {"url": format!("http://localhost:{}/hook", works.port()), "batch_ms": 1},
    ]))
    .start();
    Client::connect(&server).subscribe("news");
    works.events(1);
    logged(&server, &["webhook", "its host name cannot be resolved"]);
}

#[test]
fn private_addresses_are_refused_if_configured() {
    let receiver = Receiver::start();
    let server = with_webhooks(json!([
        {"url": format!("http://localhost:{}/hook", receiver.port()), "batch_ms": 1},
    ]))
    .env("REVERB_WEBHOOK_PRIVATE_ADDRESSES", "false")
    .start();
    Client::connect(&server).subscribe("news");
    logged(&server, &["webhook", "its address is private", "REVERB_WEBHOOK_PRIVATE_ADDRESSES"]);
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn what_waits_is_sent_in_order_after_an_outage() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let receiver = Receiver::answering(move |_, _| match down.load(Ordering::Relaxed) {
        true => Answer::Status(503),
        false => Answer::Status(200),
    });
    let server = server_for(&receiver);
    let mut client = Client::connect(&server);
    (0..30).for_each(|n| client.subscribe(&format!("c{n}")));
    logged(&server, &["webhook", "503"]);
    is_down.store(false, Ordering::Relaxed);
    let mut channels: Vec<String> = Vec::new();
    until("all events", || {
        let request = receiver.request();
        for event in request.events() {
            let channel = event["channel"].as_str().unwrap().to_owned();
            // The first batch was also sent during the outage.
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        channels.len() == 30
    });
    assert_eq!(channels, (0..30).map(|n| format!("c{n}")).collect::<Vec<_>>());
}
