//! Items and envelopes: written and read again, and what other releases may send.

use super::ParseError::{NotAnEnvelope, UnknownVersion};
use super::*;

fn event() -> Item<'static> {
    Item::Event(Event {
        app: "a".into(),
        name: r#""e\u00e9""#,
        data: r#""{\"n\":1.0}""#,
        channels: vec!["c".into(), "quote\"d".into()],
        order: KeyOrder::ChannelFirst,
        except: Some("1.2".into()),
        user: None,
        clock: 9,
    })
}

fn items() -> Vec<Item<'static>> {
    let (app, channel, user) = (|| "a\\".into(), || "presence-c".into(), || "é\u{1}".into());
    let node = NodeId(0xc0ffee);
    vec![
        event(),
        Item::Terminate { app: app(), user: user() },
        Item::TerminateOne { app: app(), socket_id: "1.2".into() },
        Item::Connections { app: app(), count: u32::MAX },
        Item::Channel { app: app(), channel: channel(), count: 0 },
        Item::Joined { app: app(), channel: channel(), user: user(), info: Some("{}") },
        Item::Joined { app: app(), channel: channel(), user: user(), info: None },
        Item::Left { app: app(), channel: channel(), user: user() },
        Item::Cached {
            app: app(),
            channel: channel(),
            message: r#"{"a":[1]}"#,
            ttl_ms: 5,
            version: (6, 7),
        },
        Item::SyncBegin { with_cache: true },
        Item::SyncEnd,
        Item::Goodbye,
        Item::Hello,
        Item::Alive { first: 0, next: u64::MAX, up_ms: 1, end: 2, inbox: true, sharded: true },
        Item::Ack { node, next: 1 },
        Item::Suspect { node, silent_ms: 3 },
        Item::Nack { node, next: 2, inbox: None },
        Item::Nack { node, next: 2, inbox: Some(9) },
        Item::RetransmissionEnd { next: 3 },
        Item::SyncRequest { node, with_cache: true, transfer: None },
        Item::SyncRequest { node, with_cache: false, transfer: Some(Transfer { id: 4, part: 5 }) },
        Item::SyncPart { transfer: Transfer { id: 6, part: 0 }, then: AfterPart::End },
        Item::Webhook(WebhookItem::Sends),
        Item::Webhook(WebhookItem::Acknowledged {
            app: app(),
            channel: channel(),
            user: Some(user()),
            is_present: false,
        }),
        Item::Webhook(WebhookItem::Unchanged {
            app: app(),
            channel: channel(),
            user: None,
            is_present: true,
        }),
        Item::Webhook(WebhookItem::Query {
            app: app(),
            channel: channel(),
            user: None,
            reported: None,
        }),
    ]
}

#[test]
fn an_envelope_is_read_as_it_was_written() {
    let mut written = String::new();
    for (n, item) in items().iter().enumerate() {
        written.push_str(if n == 0 { "" } else { "," });
        item.write(&mut written);
    }
    let text = envelope(NodeId(7), Some(u64::MAX), &written);
    let read = parse(text.as_bytes()).unwrap();
    assert_eq!((read.node, read.seq), (NodeId(7), Some(u64::MAX)));
    let read: Vec<_> = read.items.iter().map(|raw| Item::read(raw.get()).unwrap()).collect();
    assert_eq!(read, items());
    assert_eq!(parse(envelope(NodeId(7), None, "").as_bytes()).unwrap().seq, None);
    assert_eq!(parse_head(&text.as_bytes()[..128]), Some((NodeId(7), Some(u64::MAX))));
    let unsequenced = envelope(NodeId(7), None, "");
    assert_eq!(parse_head(unsequenced.as_bytes()), Some((NodeId(7), None)));
    assert_eq!(parse_head(&text.as_bytes()[..60]), None);
}

#[test]
fn an_event_keeps_its_json_texts() {
    let mut written = String::new();
    event().write(&mut written);
    let expected = r#"["event","a","e\u00e9","{\"n\":1.0}",["c","quote\"d"],1,"1.2",null,9]"#;
    assert_eq!(written, expected);
}

#[test]
fn unknown_versions_differ_from_other_messages() {
    for (text, why) in [
        ("", NotAnEnvelope),
        ("{}", NotAnEnvelope),
        (r#"{"type":"message","application":"O:26:","payload":{}}"#, NotAnEnvelope),
        (r#"{"type":"reverb.1","payload":{"node":"7","say":[]}}"#, NotAnEnvelope),
        (r#"{"type":"reverb.1","payload":{"node":"+000000000000007","say":[]}}"#, NotAnEnvelope),
        (r#"{"type":"reverb.1","payload":{"node":"0000000000000007"}}"#, NotAnEnvelope),
        (
            r#"{"type":"reverb.1","payload":{"node":"0000000000000007","seq":-1,"say":[]}}"#,
            NotAnEnvelope,
        ),
        (r#"{"type":"reverb.2","payload":5}"#, UnknownVersion),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err(), why, "{text}");
    }
    assert_eq!(parse(b"\xff").unwrap_err(), NotAnEnvelope);
}

#[test]
fn additions_of_later_releases_are_ignored() {
    let more = Item::read(r#"["terminate","a","u",{"new":1}]"#);
    assert_eq!(more, Some(Item::Terminate { app: "a".into(), user: "u".into() }));
    let reported = |user, state| format!(r#"["webhook_acknowledged","a","c",{user},{state}]"#);
    for raw in [reported("7", "1"), reported("null", "2"), reported("\"u\"", "true")] {
        assert_eq!(Item::read(&raw), None, "{raw}");
    }
    for raw in [r#"["new","a"]"#, "[]", "{}", r#"[1]"#, r#"["channel","a","c",-1]"#] {
        assert_eq!(Item::read(raw), None, "{raw}");
    }
}
