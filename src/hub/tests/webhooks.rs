//! Webhooks of one node: what the application receives, in which order, and when.

mod spool;

use super::*;
use crate::config::{Url, Webhook, WebhookEvent, WebhookEvents};
use crate::proto::auth::Signer;
use crate::proto::message;

fn webhook(url: &str) -> Webhook {
    Webhook::new(Url::parse(url).unwrap())
}

fn with(webhooks: Vec<Webhook>) -> World {
    World::new(|app, _| app.webhooks = webhooks)
}

impl World {
    /// The requests that are sent now; each gets this status.
    fn requests(&mut self, status: u16) -> Vec<WebhookRequest> {
        let mut requests = Vec::new();
        while let Some(request) = self.hub.next_webhook(self.now) {
            let outcome = WebhookOutcome::Status(status);
            self.hub.webhook_done(request.endpoint, outcome, self.now);
            requests.push(request);
        }
        self.hub.audit().unwrap();
        requests
    }

    /// The events that are sent within 50 ms, each as its name and the rest of it.
    fn events(&mut self) -> Vec<String> {
        self.pass(50);
        self.requests(200).iter().flat_map(|request| events(&request.body)).collect()
    }

    fn member(&mut self, channel: &str, user: &str) -> ConnId {
        let (id, socket_id) = self.connect();
        let data = format!(r#"{{"user_id":"{user}"}}"#);
        let auth = Signer::new(SECRET).sign(&[&socket_id, ":", channel, ":", &data]);
        let data = message::json_string(&data);
        self.send_text(
            id,
            &format!(
                r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{auth}","channel_data":{data}}}}}"#
            ),
        );
        id
    }

    fn subscriber(&mut self, channel: &str) -> ConnId {
        let (id, _) = self.connect();
        self.subscribe(id, channel);
        id
    }
}

/// The events of a body, without `{"name":` and the closing brace.
fn events(body: &[u8]) -> Vec<String> {
    let body = message::object(std::str::from_utf8(body).unwrap()).unwrap();
    let events = message::array(body.get("events").unwrap().get()).unwrap();
    let shown = |raw: &str| raw[r#"{"name":"#.len()..raw.len() - 1].replace('"', "");
    events.into_iter().map(|raw| shown(raw.get())).collect()
}

fn left_out(body: &[u8]) -> Option<String> {
    let body = message::object(std::str::from_utf8(body).unwrap()).unwrap();
    body.get("left_out").map(|raw| raw.get().to_owned())
}

#[test]
fn a_request_has_the_headers_and_the_signature_of_pusher() {
    let mut hook = webhook("https://a.example/hook?x=1");
    hook.headers = vec![("X-Tenant".into(), "7".into())];
    let mut world = with(vec![hook]);
    world.subscriber("news");
    world.pass(50);
    let [request] = &world.requests(200)[..] else { panic!("one request") };
    assert_eq!(request.url.text(), "https://a.example/hook?x=1");
    assert_eq!(request.timeout_ms, 10_000);
    let body = std::str::from_utf8(&request.body).unwrap();
    let expected = r#"{"time_ms":1795450533050,"events":[{"name":"channel_occupied","channel":"news"},{"name":"subscription_count","channel":"news","subscription_count":1}]}"#;
    assert_eq!(body, expected);
    let lines: Vec<&str> = request.head.split("\r\n").collect();
    assert_eq!(lines[0], "Content-Type: application/json");
    assert_eq!(lines[1], "X-Pusher-Key: key");
    assert_eq!(lines[2], format!("X-Pusher-Signature: {}", Signer::new(SECRET).sign(&[body])));
    let delivery = lines[3].strip_prefix("X-Reverb-Delivery: ").unwrap();
    assert!(delivery.len() == 32 && delivery.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(lines[4].starts_with("User-Agent: reverb/"));
    assert_eq!(lines[5..], ["X-Tenant: 7", ""]);
}

#[test]
fn a_page_that_is_loaded_again_sends_nothing() {
    let mut world = with(vec![webhook("http://a")]);
    let a = world.member("presence-a", "7");
    assert_eq!(
        world.events(),
        ["channel_occupied,channel:presence-a", "member_added,channel:presence-a,user_id:7"]
    );
    world.hub.close(a, world.now);
    world.pass(2_000);
    let a = world.member("presence-a", "7");
    world.pass(10_000);
    assert_eq!(world.events(), [""; 0]);
    world.hub.close(a, world.now);
    world.pass(2_990);
    assert_eq!(world.requests(200).len(), 0);
    world.pass(10);
    assert_eq!(
        world.events(),
        ["member_removed,channel:presence-a,user_id:7", "channel_vacated,channel:presence-a"]
    );
    assert!(world.hub.connections.happenings.webhooks().unwrap().is_idle());
}

#[test]
fn a_webhook_gets_the_events_and_channels_that_it_names() {
    let names = |names: &[&str]| WebhookEvents::parse(names.iter().copied()).unwrap();
    let mut users = webhook("http://a/users");
    users.channels = vec!["private-user.*".into()];
    let mut counts = webhook("http://a/counts");
    counts.events = names(&["subscription_count"]);
    let mut all = webhook("http://a/users");
    all.events = names(&["channel_vacated"]);
    let mut world = with(vec![users, counts, all]);
    world.subscriber("news");
    world.subscriber("#server-to-user-7");
    world.pass(50);
    let requests = world.requests(200);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.url.path, "/counts");
    assert_eq!(events(&request.body), ["subscription_count,channel:news,subscription_count:1"]);
    world.hub.ids().into_iter().for_each(|id| _ = world.hub.close(id, world.now));
    world.pass(3_100);
    let sent: Vec<_> = world
        .requests(200)
        .iter()
        .map(|request| (request.url.path.clone(), events(&request.body)))
        .collect();
    assert_eq!(
        sent,
        [
            ("/counts".into(), vec!["subscription_count,channel:news,subscription_count:0".into()]),
            ("/users".into(), vec!["channel_vacated,channel:news".to_owned()]),
        ]
    );
}

#[test]
fn client_events_cache_misses_and_pruned_connections_are_sent() {
    let mut hook = webhook("http://a");
    hook.events =
        WebhookEvents::parse(["client_event", "cache_miss", "connection_pruned"]).unwrap();
    let mut world = with(vec![hook]);
    let a = world.member("presence-cache-a", "7");
    let b = world.member("presence-cache-a", "8");
    world.send_text(
        a,
        r#"{"event":"client-x","channel":"presence-cache-a","data":{"n":1},"user_id":"9"}"#,
    );
    let sent = world.events();
    assert_eq!(sent.len(), 2, "two misses within a second are one: {sent:?}");
    assert_eq!(sent[0], "cache_miss,channel:presence-cache-a");
    assert!(
        sent[1].starts_with(
            r"client_event,channel:presence-cache-a,event:client-x,data:{\n\:1},socket_id:"
        ) && sent[1].ends_with(",user_id:7"),
        "{sent:?}"
    );
    world.pass(95_000);
    let pruned = world.events();
    assert_eq!(pruned.len(), 2);
    assert!(pruned.iter().all(|event| event.starts_with("connection_pruned,socket_id:")));
    _ = b;
}

#[test]
fn messages_are_sampled_and_the_rest_is_counted() {
    let mut hook = webhook("http://a");
    hook.events = WebhookEvents::default()
        .with(WebhookEvent::MessageReceived)
        .with(WebhookEvent::MessageSent);
    let mut world = with(vec![hook]);
    let (a, _) = world.connect();
    world.pass(2_000);
    world.requests(200);
    for _ in 0..25 {
        world.send_text(a, r#"{"event":"pusher:ping","data":{}}"#);
    }
    world.pass(50);
    let requests = world.requests(200);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let sent = events(&request.body);
    assert_eq!(sent.iter().filter(|event| event.starts_with("message_received,")).count(), 10);
    assert_eq!(sent.iter().filter(|event| event.starts_with("message_sent,")).count(), 10);
    assert!(sent[0].contains(r"message:{\event\:\pusher:p"), "{sent:?}");
    let counts = r#"{"message_received":15,"message_sent":15}"#;
    assert_eq!(left_out(&request.body).as_deref(), Some(counts));
    for _ in 0..11 {
        world.send_text(a, r#"{"event":"pusher:ping","data":{}}"#);
    }
    world.pass(1_000);
    let counts = r#"{"message_received":11,"message_sent":11}"#;
    let requests = world.requests(200);
    assert_eq!(left_out(&requests[0].body).as_deref(), Some(counts), "no message, but the count");
    assert_eq!(events(&requests[0].body), [""; 0]);
}

#[test]
fn a_failed_request_is_repeated_unchanged_and_in_order_until_it_expires() {
    let mut hook = webhook("http://a");
    hook.events = WebhookEvents::default().with(WebhookEvent::ChannelOccupied);
    let mut world = with(vec![hook]);
    world.subscriber("a");
    world.pass(50);
    let [first] = &world.requests(503)[..] else { panic!("one request") };
    world.subscriber("b");
    let mut times = Vec::new();
    let began_ms = world.now.ms;
    while world.now.ms < began_ms + 289_000 {
        world.pass(500);
        for request in world.requests(302) {
            assert_eq!((&request.head, &request.body), (&first.head, &first.body));
            times.push((world.now.ms - began_ms) / 1_000);
        }
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
    // The first is dropped in time for the next attempt; the second has its own 290 seconds.
    world.pass(20_000);
    assert!(world.requests(200).is_empty());
    let metrics = world.hub.metrics(world.now);
    for line in [
        "reverb_webhook_events_dropped_total{app=\"1\"} 2",
        "reverb_webhook_retries_total{app=\"1\"} 9",
        "reverb_webhook_requests_total{app=\"1\"} 10",
        "reverb_webhook_events_sent_total{app=\"1\"} 0",
        "reverb_webhook_urls_failing 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn a_url_that_hangs_delays_no_other_and_has_one_request_under_way() {
    let mut world = with(vec![webhook("http://a"), webhook("http://b")]);
    world.subscriber("a");
    world.pass(50);
    let hanging = world.hub.next_webhook(world.now).unwrap();
    let other = world.hub.next_webhook(world.now).unwrap();
    assert_eq!((&*hanging.url.host, &*other.url.host), ("a", "b"));
    world.hub.webhook_done(other.endpoint, WebhookOutcome::Status(204), world.now);
    world.subscriber("b");
    world.pass(50);
    let requests = world.requests(200);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].url.host, "b");
    world.hub.webhook_done(hanging.endpoint, WebhookOutcome::Status(200), world.now);
    assert_eq!(world.requests(200).len(), 1);
    assert!(world.hub.connections.happenings.webhooks().unwrap().is_idle());
}

#[test]
fn a_queue_without_room_drops_its_oldest_events() {
    let mut world = World::new(|app, limits| {
        app.webhooks = vec![webhook("http://a")];
        limits.webhook_queue_bytes = 65_536;
    });
    let (id, _) = world.connect();
    for n in 0..1_200 {
        world.subscribe(id, &format!("{}{n}", "c".repeat(150)));
        world.send_text(
            id,
            &format!(
                r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{}{n}"}}}}"#,
                "c".repeat(150)
            ),
        );
    }
    world.pass(3_100);
    world.hub.audit().unwrap();
    let requests = world.requests(200);
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    assert!((30_000..65_536).contains(&bytes), "{bytes}");
    let last = events(&requests.last().unwrap().body).pop().unwrap();
    assert!(last.starts_with("channel_vacated") && last.ends_with("c1199"), "{last}");
    let metrics = world.hub.metrics(world.now);
    assert!(!metrics.contains("reverb_webhook_events_dropped_total{app=\"1\"} 0"));
    assert!(metrics.contains("reverb_webhook_events_waiting{app=\"1\"} 0"), "{metrics}");
}

#[test]
fn fifty_thousand_leaves_take_many_ticks_of_bounded_work() {
    let mut world = with(vec![webhook("http://a")]);
    let (id, _) = world.connect();
    let budget = u64::from(crate::config::Limits::default().work_per_turn);
    for n in 0..50_000 {
        let webhooks = world.hub.connections.happenings.webhooks_mut().unwrap();
        webhooks.set_now(world.now);
        webhooks.changed(0, &"presence-a".into(), Some(&format!("{n}").as_str().into()), false);
    }
    world.hub.count_webhook_work();
    world.now.ms += 3_000;
    let (mut ticks, mut sent) = (0, 0);
    loop {
        world.hub.begin_turn();
        let before = world.hub.work_done();
        world.hub.tick(world.now);
        assert!(world.hub.work_done() - before < budget / 2, "a tick does a bounded amount");
        ticks += 1;
        world.now.ms += 1;
        sent += world.requests(200).iter().map(|it| events(&it.body).len()).sum::<usize>();
        if !world.hub.has_work() {
            break;
        }
        assert_eq!(world.hub.overdue(world.now), None);
    }
    world.pass(50);
    sent += world.requests(200).iter().map(|it| events(&it.body).len()).sum::<usize>();
    assert_eq!(sent, 50_000);
    assert!(ticks > 10, "{ticks}");
    _ = id;
}

#[test]
fn a_reload_loses_and_repeats_nothing() {
    let config = |url: &str| {
        let mut config =
            Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
        config.apps[0].webhooks = vec![webhook("http://other"), webhook(url)];
        config.apps[0].webhooks[0].events = WebhookEvents::parse(["cache_miss"]).unwrap();
        config
    };
    let mut world = with(vec![webhook("http://a")]);
    let a = world.subscriber("a");
    world.pass(50);
    let under_way = world.hub.next_webhook(world.now).unwrap();
    let gone = world.subscriber("gone");
    world.hub.close(gone, world.now);
    world.pass(2_000);
    world.subscriber("b");

    // Within the process the request under way continues.
    let names = world.hub.reconfigure(&config("http://a"), world.now).unwrap();
    let a = ConnId(names.iter().position(|old| *old == a).unwrap() as u32);
    assert!(world.requests(200).is_empty());
    world.hub.webhook_done(under_way.endpoint, WebhookOutcome::Status(200), world.now);
    let mut sent: Vec<String> =
        world.requests(200).iter().flat_map(|request| events(&request.body)).collect();
    sent.retain(|event| event.starts_with("channel"));
    assert_eq!(sent, ["channel_occupied,channel:gone", "channel_occupied,channel:b"]);

    // In a new process it is sent again.
    world.subscriber("c");
    world.pass(50);
    let under_way = world.hub.next_webhook(world.now).unwrap();
    let state = world.hub.save(world.now, |_, ()| 0).unwrap();
    world.hub = Hub::new(&config("http://a"), [1; 32], world.now);
    world.hub.restore(state, world.now, |_| Some(())).unwrap();
    let again = world.requests(200);
    assert_eq!((&again[0].head, &again[0].body), (&under_way.head, &under_way.body));
    world.pass(1_000);
    assert_eq!(world.events(), ["channel_vacated,channel:gone"]);
    _ = a;
    world.pass(60_000);
}
