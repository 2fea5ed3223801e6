//! The requests about apps, as a program sends them: with the token, and without a cookie.

use super::Console;
use crate::apps_folder::Folder;
use crate::reload::reload;
use crate::support::{Client, Response, Setup, channel_auth};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, thread};

/// A server that follows a folder, with a console that writes.
fn console(folder: &Folder) -> Console {
    let setup = Setup::new().env("REVERB_APPS_DIR", folder.path("").display());
    Console::start(setup.env("REVERB_CONSOLE_WRITE", "true"))
}

/// The names of the files of apps.
fn files(folder: &Folder) -> Vec<String> {
    let names = fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn read(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.path(name)).unwrap()).unwrap()
}

/// A request with the token.
fn ask(console: &Console, method: &str, path: &str, body: &Value) -> Response {
    let headers = format!("Authorization: Bearer {}\r\n", console.token);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    console.send_with(method, &format!("/admin/apps{path}"), &headers, &body)
}

#[test]
fn an_app_is_added_changed_and_removed_at_once() {
    let folder = Folder::new();
    let console = console(&folder);
    let added = ask(&console, "PUT", "/shop", &json!({"max_connections": 1}));
    let added = (added.status, added.json());
    let (key, secret) = (added.1["key"].as_str().unwrap(), added.1["secret"].as_str().unwrap());
    assert_eq!((added.0, &added.1["created"]), (200, &json!(true)));
    assert_eq!(files(&folder), ["shop.json"]);
    // The answer comes when the app is served.
    let target = format!("/app/{key}");
    let mut client = Client::connect_to(&console.server, &target);
    let app = crate::support::App {
        id: "shop",
        key: Box::leak(key.to_owned().into_boxed_str()),
        secret: Box::leak(secret.to_owned().into_boxed_str()),
    };
    let auth = channel_auth(&app, &client.socket_id, "private-a", "");
    client
        .send(json!({"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": auth}}));
    assert_eq!(client.event()["event"], "pusher_internal:subscription_succeeded");
    let mut second = Client::open(&console.server, &target, "");
    assert_eq!(second.event()["data"]["code"], 4004);

    // The credentials stay, and what is not named gets its default.
    let changed = ask(&console, "PUT", "/shop", &json!({"allowed_origins": ["a.example"]}));
    changed.is(200, json!({"app_id": "shop", "key": key, "created": false}));
    assert_eq!(read(&folder, "shop.json")["secret"], json!(secret));
    assert_eq!(client.event()["data"]["code"], 4009);
    let shown = ask(&console, "GET", "/shop", &Value::Null).json();
    assert_eq!((&shown["from"], &shown["secret_count"]), (&json!("folder"), &json!(1)));
    assert_eq!(shown["allowed_origins"], json!(["a.example"]));
    assert!(!shown.to_string().contains(secret));
    let list = ask(&console, "GET", "", &Value::Null).json();
    assert_eq!(
        list["apps"][0],
        json!({
            "app_id": "app-id", "key": "app-key", "enabled": true, "from": "configuration",
        })
    );
    assert_eq!(list["apps"][1]["app_id"], json!("shop"));

    ask(&console, "DELETE", "/shop", &Value::Null).is(200, json!({"app_id": "shop"}));
    assert_eq!(files(&folder), [""; 0]);
    let mut late = Client::open(&console.server, &target, "");
    assert_eq!(late.event()["data"]["code"], 4001);
    ask(&console, "GET", "/shop", &Value::Null).is_error(404);
    ask(&console, "DELETE", "/shop", &Value::Null).is_error(404);
}

