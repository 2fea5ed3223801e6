//! Subscribing and unsubscribing: permissions, responses, and errors for invalid messages.

use crate::support::{APP, App, Client, Server, Setup, channel_auth, hmac_hex};
use serde_json::{Value, json};

fn subscribe(data: Value) -> Value {
    json!({"event": "pusher:subscribe", "data": data})
}

#[track_caller]
fn invalid(client: &mut Client) {
    client.error(4200, "Invalid message format");
}

/// The occupied channels, sorted.
#[track_caller]
fn occupied(server: &Server) -> Vec<String> {
    let channels = server.get("/apps/app-id/channels", "").json()["channels"].clone();
    channels.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_public_channel_needs_no_signature_and_ignores_one() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("my-channel");
    for auth in [json!(""), json!("nonsense"), json!(null)] {
        client.send(subscribe(json!({"channel": "other", "auth": auth})));
        client.subscribed("other");
    }
    client.nothing();
}

#[test]
fn a_private_channel_accepts_the_right_signature() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in ["private-a", "private-encrypted-a", "private-", "private-cachefoo"] {
        client.subscribe_private(channel);
    }
    client.nothing();
}

#[test]
fn a_wrong_signature_is_reported_by_both_events_and_the_connection_stays() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let right = channel_auth(&APP, &client.socket_id, "private-a", "");
    let (_, digits) = right.split_once(':').unwrap();
    let (channel, other) = ("private-a", App { id: "x", key: "other", secret: "other" });
    let wrong = [
        json!("app-key:0000"),
        json!(format!("app-key:{}", "0".repeat(64))),
        json!(digits),
        json!(format!(":{digits}")),
        json!(format!("other:{digits}")),
        json!(format!("APP-KEY:{digits}")),
        json!(format!("app-key:{digits}0")),
        json!(format!("app-key:{}", &digits[1..])),
        json!(format!("app-key: {digits}")),
        json!(format!("app-key::{digits}")),
        json!(channel_auth(&other, &client.socket_id, channel, "")),
        json!(channel_auth(&APP, "1.1", channel, "")),
        json!(channel_auth(&APP, &client.socket_id, "private-b", "")),
        json!(channel_auth(&APP, &client.socket_id, channel, "{}")),
        json!(""),
        json!(null),
    ];
    for auth in wrong {
        client.send(subscribe(json!({"channel": channel, "auth": auth})));
        client.refused(channel);
    }
    client.send(subscribe(json!({"channel": channel})));
    client.refused(channel);
    client.nothing();
    assert!(occupied(&server).is_empty());
    client.subscribe_private(channel);
}

#[test]
fn a_signature_is_valid_for_one_connection_only() {
    let server = Server::start();
    let first = Client::connect(&server);
    let mut second = Client::connect(&server);
    let auth = channel_auth(&APP, &first.socket_id, "private-a", "");
    second.send(subscribe(json!({"channel": "private-a", "auth": auth})));
    second.refused("private-a");
}

#[test]
fn channel_data_is_part_of_the_signed_text_on_every_guarded_channel() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let data = r#"{"user_id":"x"}"#;
    let with = channel_auth(&APP, &client.socket_id, "private-d", data);
    client.send(subscribe(json!({"channel": "private-d", "auth": with, "channel_data": data})));
    client.subscribed("private-d");
    let without = channel_auth(&APP, &client.socket_id, "private-e", "");
    client.send(subscribe(json!({"channel": "private-e", "auth": without, "channel_data": data})));
    client.refused("private-e");
    client.send(subscribe(json!({"channel": "private-e", "auth": without, "channel_data": ""})));
    client.subscribed("private-e");
}

#[test]
fn the_prefix_with_its_hyphen_determines_the_kind_of_a_channel() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in
        ["privatefoo", "private", "presencefoo", "presence", "cachefoo", "cached", "Private-a"]
    {
        client.subscribe(channel);
    }
    client.nothing();
    for channel in ["private-cache-a", "private-encrypted-cache-a"] {
        client.subscribe_private(channel);
        client.expect(json!({"event": "pusher:cache_miss", "channel": channel}));
    }
}

