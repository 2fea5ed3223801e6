//! The limits of an app: each exceeded and not, changed while clients are connected, and without an
//! effect on another app.

use super::*;
use crate::config::AppLimits;
use crate::proto::auth::md5_hex;

const OTHER_SECRET: &str = "secret-2";

/// A hub with an app of these limits, and another one without limits.
fn world(set: impl FnOnce(&mut AppLimits)) -> World {
    let mut world = World::new(|app, _| set(&mut app.limits));
    assert!(world.hub.put_app(Settings::new("2", "key-2", OTHER_SECRET), world.now));
    world
}

/// Changes the limits of the app.
fn change(world: &mut World, set: impl FnOnce(&mut AppLimits)) {
    let mut settings = world.hub.pubsub.apps[0].settings.clone();
    set(&mut settings.limits);
    assert!(world.hub.put_app(settings, world.now));
}

/// A signed request of app 1 or 2.
fn signed(world: &World, app: u32, method: &str, path: &str, body: &str) -> Vec<u8> {
    let (key, secret) = if app == 1 { ("key", SECRET) } else { ("key-2", OTHER_SECRET) };
    let (path, time) = (format!("/apps/{app}/{path}"), world.now.unix_s);
    let mut query = format!("auth_key={key}&auth_timestamp={time}&auth_version=1.0");
    if !body.is_empty() {
        query += &format!("&body_md5={}", md5_hex(body.as_bytes()));
    }
    let signature = Signer::new(secret).sign(&[method, "\n", &path, "\n", &query]);
    let (target, len) = (format!("{path}?{query}&auth_signature={signature}"), body.len());
    format!("{method} {target} HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

/// The response to a request.
fn ask(world: &mut World, app: u32, method: &str, path: &str, body: &str) -> String {
    let id = world.open();
    let request = signed(world, app, method, path, body);
    world.send(id, &request);
    let response = world.take(id);
    world.hub.close(id, world.now);
    response
}

/// The status of a publish to these channels.
fn publish(world: &mut World, app: u32, channels: &[&str]) -> u16 {
    let channels = channels.join(r#"",""#);
    let body = format!(r#"{{"name":"e","channels":["{channels}"],"data":"x"}}"#);
    status(&ask(world, app, "POST", "events", &body))
}

fn status(response: &str) -> u16 {
    response["HTTP/1.1 ".len()..][..3].parse().unwrap()
}

fn exceeded(world: &World, kind: LimitKind) -> u64 {
    world.hub.counters().limits_exceeded[kind as usize]
}

/// Subscribes to a private or presence channel, as this user if there is one.
fn join(world: &mut World, (id, socket_id): &(ConnId, String), channel: &str, user: Option<u32>) {
    let data = user.map(|user| format!(r#"{{"user_id":"{user}"}}"#));
    let mut signed = vec![socket_id.as_str(), ":", channel];
    signed.extend(data.iter().flat_map(|data| [":", data]));
    let auth = Signer::new(SECRET).sign(&signed);
    let data = data.map_or(String::new(), |data| {
        format!(r#","channel_data":{}"#, crate::proto::message::json_string(&data))
    });
    let fields = format!(r#""channel":"{channel}","auth":"key:{auth}"{data}"#);
    world.send_text(*id, &format!(r#"{{"event":"pusher:subscribe","data":{{{fields}}}}}"#));
}

#[test]
fn events_over_the_rate_are_rejected_until_a_token_is_there() {
    let mut world = world(|limits| limits.max_backend_events_per_second = Some(4));
    let (id, _) = world.connect();
    world.subscribe(id, "a");
    world.take(id);
    // One channel, then three: four events.
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    assert_eq!(publish(&mut world, 1, &["a", "b", "c"]), 200);
    assert_eq!(world.take(id).matches(r#""event":"e""#).count(), 2);
    let body = r#"{"name":"e","channel":"a","data":"x"}"#;
    let response = ask(&mut world, 1, "POST", "events", body);
    assert_eq!(status(&response), 429);
    assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
    assert!(response.contains("4 events a second (max_backend_events_per_second)"), "{response}");
    assert_eq!(exceeded(&world, LimitKind::AppBackendEvents), 1);
    assert_eq!(world.take(id), "");
    assert_eq!(publish(&mut world, 2, &["a"]), 200);
    world.pass(249);
    assert_eq!(publish(&mut world, 1, &["a"]), 429);
    world.pass(1);
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    assert_eq!(publish(&mut world, 1, &["a"]), 429);
}

#[test]
fn a_batch_counts_each_event_and_may_exceed_the_rate_once() {
    let mut world = world(|limits| limits.max_backend_events_per_second = Some(2));
    let event = r#"{"name":"e","channel":"a","data":"x"}"#;
    let batch = format!(r#"{{"batch":[{}]}}"#, [event; 10].join(","));
    assert_eq!(status(&ask(&mut world, 1, "POST", "batch_events", &batch)), 200);
    let response = ask(&mut world, 1, "POST", "batch_events", &batch);
    // Two of a second less ten, and one more: nine tokens at two a second.
    assert!(response.contains("\r\nRetry-After: 5\r\n"), "{response}");
    world.pass(4_499);
    assert_eq!(publish(&mut world, 1, &["a"]), 429);
    world.pass(1);
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
}

#[test]
fn only_valid_requests_of_the_app_are_charged() {
    let mut world = world(|limits| {
        limits.max_backend_events_per_second = Some(1);
        limits.max_read_requests_per_second = Some(1);
        limits.max_event_payload_bytes = Some(1);
    });
    for _ in 0..3 {
        let forged = world.open();
        let request =
            signed(&world, 1, "POST", "events", r#"{"name":"e","channel":"a","data":"x"}"#);
        let request = String::from_utf8(request).unwrap().replace("\"x\"", "\"y\"");
        world.send(forged, request.as_bytes());
        assert_eq!(status(&world.take(forged)), 401);
        assert_eq!(status(&ask(&mut world, 1, "POST", "events", r#"{"name":"e"}"#)), 422);
        let long = r#"{"name":"e","channel":"a","data":"xx"}"#;
        assert_eq!(status(&ask(&mut world, 1, "POST", "events", long)), 413);
    }
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    assert_eq!(publish(&mut world, 1, &["a"]), 429);
    assert_eq!(status(&ask(&mut world, 1, "GET", "channels", "")), 200);
}

#[test]
fn a_deferred_event_is_charged_once() {
    let mut world = World::new(|app, limits| {
        app.limits.max_backend_events_per_second = Some(2);
        limits.work_per_turn = 1_024;
    });
    for _ in 0..50 {
        let (id, _) = world.connect();
        world.subscribe(id, "a");
    }
    let (publisher, other) = (world.open(), world.open());
    let body = r#"{"name":"e","channel":"a","data":"x"}"#;
    let request = signed(&world, 1, "POST", "events", body);
    for expected in [200, 200] {
        world.hub.ready(other);
        world.hub.begin_turn();
        world.hub.begin_visit();
        world.send(publisher, &request);
        assert_eq!(world.take(publisher), "", "the event is deferred");
        while world.hub.has_work() || world.hub.has_dirty() {
            world.hub.begin_turn();
            while world.hub.next_read(world.now).is_some() {}
            while world.hub.next_dirty(world.now).is_some() {}
        }
        assert_eq!(status(&world.take(publisher)), expected);
    }
    world.send(publisher, &request);
    assert_eq!(status(&world.take(publisher)), 429);
}

#[test]
fn read_requests_have_a_rate_of_their_own() {
    let mut world = world(|limits| limits.max_read_requests_per_second = Some(3));
    for path in ["channels", "channels/a", "connections"] {
        assert_eq!(status(&ask(&mut world, 1, "GET", path, "")), 200, "{path}");
    }
    for path in ["channels", "channels/presence-a/users", "connections", "feed"] {
        let response = ask(&mut world, 1, "GET", path, "");
        assert_eq!(status(&response), 429, "{path}");
        assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
        assert!(response.contains("(max_read_requests_per_second)"), "{response}");
    }
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    assert_eq!(status(&ask(&mut world, 1, "POST", "users/1/terminate_connections", "{}")), 200);
    assert_eq!(status(&ask(&mut world, 2, "GET", "channels", "")), 200);
    assert_eq!(exceeded(&world, LimitKind::AppReadRequests), 4);
    world.pass(1_000);
    assert_eq!(status(&ask(&mut world, 1, "GET", "channels", "")), 200);
}

#[test]
fn changed_rates_apply_to_the_next_request() {
    let mut world = world(|_| {});
    (0..20).for_each(|_| assert_eq!(publish(&mut world, 1, &["a"]), 200));
    change(&mut world, |limits| limits.max_backend_events_per_second = Some(1));
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    assert_eq!(publish(&mut world, 1, &["a"]), 429);
    change(&mut world, |limits| limits.max_backend_events_per_second = Some(1_000));
    world.pass(1);
    assert_eq!(publish(&mut world, 1, &["a"]), 200);
    change(&mut world, |limits| limits.max_backend_events_per_second = None);
    (0..20).for_each(|_| assert_eq!(publish(&mut world, 1, &["a"]), 200));
}

#[test]
fn changed_limits_of_clients_apply_to_open_connections() {
    let mut world = world(|_| {});
    let (id, _) = world.connect();
    world.subscribe(id, "a");
    let event = |name: &str| format!(r#"{{"event":"client-{name}","channel":"a","data":"12345"}}"#);
    (0..5).for_each(|_| world.send_text(id, &event("x")));
    assert!(!world.take(id).contains("pusher:error"));
    world.pass(1_000);
    change(&mut world, |limits| limits.max_client_events_per_second = Some(2));
    (0..5).for_each(|_| world.send_text(id, &event("x")));
    let output = world.take(id);
    assert_eq!(output.matches("4301").count(), 3, "{output}");
    assert!(output.contains("more than 2 in a second (max_client_events_per_second)"), "{output}");
    world.pass(1_000);
    change(&mut world, |limits| {
        *limits = AppLimits { max_event_payload_bytes: Some(4), ..AppLimits::default() };
    });
    world.send_text(id, &event("x"));
    let output = world.take(id);
    assert!(output.contains("4301") && output.contains("(max_event_payload_size)"), "{output}");
    change(&mut world, |limits| {
        *limits = AppLimits { max_event_name_length: Some(8), ..AppLimits::default() };
    });
    world.send_text(id, &event("x"));
    assert!(!world.take(id).contains("pusher:error"));
    world.send_text(id, &event("xx"));
    assert!(world.take(id).contains("4200"));
    assert_eq!(exceeded(&world, LimitKind::AppEventName), 1);
    change(&mut world, |limits| {
        *limits = AppLimits { max_channel_name_length: Some(3), ..AppLimits::default() };
    });
    world.subscribe(id, "abc");
    assert!(world.take(id).contains("subscription_succeeded"));
    world.subscribe(id, "abcd");
    assert!(world.take(id).contains("longer than 3 characters (max_channel_name_length)"));
    assert_eq!(exceeded(&world, LimitKind::AppChannelName), 1);
}

#[test]
fn the_stricter_of_the_limits_of_app_and_server_counts() {
    let mut world = World::new(|app, limits| {
        (app.limits.max_client_events_per_second, limits.client_events_per_second) = (Some(3), 2);
        (app.limits.max_event_name_length, limits.event_name_length) = (Some(20), 9);
    });
    let (id, _) = world.connect();
    world.subscribe(id, "a");
    let event = r#"{"event":"client-x","channel":"a","data":1}"#;
    (0..3).for_each(|_| world.send_text(id, event));
    let output = world.take(id);
    assert!(output.contains("more than 2 in a second (limits.client_events_per_second)"));
    let body = r#"{"name":"0123456789","channel":"a","data":"x"}"#;
    let response = ask(&mut world, 1, "POST", "events", body);
    assert!(response.contains("longer than 9 characters (limits.event_name_length)"));
    // 0 is no limit of the server, and not the stricter one.
    let mut world = World::new(|app, limits| {
        (app.limits.max_client_events_per_second, limits.client_events_per_second) = (Some(2), 0);
    });
    let (id, _) = world.connect();
    world.subscribe(id, "a");
    (0..3).for_each(|_| world.send_text(id, event));
    assert_eq!(world.take(id).matches("(max_client_events_per_second)").count(), 1);
}

#[test]
fn members_and_channels_of_an_app_are_limited() {
    let mut world = world(|limits| {
        (limits.max_presence_members, limits.max_channels) = (Some(2), Some(2));
    });
    let clients: Vec<(ConnId, String)> = (0..4).map(|_| world.connect()).collect();
    for (n, client) in clients.iter().enumerate() {
        // The third client is a user who is a member already.
        join(&mut world, client, "presence-a", Some([1, 2, 1, 3][n]));
        let output = world.take(client.0);
        assert_eq!(output.contains("2 members already (max_presence_members)"), n == 3, "{output}");
        assert_eq!(output.contains("subscription_succeeded"), n < 3, "{output}");
    }
    let (id, socket_id) = &clients[3];
    // Internal channels do not count.
    world.sign_in(*id, socket_id, r#"{"id":"7","watchlist":["8","9"]}"#);
    world.subscribe(*id, "#server-to-user-7");
    world.subscribe(*id, "second");
    world.take(*id);
    world.subscribe(*id, "third");
    let output = world.take(*id);
    assert!(output.contains("The app has 2 channels already (max_channels)"), "{output}");
    assert!(output.contains(r#"\"status\":429"#) || output.contains(r#""status":429"#), "{output}");
    // A channel that is there already has room.
    world.subscribe(clients[0].0, "second");
    assert!(world.take(clients[0].0).contains("subscription_succeeded"));
    change(&mut world, |limits| limits.max_channels = Some(3));
    world.subscribe(*id, "third");
    assert!(world.take(*id).contains("subscription_succeeded"));
}

#[test]
fn a_client_that_is_not_authorized_in_time_is_closed() {
    let mut world = world(|limits| limits.authorization_timeout_s = Some(10));
    let clients: Vec<(ConnId, String)> = (0..4).map(|_| world.connect()).collect();
    world.sign_in(clients[0].0, &clients[0].1, r#"{"id":"7"}"#);
    join(&mut world, &clients[1], "private-a", None);
    // One that has left the channel again has been authorized.
    join(&mut world, &clients[2], "presence-a", Some(1));
    let left = r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}"#;
    world.send_text(clients[2].0, left);
    world.subscribe(clients[3].0, "public");
    join(&mut world, &(clients[3].0, "1.1".into()), "private-a", None);
    clients.iter().for_each(|client| _ = world.take(client.0));
    world.pass(9_500);
    assert_eq!(world.take(clients[3].0), "");
    world.pass(1_000);
    let text = world.take(clients[3].0);
    assert!(text.contains("after 10 s (authorization_timeout)"), "{text}");
    assert!(text.contains(r#""code":4009"#) || text.contains(r#"\"code\":4009"#), "{text}");
    assert_eq!(exceeded(&world, LimitKind::AppAuthorization), 1);
    world.pass(40_000);
    assert_eq!(clients[..3].iter().map(|client| world.take(client.0)).collect::<String>(), "");
    world.hub.audit().unwrap();
}

#[test]
fn the_time_to_authorize_may_be_longer_than_a_ping_interval_and_outlasts_a_reload() {
    let mut world = World::new(|app, _| {
        (app.limits.authorization_timeout_s, app.ping_interval_s) = (Some(25), 10);
    });
    let (id, _) = world.connect();
    for _ in 0..2 {
        world.pass(10_500);
        assert_eq!(world.take_bytes(id), [0x89, 0]);
        world.send(id, &[0x8A, 0x80, 0, 0, 0, 0]);
        let apps = vec![world.hub.pubsub.apps[0].settings.clone()];
        let config = Config { apps, ..Config::default() };
        assert_eq!(world.hub.reconfigure(&config, world.now), Ok(vec![id]));
    }
    world.pass(3_500);
    assert_eq!(world.take(id), "");
    world.pass(1_000);
    assert!(world.take(id).contains("authorization_timeout"));
}

#[test]
fn a_new_time_to_authorize_applies_to_open_connections() {
    let mut world = world(|_| {});
    let (public, authorized) = (world.connect(), world.connect());
    join(&mut world, &authorized, "private-a", None);
    world.take(authorized.0);
    world.pass(20_000);
    change(&mut world, |limits| limits.authorization_timeout_s = Some(21));
    world.pass(500);
    assert_eq!(world.take(public.0), "");
    world.pass(1_000);
    assert!(world.take(public.0).contains("authorization_timeout"));
    change(&mut world, |limits| limits.authorization_timeout_s = Some(1));
    world.pass(1_000);
    assert_eq!(world.take(authorized.0), "");
}
