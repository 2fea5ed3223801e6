//! `reverb top`, in a pseudo-terminal and without one.

use serde_json::json;

use super::run::Folder;
use super::screen::Terminal;
#[cfg(feature = "redis")]
use crate::redis::{
    cluster::{connections, scaled},
    daemon::Redis,
};
use crate::reload::reload;
#[cfg(feature = "redis")]
use crate::support::until;
use crate::support::{Client, Setup};

/// A server with three channels: one, two and three subscribers.
fn three_channels() -> (Folder, Vec<Client>) {
    let folder = Folder::start(Setup::new());
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&folder.server)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.join("presence-room", &at.to_string());
        if at > 0 {
            client.subscribe("b-news");
        }
        if at > 1 {
            client.subscribe("a-quiet");
        }
    }
    (folder, clients)
}

/// The names of the channels of a screen, in their order.
fn names(lines: &[String]) -> Vec<&str> {
    let rows = lines.iter().skip_while(|line| !line.contains("CHANNEL")).skip(1);
    rows.filter(|line| line.starts_with("  ")).filter_map(|line| line.split("  ").last()).collect()
}

#[test]
fn without_a_terminal_the_table_is_printed_once() {
    let (folder, _clients) = three_channels();
    let place = format!("http://{}", folder.server.address());
    let expected = format!(
        "reverb top, app app-id at {place}, 1 node, 3 channels, 6 subscribers\n\
         0 messages/s, 0 bytes/s\n\
         \u{20}  SUBS   MSG/S  BYTES/S  CHANNEL\n\
         \u{20}     3       0        0  presence-room\n\
         \u{20}     2       0        0  b-news\n\
         \u{20}     1       0        0  a-quiet\n"
    );
    folder.run(&["top"]).is(0, &expected, "");
    let run = folder.run(&["top", "--once", "--sort", "name"]);
    let lines: Vec<String> = run.out.lines().map(str::to_owned).collect();
    assert_eq!(names(&lines), ["a-quiet", "b-news", "presence-room"], "{}", run.out);
}

#[cfg(feature = "redis")]
#[test]
fn the_channels_of_all_nodes_are_in_the_table() {
    let redis = Redis::start();
    let folder = Folder::start(scaled(Setup::new(), redis.port()));
    let other = scaled(Setup::new(), redis.port()).start();
    until("the nodes are connected", || {
        let clients = [Client::connect(&folder.server), Client::connect(&other)];
        [&folder.server, &other].into_iter().all(|node| connections(node) == clients.len() as u64)
    });
    let mut here = Client::connect(&folder.server);
    here.subscribe("both");
    let mut there = Client::connect(&other);
    there.subscribe("both");
    there.subscribe("far");
    let mut lines = Vec::new();
    until("the table has the channels of both nodes", || {
        let out = folder.run(&["top", "--once"]).out;
        lines = out.lines().map(str::to_owned).collect();
        names(&lines).len() == 2 && lines[0].ends_with("3 subscribers")
    });
    assert!(lines[0].ends_with(", 2 nodes, 2 channels, 3 subscribers"), "{lines:#?}");
    assert_eq!(names(&lines), ["both", "far"]);
    let mut terminal = Terminal::start(&folder, (80, 24), "", "top");
    let screen = terminal.shows(|lines| names(lines) == ["both", "far"]);
    assert_eq!(screen[1], "2 nodes, 2 channels, 3 subscribers");
}

#[test]
fn a_refused_top_says_why() {
    let folder = Folder::start(Setup::new());
    folder.run(&["top", "--port", "1"]).fails(1, &["no server listens"]);
    folder.env("REVERB_APP_SECRET", "another");
    folder.run(&["top"]).fails(1, &["answers 401"]);
    let mut terminal = Terminal::start(&folder, (80, 24), "", "top");
    terminal.prints("answers 401");
    terminal.prints("code=1");
    let run = folder.run(&["top", "--sort", "size"]);
    run.fails(2, &["is not one of subscribers, messages, bytes, name"]);
}