#[test]
fn data_may_be_a_string_with_the_object_as_json() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.send(subscribe(json!(r#"{"channel":"dbl"}"#)));
    client.subscribed("dbl");
    client.send(json!({"event": "pusher:unsubscribe", "data": r#"{"channel":"dbl"}"#}));
    client.nothing();
    assert!(occupied(&server).is_empty());
}

#[test]
fn a_channel_name_must_be_a_string_of_1_to_200_characters() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in [json!(null), json!(5), json!(5.5), json!(true), json!(["a"]), json!({"a": 1})] {
        client.send(subscribe(json!({"channel": channel})));
        invalid(&mut client);
    }
    client.send(subscribe(json!({})));
    invalid(&mut client);
    client.nothing();
    client.subscribe(&"c".repeat(164));
    client.subscribe(&"é".repeat(200));
    let long = "c".repeat(201);
    client.send(subscribe(json!({"channel": long})));
    invalid(&mut client);
    let event = client.event();
    assert_eq!(event["event"], "pusher:subscription_error");
    assert_eq!(event["channel"], long.as_str());
    client.nothing();
    assert_eq!(occupied(&server).len(), 2);
}

#[test]
fn an_empty_channel_name_is_not_a_channel() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.send(subscribe(json!({"channel": ""})));
    invalid(&mut client);
    assert!(occupied(&server).is_empty());
}

#[test]
fn unusual_characters_in_a_channel_name_are_kept() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in ["a b", "a/b", "é", "a\nb", "a\0b", "a:b", "<script>", "😀", " x ", "\"", "\\"]
    {
        client.subscribe(channel);
        server.publish(channel, "e", "d");
        client.expect(json!({"event": "e", "channel": channel, "data": "d"}));
    }
}

#[test]
fn strict_names_reject_names_that_pusher_rejects() {
    let server = Server::with(&[("REVERB_APP_STRICT_CHANNEL_NAMES", "true")]);
    let mut client = Client::connect(&server);
    client.subscribe("A-Za-z0-9_-=@,.;");
    for channel in ["a b", "a/b", "é", "a:b"] {
        client.send(subscribe(json!({"channel": channel})));
        invalid(&mut client);
        let event = client.event();
        assert_eq!(
            (&event["event"], &event["channel"]),
            (&json!("pusher:subscription_error"), &json!(channel))
        );
    }
    assert_eq!(occupied(&server).len(), 1);
}

#[test]
fn names_that_start_with_a_hash_are_reserved() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for channel in ["#x", "#", "#server-to-user-1", "#server-to-user-"] {
        client.send(subscribe(json!({"channel": channel, "auth": ""})));
        client.refused(channel);
        let auth = channel_auth(&APP, &client.socket_id, channel, "");
        client.send(subscribe(json!({"channel": channel, "auth": auth})));
        client.refused(channel);
    }
    assert!(occupied(&server).is_empty());
}

#[test]
fn subscribing_again_is_confirmed_again_and_changes_nothing() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    client.subscribe("c");
    server.publish("c", "e", "d");
    client.expect(json!({"event": "e", "channel": "c", "data": "d"}));
    client.nothing();
    client.unsubscribe("c");
    client.nothing();
    assert!(occupied(&server).is_empty());
}

#[test]
fn unsubscribing_gets_no_answer_and_ends_the_events() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    client.subscribe("d");
    client.unsubscribe("c");
    client.unsubscribe("c");
    client.unsubscribe("never");
    client.nothing();
    server.publish("c", "e", "1");
    server.publish("d", "e", "2");
    client.expect(json!({"event": "e", "channel": "d", "data": "2"}));
}

#[test]
fn unsubscribing_without_a_channel_is_an_invalid_message() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for data in
        [json!({}), json!({"channel": ["a"]}), json!({"channel": null}), json!("x"), json!(null)]
    {
        client.send(json!({"event": "pusher:unsubscribe", "data": data}));
        invalid(&mut client);
    }
    client.nothing();
}

#[test]
fn data_that_is_not_an_object_is_an_invalid_message() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for data in [json!(null), json!("my-channel"), json!(["my-channel"]), json!(7), json!(true)] {
        client.send(subscribe(data));
        invalid(&mut client);
    }
    client.send(json!({"event": "pusher:subscribe"}));
    invalid(&mut client);
    client.send(json!({"event": "pusher:subscribe", "channel": "c", "data": {}}));
    invalid(&mut client);
    client.nothing();
}

