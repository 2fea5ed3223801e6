//! Every form of an address of Redis, and the errors for invalid ones.

use super::*;
use crate::config::HostPort;
use crate::config::address::WRONG_PORT;

fn tcp(host: &str, port: u16) -> Transport {
    Transport::Tcp { host: host.into(), port }
}

fn by_url(url: &str) -> RedisTarget {
    let scaling = Scaling { url: Some(url.into()), ..Scaling::default() };
    RedisTarget::of(&scaling).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn by_host(host: &str, port: u16) -> Result<RedisTarget, Error> {
    RedisTarget::of(&Scaling { host: host.into(), port, ..Scaling::default() })
}

#[test]
fn a_url_may_contain_everything() {
    let target = by_url("redis://user:p%40ss@redis.example:6380/2");
    assert_eq!(target.transport, tcp("redis.example", 6380));
    assert_eq!(
        (target.username.as_deref(), target.password.as_deref()),
        (Some("user"), Some("p@ss"))
    );
    assert_eq!((target.database, target.tls), (2, None));
    for (url, transport, is_secure) in [
        ("redis://h", tcp("h", 6379), false),
        ("tcp://h:1", tcp("h", 1), false),
        ("rediss://h:6380", tcp("h", 6380), true),
        ("TLS://h/", tcp("h", 6379), true),
        ("redis://[::1]:7/1", tcp("::1", 7), false),
        ("rediss://[2001:db8::1]", tcp("2001:db8::1", 6379), true),
        ("redis://10.0.0.5", tcp("10.0.0.5", 6379), false),
        ("redis://my_redis.svc.cluster.local", tcp("my_redis.svc.cluster.local", 6379), false),
        ("unix:/run/r.sock", Transport::Unix("/run/r.sock".into()), false),
        ("unix:///run/r.sock", Transport::Unix("/run/r.sock".into()), false),
    ] {
        let target = by_url(url);
        assert_eq!((target.transport, target.tls.is_some()), (transport, is_secure), "{url}");
    }
}

#[test]
fn a_password_needs_no_user_and_may_contain_anything() {
    for (url, username, password) in [
        ("redis://:p@h", None, Some("p")),
        ("redis://u:a:b@h", Some("u"), Some("a:b")),
        ("redis://u:a@b@h", Some("u"), Some("a@b")),
        ("redis://u:100%25%2F%3F@h", Some("u"), Some("100%/?")),
        ("redis://u:a+b@h", Some("u"), Some("a+b")),
        ("redis://h?password=a%26b&username=u", Some("u"), Some("a&b")),
        ("unix://u:p@/r.sock", Some("u"), Some("p")),
        // A user alone cannot log in.
        ("redis://u@h", None, None),
    ] {
        let target = by_url(url);
        assert_eq!(
            (target.username.as_deref(), target.password.as_deref()),
            (username, password),
            "{url}"
        );
    }
}

#[test]
fn the_database_is_in_the_path_or_the_query() {
    for (url, database) in [
        ("redis://h/3", 3),
        ("redis://h?db=4", 4),
        ("redis://h/?database=5", 5),
        ("unix:///r.sock?db=6", 6),
        ("unix:/r.sock?database=7&timeout=3", 7),
        ("redis://h/", 0),
    ] {
        assert_eq!(by_url(url).database, database, "{url}");
    }
}

#[test]
fn what_a_url_leaves_out_is_as_the_single_values_say() {
    let scaling = Scaling {
        url: Some("rediss://h".into()),
        host: "other".into(),
        port: 7,
        username: Some("u".into()),
        password: Some("p".into()),
        database: 3,
        ..Scaling::default()
    };
    let target = RedisTarget::of(&scaling).unwrap();
    assert_eq!(target.transport, tcp("h", 7));
    assert_eq!((target.username.as_deref(), target.password.as_deref()), (Some("u"), Some("p")));
    assert_eq!(target.database, 3);
    let scaling = Scaling { url: Some("redis://v:q@h:8/4".into()), ..scaling };
    let target = RedisTarget::of(&scaling).unwrap();
    assert_eq!(target.transport, tcp("h", 8));
    assert_eq!((target.username.as_deref(), target.password.as_deref()), (Some("v"), Some("q")));
    assert_eq!((target.database, target.tls), (4, None));
}

#[test]
fn a_host_may_be_a_name_an_address_a_file_or_a_url() {
    for (host, port, transport, is_secure) in [
        ("h", 1, tcp("h", 1), false),
        // Laravel takes port 0 for the usual one.
        ("h", 0, tcp("h", 6379), false),
        ("::1", 1, tcp("::1", 1), false),
        ("[::1]", 1, tcp("::1", 1), false),
        ("tls://h", 6380, tcp("h", 6380), true),
        ("tls://h:5", 6380, tcp("h", 5), true),
        ("tcp://h", 1, tcp("h", 1), false),
        ("/run/r.sock", 0, Transport::Unix("/run/r.sock".into()), false),
        ("/run/r.sock", 6379, Transport::Unix("/run/r.sock".into()), false),
        ("unix:/run/r.sock", 0, Transport::Unix("/run/r.sock".into()), false),
        ("unix:///run/r.sock", 0, Transport::Unix("/run/r.sock".into()), false),
    ] {
        let target = by_host(host, port).unwrap();
        assert_eq!((target.transport, target.tls.is_some()), (transport, is_secure), "{host}");
    }
}

#[test]
fn the_scheme_may_stand_alone() {
    let of = |scheme: &str, host: &str| {
        let scaling =
            Scaling { scheme: Some(scheme.into()), host: host.into(), ..Scaling::default() };
        RedisTarget::of(&scaling).map(|target| target.tls.is_some())
    };
    assert_eq!(of("tls", "h"), Ok(true));
    assert_eq!(of("tcp", "h"), Ok(false));
    assert_eq!(of("unix", "/r.sock"), Ok(false));
    // The scheme of the host takes precedence.
    assert_eq!(of("tcp", "tls://h"), Ok(true));
    let message = of("tls", "/r.sock").unwrap_err().to_string();
    let place = "configuration: servers.reverb.scaling.server.";
    assert_eq!(message, format!("{place}host: is a Unix socket, which does not support TLS"));
    let message = of("http", "h").unwrap_err().to_string();
    assert_eq!(message, format!("{place}scheme: must be one of tcp, redis, tls, rediss, unix"));
}

#[test]
fn the_expected_name_is_the_host_unless_set() {
    assert_eq!(by_url("tls://h").tls.unwrap().peer_name.as_deref(), Some("h"));
    let tls = RedisTls { peer_name: Some("n".into()), ..RedisTls::default() };
    let scaling = Scaling { url: Some("tls://h".into()), tls, ..Scaling::default() };
    let tls = RedisTarget::of(&scaling).unwrap().tls.unwrap();
    assert_eq!(tls.peer_name.as_deref(), Some("n"));
}

#[test]
fn invalid_values_are_rejected_and_never_quoted() {
    for (text, reason) in [
        ("hemlig", NO_SCHEME),
        ("hemlig:6379", NO_SCHEME),
        ("http://hemlig", NO_SCHEME),
        ("redis://", NO_HOST),
        ("redis:///2", NO_HOST),
        ("redis://:hemlig@", NO_HOST),
        ("redis://u:hem/lig@h", WRONG_PORT),
        ("redis://u:hem?lig@h", WRONG_PORT),
        ("redis://u:hem#lig", WRONG_PORT),
        ("redis://hem#lig", WRONG_HOST),
        ("redis://h:0", WRONG_PORT),
        ("redis://h:65536", WRONG_PORT),
        ("redis://h:hemlig", WRONG_PORT),
        ("redis://[::1", WRONG_HOST),
        ("redis://1:2:3", WRONG_HOST),
        ("redis://h/hemlig", "has a database that is not between 0 and 2147483647"),
        ("redis://h/-1", "has a database that is not between 0 and 2147483647"),
        ("unix:", "must have the path of a Unix socket: unix:/run/redis.sock"),
        ("unix:r.sock", "must have the path of a Unix socket: unix:/run/redis.sock"),
        ("unix://host/r.sock", "must have the path of a Unix socket: unix:/run/redis.sock"),
    ] {
        let message = url(text).unwrap_err();
        assert_eq!(message.split(ESCAPED).next(), Some(reason), "{text}");
        let scaling = Scaling { url: Some(text.into()), ..Scaling::default() };
        let message = RedisTarget::of(&scaling).unwrap_err().to_string();
        assert!(!message.contains("hem"), "{message}");
    }
    for text in ["h:6379", "a b", "", "u@h", "[::1]:5", "h/1"] {
        assert_eq!(host(text), Err(WRONG_HOST.to_owned()), "{text}");
    }
}

#[test]
fn the_log_shows_the_address_but_not_the_password() {
    let target = by_url("rediss://u:hemlig@h:1/2");
    assert_eq!(target.to_string(), "h:1");
    assert_eq!(by_url("redis://[::1]").to_string(), "[::1]:6379");
    assert_eq!(by_url("unix:/r.sock").to_string(), "/r.sock");
    assert!(!format!("{target:?}").contains("hemlig"));
}

fn with_sentinels() -> Scaling {
    let sentinel = |port| HostPort { host: "s".into(), port };
    Scaling { sentinels: vec![sentinel(1), sentinel(2)], ..Scaling::default() }
}

#[test]
fn sentinels_replace_the_host_but_not_the_login() {
    let scaling = Scaling {
        url: Some("rediss://u:p@h:7/3".into()),
        sentinel_service: "cache".into(),
        sentinel_username: Some("v".into()),
        sentinel_password: Some("hemlig".into()),
        ..with_sentinels()
    };
    let target = RedisTarget::of(&scaling).unwrap();
    assert_eq!((target.username.as_deref(), target.password.as_deref()), (Some("u"), Some("p")));
    assert_eq!((target.database, target.is_cluster), (3, false));
    assert_eq!(target.tls.as_ref().unwrap().peer_name, None);
    assert_eq!(target.to_string(), "cache (Sentinel s:1, s:2)");
    assert!(!format!("{target:?}").contains("hemlig"));
    let Transport::Sentinel(sentinels) = target.transport else { panic!("{target:?}") };
    assert_eq!(sentinels.username.as_deref(), Some("v"));
    assert_eq!(sentinels.password.as_deref(), Some("hemlig"));
    let scaling = Scaling { sentinel_password: None, ..scaling };
    let Transport::Sentinel(sentinels) = RedisTarget::of(&scaling).unwrap().transport else {
        panic!()
    };
    assert_eq!((sentinels.username, sentinels.password), (None, None));
}

#[test]
fn a_cluster_has_one_database() {
    let scaling = Scaling { url: Some("tls://h".into()), cluster: true, ..Scaling::default() };
    let target = RedisTarget::of(&scaling).unwrap();
    assert!(target.is_cluster);
    assert_eq!((target.transport, target.tls.unwrap().peer_name), (tcp("h", 6379), None));
}

#[test]
fn settings_that_contradict_each_other_are_rejected() {
    let cluster = || Scaling { cluster: true, ..Scaling::default() };
    let socket = || "/r.sock".to_owned();
    for (scaling, key, parts) in [
        (Scaling { host: socket(), ..with_sentinels() }, "server.host", "REVERB_SCALING_SENTINELS"),
        (Scaling { host: socket(), ..cluster() }, "server.host", "REVERB_SCALING_CLUSTER"),
        (Scaling { cluster: true, ..with_sentinels() }, "cluster", "REVERB_SCALING_SENTINELS"),
        (Scaling { database: 1, ..cluster() }, "server.database", "REDIS_DB"),
        (Scaling { url: Some("redis://h/1".into()), ..cluster() }, "server.database", "REDIS_DB"),
        (Scaling { channel: "a}b".into(), ..cluster() }, "channel", "REVERB_SCALING_CHANNEL"),
    ] {
        let message = RedisTarget::of(&scaling).unwrap_err().to_string();
        let place = format!("configuration: servers.reverb.scaling.{key}: ");
        assert!(message.starts_with(&place) && message.contains(parts), "{message}");
    }
}

#[test]
fn the_inbox_of_a_node_has_the_hash_tag_of_the_channel() {
    for (channel, prefix) in [
        ("reverb", Some("{reverb}")),
        ("{reverb}", Some("{reverb}")),
        ("a{b}c{d}", Some("a{b}c{d}")),
        ("a{b", Some("{a{b}")),
        ("", None),
        ("a}b", None),
        ("a{}b", None),
        ("}a{b", None),
    ] {
        assert_eq!(inbox_prefix(channel).as_deref(), prefix, "{channel}");
    }
}
