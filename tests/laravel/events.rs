//! The route of the provider: recorded requests of the server, and what listeners and Pulse get.

use super::{LaravelApp, text};
use crate::support::{APP, hmac_hex, now};
use std::io::Write;
use std::process::Stdio;

/// One event of each kind, as the server posts them.
const EVENTS: &str = r#"{"name":"channel_occupied","channel":"presence-room.1"},{"name":"channel_vacated","channel":"news"},{"name":"connection_pruned","socket_id":"12.34","origin":"https://shop.test"},{"name":"message_received","socket_id":"12.34","origin":"https://shop.test","message":"{\"event\":\"pusher:ping\"}"},{"name":"message_sent","socket_id":"12.34","origin":"https://shop.test","message":"{\"event\":\"pusher:pong\",\"data\":\"ü/\"}"}"#;

impl LaravelApp {
    /// The body of a request with these events, at this time.
    fn body(time_s: u64, events: &str) -> String {
        format!(r#"{{"time_ms":{}123,"events":[{events}]}}"#, time_s)
    }

    /// What the app prints for a signed request: a line for each event, and the status.
    fn posted(&self, body: &str, pulse: &str) -> Vec<String> {
        self.post(APP.key, &hmac_hex(APP.secret, body), body, pulse)
    }

    pub fn post(&self, key: &str, signature: &str, body: &str, pulse: &str) -> Vec<String> {
        let mut command = self.artisan("post");
        command.arg("Content-Type: application/json");
        command.arg(format!("X-Pusher-Key: {key}"));
        command.arg(format!("X-Pusher-Signature: {signature}"));
        command.env("STAND_IN_PULSE", pulse);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).lines().map(str::to_owned).collect()
    }
}

#[test]
fn listeners_get_the_events_of_laravel_reverb() {
    let app = LaravelApp::new();
    let lines = app.posted(&LaravelApp::body(now(), EVENTS), "");
    let connection = r#""12.34","app-id","https://shop.test""#;
    assert_eq!(
        lines,
        [
            r#"["ChannelCreated","Laravel\\Reverb\\Protocols\\Pusher\\Channels\\PresenceChannel","presence-room.1",[]]"#.to_owned(),
            r#"["ChannelRemoved","news"]"#.to_owned(),
            format!(r#"["ConnectionPruned",{connection},[]]"#),
            format!(r#"["MessageReceived",{connection},"{{\"event\":\"pusher:ping\"}}",true]"#),
            format!(r#"["MessageSent",{connection},"{{\"event\":\"pusher:pong\",\"data\":\"\u00fc/\"}}",true]"#)
                .replace('ü', "\\u00fc"),
            "200 ".to_owned(),
        ]
    );
}

#[test]
fn a_listener_that_fails_does_not_keep_others_from_their_events() {
    let app = LaravelApp::new();
    let broken = EVENTS.replace("presence-room.1", "broken");
    let lines = app.posted(&LaravelApp::body(now(), &broken), "");
    assert_eq!(lines[0], "reported DomainException: a listener failed");
    assert_eq!(lines[1], r#"["ChannelRemoved","news"]"#);
    assert_eq!(lines.last().unwrap(), "200 ");
}

#[test]
fn a_connection_cannot_send() {
    let app = LaravelApp::new();
    let event = r#"{"name":"message_sent","socket_id":"1.2","message":"reply"}"#;
    let lines = app.posted(&LaravelApp::body(now(), event), "");
    assert!(lines[1].starts_with("reported LogicException: This connection belongs to the reverb"));
}

#[test]
fn unknown_events_are_ignored() {
    let app = LaravelApp::new();
    let events = r#"{"name":"member_added","channel":"presence-a","user_id":"1"},{},7"#;
    assert_eq!(app.posted(&LaravelApp::body(now(), events), ""), ["200 "]);
    let probe = app.posted(&LaravelApp::body(now(), ""), "");
    assert_eq!(probe, ["200 "], "`reverb check` posts no event");
}

#[test]
fn a_request_without_a_valid_signature_is_rejected() {
    let app = LaravelApp::new();
    let body = LaravelApp::body(now(), EVENTS);
    let signature = hmac_hex(APP.secret, &body);
    let rejected = |lines: Vec<String>, why: &str| assert_eq!(lines, [format!("401 {why}")]);
    rejected(app.post("other", &signature, &body, ""), "Unknown app key.");
    rejected(app.post(APP.key, "", &body, ""), "Invalid signature.");
    rejected(
        app.post(APP.key, &signature, &body.replace("news", "else"), ""),
        "Invalid signature.",
    );
    rejected(app.post(APP.key, &hmac_hex("other", &body), &body, ""), "Invalid signature.");
    rejected(app.posted(&LaravelApp::body(now() - 301, EVENTS), ""), "Expired.");
    rejected(app.posted("not JSON", ""), "Expired.");
}

#[test]
fn pulse_records_the_counts_with_its_sample_rate() {
    let app = LaravelApp::new();
    let time = now();
    let counts = |messages: &str| {
        let event = format!(r#"{{"name":"message_counts","time_ms":{}999,{messages}}}"#, time - 9);
        LaravelApp::body(time, &event)
    };
    let lines = app.posted(&counts(r#""sent":12345,"received":2"#), "1");
    let entry = |kind: &str, count: u32| {
        format!(r#"["Entry","reverb_message:{kind}","app-id",{},{count},true]"#, time - 9)
    };
    let expected = [entry("sent", 10_000), entry("sent", 2_345), entry("received", 2)];
    assert_eq!(lines[..3], expected);
    assert_eq!(lines[3], "200 ");
    // Half of them, and the fraction with its probability.
    let lines = app.posted(&counts(r#""sent":1001"#), "0.5");
    assert!([entry("sent", 500), entry("sent", 501)].contains(&lines[0]), "{lines:?}");
    // Without Pulse there is nothing to record.
    assert_eq!(app.posted(&counts(r#""sent":1"#), ""), ["200 "]);
}

#[test]
fn pulse_does_not_count_the_messages_that_are_dispatched() {
    let app = LaravelApp::new();
    let lines = app.posted(&LaravelApp::body(now(), EVENTS), "1");
    let records: Vec<_> = lines.iter().filter(|line| line.starts_with("[\"Message")).collect();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|line| line.ends_with(",false]")), "{records:?}");
}
