//! The limits of an app, each exceeded and not exceeded, while another app is not affected. Limits that
//! change while clients are connected are tested in the hub.

use crate::bounds::subscription_rejected;
use crate::client_events::rejections;
use crate::metrics::{figure, get, watched};
use crate::signin::sign_in;
use crate::support::{APP, App, Client, Http, Response, Server, Setup, signed};
use serde_json::{Value, json};

const TWO: App = App { id: "id2", key: "key2", secret: "secret2" };

/// A server with an app of these limits and one without any.
fn setup(limits: Value) -> Setup {
    Setup::bare().apps(&[(&APP, limits), (&TWO, json!({}))])
}

fn publish_as(server: &Server, app: &App, channels: &[String], data: &str) -> Response {
    let body = json!({"name": "e", "channels": channels, "data": data}).to_string();
    server.post_as(app, &format!("/apps/{}/events", app.id), &body)
}

fn channels(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

/// The `Retry-After` of a response with status 429 and an error that names the setting.
#[track_caller]
fn retry_after_s(response: &Response, setting: &str) -> u64 {
    let text = response.is_error(429);
    assert!(text.contains(setting), "{text}");
    response.header("Retry-After").unwrap().parse().unwrap()
}

#[test]
fn an_app_over_its_rate_of_events_gets_429_and_another_does_not() {
    let (server, metrics) = watched(setup(json!({"max_backend_events_per_second": 1})));
    let mut client = Client::connect(&server);
    client.subscribe("c0");
    publish_as(&server, &APP, &channels(100), "x").is(200, json!({}));
    client.expect(json!({"event": "e", "channel": "c0", "data": "x"}));
    // A hundred seconds' events are published.
    for _ in 0..3 {
        let response = publish_as(&server, &APP, &channels(1), "x");
        let wait_s = retry_after_s(&response, "1 events a second (max_backend_events_per_second)");
        assert!((50..=100).contains(&wait_s), "{wait_s}");
    }
    let batch = json!({"batch": [{"name": "e", "channel": "c0", "data": "x"}]}).to_string();
    let response = server.post_as(&APP, "/apps/app-id/batch_events", &batch);
    retry_after_s(&response, "max_backend_events_per_second");
    client.nothing();
    for _ in 0..3 {
        publish_as(&server, &TWO, &channels(100), "x").is(200, json!({}));
    }
    server.get("/apps/app-id/channels", "").is(200, json!({"channels": {"c0": {}}}));
    let figures = get(&mut Http::connect_to(metrics), "/metrics");
    let sample = r#"reverb_limits_exceeded_total{setting="max_backend_events_per_second"}"#;
    assert!((figure(figures.text(), sample) - 4.0).abs() < 0.5);
    let log = server.killed();
    let logged = "(max_backend_events_per_second is 1) in app app-id";
    assert_eq!(log.matches(logged).count(), 1, "{log}");
}

#[test]
fn an_app_over_its_rate_of_reads_gets_429_and_another_does_not() {
    let server = setup(json!({"max_read_requests_per_second": 1})).start();
    let ask = |app: &App| -> Vec<Response> {
        let target = signed(app, "GET", &format!("/apps/{}/channels", app.id), "", b"");
        let mut http = Http::connect(&server);
        // They arrive together: a slow machine does not give the app more.
        http.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(20));
        (0..20).map(|_| http.response()).collect()
    };
    let responses = ask(&APP);
    responses[0].is(200, json!({"channels": {}}));
    let rejected = responses.iter().filter(|response| response.status == 429);
    assert!(rejected.clone().count() >= 10, "{}", rejected.count());
    for response in rejected {
        assert_eq!(retry_after_s(response, "(max_read_requests_per_second)"), 1);
    }
    publish_as(&server, &APP, &channels(1), "x").is(200, json!({}));
    assert!(ask(&TWO).iter().all(|response| response.status == 200));
}