#[test]
fn an_invalid_message_gets_an_error_and_the_connection_stays() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for text in [
        "",
        "   ",
        "nonsense",
        "{}",
        "[]",
        "[1]",
        "null",
        "5",
        "-1.5",
        "true",
        "\"str\"",
        "\"\"",
        "\"{\\\"event\\\":\\\"pusher:ping\\\"}\"",
        "{\"event\":\"pusher:ping\"",
        "{\"event\":\"pusher:ping\"} x",
        "{\"event\":\"pusher:ping\",}",
        "{'event':'pusher:ping'}",
        "\u{FEFF}{\"event\":\"pusher:ping\"}",
        "[\"pusher:ping\"]",
        "[{\"event\":\"pusher:ping\"}]",
        "NaN",
        "{\"event\":null}",
        "{\"event\":5}",
        "{\"event\":\"\"}",
        "{\"event\":[\"pusher:ping\"]}",
        "{\"event\":true}",
        "{\"channel\":\"pub\",\"data\":{}}",
        "{\"event\":\"pusher:\"}",
        "{\"event\":\"pusher:unknown\",\"data\":{}}",
        "{\"event\":\"pusher:error\",\"data\":{}}",
        "{\"event\":\"pusher:ping\\u0000\"}",
        "{\"event\":\" pusher:ping\"}",
        "{\"event\":\"foo\"}",
    ] {
        client.text(text);
        let event = client.event();
        let data = json!({"code": 4200, "message": "Invalid message format"});
        assert_eq!((&event["event"], &event["data"]), (&json!("pusher:error"), &data), "{text}");
    }
    client.nothing();
}

#[test]
fn other_events_of_a_client_are_ignored() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let mut other = Client::connect(&server);
    client.subscribe("pub");
    other.subscribe("pub");
    for event in ["foo", "PUSHER:PING", "Client-x", "client_x", "pusher_internal:member_added"] {
        client.send(json!({"event": event, "channel": "pub", "data": {}}));
    }
    client.nothing();
    other.nothing();
}

#[test]
fn every_form_of_a_ping_is_answered() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for text in [
        "{\"event\":\"pusher:ping\"}",
        "{\"event\":\"pusher:ping\",\"data\":{}}",
        "{\"event\":\"pusher:ping\",\"data\":\"{}\"}",
        "{\"event\":\"pusher:ping\",\"data\":null}",
        "{\"event\":\"pusher:ping\",\"data\":\"\"}",
        "{\"event\":\"pusher:ping\",\"data\":{\"a\":1},\"channel\":\"x\"}",
        "{\"event\":\"pusher\\u003aping\"}",
        " \n\t{\"event\" : \"pusher:ping\"}\n",
    ] {
        client.text(text);
        client.expect(json!({"event": "pusher:pong"}));
    }
    client.send(json!({"event": "pusher:pong", "data": {}}));
    client.send(json!({"event": "pusher:pong"}));
    client.nothing();
}

#[test]
fn the_channels_of_a_connection_are_limited() {
    let server = Setup::new().env("REVERB_LIMIT_CHANNELS_PER_CONNECTION", 2).start();
    let mut client = Client::connect(&server);
    client.subscribe("a");
    client.subscribe("b");
    client.send(subscribe(json!({"channel": "c"})));
    assert_eq!(client.event()["event"], "pusher:error");
    let event = client.event();
    assert_eq!(
        (&event["event"], &event["channel"]),
        (&json!("pusher:subscription_error"), &json!("c"))
    );
    client.subscribe("b");
    client.unsubscribe("a");
    client.subscribe("c");
}

#[test]
fn subscription_counts_are_sent_for_an_app_that_enables_them() {
    let server = Server::with(&[("REVERB_APP_SUBSCRIPTION_COUNT", "true")]);
    let count = |channel: &str, count: u32| {
        let data = json!({"subscription_count": count}).to_string();
        json!({"event": "pusher_internal:subscription_count", "channel": channel, "data": data})
    };
    let mut first = Client::connect(&server);
    first.subscribe("c");
    first.expect(count("c", 1));
    let mut second = Client::connect(&server);
    second.subscribe("c");
    second.expect(count("c", 2));
    first.expect(count("c", 2));
    second.unsubscribe("c");
    second.nothing();
    first.expect(count("c", 1));
    first.join("presence-p", "1");
    first.nothing();
}

#[test]
fn no_subscription_counts_are_sent_by_default() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    client.nothing();
}

#[test]
fn the_published_vectors_of_the_channel_signature_hold() {
    let app = App { id: "3", key: "278d425bdf160c739803", secret: "7ad3773142a6692b25b8" };
    let digits = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    let auth = channel_auth(&app, "1234.1234", "private-foobar", "");
    assert_eq!(auth, format!("{}:{digits}", app.key));
    let presence = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
    let text = format!("1234.1234:presence-foobar:{presence}");
    let digits = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
    assert_eq!(hmac_hex(app.secret, &text), digits);
}
