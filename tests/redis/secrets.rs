//! Messages between nodes contain no secret.

use serde_json::json;

use super::cluster::{BUS, Cluster};
use super::presence::{added, member};
use super::resp::{Reply, Session};
use crate::signin::{sign_in, watched};
use crate::support::{APP, Client, Setup};

use super::daemon::Redis;

#[test]
fn no_secret_key_or_password_is_published_on_the_channel() {
    const PASSWORD: &str = "password-of-redis";
    let redis = Redis::with_password(PASSWORD);
    let mut recorder = redis.session();
    recorder.call(&["SUBSCRIBE", BUS]);
    let setup = || {
        let setup = Setup::new().env("REDIS_PASSWORD", PASSWORD);
        setup.env("REVERB_LIMIT_DRAIN_LINGER_MS", 0).env("REVERB_LIMIT_DRAIN_WINDOW_MS", 0)
    };
    let mut cluster = Cluster::on(redis, 2, setup);
    let mut ann = member(&cluster, 0, "ann");
    let _bob = member(&cluster, 1, "bob");
    added(&mut ann, "bob");
    let mut client = Client::connect(cluster.node(0));
    sign_in(&mut client, r#"{"id":"42","watchlist":["1"]}"#);
    watched(&mut client);
    client.subscribe_private("private-a");
    client.send(json!({"event": "client-e", "channel": "private-a", "data": {}}));
    cluster.node(1).publish("cache-a", "e", "1");
    cluster.node(1).publish("private-a", "e", "1");
    let path = "/apps/app-id/users/42/terminate_connections";
    cluster.node(1).post(path, json!({})).is(200, json!({}));
    // A late node receives the full state, and a stopping node sends its goodbye.
    let late = cluster.join();
    cluster.users("presence-room", &["ann", "bob"]);
    let mut stopping = cluster.take(late);
    stopping.signal("TERM");
    stopping.wait();
    cluster.node(0).publish("last", "the last of all", "{}");
    let messages = everything(&mut recorder, "the last of all");
    assert!(
        messages.contains("private-a") && messages.contains("bob"),
        "the recorder missed messages: {messages}"
    );
    for secret in [APP.secret, APP.key, PASSWORD] {
        assert!(!messages.contains(secret), "{secret} is in {messages}");
    }
}

/// All messages on the channel, up to the one with this text.
#[track_caller]
fn everything(recorder: &mut Session, last: &str) -> String {
    let mut all = String::new();
    while !all.contains(last) {
        match recorder.reply() {
            Reply::List(parts) => all += parts[2].text(),
            other => panic!("{other:?}"),
        }
        all += "\n";
    }
    all
}
