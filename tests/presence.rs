//! Presence channels: member lists, joins and leaves.

use crate::support::{APP, Client, Server, Setup, channel_auth, frame};
use serde_json::{Value, json};

const ROOM: &str = "presence-room";

#[track_caller]
fn added(client: &mut Client, data: Value) {
    let data = data.to_string();
    client.expect(json!({"event": "pusher_internal:member_added", "channel": ROOM, "data": data}));
}

#[track_caller]
fn removed(client: &mut Client, user: &str) {
    let data = json!({"user_id": user}).to_string();
    client
        .expect(json!({"event": "pusher_internal:member_removed", "channel": ROOM, "data": data}));
}

fn named(user: &str) -> Value {
    json!({"user_id": user, "user_info": {"name": user}})
}

#[track_caller]
fn users(server: &Server) -> Value {
    server.get("/apps/app-id/channels/presence-room/users", "").json()
}

#[test]
fn a_new_member_receives_the_list_and_the_others_member_added() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    let alone = json!({"count": 1, "ids": ["1"], "hash": {"1": {"name": "1"}}});
    assert_eq!(ann.join(ROOM, "1"), alone);
    ann.nothing();
    let mut bob = Client::connect(&server);
    let both =
        json!({"count": 2, "ids": ["1", "2"], "hash": {"1": {"name": "1"}, "2": {"name": "2"}}});
    assert_eq!(bob.join(ROOM, "2"), both);
    bob.nothing();
    added(&mut ann, named("2"));
    bob.unsubscribe(ROOM);
    bob.nothing();
    removed(&mut ann, "2");
    ann.nothing();
}

#[test]
fn a_user_with_two_connections_joins_once_and_leaves_once() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let mut bob = Client::connect(&server);
    bob.join(ROOM, "2");
    added(&mut ann, named("2"));
    let mut tab = Client::connect(&server);
    tab.ask_to_join(ROOM, r#"{"user_id":"2","user_info":{"name":"the second tab"}}"#);
    let members = tab.joined(ROOM);
    assert_eq!((&members["count"], &members["hash"]["2"]), (&json!(2), &json!({"name": "2"})));
    bob.unsubscribe(ROOM);
    bob.nothing();
    ann.nothing();
    tab.unsubscribe(ROOM);
    tab.nothing();
    removed(&mut ann, "2");
}

#[test]
fn every_kind_of_disconnect_removes_the_member() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let join_bob = |ann: &mut Client| {
        let mut bob = Client::connect(&server);
        bob.join(ROOM, "2");
        added(ann, named("2"));
        bob
    };
    let mut bob = join_bob(&mut ann);
    bob.frame(0x88, &1000u16.to_be_bytes());
    removed(&mut ann, "2");
    bob.closed(1000);
    drop(join_bob(&mut ann));
    removed(&mut ann, "2");
    join_bob(&mut ann).finish();
    removed(&mut ann, "2");
    join_bob(&mut ann).reset();
    removed(&mut ann, "2");
    join_bob(&mut ann).frame(0x82, b"x");
    removed(&mut ann, "2");
    assert_eq!(users(&server), json!({"users": [{"id": "1"}]}));
}

#[test]
fn members_are_listed_in_the_order_of_joining() {
    let server = Server::start();
    let mut clients = Vec::new();
    for user in ["b", "a", "c", "a", "10", "9"] {
        let mut client = Client::connect(&server);
        let members = client.join(ROOM, user);
        clients.push((client, members));
    }
    let (_, last) = clients.last().unwrap();
    assert_eq!(last["ids"], json!(["b", "a", "c", "10", "9"]));
    assert_eq!(last["count"], 5);
    let expected =
        json!({"users": [{"id": "b"}, {"id": "a"}, {"id": "c"}, {"id": "10"}, {"id": "9"}]});
    assert_eq!(users(&server), expected);
}

#[test]
fn the_hash_is_an_object_for_every_kind_of_id() {
    let server = Server::start();
    let mut first = Client::connect(&server);
    let members = first.join(ROOM, "0");
    assert_eq!(members["hash"], json!({"0": {"name": "0"}}));
    let mut second = Client::connect(&server);
    let members = second.join(ROOM, "1");
    assert_eq!(members["hash"], json!({"0": {"name": "0"}, "1": {"name": "1"}}));
    added(&mut first, named("1"));
    drop(first);
    removed(&mut second, "0");
}

