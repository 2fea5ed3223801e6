//! The folder of apps at starts and reloads, beside the configuration, in `reverb check`, metrics and
//! webhooks.

use super::{Folder, ONE, TWO, World, entry, folder_of, removed};
use crate::reload::reload;
use crate::support::{APP, App, Client};
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_start_leaves_a_bad_file_out_and_fails_without_any_app() {
    let folder = Folder::new();
    let message = folder.refused();
    assert!(message.contains("no app for 0.0.0.0") || message.contains("no app for 127.0.0.1"));
    assert!(message.contains("(REVERB_APPS_DIR) has no app either"), "{message}");
    folder.put("bad.json", "{");
    let message = folder.refused();
    assert!(message.contains("has no app either: bad.json:1:1: EOF"), "{message}");
    folder.put("one.json", entry(&ONE));
    let mut world = World::start(folder);
    assert!(world.server.announced().contains("for 1 app,"), "{}", world.server.announced());
    world.logs("ERROR");
    world.logs("bad.json:1:1: EOF while parsing an object; none of its apps is served");
    world.folder.put("bad.json", entry(&TWO));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.connect(&TWO).nothing();

    fs::rename(&world.folder.0, world.folder.0.with_extension("moved")).unwrap();
    world.scan("apps_dir: cannot be listed: ");
    world.connect(&TWO).nothing();
    fs::rename(world.folder.0.with_extension("moved"), &world.folder.0).unwrap();
    world.scan("the folder of apps is read again");
}

