//! What the spool gets, and what a server makes of it after a crash.

use super::*;
use crate::proto::spool::SpoolRecord;

fn channels_only(url: &str) -> Webhook {
    let events = WebhookEvents::parse(["channel_occupied", "channel_vacated"]).unwrap();
    Webhook { events, ..webhook(url) }
}

fn with_spool(webhooks: Vec<Webhook>) -> Config {
    let mut config = Config { apps: vec![Settings::new("1", "key", SECRET)], ..Config::default() };
    config.apps[0].webhooks = webhooks;
    config.server.webhook_spool = Some("/spool".into());
    config
}

#[test]
fn a_state_is_in_the_spool_once_all_requests_that_report_it_are() {
    let mut slow = channels_only("http://slow");
    slow.batch_ms = 200;
    let mut world = World::new(|_, _| {});
    let config = with_spool(vec![channels_only("http://a"), slow]);
    world.hub = Hub::new(&config, [0; 32], world.now);
    world.subscriber("news");
    let mut kinds = Vec::new();
    for _ in 0..5 {
        while let Some(record) = world.hub.next_spool_record() {
            kinds.push(match record {
                SpoolRecord::Queued(_) => "queued",
                SpoolRecord::Ended(_) => "ended",
                SpoolRecord::Told(state) => {
                    assert_eq!((&*state.subject.channel, state.is_present), ("news", true));
                    "state"
                }
            });
        }
        kinds.push("50 ms");
        world.pass(50);
    }
    let expected = ["50 ms", "queued", "50 ms", "50 ms", "50 ms", "queued", "state", "50 ms"];
    assert_eq!(kinds, expected);
}

/// The states in the spool, in their order.
fn states(world: &mut World) -> Vec<(String, bool)> {
    let records = std::iter::from_fn(|| world.hub.next_spool_record());
    let states = records.filter_map(|record| match record {
        SpoolRecord::Told(state) => Some((state.subject.channel, state.is_present)),
        _ => None,
    });
    states.collect()
}

#[test]
fn a_slow_webhook_does_not_bring_back_an_earlier_state() {
    let of = |event: &str, batch_ms: u32| {
        let events = WebhookEvents::parse([event]).unwrap();
        Webhook { events, batch_ms, ..webhook(&format!("http://{event}")) }
    };
    let mut world = World::new(|_, _| {});
    let webhooks = vec![of("channel_vacated", 10_000), of("channel_occupied", 50)];
    world.hub = Hub::new(&with_spool(webhooks), [0; 32], world.now);
    let first = world.subscriber("news");
    world.pass(50);
    world.hub.close(first, world.now);
    world.pass(4_000);
    world.subscriber("news");
    world.pass(15_000);
    let news = |is_present| ("news".to_owned(), is_present);
    assert_eq!(states(&mut world).last(), Some(&news(true)));
}

#[test]
fn a_full_batch_waits_for_the_other_webhooks_to_get_the_event() {
    let mut slow = channels_only("http://slow");
    slow.batch_ms = 1_000;
    let mut world = World::new(|_, _| {});
    let mut full = channels_only("http://full");
    full.batch_ms = 1_000;
    full.channels = vec!["*".into()];
    slow.channels = vec!["last".into()];
    world.hub = Hub::new(&with_spool(vec![full, slow]), [0; 32], world.now);
    (0..99).for_each(|n| _ = world.subscriber(&format!("{n}")));
    world.subscriber("last");
    // The first batch is full, and has the event; the second webhook still collects.
    assert!(states(&mut world).iter().all(|(channel, _)| channel != "last"));
    world.pass(1_000);
    assert_eq!(states(&mut world).last(), Some(&("last".to_owned(), true)));
}

#[test]
fn a_spool_continues_after_a_crash() {
    let with_spool = || with_spool(vec![channels_only("http://a")]);
    let mut world = World::new(|_, _| {});
    world.hub = Hub::new(&with_spool(), [0; 32], world.now);
    let mut records: Vec<SpoolRecord> = Vec::new();
    let mut drain = |hub: &mut Hub<()>| {
        records.extend(std::iter::from_fn(|| hub.next_spool_record()));
        records.clone()
    };
    for channel in ["a", "b", "c"] {
        world.subscriber(channel);
    }
    assert_eq!(world.events().len(), 3);
    world.subscriber("d");
    world.pass(50);
    let lost = world.hub.next_webhook(world.now).unwrap();
    let records = drain(&mut world.hub);

    world.now = Now { ms: 0, unix_s: world.now.unix_s + 5 };
    world.hub = Hub::new(&with_spool(), [1; 32], world.now);
    world.hub.restore_spool(records.clone(), world.now);
    let again = world.requests(200);
    assert_eq!((&again[0].head, &again[0].body), (&lost.head, &lost.body));
    world.pass(30_000);
    world.subscriber("a");
    assert_eq!(world.events(), [""; 0], "it is back");
    world.pass(33_000);
    let mut sent = world.events();
    sent.sort();
    let vacated = ["b", "c", "d"].map(|channel| format!("channel_vacated,channel:{channel}"));
    assert_eq!(sent, vacated);

    world.now = Now { ms: 0, unix_s: world.now.unix_s + 400 };
    world.hub = Hub::new(&with_spool(), [1; 32], world.now);
    world.hub.restore_spool(records, world.now);
    assert!(world.requests(200).is_empty(), "it is too old");
    let metrics = world.hub.metrics(world.now);
    assert!(metrics.contains("reverb_webhook_events_dropped_total{app=\"1\"} 1"), "{metrics}");
}
