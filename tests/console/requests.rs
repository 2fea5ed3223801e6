//! What the requests of the console return.

use super::Console;
#[cfg(feature = "redis")]
use crate::redis::{cluster::scaled, daemon::Redis};
use crate::support::{APP, App, Client, Http, Setup, channel_auth, until};
#[cfg(feature = "webhooks")]
use crate::webhooks::receiver::Receiver;
use serde_json::{Value, json};
#[cfg(feature = "webhooks")]
use std::sync::atomic::Ordering;

#[test]
fn the_overview_has_samples_and_the_present_state() {
    let console = Console::start(Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 1));
    let mut client = Client::connect(&console.server);
    client.subscribe("a");
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "b"}}));
    client.event();
    let mut overview = Value::Null;
    until("a sample has the client", || {
        overview = console.get("/api/overview");
        let last = overview["samples"].as_array().unwrap().last().cloned();
        last.is_some_and(|last| last[1] == json!(1))
    });
    let column = |name: &str| {
        let columns = overview["columns"].as_array().unwrap();
        let at = columns.iter().position(|column| column == name).unwrap();
        overview["samples"].as_array().unwrap().last().unwrap()[at].as_u64().unwrap()
    };
    assert_eq!((column("clients"), column("channels")), (1, 1));
    assert!(column("memory_bytes") > 1_000_000);
    assert_eq!(overview["apps"][0]["id"], json!("app-id"));
    assert_eq!(overview["nodes"], Value::Null);
    assert_eq!(overview["limits"][0]["setting"], json!("limits.channels_per_connection"));
    let last = column("time_s");
    let later = console.get(&format!("/api/overview?since={last}"));
    assert!(later["samples"].as_array().unwrap().len() < 3, "{}", later["samples"]);
    let text = overview.to_string();
    assert!(!text.contains(APP.secret) && !text.contains(&console.token));
}

