//! The whole way of an event: a client, the server that artisan has become, its webhook, the route of
//! the provider, and a listener.
#![cfg(feature = "webhooks")]

use super::LaravelApp;
use crate::support::{Client, Server, binary, logged};
use crate::webhooks::receiver::{Answer, Receiver, Request};
use std::process::Command;

/// A server of this app that posts to the receiver in its place.
fn started(app: &LaravelApp, receiver: &Receiver, variables: &[(&str, &str)]) -> Server {
    let mut command = app.artisan("reverb:start");
    command.env("APP_URL", receiver.url("")).envs(variables.iter().copied());
    app.serve(command)
}

/// What the app prints for the requests of the server, until all of these are in it.
fn dispatched(app: &LaravelApp, receiver: &Receiver, pulse: &str, until: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    while !until.iter().all(|start| lines.iter().any(|line: &String| line.starts_with(start))) {
        let request = receiver.request();
        assert_eq!(request.path, "/reverb/events");
        lines.extend(posted(app, &request, pulse));
        assert_eq!(lines.pop().as_deref(), Some("200 "));
    }
    lines
}

fn posted(app: &LaravelApp, request: &Request, pulse: &str) -> Vec<String> {
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known == name);
        found.unwrap().1.as_str()
    };
    app.post(header("X-Pusher-Key"), header("X-Pusher-Signature"), &request.body, pulse)
}

#[test]
fn listeners_get_what_happens_at_the_server() {
    let (app, receiver) = (LaravelApp::new(), Receiver::start());
    let names = "ChannelCreated,ChannelRemoved,MessageReceived,MessageSent";
    let server = started(&app, &receiver, &[("REVERB_EVENTS", names)]);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let created =
        r#"["ChannelCreated","Laravel\\Reverb\\Protocols\\Pusher\\Channels\\Channel","news""#;
    let lines =
        dispatched(&app, &receiver, "", &[created, "[\"MessageReceived\"", "[\"MessageSent\""]);
    let received = lines.iter().find(|line| line.starts_with("[\"MessageReceived\"")).unwrap();
    assert!(received.contains(r#"\"event\":\"pusher:subscribe\""#), "{received}");
    drop(client);
    dispatched(&app, &receiver, "", &[r#"["ChannelRemoved","news"]"#]);
}

#[test]
fn only_the_named_events_are_posted() {
    let (app, receiver) = (LaravelApp::new(), Receiver::start());
    let server = started(&app, &receiver, &[("REVERB_EVENTS", "ChannelCreated")]);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    client.unsubscribe("news");
    client.subscribe("other");
    let lines = dispatched(&app, &receiver, "", &["[\"ChannelCreated\""]);
    assert!(lines.iter().all(|line| line.starts_with("[\"ChannelCreated\"")), "{lines:?}");
}

#[test]
fn pulse_gets_the_numbers_of_messages_and_no_event() {
    let (app, receiver) = (LaravelApp::new(), Receiver::start());
    let pulse = [("STAND_IN_PULSE", "1"), ("REVERB_PULSE_INGEST_INTERVAL", "1")];
    let server = started(&app, &receiver, &pulse);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    client.ping();
    // The client has sent two messages and received three.
    let (mut sent, mut received) = (0, 0);
    while sent < 3 || received < 2 {
        for line in posted(&app, &receiver.request(), "1") {
            let count = || line.split(',').nth(4).unwrap().parse::<u32>().unwrap();
            match line.as_str() {
                "200 " => {}
                _ if line.starts_with("[\"Entry\",\"reverb_message:sent\"") => sent += count(),
                _ if line.starts_with("[\"Entry\",\"reverb_message:received\"") => {
                    received += count();
                }
                _ => panic!("{line}"),
            }
        }
    }
    assert_eq!((sent, received), (3, 2));
}

#[test]
fn nothing_is_posted_until_events_are_named() {
    let (app, receiver) = (LaravelApp::new(), Receiver::start());
    let server = started(&app, &receiver, &[]);
    let mut client = Client::connect(&server);
    client.subscribe("before");
    app.edit(".env", "APP_NAME=Laravel\n", "REVERB_EVENTS=ChannelCreated\n");
    let words = format!("reverb:reload --port={}", server.address().port());
    let mut reload = app.artisan(&words);
    assert!(reload.env("APP_URL", receiver.url("")).status().unwrap().success());
    client.subscribe("after");
    let lines = posted(&app, &receiver.request(), "");
    assert!(lines[0].contains("\"after\""), "{lines:?}");
}

#[test]
fn a_name_that_is_no_event_prevents_the_start() {
    let app = LaravelApp::new();
    let output = app.artisan("reverb:start").env("REVERB_EVENTS", "Created").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = super::text(&output.stderr);
    assert!(error.contains("REVERB_EVENTS: \"Created\" is not one of ChannelCreated"), "{error}");
}

#[test]
fn an_app_that_rejects_events_is_reported_with_the_settings_that_cause_them() {
    let app = LaravelApp::new();
    for (variables, status, cause) in [
        ([("REVERB_EVENTS", "ChannelCreated"), ("STAND_IN_PULSE", "")], 404, "REVERB_EVENTS"),
        (
            [("STAND_IN_PULSE", "1"), ("REVERB_PULSE_INGEST_INTERVAL", "1")],
            503,
            "the messages recorder of Laravel Pulse",
        ),
    ] {
        let receiver = Receiver::answering(move |_, _| Answer::Status(status));
        let server = started(&app, &receiver, &variables);
        Client::connect(&server).subscribe("news");
        let start = format!("Laravel app {}/reverb/events: status {status}", receiver.url(""));
        let line = logged(&server, &[&start, &format!("because of {cause}; set APP_URL")]);
        assert!(!line.contains("WEBHOOK") && !line.contains("webhook"), "{line}");
        let mut check = Command::new(binary());
        check.args(["check", "--port", &server.address().port().to_string()]);
        let out = check.current_dir(&app.0).output().unwrap();
        let out = super::text(&out.stdout);
        let lines: Vec<&str> = out.lines().filter(|l| l.contains("/reverb/events")).collect();
        let [line] = lines[..] else { panic!("{out}") };
        assert!(line.starts_with("WRONG  the Laravel app, to which"), "{line}");
        assert!(line.contains(&format!("because of {cause}, answers {status}")), "{line}");
        assert!(!line.contains("webhook"), "{line}");
        assert_eq!(line.contains("run `reverb install`"), status == 404, "{line}");
    }
}