#[test]
fn apps_of_the_configuration_win_and_may_move_to_the_folder() {
    let folder = folder_of(&[("own.json", &[&APP]), ("one.json", &[&ONE])]);
    let own = folder.0.join("env");
    let variables = format!(
        "REVERB_APP_ID={}\nREVERB_APP_KEY={}\nREVERB_APP_SECRET={}\n",
        APP.id, APP.key, APP.secret
    );
    fs::write(&own, &variables).unwrap();
    let server = folder.setup().arg("--env").arg(own.to_str().unwrap()).start();
    let mut world = World { server, folder, seen: 0, metrics: None };
    world.logs(r#"own.json: app_id: "app-id" is the same as in the configuration of the server"#);
    let mut client = Client::connect(&world.server);
    fs::write(&own, "").unwrap();
    world.scan("own.json: is good again");
    client.nothing();
    world.server.publish("news", "e", "1");
    world.folder.remove("own.json");
    world.scan("apps_dir: 0 added, 0 changed, 1 removed; 1 in all");
    removed(&mut client);
    // The app is one of the configuration again.
    fs::write(&own, &variables).unwrap();
    world.scan("reload: applied the configuration, for 2 apps");
    Client::connect(&world.server).nothing();
    world.connect(&ONE).nothing();
}

#[test]
fn a_reload_in_place_keeps_the_apps_of_a_file_that_is_bad() {
    let folder = folder_of(&[("one.json", &[&ONE]), ("two.json", &[&TWO])]);
    let mut world = World::start(folder);
    let mut client = world.connect(&ONE);
    client.subscribe("news");
    world.folder.put("one.json", "{");
    world.scan("/one.json:1:1: EOF");
    reload(&world.server);
    world.logs("took over 1 connection");
    assert_eq!(world.publish(&ONE, "1"), 200);
    assert_eq!(client.event()["data"], "1");
    // Also a second time, and without any other app.
    world.folder.remove("two.json");
    world.scan("0 added, 0 changed, 1 removed; 1 in all");
    reload(&world.server);
    assert_eq!(world.publish(&ONE, "2"), 200);
    assert_eq!(client.event()["data"], "2");
    world.connect(&ONE).nothing();
    world.folder.put("one.json", json!([entry(&ONE), entry(&TWO)]));
    world.scan("1 added, 0 changed, 0 removed; 2 in all");
    client.nothing();
    world.folder.remove("one.json");
    world.scan("0 added, 0 changed, 2 removed; 0 in all");
    removed(&mut client);
    reload(&world.server);
    world.is_unknown(&ONE);
}

#[test]
fn the_metrics_have_the_numbers_of_apps_and_of_bad_files() {
    let folder = folder_of(&[("one.json", &[&ONE]), ("two.json", &[&TWO, &ONE])]);
    let mut world = World::start(folder);
    world.has_metrics(1, 1);
    world.folder.put("two.json", entry(&TWO));
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    world.has_metrics(2, 0);
}

#[test]
fn many_changes_free_the_places_of_removed_apps() {
    let mut world = World::start(folder_of(&[("one.json", &[&ONE])]));
    let mut client = world.connect(&ONE);
    client.subscribe("news");
    let apps = |round: usize| -> Value {
        let app = |n| json!({"app_id": format!("{round}-{n}"), "key": format!("{round}-{n}"), "secret": "s"});
        (0..600).map(app).collect()
    };
    world.folder.put("many.json", apps(0));
    world.scan("apps_dir: 600 added, 0 changed, 0 removed; 601 in all");
    for round in 1..6 {
        world.folder.put("many.json", apps(round));
        world.scan("apps_dir: 600 added, 0 changed, 600 removed; 601 in all");
    }
    assert_eq!(world.publish(&ONE, "1"), 200);
    assert_eq!(client.event()["data"], "1");
    world.connect(&App { id: "5-7", key: "5-7", secret: "s" }).nothing();
    world.is_unknown(&App { id: "4-7", key: "4-7", secret: "s" });
    // Each app gets the key of the next one, in one scan.
    let mut moved = apps(5);
    for (n, app) in moved.as_array_mut().unwrap().iter_mut().enumerate() {
        app["key"] = json!(format!("5-{}", (n + 1) % 600));
    }
    world.folder.put("many.json", moved);
    world.scan("apps_dir: 0 added, 600 changed, 0 removed; 601 in all");
    let moved = App { id: "5-7", key: "5-8", secret: "s" };
    let mut second = world.connect(&moved);
    second.subscribe("news");
    assert_eq!(world.publish(&moved, "2"), 200);
    assert_eq!(second.event()["data"], "2");
    assert!(!world.server.stderr().contains("ERROR"), "{}", world.server.stderr());
    // The metrics have a line for each place; 3,601 places were used.
    let places = world.metrics().matches("\nreverb_connections{").count();
    assert!(places < 2_500, "{places}");
}

#[test]
fn check_reports_the_folder_and_its_bad_files() {
    let folder = folder_of(&[("one.json", &[&ONE, &TWO]), ("two.json", &[&TWO])]);
    let world = World::start(folder);
    let port = world.server.address().port().to_string();
    let mut command = world.server.command();
    command.env("REVERB_APPS_DIR", &world.folder.0);
    let output = command.args(["check", "--host", "127.0.0.1", "--port", &port]).output().unwrap();
    let (out, folder) = (String::from_utf8(output.stdout).unwrap(), world.folder.0.display());
    let lines = [
        format!("ok     {folder}: 2 files with 2 apps\n"),
        format!(
            "WRONG  {folder}/two.json: app_id: \"two\" is the same as in one.json; none of its apps \
             is served\n"
        ),
        format!("ok     http://127.0.0.1:{port} answers, and accepts the 2 apps configured\n"),
    ];
    lines.iter().for_each(|line| assert!(out.contains(line), "{line}{out}"));
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(feature = "webhooks")]
#[test]
fn an_app_that_was_added_has_webhooks() {
    use crate::webhooks::receiver::Receiver;
    let receiver = Receiver::start();
    let mut world = World::start(folder_of(&[("two.json", &[&TWO])]));
    let mut with_hook = entry(&APP);
    let hook = |path: &str| json!([{"url": receiver.url(path), "events": ["channel_occupied"], "batch_ms": 1}]);
    with_hook["webhooks"] = hook("/first");
    world.folder.put("app.json", &with_hook);
    world.scan("apps_dir: 1 added, 0 changed, 0 removed; 2 in all");
    let mut client = Client::connect(&world.server);
    client.subscribe("news");
    let request = receiver.request();
    assert_eq!(request.path, "/first");
    assert_eq!(request.events()[0]["channel"], "news");
    with_hook["webhooks"] = hook("/second");
    world.folder.put("app.json", &with_hook);
    world.scan("apps_dir: 0 added, 1 changed, 0 removed; 2 in all");
    client.subscribe("more");
    let request = receiver.request();
    assert_eq!(
        (&*request.path, request.events()[0]["channel"].clone()),
        ("/second", json!("more"))
    );
}