#[test]
fn channels_are_listed_in_pages() {
    let console = Console::start(Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 1_000));
    let (mut one, mut two) = (Client::connect(&console.server), Client::connect(&console.server));
    for n in 0..250 {
        one.subscribe(&format!("room-{n:03}"));
    }
    two.subscribe("room-007");
    two.subscribe("Other");
    let page = |query: &str| console.get(&format!("/api/channels?app=app-id&{query}"));
    let names = |page: &Value| -> Vec<String> {
        let channels = page["channels"].as_array().unwrap().iter();
        channels.map(|channel| channel["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = page("sort=subscribers&order=desc");
    assert_eq!((&first["found"], &first["more"]), (&json!(251), &json!(true)));
    assert_eq!(names(&first)[..3], ["room-007", "Other", "room-000"]);
    // The pages together have each channel once.
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let next = page(&format!("sort=name&search=ROOM{after}"));
        all.extend(names(&next));
        if next["more"] == json!(false) {
            break;
        }
        after = format!("&after={}&after_count=0", all.last().unwrap());
    }
    let expected: Vec<String> = (0..250).map(|n| format!("room-{n:03}")).collect();
    assert_eq!(all, expected);
    console.send("GET", "/api/channels?app=none", &json!({})).is_error(404);
    let wrong = console.send("GET", "/api/channels?app=app-id&sort=x", &json!({}));
    assert!(wrong.is_error(400).contains("sort"));
}

#[test]
fn a_channel_has_its_clients_members_and_cached_event() {
    let console = Console::start(Setup::new());
    let target = "/app/app-key?protocol=7";
    let origin = "Origin: https://app.example\r\n";
    let mut client = Client::open(&console.server, target, origin);
    let data = client.event()["data"].as_str().unwrap().to_owned();
    let data: Value = serde_json::from_str(&data).unwrap();
    client.socket_id = data["socket_id"].as_str().unwrap().to_owned();
    client.join("presence-cache-room", "7");
    console.server.publish("presence-cache-room", "price", "5");
    let channel = console.get("/api/channel?app=app-id&name=presence-cache-room");
    assert_eq!(channel["members"], json!(["7"]));
    assert!(channel["cached"]["text"].as_str().unwrap().contains("price"));
    let one = &channel["clients"][0];
    assert_eq!(one["socket_id"], json!(client.socket_id));
    assert_eq!(one["origin"], json!("https://app.example"));
    assert_eq!((&one["user_id"], &one["address"]), (&json!("7"), &json!("127.0.0.1")));
    assert_eq!(one["waiting_bytes"], json!(0));
    console.send("GET", "/api/channel?app=app-id&name=none", &json!({})).is_error(404);
}

#[test]
fn writing_needs_the_setting() {
    let console = Console::start(Setup::new());
    for path in ["/api/publish?app=app-id", "/api/kick?app=app-id"] {
        let response =
            console.send("POST", path, &json!({ "name": "e", "channel": "c", "data": "" }));
        assert!(response.is_error(403).contains("REVERB_CONSOLE_WRITE"));
    }
    let console = Console::start(Setup::new().env("REVERB_CONSOLE_WRITE", "true"));
    let mut client = Client::connect(&console.server);
    client.subscribe("c");
    let event = json!({ "name": "e", "channel": "c", "data": "x" });
    console.send("POST", "/api/publish?app=app-id", &event).is(200, json!({}));
    client.expect(json!({ "event": "e", "channel": "c", "data": "x" }));
    let kicked = json!({ "socket_id": client.socket_id });
    console.send("POST", "/api/kick?app=app-id", &kicked).is(200, json!({}));
    client.error(4009, "Connection terminated by the application");
    client.closed(4009);
    console.send("POST", "/api/kick?app=app-id", &json!({})).is_error(422);
}

#[test]
fn the_feed_of_the_console_has_the_lines_of_all_apps() {
    let other = App { id: "other", key: "other-key", secret: "other-secret" };
    let console = Console::start(Setup::new().apps(&[(&APP, json!({})), (&other, json!({}))]));
    let mut http = Http::connect_to(console.address);
    let request = |query: &str| {
        format!(
            "GET /api/feed?{query} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            console.address, console.cookie
        )
    };
    http.send(request("kinds=api,error"));
    let mut lines = Lines { http, rest: String::new() };
    assert_eq!(lines.http.head().status, 200);
    assert_eq!(lines.next()["app"], Value::Null);
    for app in [&APP, &other] {
        let body = json!({ "name": "e", "channel": "c", "data": "x" }).to_string();
        let path = format!("/apps/{}/events", app.id);
        console.server.post_as(app, &path, &body).is(200, json!({}));
        let line = lines.next();
        assert_eq!((&line["kind"], &line["app"]), (&json!("api_event"), &json!(app.id)));
    }
    console.server.post_as(&App { id: "none", ..APP }, "/apps/none/events", "{}").is_error(404);
    let line = lines.next();
    assert_eq!((&line["kind"], &line["status"]), (&json!("api_error"), &json!(404)));
    assert_eq!((&line["path"], line.get("app")), (&json!("/apps/none/events"), None));
    let mut stranger = Client::open(&console.server, "/app/wrong-key", "");
    stranger.error(4001, "Application does not exist");
    let line = lines.next();
    assert_eq!((&line["kind"], &line["code"]), (&json!("refused"), &json!(4001)));
    assert_eq!(line.get("app"), None);
    let mut http = Http::connect_to(console.address);
    http.send(request("app=other"));
    let mut only = Lines { http, rest: String::new() };
    assert_eq!(only.http.head().status, 200);
    only.next();
    console.server.publish("c", "e", "x");
    let body = json!({ "name": "last", "channel": "c", "data": "x" }).to_string();
    console.server.post_as(&other, "/apps/other/events", &body).is(200, json!({}));
    assert_eq!(only.next()["event"], json!("last"));
}

/// The lines of a feed.
struct Lines {
    http: Http,
    rest: String,
}

impl Lines {
    fn next(&mut self) -> Value {
        while !self.rest.contains('\n') {
            let chunk = self.http.chunk().expect("the feed goes on");
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (line, rest) = self.rest.split_once('\n').unwrap();
        let line = serde_json::from_str(line).unwrap();
        self.rest = rest.to_owned();
        line
    }
}

#[test]
fn a_signature_is_checked_part_by_part() {
    let console = Console::start(Setup::new());
    let check = |auth: &str, channel: &str, data: &str| {
        let body = json!({ "auth": auth, "socket_id": "1.2", "channel": channel, "data": data });
        let response = console.send("POST", "/api/signature?app=app-id", &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(!response.text().contains(APP.secret));
        let verdict = response.json();
        let parts = verdict["parts"].as_array().unwrap().iter();
        let wrong = parts.filter(|part| part["right"] == json!(false));
        let wrong: Vec<String> = wrong.map(|part| part["name"].as_str().unwrap().into()).collect();
        assert_eq!(verdict["right"], json!(wrong.is_empty()));
        wrong
    };
    let right = channel_auth(&APP, "1.2", "private-a", "");
    assert!(check(&right, "private-a", "").is_empty());
    assert_eq!(check(&right, "private-b", ""), ["signature"]);
    assert_eq!(check(&right.replace("app-key", "x"), "private-a", ""), ["key"]);
    assert_eq!(check("nothing", "private-a", ""), ["auth"]);
    assert_eq!(check(&right, "private-a", "{}"), ["signature"]);
    assert_eq!(check(&right, "a", ""), ["channel", "signature"]);
    // The response to a wrong signature does not contain the right one.
    let body = json!({ "auth": "app-key:00", "socket_id": "1.2", "channel": "private-a" });
    let text = console.send("POST", "/api/signature?app=app-id", &body).text().to_owned();
    let (_, signature) = right.split_once(':').unwrap();
    assert!(text.contains("1.2:private-a") && !text.contains(signature), "{text}");
}

#[cfg(feature = "webhooks")]
#[test]
fn the_overview_has_the_state_of_each_webhook() {
    let (receiver, works) = Receiver::failing();
    let setup = Setup::new().env("REVERB_APP_WEBHOOK_URL", receiver.url("/hook"));
    let console = Console::start(setup);
    let webhook = || console.get("/api/overview")["webhooks"][0].clone();
    assert_eq!(webhook()["url"], receiver.url("/hook"));
    assert_eq!((&webhook()["batches_waiting"], &webhook()["failures"]), (&json!(0), &json!(0)));
    let mut client = Client::connect(&console.server);
    client.subscribe("a");
    until("the webhook has failed", || {
        let webhook = webhook();
        webhook["failures"].as_u64() > Some(0) && webhook["batches_waiting"] == json!(1)
    });
    works.store(true, Ordering::Relaxed);
    until("the webhook has acknowledged the batch", || {
        let webhook = webhook();
        webhook["failures"] == json!(0) && webhook["bytes_waiting"] == json!(0)
    });
}

#[cfg(feature = "redis")]
#[test]
fn the_console_of_a_node_shows_the_others_and_their_channels() {
    let redis = Redis::start();
    let console = Console::start(scaled(Setup::new(), redis.port()));
    let other = scaled(Setup::new(), redis.port()).start();
    until("the other node is live", || {
        let nodes = console.get("/api/overview")["nodes"].clone();
        nodes["redis"] == json!(true) && nodes["others"][0]["live"] == json!(true)
    });
    let mut client = Client::connect(&other);
    client.join("presence-far", "7");
    until("the channel of the other node is listed", || {
        let page = console.get("/api/channels?app=app-id&search=far");
        page["channels"][0]["users"] == json!(1)
    });
    let channel = console.get("/api/channel?app=app-id&name=presence-far");
    assert_eq!(channel["members"], json!(["7"]));
    assert_eq!((&channel["subscribers"], &channel["clients"]), (&json!(1), &json!([])));
    let overview = console.get("/api/overview");
    assert_eq!(overview["apps"][0]["all_clients"], json!(1));
}