#[test]
fn client_events_over_the_rate_of_the_app_are_rejected() {
    let settings = |limit: Value| json!({"client_events_on_public_channels": true, "max_client_events_per_second": limit});
    let apps = [(&APP, settings(json!(5))), (&TWO, settings(json!(null)))];
    let server = Setup::bare().apps(&apps).start();
    // Twenty events at once fall into at most two seconds of five events each.
    for (path, expected) in [("/app/app-key", 10..=15), ("/app/key2", 0..=0)] {
        let mut sender = Client::connect_to(&server, path);
        sender.subscribe("c");
        for n in 0..20 {
            sender.send(json!({"event": "client-e", "channel": "c", "data": n}));
        }
        let reason = "more than 5 in a second (max_client_events_per_second)";
        let rejected = rejections(&mut sender, reason);
        assert!(expected.contains(&rejected), "{path}: {rejected}");
    }
}

#[test]
fn members_and_channels_are_limited() {
    let server = setup(json!({"max_presence_members": 2, "max_channels": 2})).start();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    clients[0].join("presence-a", "1");
    clients[1].join("presence-a", "2");
    clients[2].ask_to_join("presence-a", r#"{"user_id":"3"}"#);
    subscription_rejected(&mut clients[2], "2 members already (max_presence_members)");
    clients[2].subscribe("b");
    clients[2].send(json!({"event": "pusher:subscribe", "data": {"channel": "c"}}));
    subscription_rejected(&mut clients[2], "The app has 2 channels already (max_channels)");
    clients[2].unsubscribe("b");
    clients[2].subscribe("c");
    let mut other = Client::connect_to(&server, "/app/key2");
    (0..5).for_each(|n| other.subscribe(&format!("c{n}")));
}

#[test]
fn the_data_of_an_event_is_limited_in_bytes() {
    let settings = json!({
        "client_events_on_public_channels": true, "max_event_payload_size": 10,
    });
    let server = setup(settings).start();
    let mut client = Client::connect(&server);
    let mut other = Client::connect(&server);
    client.subscribe("c0");
    other.subscribe("c0");
    // Ten bytes, although their JSON is longer.
    let whole = "\"\\\n34567é";
    publish_as(&server, &APP, &channels(1), whole).is(200, json!({}));
    client.expect(json!({"event": "e", "channel": "c0", "data": whole}));
    other.event();
    let response = publish_as(&server, &APP, &channels(1), "12345678901");
    let text = response.is_error(413);
    assert!(text.contains("11 bytes, the limit is 10 (max_event_payload_size)"), "{text}");
    let event = |data: &str| json!({"name": "e", "channel": "c0", "data": data});
    let batch = json!({"batch": [event("1"), event("12345678901")]}).to_string();
    let response = server.post_as(&APP, "/apps/app-id/batch_events", &batch);
    assert!(response.is_error(413).contains("batch.1.data"));
    client.nothing();
    client.send(json!({"event": "client-e", "channel": "c0", "data": "1234567890"}));
    other.expect(json!({"event": "client-e", "channel": "c0", "data": "1234567890"}));
    client.send(json!({"event": "client-e", "channel": "c0", "data": {"a": "12345"}}));
    let reason = "Client event rejected: its data has more than 10 bytes (max_event_payload_size)";
    client.error(4301, reason);
    other.nothing();
    publish_as(&server, &TWO, &channels(1), &"x".repeat(1_000)).is(200, json!({}));
}

#[test]
fn names_channels_and_batches_are_limited() {
    let server = setup(json!({
        "max_event_name_length": 3, "max_channel_name_length": 4,
        "max_event_channels_at_once": 2, "max_event_batch_size": 2,
    }))
    .start();
    let event = |name: &str, channels: &[&str]| {
        ("events", json!({"name": name, "channels": channels, "data": "x"}))
    };
    let event_of_batch = json!({"name": "e", "channel": "c", "data": "x"});
    let batch = |count: usize| ("batch_events", json!({"batch": vec![&event_of_batch; count]}));
    for ((path, valid), (_, invalid), setting) in [
        (event("é23", &["c"]), event("é234", &["c"]), "max_event_name_length"),
        (event("e", &["é234"]), event("e", &["é2345"]), "max_channel_name_length"),
        (event("e", &["a", "b"]), event("e", &["a", "b", "c"]), "max_event_channels_at_once"),
        (batch(2), batch(3), "max_event_batch_size"),
    ] {
        server.post(&format!("/apps/app-id/{path}"), valid).is(200, json!({}));
        let response = server.post(&format!("/apps/app-id/{path}"), invalid.clone());
        assert_eq!(response.status, 422, "{setting}");
        assert!(response.text().contains(&format!("({setting})")), "{}", response.text());
        let body = invalid.to_string();
        server.post_as(&TWO, &format!("/apps/id2/{path}"), &body).is(200, json!({}));
    }
    let mut client = Client::connect(&server);
    client.subscribe("1234");
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "12345"}}));
    subscription_rejected(&mut client, "longer than 4 characters (max_channel_name_length)");
}