#[test]
fn numeric_ids_are_sent_as_strings() {
    let server = Server::start();
    let mut number = Client::connect(&server);
    number.ask_to_join(ROOM, r#"{"user_id":5,"user_info":{"n":"x"}}"#);
    let alone = json!({"count": 1, "ids": ["5"], "hash": {"5": {"n": "x"}}});
    assert_eq!(number.joined(ROOM), alone);
    let mut text = Client::connect(&server);
    assert_eq!(text.join(ROOM, "5"), alone);
    let mut other = Client::connect(&server);
    other.join(ROOM, "05");
    added(&mut number, named("05"));
    added(&mut text, named("05"));
    drop(text);
    number.unsubscribe(ROOM);
    removed(&mut other, "5");
    assert_eq!(users(&server), json!({"users": [{"id": "05"}]}));
}

#[test]
fn user_info_may_be_missing_or_any_value() {
    let server = Server::start();
    let mut first = Client::connect(&server);
    first.ask_to_join(ROOM, r#"{"user_id":"1"}"#);
    let alone = json!({"count": 1, "ids": ["1"], "hash": {"1": null}});
    assert_eq!(first.joined(ROOM), alone);
    let mut second = Client::connect(&server);
    second.ask_to_join(ROOM, r#"{"user_id":"2"}"#);
    second.joined(ROOM);
    added(&mut first, json!({"user_id": "2"}));
    for (number, info) in ["null", "\"str\"", "[1,2]", "[]", "{}", "0"].iter().enumerate() {
        let user = format!("u{number}");
        second.unsubscribe(ROOM);
        second.ask_to_join(ROOM, &format!(r#"{{"user_id":"{user}","user_info":{info}}}"#));
        let members = second.joined(ROOM);
        let info: Value = serde_json::from_str(info).unwrap();
        assert_eq!(members["hash"][&user], info);
        assert_eq!(first.event()["event"], "pusher_internal:member_removed");
        added(&mut first, json!({"user_id": user, "user_info": info}));
    }
}

#[test]
fn user_info_passes_through_unchanged() {
    let server = Server::start();
    let info =
        r#"{"z":1,"a":"é/é 😀<>&'\"","n":{},"l":[],"f":1.0,"big":12345678901234567890,"e":1e3}"#;
    let mut first = Client::connect(&server);
    first.join(ROOM, "1");
    let mut second = Client::connect(&server);
    second.ask_to_join(ROOM, &format!(r#"{{"user_id":"ü/1","user_info":{info}}}"#));
    let members = second.joined(ROOM);
    let info: Value = serde_json::from_str(info).unwrap();
    assert_eq!(members["hash"]["ü/1"], info);
    added(&mut first, json!({"user_id": "ü/1", "user_info": info}));
    drop(second);
    removed(&mut first, "ü/1");
}

#[test]
fn a_subscription_without_a_valid_user_id_is_rejected() {
    let server = Server::start();
    let mut inside = Client::connect(&server);
    inside.join(ROOM, "1");
    let mut client = Client::connect(&server);
    for data in [
        "",
        "{nope",
        "null",
        "5",
        "\"str\"",
        "true",
        "[]",
        "[1]",
        "{}",
        "{\"user_info\":{\"a\":1}}",
        "{\"user_id\":null}",
        "{\"user_id\":[]}",
        "{\"user_id\":[\"x\"]}",
        "{\"user_id\":{\"a\":1}}",
        "{\"user_id\":true}",
        "{\"user_id\":\"\"}",
    ] {
        client.ask_to_join(ROOM, data);
        client.error(4200, "Invalid message format");
        let event = client.event();
        assert_eq!(event["event"], "pusher:subscription_error", "{data}");
        assert_eq!(event["channel"], ROOM);
    }
    client.nothing();
    inside.nothing();
    assert_eq!(users(&server), json!({"users": [{"id": "1"}]}));
}

#[test]
fn a_subscription_with_a_wrong_signature_is_rejected() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let data = r#"{"user_id":"1"}"#;
    let right = channel_auth(&APP, &client.socket_id, ROOM, data);
    let bare = channel_auth(&APP, &client.socket_id, ROOM, "");
    for (auth, data) in [
        ("app-key:00", data),
        (bare.as_str(), data),
        (right.as_str(), r#"{"user_id":"2"}"#),
        (right.as_str(), r#"{"user_id": "1"}"#),
        ("", data),
    ] {
        let data = json!({"channel": ROOM, "auth": auth, "channel_data": data});
        client.send(json!({"event": "pusher:subscribe", "data": data}));
        client.refused(ROOM);
    }
    client.nothing();
}

#[test]
fn resubscribing_as_the_same_user_sends_no_member_events() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let mut bob = Client::connect(&server);
    bob.join(ROOM, "2");
    added(&mut ann, named("2"));
    let members = bob.join(ROOM, "2");
    assert_eq!(members["count"], 2);
    bob.nothing();
    ann.nothing();
    bob.unsubscribe(ROOM);
    bob.nothing();
    removed(&mut ann, "2");
}

#[test]
fn leaving_and_rejoining_at_once_is_reported_in_that_order() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let mut bob = Client::connect(&server);
    bob.join(ROOM, "2");
    added(&mut ann, named("2"));
    let data = r#"{"user_id":"2"}"#;
    let auth = channel_auth(&APP, &bob.socket_id, ROOM, data);
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}});
    let data = json!({"channel": ROOM, "auth": auth, "channel_data": data});
    let join = json!({"event": "pusher:subscribe", "data": data});
    let messages = [leave, join].map(|message| frame(0x81, message.to_string().as_bytes()));
    bob.raw(&messages.concat());
    assert_eq!(bob.joined(ROOM)["count"], 2);
    removed(&mut ann, "2");
    added(&mut ann, json!({"user_id": "2"}));
    ann.nothing();
}

#[test]
fn resubscribing_as_another_user_removes_the_first_user() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let mut bob = Client::connect(&server);
    bob.join(ROOM, "2");
    added(&mut ann, named("2"));
    assert_eq!(bob.join(ROOM, "3")["ids"], json!(["1", "3"]));
    removed(&mut ann, "2");
    added(&mut ann, named("3"));
    assert_eq!(bob.join(ROOM, "1")["ids"], json!(["1"]));
    removed(&mut ann, "3");
    drop(bob);
    ann.nothing();
}

#[test]
fn a_presence_channel_carries_events_and_the_senders_id_of_client_events() {
    let server = Server::start();
    let mut ann = Client::connect(&server);
    ann.join(ROOM, "1");
    let mut bob = Client::connect(&server);
    bob.join(ROOM, "2");
    added(&mut ann, named("2"));
    server.publish(ROOM, "ev", "{\"x\":1}");
    let event = json!({"event": "ev", "channel": ROOM, "data": "{\"x\":1}"});
    ann.expect(event.clone());
    bob.expect(event);
    ann.send(json!({"event": "client-typing", "channel": ROOM, "data": {"x": 1}}));
    bob.expect(
        json!({"event": "client-typing", "channel": ROOM, "data": {"x": 1}, "user_id": "1"}),
    );
    ann.nothing();
}

#[test]
fn a_full_channel_rejects_another_user() {
    let server = Setup::new().env("REVERB_LIMIT_PRESENCE_MEMBERS", 2).start();
    let mut first = Client::connect(&server);
    first.join(ROOM, "1");
    let mut second = Client::connect(&server);
    second.join(ROOM, "2");
    added(&mut first, named("2"));
    let mut third = Client::connect(&server);
    third.ask_to_join(ROOM, &named("3").to_string());
    assert_eq!(third.event()["event"], "pusher:error");
    let event = third.event();
    assert_eq!(
        (&event["event"], &event["channel"]),
        (&json!("pusher:subscription_error"), &json!(ROOM))
    );
    third.nothing();
    third.join(ROOM, "2");
    first.nothing();
}

#[test]
fn channel_data_over_the_limit_is_rejected() {
    let server = Setup::new().env("REVERB_LIMIT_PRESENCE_DATA_BYTES", 100).start();
    let mut client = Client::connect(&server);
    let data = |length: usize| {
        let bare = r#"{"user_id":"1","user_info":""}"#.len();
        format!(r#"{{"user_id":"1","user_info":"{}"}}"#, "x".repeat(length - bare))
    };
    client.ask_to_join(ROOM, &data(101));
    assert_eq!(client.event()["event"], "pusher:error");
    assert_eq!(client.event()["event"], "pusher:subscription_error");
    client.ask_to_join(ROOM, &data(100));
    client.joined(ROOM);
}

#[test]
fn only_members_receive_member_events() {
    let server = Server::start();
    let mut outside = Client::connect(&server);
    outside.subscribe("room");
    outside.join("presence-other", "1");
    let mut inside = Client::connect(&server);
    inside.join(ROOM, "1");
    drop(inside);
    let mut next = Client::connect(&server);
    assert_eq!(next.join(ROOM, "2")["count"], 1);
    outside.nothing();
}
