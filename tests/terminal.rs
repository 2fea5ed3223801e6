//! The commands that use a running server from the terminal, run as a user runs them: in a folder with
//! the `.env` of the server, with pipes and in a pseudo-terminal.

mod run;
mod screen;
mod tail;
#[cfg(feature = "tls")]
mod tls;
mod top;

use serde_json::{Value, json};

use crate::reload::reload;
use crate::support::{APP, App, Client, Got, Setup};
use run::{Folder, Run};

const OTHER: App = App { id: "other-id", key: "other-key", secret: "other-secret" };

#[test]
fn a_published_event_reaches_subscribers_except_one() {
    let folder = Folder::start(Setup::new());
    let mut subscribers = [Client::connect(&folder.server), Client::connect(&folder.server)];
    subscribers.iter_mut().for_each(|client| client.subscribe("news"));
    let run = folder.run(&["publish", "news", "hello", r#"{"a": 1}"#]);
    run.is(0, "", "");
    for client in &mut subscribers {
        client.expect(json!({"event": "hello", "channel": "news", "data": "{\"a\": 1}"}));
    }
    let first = subscribers[0].socket_id.clone();
    let args = ["publish", "--except", &first, "news", "hello", "2", "--json"];
    folder.run(&args).is(0, "{}\n", "");
    subscribers[0].nothing();
    subscribers[1].expect(json!({"event": "hello", "channel": "news", "data": "2"}));
    folder.run_with_input(&["publish", "news", "from a file", "-"], "[1,\n2]\n").is(0, "", "");
    subscribers[0].expect(json!({"event": "from a file", "channel": "news", "data": "[1,\n2]"}));
    // After two dashes there are no flags.
    folder.run(&["publish", "--", "news", "--debug", "-5"]).is(0, "", "");
    subscribers[0].expect(json!({"event": "--debug", "channel": "news", "data": "-5"}));
}

#[test]
fn what_cannot_be_published_is_explained() {
    let folder = Folder::start(Setup::new());
    let run = folder.run(&["publish", "news", "hello", "text"]);
    run.fails(2, &["the data is not JSON", "a text needs quotes"]);
    folder.run(&["publish", "news", "hello"]).fails(2, &["CHANNEL EVENT JSON"]);
    let run = folder.run(&["publish", "news", &"x".repeat(300), "1"]);
    run.fails(1, &["rejects the request for the app app-id: it answers 4"]);
    let run = folder.run(&["publish", "news", "hello", "1", "--app", "third"]);
    run.fails(2, &["--app: no app has the id third; known are app-id"]);
    let run = folder.run(&["publish", "news", "hello", "1", "--port", "1"]);
    run.fails(1, &["no server listens at http://127.0.0.1:1", "reverb start", "--url"]);
    let run = folder.run(&["publish", "news", "hello", "1", "--url", "127.0.0.1"]);
    run.fails(2, &["--url: must begin with http:// or https://"]);
    let run = folder.run(&["publish", "news", "hello", "1", "--url", "http://a", "--port", "1"]);
    run.fails(2, &["--url already names the host and the port"]);
    folder.env("REVERB_APP_SECRET", "another");
    let run = folder.run(&["publish", "news", "hello", "1"]);
    run.fails(1, &["answers 401", "the server has other credentials", "reverb reload"]);
    assert!(!run.err.contains("another") && !run.err.contains("app-secret"), "{}", run.err);
    folder.env("REVERB_APP_ID", "another");
    folder.run(&["publish", "news", "hello", "1"]).fails(1, &["answers 404", "No matching app"]);
    folder.write_env("");
    let run = folder.run(&["publish", "news", "hello", "1"]);
    run.fails(2, &["no app is configured here", "REVERB_APP_ID", "--env"]);
}

#[test]
fn another_app_and_another_server_can_be_named() {
    let setup = Setup::bare().apps(&[(&APP, json!({})), (&OTHER, json!({}))]);
    let folder = Folder::start(setup);
    let mut client = Client::connect_to(&folder.server, "/app/other-key?protocol=7");
    client.subscribe("news");
    let port = folder.server.address().port().to_string();
    let common = ["publish", "news", "hello", "1"];
    folder.run(&[&common[..], &["--app", "other-id", "--port", &port]].concat()).is(0, "", "");
    client.expect(json!({"event": "hello", "channel": "news", "data": "1"}));
    for url in ["http://localhost:PORT", "ws://127.0.0.1:PORT/"] {
        let url = url.replace("PORT", &port);
        folder.run(&[&common[..], &["--app=other-id", "--url", &url]].concat()).is(0, "", "");
        client.expect(json!({"event": "hello", "channel": "news", "data": "1"}));
    }
    folder.run(&[&common[..], &["--port", &port]].concat()).is(0, "", "");
    client.nothing();
    let run = folder.run(&[&common[..], &["--url", &format!("https://127.0.0.1:{port}")]].concat());
    let why = if cfg!(feature = "tls") { "does it speak TLS" } else { "lacks" };
    assert!(run.err.contains(why), "{}", run.err);
}

#[test]
fn a_path_prefix_and_a_unix_socket_lead_to_the_server() {
    let file = std::env::temp_dir().join(format!("reverb-{}-terminal.sock", std::process::id()));
    let file = file.to_str().unwrap();
    let hosts: &'static str = format!("127.0.0.1,{file}").leak();
    let folder = Folder::start(Setup::new().arg("--path=/ws").host(hosts));
    folder.env("REVERB_SERVER_PATH", "/ws");
    let mut client = Client::connect_to(&folder.server, "/ws/app/app-key?protocol=7");
    client.subscribe("news");
    let url = format!("http://{}/ws", folder.server.address());
    for place in [&[][..], &["--url", &url], &["--host", file]] {
        let mut subscriber = folder.begin(&[&["subscribe", "a"], place].concat());
        subscriber.notes("subscribed to a");
        folder.run(&[&["publish", "news", "hello", "1"], place].concat()).is(0, "", "");
        client.expect(json!({"event": "hello", "channel": "news", "data": "1"}));
        folder.run(&[&["publish", "a", "hello", "1"], place].concat()).is(0, "", "");
        assert_eq!(subscriber.line(), "a hello 1");
    }
}

#[test]
fn subscribers_sign_private_and_presence_channels_themselves() {
    let folder = Folder::start(Setup::new());
    let mut member = Client::connect(&folder.server);
    member.join("presence-room", "1");
    let args = ["subscribe", "news", "private-a", "presence-room", "--user", "7"];
    let mut subscriber = folder.begin(&[&args[..], &["--info", r#"{"name":"x"}"#]].concat());
    subscriber.notes("subscribed to news");
    subscriber.notes("subscribed to private-a");
    subscriber.notes("subscribed to presence-room with 2 members");
    let added = member.event();
    assert_eq!(added["event"], "pusher_internal:member_added");
    let data: Value = serde_json::from_str(added["data"].as_str().unwrap()).unwrap();
    assert_eq!(data, json!({"user_id": "7", "user_info": {"name": "x"}}));
    folder.run(&["publish", "private-a", "an event", r#"{"a":"b"}"#]).is(0, "", "");
    assert_eq!(subscriber.line(), r#"private-a an event {"a":"b"}"#);
    member.send(json!({"event": "client-x", "channel": "presence-room", "data": {"n": 1}}));
    assert_eq!(subscriber.line(), r#"presence-room client-x {"n":1}"#);
    let mut json = folder.begin(&["subscribe", "presence-room", "--json"]);
    json.notes("subscribed to presence-room with 3 members");
    let line: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(line["event"], "pusher_internal:subscription_succeeded");
    let line = subscriber.line();
    let added = "presence-room pusher_internal:member_added ";
    assert!(line.starts_with(added) && line.contains("reverb-subscribe"), "{line}");
    assert_eq!(subscriber.ends_by("INT"), 0);
    let line: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(line["event"], "pusher_internal:member_removed");
    assert_eq!(json.ends_by("TERM"), 0);
}

#[test]
fn a_refused_subscriber_says_why() {
    let folder = Folder::start(Setup::new());
    folder.env("REVERB_APP_SECRET", "another");
    let run = folder.run(&["subscribe", "private-a"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    let reason = "refuses the channel private-a: The connection is unauthorized; the server has \
                  another secret for this app";
    assert!(run.err.contains(reason), "{}", run.err);
    folder.env("REVERB_APP_KEY", "another");
    folder.run(&["subscribe", "a"]).fails(1, &["4001", "no app with the key of this one"]);
    let run = folder.run(&["subscribe", "a", "--info", "x"]);
    run.fails(2, &["--info is not JSON"]);
    folder.run(&["subscribe"]).fails(2, &["at least one CHANNEL"]);
    folder.run(&["subscribe", "a", "--port", "1"]).fails(1, &["no server listens"]);
}

#[test]
fn a_subscriber_has_an_allowed_origin_and_answers_pings() {
    let setup = Setup::new()
        .env("REVERB_APP_ALLOWED_ORIGINS", "*.example.test")
        .env("REVERB_APP_PING_INTERVAL", "1")
        .env("REVERB_LIMIT_PONG_TIMEOUT_MS", "2000");
    let folder = Folder::start(setup);
    folder.env("REVERB_APP_ALLOWED_ORIGINS", "*.example.test");
    let mut subscriber = folder.begin(&["subscribe", "a"]);
    subscriber.notes("subscribed to a");
    let target = "/app/app-key?protocol=7";
    let mut mute = Client::open(&folder.server, target, "Origin: https://b.example.test\r\n");
    // It connected later than the subscriber, and answers no ping.
    loop {
        match mute.receive() {
            Got::Close(Some(4201), _) => break,
            Got::End => panic!("closed without 4201"),
            _ => {}
        }
    }
    folder.run(&["publish", "a", "still", "1"]).is(0, "", "");
    assert_eq!(subscriber.line(), "a still 1");
    assert_eq!(subscriber.ends_by("INT"), 0);
}

#[test]
fn a_subscriber_survives_a_reload_and_a_kick_ends_it() {
    let folder = Folder::start(Setup::new());
    let mut subscriber = folder.begin(&["subscribe", "presence-a", "--user", "7"]);
    subscriber.notes("subscribed to presence-a with 1 member");
    reload(&folder.server);
    folder.run(&["publish", "presence-a", "after", "1"]).is(0, "", "");
    assert_eq!(subscriber.line(), "presence-a after 1");
    folder.run(&["kick", "--user", "7"]).is(0, "", "");
    subscriber.notes("4009");
    assert_eq!(subscriber.ends(), 1);
    folder.run(&["kick"]).fails(2, &["either SOCKET or --user ID"]);
    folder.run(&["kick", "1.2", "--user", "7"]).fails(2, &["either SOCKET or --user ID"]);
}

#[test]
fn a_subscriber_reconnects_to_a_server_that_starts_again() {
    let mut folder = Folder::start(Setup::new());
    let mut subscriber = folder.begin(&["subscribe", "a"]);
    subscriber.notes("subscribed to a");
    folder.restart();
    subscriber.notes("events are missing until the next attempt in 1 s");
    subscriber.notes("subscribed to a");
    folder.run(&["publish", "a", "again", "1"]).is(0, "", "");
    assert_eq!(subscriber.line(), "a again 1");
}

#[test]
fn a_kick_closes_one_connection() {
    let folder = Folder::start(Setup::new());
    let (mut one, mut other) = (Client::connect(&folder.server), Client::connect(&folder.server));
    folder.run(&["kick", &one.socket_id, "--json"]).is(0, "{}\n", "");
    assert_eq!(one.event()["event"], "pusher:error");
    one.closed(4009);
    other.nothing();
    folder.run(&["kick", "1.2"]).fails(1, &["answers 404"]);
}

#[test]
fn hostile_names_and_data_cannot_affect_the_terminal() {
    let folder = Folder::start(Setup::new());
    let channel = "a\u{1b}[2J\u{9b}31m\u{202e}";
    let mut subscriber = folder.begin(&["subscribe", channel]);
    subscriber.notes("subscribed to a\\u{1b}[2J\\u{9b}31m\\u{202e}");
    let mut json = folder.begin(&["subscribe", channel, "--json"]);
    json.notes("subscribed");
    json.line();
    folder.server.publish(channel, "e\u{7f}\n", "\u{1b}]0;title\u{7}\n");
    let line = subscriber.line();
    let escaped = "a\\u{1b}[2J\\u{9b}31m\\u{202e} e\\u{7f}\\n \\u{1b}]0;title\\u{7}\\n";
    assert_eq!(line, escaped);
    let line = json.line();
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    let message: Value = serde_json::from_str(&line).unwrap();
    let expected = json!([channel, "e\u{7f}\n", "\u{1b}]0;title\u{7}\n"]);
    assert_eq!(json!([message["channel"], message["event"], message["data"]]), expected);
}

#[test]
fn a_closed_pipe_ends_a_subscriber_quietly() {
    let folder = Folder::start(Setup::new());
    let mut subscriber = folder.begin_unread(&["subscribe", "a"]);
    subscriber.notes("subscribed to a");
    subscriber.closes_output();
}

impl Run {
    /// Fails unless the run ended so.
    #[track_caller]
    fn is(&self, code: i32, out: &str, err: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, out, err));
    }

    /// Fails unless the run ended with this code, and one line of standard error with these parts.
    #[track_caller]
    fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(parts.iter().all(|part| self.err.contains(part)), "{}", self.err);
        let lines: Vec<&str> = self.err.lines().collect();
        assert!(lines.last().is_some_and(|line| line.starts_with("reverb: ")), "{}", self.err);
    }
}
