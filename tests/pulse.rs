//! The messages card of Laravel Pulse: the entries in a real Redis, as `pulse:work` reads them.
#![cfg(feature = "redis")]

use crate::redis::daemon::Redis;
use crate::redis::resp::{Reply, Session};
use crate::support::{APP, Client, Server, Setup, logged, until};

const STREAM: &str = "laravel-database-laravel:pulse:ingest";

fn fed(redis: &Redis, variables: &[(&str, &str)]) -> Server {
    let setup = Setup::new()
        .env("REVERB_SERVER_PULSE_SAMPLE_RATE", 1)
        .env("REVERB_PULSE_INGEST_INTERVAL", 1)
        .env("PULSE_INGEST_DRIVER", "redis")
        .env("REDIS_PORT", redis.port())
        .env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 500);
    variables.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start()
}

/// The entries of a stream, each as the value of its only field.
fn entries(redis: &Redis, stream: &str) -> Vec<String> {
    entries_by(&mut redis.session(), stream)
}

/// The same in the database of a session.
fn entries_by(session: &mut Session, stream: &str) -> Vec<String> {
    let Reply::List(entries) = session.call(&["XRANGE", stream, "-", "+"]) else { panic!() };
    let fields = entries.into_iter().map(|entry| match entry {
        Reply::List(parts) => match &parts[1] {
            Reply::List(fields) => {
                assert_eq!((fields.len(), fields[0].text()), (2, "data"));
                fields[1].text().to_owned()
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    });
    fields.collect()
}

/// The number of messages of one kind in the entries, counted as Pulse does.
fn counted(entries: &[String], kind: &str) -> usize {
    let of_kind =
        entries.iter().filter(|entry| entry.contains(&format!("reverb_message:{kind}\"")));
    of_kind.map(|entry| entry.matches("\"count\"").count() + entry.matches(";R:3;").count()).sum()
}

/// The time of an entry: the number after `i:`.
fn time(entry: &str) -> &str {
    let (_, behind) = entry.split_once("\"timestamp\";i:").unwrap();
    behind.split_once(';').unwrap().0
}

#[test]
fn an_entry_equals_that_of_laravel_reverb_byte_for_byte() {
    let redis = Redis::start();
    let server = fed(&redis, &[]);
    // Counting begins with the first read.
    let mut client = Client::connect(&server);
    until("an entry", || !entries(&redis, STREAM).is_empty());
    client.text(r#"{"event":"pusher:ping","data":{}}"#);
    client.event();
    until("an entry of either kind", || {
        let entries = entries(&redis, STREAM);
        counted(&entries, "sent") == 2 && counted(&entries, "received") == 1
    });
    for entry in entries(&redis, STREAM) {
        let kind =
            ["sent", "received"].into_iter().find(|kind| entry.contains(&format!(":{kind}\"")));
        let kind = format!("reverb_message:{}", kind.unwrap());
        let (kind_len, id, id_len) = (kind.len(), APP.id, APP.id.len());
        assert_eq!(
            entry,
            format!(
                "O:19:\"Laravel\\Pulse\\Entry\":6:{{s:15:\"\0*\0aggregations\";a:1:{{i:0;s:5:\"count\";}}\
                 s:14:\"\0*\0onlyBuckets\";b:1;s:9:\"timestamp\";i:{};s:4:\"type\";\
                 s:{kind_len}:\"{kind}\";s:3:\"key\";s:{id_len}:\"{id}\";s:5:\"value\";N;}}",
                time(&entry)
            )
        );
        let written: u64 = time(&entry).parse().unwrap();
        assert!(crate::support::now() - written < 60, "{written}");
    }
}

#[test]
fn no_message_is_lost_or_counted_twice_while_redis_is_down() {
    let redis = Redis::start();
    let server = fed(&redis, &[]);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    until("the welcomes", || counted(&entries(&redis, STREAM), "sent") == 20);
    redis.kill();
    for client in &mut clients {
        client.subscribe("c");
    }
    logged(
        &server,
        &["Connection refused", "the messages card of Pulse gets no data until Redis is back"],
    );
    server.publish("c", "e", "x");
    redis.restart();
    // 20 responses and 20 deliveries, in one or more entries.
    until("the rest", || counted(&entries(&redis, STREAM), "sent") == 40);
    until("what the clients sent", || counted(&entries(&redis, STREAM), "received") == 20);
    assert_eq!(server.stderr().matches("gets no data").count(), 1, "{}", server.stderr());
}

#[test]
fn the_sample_rate_and_the_stream_are_those_of_the_app() {
    let redis = Redis::start();
    // An app created with an older Laravel, whose stream exists already.
    let older = "my_shop_database_laravel:pulse:ingest";
    let mut session = redis.session();
    session.call(&["SELECT", "2"]);
    let id = session.call(&["XADD", older, "*", "data", "x"]);
    session.call(&["XDEL", older, id.text()]);
    let variables =
        [("APP_NAME", "My Shop"), ("REDIS_DB", "2"), ("REVERB_SERVER_PULSE_SAMPLE_RATE", "0.1")];
    let server = fed(&redis, &variables);
    let connect = |count| (0..count).map(|_| Client::connect(&server)).collect::<Vec<_>>();
    let mut sent = || counted(&entries_by(&mut session, older), "sent");
    let _clients = connect(45);
    until("a tenth of them", || sent() == 4);
    // The remainder of the first batch counts towards the next entry.
    let _clients = connect(5);
    until("a tenth of all", || sent() == 5);
    assert!(entries(&redis, STREAM).is_empty());
}

#[test]
fn nothing_is_written_to_redis_unless_pulse_is_enabled() {
    let redis = Redis::start();
    let server = Setup::new()
        .env("REVERB_PULSE_INGEST_INTERVAL", 1)
        .env("PULSE_INGEST_DRIVER", "redis")
        .env("REDIS_PORT", redis.port())
        .start();
    let fed = fed(&redis, &[("REDIS_PREFIX", "other:")]);
    let _clients = [Client::connect(&server), Client::connect(&fed)];
    until("the other server has written", || {
        !entries(&redis, "other:laravel:pulse:ingest").is_empty()
    });
    assert!(entries(&redis, STREAM).is_empty());
}

#[test]
fn apps_that_come_and_go_are_counted_by_their_ids() {
    let (redis, folder) = (Redis::start(), crate::apps_folder::Folder::new());
    let app = |id: &str| format!(r#"{{"app_id":"{id}","key":"{id}","secret":"s"}}"#);
    folder.put("first.json", app("first"));
    let server = fed(&redis, &[("REVERB_APPS_DIR", folder.path("").to_str().unwrap())]);
    let mut client = Client::connect(&server);
    until("an entry", || !entries(&redis, STREAM).is_empty());
    folder.remove("first.json");
    folder.put("second.json", app("second"));
    folder.put("third.json", app("third"));
    server.signal("HUP");
    logged(&server, &["apps_dir: 2 added, 0 changed, 1 removed; 3 in all"]);
    let mut third = Client::connect_to(&server, "/app/third");
    for _ in 0..3 {
        third.nothing();
    }
    client.nothing();
    let counted = |id: &str, kind: &str| {
        let of_app: Vec<String> = entries(&redis, STREAM)
            .into_iter()
            .filter(|entry| entry.contains(&format!(":\"{id}\"")))
            .collect();
        counted(&of_app, kind)
    };
    until("the entries of the app", || counted("third", "received") == 3);
    assert_eq!((counted("third", "sent"), counted("second", "received")), (4, 0));
    until("the entries of the other app", || counted(APP.id, "received") == 1);
    assert_eq!(counted("first", "received"), 0);
}
