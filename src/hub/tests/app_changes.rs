//! Apps that are added, changed and removed while clients are connected.

use super::*;

/// The settings of an app whose key is `key-` and its id.
fn app(id: &str) -> Settings {
    Settings::new(id, format!("key-{id}"), format!("secret-{id}"))
}

/// A hub with one app.
fn world() -> World {
    World::new(|_, _| {})
}

fn connect(world: &mut World, key: &str, origin: &str) -> (ConnId, String) {
    let id = world.open();
    let handshake = String::from_utf8_lossy(HANDSHAKE).replace("/app/key", &format!("/app/{key}"));
    let handshake = handshake.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"));
    world.send(id, handshake.as_bytes());
    (id, world.take(id))
}

#[test]
fn an_app_is_added_and_removed_while_another_is_served() {
    let mut world = world();
    let (other, _) = connect(&mut world, "key", "http://a.example");
    let (_, text) = connect(&mut world, "key-9", "http://a.example");
    assert!(text.contains("4001"), "{text}");
    assert!(world.hub.put_app(app("9"), world.now));
    let (id, text) = connect(&mut world, "key-9", "http://a.example");
    assert!(text.contains("connection_established"), "{text}");
    world.subscribe(id, "news");
    world.take(id);
    assert!(world.hub.remove_app("9", world.now));
    assert!(!world.hub.remove_app("9", world.now));
    let (_, text) = connect(&mut world, "key-9", "http://a.example");
    assert!(text.contains("4001"), "{text}");
    world.pass(2_100);
    let text = world.take(id);
    assert!(text.contains("4200") && text.contains("Application was removed"), "{text}");
    assert_eq!(world.take(other), "");
    assert_eq!(world.hub.unused_places(), 1);
}

#[test]
fn an_app_that_returns_keeps_the_connections_that_are_still_open() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    let ids: Vec<ConnId> =
        (0..100).map(|_| connect(&mut world, "key-9", "http://a.example").0).collect();
    world.hub.remove_app("9", world.now);
    world.pass(500);
    let closed = ids.iter().filter(|id| world.take(**id).contains("4200")).count();
    assert!((1..100).contains(&closed), "{closed}");
    assert!(world.hub.put_app(Settings { key: "new".into(), ..app("9") }, world.now));
    world.pass(3_000);
    assert!(ids.iter().all(|id| !world.take(*id).contains("4200")));
    assert!(connect(&mut world, "new", "http://a.example").1.contains("established"));
    assert_eq!(world.hub.unused_places(), 0);
}

#[test]
fn a_disabled_app_closes_its_clients_and_accepts_none() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    let (id, _) = connect(&mut world, "key-9", "http://a.example");
    world.hub.put_app(Settings { enabled: false, ..app("9") }, world.now);
    let (_, text) = connect(&mut world, "key-9", "http://a.example");
    assert!(text.contains("4003"), "{text}");
    world.pass(10);
    assert!(world.take(id).contains("Application disabled"));
    world.hub.put_app(app("9"), world.now);
    assert!(connect(&mut world, "key-9", "http://a.example").1.contains("established"));
}

#[test]
fn changed_origins_apply_to_open_connections() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    let (stays, _) = connect(&mut world, "key-9", "https://shop.example");
    let (leaves, _) = connect(&mut world, "key-9", "https://evil.example");
    let settings = Settings { allowed_origins: vec!["shop.example".into()], ..app("9") };
    world.hub.put_app(settings, world.now);
    world.pass(10);
    assert!(world.take(leaves).contains("4009"));
    assert_eq!(world.take(stays), "");
}

#[test]
fn a_key_of_another_app_is_not_taken() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    assert!(!world.hub.put_app(Settings { key: "key-9".into(), ..app("8") }, world.now));
    assert!(!world.hub.put_app(Settings { key: "key".into(), ..app("9") }, world.now));
    assert!(connect(&mut world, "key-9", "http://a.example").1.contains("established"));
}

#[test]
fn a_search_for_connections_takes_several_steps() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    let ids: Vec<ConnId> =
        (0..2_500).map(|_| connect(&mut world, "key-9", "http://a.example").0).collect();
    world.hub.put_app(Settings { enabled: false, ..app("9") }, world.now);
    world.hub.tick(world.now);
    let closed = |world: &mut World| -> usize {
        ids.iter().filter(|id| world.take(**id).contains("4003")).count()
    };
    assert_eq!(closed(&mut world), 1_000);
    world.pass(2);
    assert_eq!(closed(&mut world), 1_500);
}

#[test]
fn metrics_name_the_first_apps_and_sum_up_the_others() {
    let mut world = World::new(|_, limits| limits.metrics_apps = 2);
    for id in ["7", "8", "9"] {
        world.hub.put_app(app(id), world.now);
        connect(&mut world, &format!("key-{id}"), "http://a.example");
    }
    let metrics = |world: &World| -> Vec<String> {
        let text = world.hub.metrics(world.now);
        let lines = text.lines().filter(|line| line.starts_with("reverb_connections{"));
        lines.map(str::to_owned).collect()
    };
    let expected = |others: u32| {
        [
            r#"reverb_connections{app="1"} 0"#.to_owned(),
            r#"reverb_connections{app="7"} 1"#.to_owned(),
            format!(r#"reverb_connections{{app="(other)"}} {others}"#),
        ]
    };
    assert_eq!(metrics(&world), expected(2));
    // A removed app counts as one of the others, and none of these gets a label of its own.
    world.hub.remove_app("7", world.now);
    let [own, _, others] = expected(3);
    assert_eq!(metrics(&world), [own, others]);
}

#[test]
fn a_change_applies_to_all_connections_before_the_state_is_saved() {
    let mut world = world();
    world.hub.put_app(app("9"), world.now);
    world.pass(10);
    let (id, _) = connect(&mut world, "key-9", "https://shop.example");
    let disabled = Settings { enabled: false, ..app("9") };
    world.hub.put_app(disabled.clone(), world.now);
    let apps = vec![Settings::new("1", "key", SECRET), disabled];
    let config = Config { apps, ..Config::default() };
    assert_eq!(world.hub.reconfigure(&config, world.now), Ok(vec![id]));
    assert!(world.take(ConnId(0)).contains("Application disabled"));
}