#[test]
fn a_terminal_of_80_columns_has_a_table_that_keys_sort() {
    let (folder, mut clients) = three_channels();
    let mut terminal = Terminal::start(&folder, (80, 24), "", "top");
    let lines = terminal.shows(|lines| names(lines) == ["presence-room", "b-news", "a-quiet"]);
    assert_eq!(lines.len(), 24, "{lines:#?}");
    assert!(lines[0].starts_with("reverb top, app app-id at http://127.0.0.1:"), "{lines:#?}");
    assert_eq!(lines[1], "1 node, 3 channels, 6 subscribers");
    assert!(lines[23].contains("S SUBS  m msgs  b bytes  n name  q quit"), "{lines:#?}");
    terminal.types("n");
    terminal.shows(|lines| names(lines) == ["a-quiet", "b-news", "presence-room"]);
    // A few large messages and many small ones.
    let large = "x".repeat(2_000);
    terminal.types("b");
    terminal.shows(|lines| lines[23].contains("B BYTES"));
    folder.server.publish("b-news", "e", &large);
    for _ in 0..5 {
        clients[2].send(json!({"event": "client-x", "channel": "presence-room", "data": 1}));
    }
    let lines = terminal.shows(|lines| {
        names(lines)[0] == "b-news" && lines[2].starts_with(|c: char| ('1'..='9').contains(&c))
    });
    assert!(lines.iter().any(|line| line.contains("  b-news")), "{lines:#?}");
    terminal.types("m");
    terminal.shows(|lines| lines[23].contains("M MSGS"));
    for _ in 0..5 {
        clients[2].send(json!({"event": "client-x", "channel": "presence-room", "data": 1}));
    }
    terminal.shows(|lines| names(lines)[0] == "presence-room");
    terminal.types("q");
    terminal.prints("code=0");
    // The screen and the mode are as before.
    terminal.prints("\x1b[?7h\x1b[?25h\x1b[?1049l");
    terminal.prints(" icanon");
    terminal.prints(" echo ");
    assert!(terminal.text.contains("\x1b[36m"), "colours");
}

#[test]
fn a_narrow_terminal_and_a_change_of_its_size_are_respected() {
    let folder = Folder::start(Setup::new());
    let mut client = Client::connect(&folder.server);
    client.subscribe(&"x".repeat(100));
    client.subscribe("hostile\u{1b}[2J\u{9b}");
    let mut terminal = Terminal::start(&folder, (40, 12), "NO_COLOR=1", "top");
    let lines = terminal.shows(|lines| names(lines).len() == 2);
    assert!(lines.len() == 12 && lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
    assert!(names(&lines).contains(&format!("{}…", "x".repeat(13)).as_str()), "{lines:#?}");
    terminal.resize(120, 30);
    let lines = terminal.shows(|lines| lines.len() == 30);
    assert!(names(&lines).contains(&"hostile\\u{1b}[2J\\u{9b}"), "{lines:#?}");
    let cut = format!("{}…", "x".repeat(93));
    assert!(names(&lines).contains(&cut.as_str()), "{lines:#?}");
    assert!(!terminal.text.contains("\x1b[36m"), "NO_COLOR");
    terminal.types("\u{3}");
    terminal.prints("code=0");
}

#[test]
fn figures_go_on_after_a_reload() {
    let (folder, _clients) = three_channels();
    let mut terminal = Terminal::start(&folder, (80, 24), "", "top");
    terminal.shows(|lines| names(lines).len() == 3);
    reload(&folder.server);
    // The reason is shown until the feed is back.
    terminal.shows(|lines| lines[3].starts_with("http://"));
    let lines = terminal.shows(|lines| lines[3].ends_with("CHANNEL"));
    assert_eq!(names(&lines).len(), 3, "{lines:#?}");
    folder.server.publish("a-quiet", "e", "1");
    terminal.shows(|lines| {
        lines.iter().any(|line| line.ends_with("  a-quiet") && !line.contains("  0  a-quiet"))
    });
}

#[test]
fn a_list_of_many_channels_is_complete() {
    let limits = json!({"channels_per_connection": 20_000});
    let app = json!({"app_id": "app-id", "key": "app-key", "secret": "app-secret"});
    let config = json!({"servers": {"reverb": {"limits": limits}}, "apps": {"apps": [app]}});
    let folder = Folder::start(Setup::bare().config(config));
    let mut client = Client::connect(&folder.server);
    for number in 0..10_000 {
        client.subscribe(&format!("{number:0>150}"));
    }
    let port = folder.server.address().port().to_string();
    let run = folder.run(&["top", "--port", &port]);
    assert!(
        run.out.contains(", 10000 channels, 10000 subscribers\n"),
        "{}{}",
        run.err,
        run.out.len()
    );
}
