//! `reverb tail`.

use serde_json::{Value, json};

use super::OTHER;
use super::run::{Folder, Running};
use crate::reload::reload;
use crate::support::{APP, Client, Setup};

/// Starts `reverb tail`, and waits until the server has accepted it.
#[track_caller]
fn begin(folder: &Folder, args: &[&str]) -> Running {
    let mut tail = folder.begin(&[&["tail"], args].concat());
    tail.line_with(&["hello"]);
    tail
}

/// What follows the time of the next line.
#[track_caller]
fn next(tail: &mut Running) -> String {
    let line = tail.line();
    let (time, rest) = line.split_at(12);
    assert!(time.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte)), "{line}");
    rest.to_owned()
}

#[test]
fn each_happening_is_an_aligned_line() {
    let folder = Folder::start(Setup::new());
    let mut tail = folder.begin(&["tail"]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(next(&mut tail), format!("  hello           app app-id reverb {version}"));
    let mut client = Client::connect(&folder.server);
    let id = client.socket_id.clone();
    assert_eq!(next(&mut tail), format!("  connected       {id} from 127.0.0.1"));
    client.join("presence-a", "7");
    let lines: Vec<String> = (0..3).map(|_| next(&mut tail)).collect();
    for line in [
        "  occupied        presence-a".to_owned(),
        "  member_added    presence-a user 7".to_owned(),
        format!("  subscribed      presence-a by {id} user 7"),
    ] {
        assert!(lines.contains(&line), "{lines:#?}");
    }
    client.send(json!({"event": "client-x", "channel": "presence-a", "data": {"n": 1}}));
    let line =
        format!("  client_event    presence-a client-x by {id} user 7 7 bytes to 0: {{\"n\":1}}");
    assert_eq!(next(&mut tail), line);
    folder.run(&["publish", "presence-a", "e", r#"{"a":"é"}"#]).is(0, "", "");
    assert_eq!(next(&mut tail), r#"  api_event       presence-a e 10 bytes to 1: {"a":"é"}"#);
    folder.run(&["kick", &id]).is(0, "", "");
    tail.line_with(&["vacated         presence-a"]);
    tail.line_with(&["disconnected", &id, "4009"]);
    assert_eq!(tail.ends_by("INT"), 0);
}

#[test]
fn a_wrong_signature_is_shown_with_the_text_to_sign() {
    let folder = Folder::start(Setup::new());
    let mut tail = begin(&folder, &["--kind", "error"]);
    folder.env("REVERB_APP_SECRET", "another");
    assert_eq!(folder.run(&["subscribe", "private-a"]).code, 1);
    let line = tail.line();
    let (_, id) = line.split_once("the text to sign is ").unwrap();
    assert!(line.contains("refused         private-a by ") && id.ends_with(":private-a"), "{line}");
    folder.run(&["publish", "a", "b", "1"]).fails(1, &["401"]);
    let line = tail.line();
    let signed = "the text to sign is POST\\n/apps/app-id/events\\nauth_key=app-key&";
    assert!(line.contains("api_error       POST") && line.contains(signed), "{line}");
    assert!(!line.contains("app-secret") && !line.contains("another"), "{line}");
}

#[test]
fn filters_choose_lines_and_json_lines_are_as_they_came() {
    let folder = Folder::start(Setup::new());
    let args = ["--json", "--channel", "private-*", "--channel=b,c", "--kind", "api,client"];
    let mut tail = begin(&folder, &[&args[..], &["--event", "wanted*", "--no-payload"]].concat());
    let mut data = begin(&folder, &["--json", "--kind", "api_event"]);
    for (channel, event) in
        [("a", "wanted"), ("private-a", "wanted-1"), ("b", "other"), ("c", "wanted-2")]
    {
        folder.run(&["publish", channel, event, r#""x""#]).is(0, "", "");
    }
    for (channel, event) in [("private-a", "wanted-1"), ("c", "wanted-2")] {
        let line: Value = serde_json::from_str(&tail.line()).unwrap();
        let known = json!([line["kind"], line["channels"], line["event"], line["data"]]);
        assert_eq!(known, json!(["api_event", [channel], event, null]));
    }
    let line: Value = serde_json::from_str(&data.line()).unwrap();
    assert_eq!(line["data"], "\"x\"");
    let mut one = Client::connect(&folder.server);
    let mut other = Client::connect(&folder.server);
    let mut socket = begin(&folder, &["--socket", &other.socket_id]);
    let mut user = begin(&folder, &["--user", "8"]);
    one.join("presence-a", "7");
    other.join("presence-b", "8");
    assert!(next(&mut socket).contains("presence-b"));
    assert!(next(&mut user).contains("presence-b"));
}

#[test]
fn a_tail_goes_on_after_a_reload_and_a_restart() {
    let mut folder = Folder::start(Setup::new());
    let mut tail = begin(&folder, &["--kind", "api"]);
    reload(&folder.server);
    tail.notes("lines are missing until the next attempt in 1 s");
    tail.line_with(&["hello"]);
    folder.run(&["publish", "a", "after", "1"]).is(0, "", "");
    tail.line_with(&["api_event       a after"]);
    folder.restart();
    tail.notes("lines are missing until the next attempt in 1 s");
    tail.line_with(&["hello"]);
    folder.run(&["publish", "a", "again", "1"]).is(0, "", "");
    tail.line_with(&["api_event       a again"]);
}

#[test]
fn a_refused_tail_says_why() {
    let limits = json!({"feed_viewers": 1});
    let apps =
        [&APP, &OTHER].map(|app| json!({"app_id": app.id, "key": app.key, "secret": app.secret}));
    let config = json!({"servers": {"reverb": {"limits": limits}}, "apps": {"apps": apps}});
    let folder = Folder::start(Setup::bare().config(config));
    let port = folder.server.address().port().to_string();
    let args = ["--port", &port];
    let _first = begin(&folder, &args);
    let run = folder.run(&["tail", "--port", &port]);
    run.fails(1, &["answers 429", "feed_viewers"]);
    // Each app has its own viewers.
    let mut other = folder.begin(&["tail", "--port", &port, "--app", "other-id"]);
    assert!(next(&mut other).contains("app other-id"));
    let run = folder.run(&["tail", "--port", &port, "--kind", "apis", "--app", "other-id"]);
    run.fails(1, &["answers 400", "apis"]);
    folder.run(&["tail", "--port", "1"]).fails(1, &["no server listens"]);
    folder.run(&["tail", "news"]).fails(2, &["takes no argument news"]);
    std::fs::remove_file(folder.server.directory().join("reverb.json")).unwrap();
    folder.env("REVERB_APP_SECRET", "another");
    folder.run(&["tail"]).fails(1, &["answers 401", "other credentials"]);
    folder.env("REVERB_APP_ID", "another");
    folder.run(&["tail"]).fails(1, &["answers 404", "No matching application"]);
}

#[test]
fn hostile_names_are_escaped_in_both_forms() {
    let folder = Folder::start(Setup::new());
    let channel = "a\u{1b}[2J\u{9b}31m\u{202e}\n";
    let mut tail = begin(&folder, &["--kind", "api"]);
    let mut json = begin(&folder, &["--kind", "api", "--json"]);
    folder.server.publish(channel, "e\u{7f}", "\u{1b}]0;title\u{7}");
    let line = next(&mut tail);
    let escaped = "a\\u{1b}[2J\\u{9b}31m\\u{202e}\\n e\\u{7f} 10 bytes to 0: \\u{1b}]0;title\\u{7}";
    assert_eq!(line, format!("  api_event       {escaped}"));
    let line = json.line();
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["channels"][0], channel);
}

#[test]
fn a_closed_pipe_ends_a_tail_quietly() {
    let folder = Folder::start(Setup::new());
    // While nothing happens, and while lines are printed.
    let mut idle = folder.begin_unread(&["tail"]);
    assert!(idle.first_line().contains("hello"));
    idle.closes_output();
    let mut busy = folder.begin_unread(&["tail"]);
    assert!(busy.first_line().contains("hello"));
    let mut client = Client::connect(&folder.server);
    client.subscribe("a");
    busy.closes_output();
}