#[test]
fn what_cannot_be_served_is_refused_and_nothing_is_written() {
    let folder = Folder::new();
    let console = console(&folder);
    fs::write(folder.path("many.json"), r#"[{"app_id":"1","key":"one","secret":"s","x":1}]"#)
        .unwrap();
    let put = |id: &str, body: &Value| ask(&console, "PUT", &format!("/{id}"), body);
    for (id, body, status, reason) in [
        ("2", json!({"max_conections": 1}), 422, "did you mean max_connections?"),
        ("2", json!({"max_connections": "many"}), 422, "is not a whole number"),
        ("2", json!({"app_id": "3"}), 422, "app_id is another than the one in the path"),
        ("2", json!({"key": "one"}), 409, "Another app has this key."),
        ("2", json!({"key": "app-key"}), 409, "Another app has this key."),
        ("app-id", json!({}), 409, "in the configuration of the server"),
        ("2", json!([1]), 400, "The body is not a JSON object"),
    ] {
        let response = put(id, &body);
        let error = response.is_error(status);
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(files(&folder), ["many.json"]);
    // An app in a list stays in its list.
    put("1", &json!({"enabled": false}))
        .is(200, json!({"app_id": "1", "key": "one", "created": false}));
    let entry = json!([{"app_id": "1", "key": "one", "secret": "s", "enabled": false}]);
    assert_eq!(read(&folder, "many.json"), entry);
    let mut client = Client::open(&console.server, "/app/one", "");
    assert_eq!(client.event()["data"]["code"], 4003);
}

#[test]
fn an_app_of_a_bad_file_is_left_alone() {
    let folder = Folder::new();
    let console = console(&folder);
    ask(&console, "PUT", "/1", &json!({"key": "one", "secret": "s"}))
        .is(200, json!({"app_id": "1", "key": "one", "created": true}));
    fs::write(folder.path("1.json"), "{").unwrap();
    // A request about apps makes the server read the folder.
    assert_eq!(ask(&console, "PUT", "/2", &json!({})).status, 200);
    for method in ["PUT", "DELETE"] {
        let response = ask(&console, method, "/1", &json!({}));
        let error = response.is_error(409);
        assert!(error.contains("1.json:1:1"), "{error}");
    }
    let mut client = Client::connect_to(&console.server, "/app/one");
    client.nothing();
    assert_eq!(ask(&console, "GET", "/1", &Value::Null).json()["key"], json!("one"));
}

#[test]
fn a_request_that_waits_is_answered_after_a_reload_of_the_configuration() {
    let folder = Folder::new();
    let console = console(&folder);
    // More than a thousand removed apps: the server frees their places, with new numbers for all
    // connections, before it answers.
    let many: Vec<Value> = (0..1_100)
        .map(|n| json!({"app_id": format!("x{n}"), "key": format!("x{n}"), "secret": "s"}))
        .collect();
    fs::write(folder.path("many.json"), json!(many).to_string()).unwrap();
    assert_eq!(ask(&console, "PUT", "/a", &json!({})).status, 200);
    let mut client = Client::connect(&console.server);
    fs::remove_file(folder.path("many.json")).unwrap();
    ask(&console, "DELETE", "/a", &Value::Null).is(200, json!({"app_id": "a"}));
    client.nothing();
}

#[test]
fn each_new_app_gets_its_secret_while_the_server_is_reloaded() {
    let folder = Folder::new();
    let console = console(&folder);
    let (is_over, added) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let adding = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let n = added.fetch_add(1, Ordering::Relaxed);
                let response = ask(&console, "PUT", &format!("/n{n}"), &json!({}));
                let answer = response.json();
                assert_eq!((response.status, &answer["created"]), (200, &json!(true)), "{answer}");
                assert!(answer["secret"].is_string(), "{answer}");
            }
        });
        for _ in 0..5 {
            let before = added.load(Ordering::Relaxed);
            reload(&console.server);
            while added.load(Ordering::Relaxed) == before && !adding.is_finished() {
                thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_token_is_needed_and_the_setting_that_allows_changes() {
    let folder = Folder::new();
    let setup = Setup::new().env("REVERB_APPS_DIR", folder.path("").display());
    let console = Console::start(setup);
    let without = console.send_with("GET", "/admin/apps", "", "");
    assert_eq!(without.status, 401, "{}", without.text());
    // A page of another site can send neither header.
    let without = console.send_with("DELETE", "/admin/apps/1", "", "");
    assert_eq!(without.status, 403, "{}", without.text());
    assert_eq!(ask(&console, "GET", "", &Value::Null).status, 200);
    assert_eq!(console.send("GET", "/admin/apps", &json!({})).status, 200);
    let response = ask(&console, "PUT", "/1", &json!({}));
    let error = response.is_error(403);
    assert!(error.contains("REVERB_CONSOLE_WRITE=true"), "{error}");
    let wrong = "Authorization: Bearer wrong\r\n";
    let refused = console.send_with("GET", "/admin/apps", wrong, "");
    assert_eq!((refused.status, refused.header("WWW-Authenticate")), (401, Some("Bearer")));
    // A slow machine may send the next ones after the pause, which becomes longer each time.
    let mut next = (0..20).map(|_| console.send_with("GET", "/admin/apps", wrong, ""));
    let paused = next.find(|response| response.status == 429).unwrap();
    let seconds: u32 = paused.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=8).contains(&seconds), "{seconds}");
    ask(&console, "POST", "/1", &json!({})).is_error(405);
}

#[test]
fn without_a_folder_apps_are_shown_only() {
    let console = Console::start(Setup::new().env("REVERB_CONSOLE_WRITE", "true"));
    let list = ask(&console, "GET", "", &Value::Null).json();
    assert_eq!(list["apps"][0]["app_id"], json!("app-id"));
    assert_eq!(
        ask(&console, "GET", "/app-id", &Value::Null).json()["from"],
        json!("configuration")
    );
    let response = ask(&console, "PUT", "/1", &json!({}));
    let error = response.is_error(409);
    assert!(error.contains("REVERB_APPS_DIR"), "{error}");
}