#[test]
fn a_client_that_is_not_authorized_in_time_is_closed() {
    let server = setup(json!({"authorization_timeout": 1})).start();
    let mut private = Client::connect(&server);
    private.subscribe_private("private-a");
    let mut user = Client::connect(&server);
    sign_in(&mut user, r#"{"id":"7"}"#);
    let mut member = Client::connect(&server);
    member.join("presence-a", "1");
    let mut public = Client::connect(&server);
    let mut other = Client::connect_to(&server, "/app/key2");
    public.subscribe("c");
    other.subscribe("c");
    let reason = "not signed in or in a private channel after 1 s (authorization_timeout)";
    public.error(4009, reason);
    public.closed(4009);
    for client in [&mut private, &mut user, &mut member, &mut other] {
        client.nothing();
    }
    server.logs("(authorization_timeout is 1)");
}

#[test]
fn an_app_has_its_limits_under_the_names_of_soketi() {
    let app = json!({
        "id": APP.id, "key": APP.key, "secret": APP.secret, "maxConnections": 1,
        "enableClientMessages": false, "maxEventBatchSize": 1, "maxEventPayloadInKb": 1,
        "maxReadRequestsPerSecond": -1,
    });
    let server = Setup::bare().config(json!({"apps": {"apps": [app]}})).start();
    let mut client = Client::connect(&server);
    client.subscribe_private("private-a");
    client.send(json!({"event": "client-e", "channel": "private-a", "data": 1}));
    client.error(4301, "The app does not have client messaging enabled.");
    let mut second = Client::open(&server, "/app/app-key", "");
    second.error(4004, "Application is over connection quota");
    publish_as(&server, &APP, &channels(1), &"x".repeat(1_024)).is(200, json!({}));
    publish_as(&server, &APP, &channels(1), &"x".repeat(1_025)).is_error(413);
    let event = json!({"name": "e", "channel": "c", "data": "x"});
    let response = server.post("/apps/app-id/batch_events", json!({"batch": [event, event]}));
    assert!(response.text().contains("(max_event_batch_size)"), "{}", response.text());
}

#[test]
fn changed_limits_apply_after_sighup_to_open_connections() {
    let server = setup(json!({})).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let entry = json!({
        "app_id": APP.id, "key": APP.key, "secret": APP.secret, "max_channels": 1,
        "max_backend_events_per_second": 1,
    });
    let file = server.directory().join("reverb.json");
    std::fs::write(&file, json!({"apps": {"apps": [entry]}}).to_string()).unwrap();
    server.signal("HUP");
    server.logs("applied the configuration");
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "b"}}));
    subscription_rejected(&mut client, "The app has 1 channels already (max_channels)");
    publish_as(&server, &APP, &channels(100), "x").is(200, json!({}));
    retry_after_s(&publish_as(&server, &APP, &channels(1), "x"), "max_backend_events_per_second");
}

#[cfg(feature = "console")]
#[test]
fn the_feed_of_the_app_reports_an_exceeded_limit() {
    use crate::support::Feed;
    let server = setup(json!({"max_backend_events_per_second": 1})).start();
    let mut feed = Feed::open(&server, "kinds=limit");
    let mut of_other = Feed::of(&server, &TWO, "kinds=limit,api_event");
    assert_eq!(of_other.next()["kind"], "hello");
    publish_as(&server, &APP, &channels(100), "x").is(200, json!({}));
    publish_as(&server, &APP, &channels(1), "x").is_error(429);
    let line = feed.next();
    assert_eq!(line["limit"], "max_backend_events_per_second", "{line}");
    assert_eq!(line["address"], "127.0.0.1", "{line}");
    // The other app gets no line about it.
    publish_as(&server, &TWO, &channels(1), "x").is(200, json!({}));
    assert_eq!(of_other.next()["kind"], "api_event");
}
