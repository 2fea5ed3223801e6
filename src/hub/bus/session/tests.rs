//! Replies of Redis: rejected and accepted commands.

use super::*;
use crate::config::Config;

#[test]
fn rejected_commands_are_logged_once_an_episode_and_so_is_the_recovery() {
    let config = Config::default();
    let target = RedisTarget::of(&config.server.scaling).unwrap();
    let mut session = RedisSession::new(&target, "reverb", &config.limits);
    session.state = State::Up;
    let mut is_rejected = |reply: &[u8], now_ms| {
        session.publish(b"text\r\n".as_slice().into(), now_ms);
        assert!(matches!(
            session.next_event(BusLink::Publisher, &mut &reply[..], now_ms),
            Ok(Some(_))
        ));
        session.is_rejected
    };
    let (refusal, other) = (b"-NOPERM no\r\n", b"-LOADING not yet\r\n");
    assert!(is_rejected(refusal, 0));
    assert!(!is_rejected(b":1\r\n", 1));
    assert!(!is_rejected(refusal, 2), "within the episode");
    assert!(!is_rejected(other, 59_000), "and for another reason");
    assert!(is_rejected(refusal, 119_000), "a minute after the last");
    assert!(is_rejected(refusal, 119_001));
    assert!(!is_rejected(b":1\r\n", 119_002));
}

/// A session with a Redis Cluster, and what a server of it sends.
struct Clustered {
    session: RedisSession,
    random: Random,
}

const HELLO_MASTER: &[u8] = b"%2\r\n+mode\r\n+cluster\r\n+role\r\n+master\r\n";
const HELLO_REPLICA: &[u8] = b"%2\r\n+mode\r\n+cluster\r\n+role\r\n+replica\r\n";
/// The master of all slots is `a:1`, the replica is on the host of the server that answers.
const SLOTS: &[u8] = b"*1\r\n*4\r\n:0\r\n:16383\r\n*2\r\n+a\r\n:1\r\n*2\r\n+\r\n:2\r\n";
const SUBSCRIBED: &[u8] = b">3\r\n+ssubscribe\r\n+c\r\n:1\r\n";
const UNKNOWN: &[u8] = b"-ERR unknown command 'SSUBSCRIBE'\r\n";

impl Clustered {
    fn new() -> Self {
        let mut config = Config::default();
        (config.server.scaling.cluster, config.server.scaling.host) = (true, "seed".into());
        let target = RedisTarget::of(&config.server.scaling).unwrap();
        let session = RedisSession::new(&target, "reverb", &config.limits);
        Clustered { session, random: Random::new([1; 32]) }
    }

    /// Connects at this time, and returns the server.
    fn connect(&mut self, now_ms: u64) -> String {
        while self.session.wants(&mut self.random, now_ms) == BusWant::Drop {}
        let server = self.session.next_server().unwrap().to_string();
        self.session.connected(NodeId(7), now_ms);
        server
    }

    fn receive(&mut self, link: BusLink, parts: &[&[u8]], now_ms: u64) -> Result<(), String> {
        let bytes = parts.concat();
        let mut bytes = bytes.as_slice();
        while let Some(_event) = self.session.next_event(link, &mut bytes, now_ms)? {}
        assert!(bytes.is_empty());
        Ok(())
    }

    /// What was written to a connection since the last call.
    fn written(&mut self, link: BusLink) -> String {
        let outbox = self.session.outbox(link);
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        outbox.consume(bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    /// Logs in to a server that owns the channel.
    fn log_in(&mut self, now_ms: u64) {
        let replies = [HELLO_MASTER, SLOTS, SUBSCRIBED, SUBSCRIBED, SUBSCRIBED];
        self.receive(BusLink::Subscriber, &replies, now_ms).unwrap();
        self.receive(BusLink::Publisher, &[HELLO_MASTER], now_ms).unwrap();
        assert!(self.session.is_up() && self.session.is_sharded());
    }
}

#[test]
fn a_session_follows_the_channel_to_its_owner() {
    let mut redis = Clustered::new();
    assert_eq!(redis.connect(0), "seed:6379");
    let moved = b"-MOVED 1 b:3\r\n";
    // What follows on the same connection does not matter any more.
    let replies = [HELLO_MASTER, SLOTS, moved, moved, SUBSCRIBED];
    redis.receive(BusLink::Subscriber, &replies, 0).unwrap();
    redis.receive(BusLink::Publisher, &[HELLO_MASTER], 0).unwrap();
    assert_eq!(redis.session.wants(&mut redis.random, 0), BusWant::Drop);
    assert_eq!(redis.connect(1), "b:3", "at once, without a pause");
    redis.log_in(1);
    let written = redis.written(BusLink::Subscriber);
    assert!(written.contains("SSUBSCRIBE\r\n$6\r\nreverb\r\n"), "{written}");
    let inbox = "SSUBSCRIBE\r\n$25\r\n{reverb}:0000000000000007\r\n";
    assert!(written.contains(inbox), "{written}");
    assert!(written.contains("$9\r\nSUBSCRIBE\r\n$6\r\nreverb\r\n"), "{written}");

    // The slot moves: the server that has lost it knows the new owner.
    redis.receive(BusLink::Subscriber, &[b">3\r\n+sunsubscribe\r\n+reverb\r\n:0\r\n"], 5).unwrap();
    assert_eq!(redis.connect(6), "b:3");
    redis.receive(BusLink::Subscriber, &[HELLO_MASTER, SLOTS, b"-MOVED 1 :4\r\n"], 6).unwrap();
    assert_eq!(redis.connect(7), "b:4", "an empty host is the same host");
    redis.log_in(7);
    // A publish may be the first to notice.
    redis.session.publish(b"text\r\n".as_slice().into(), 8);
    redis.receive(BusLink::Publisher, &[b"-MOVED 1 2001:db8::1:5\r\n"], 8).unwrap();
    assert_eq!(redis.connect(9), "[2001:db8::1]:5");
}

#[test]
fn a_session_leaves_a_replica_for_its_master() {
    let mut redis = Clustered::new();
    redis.connect(0);
    redis.receive(BusLink::Subscriber, &[HELLO_REPLICA, SLOTS, SUBSCRIBED], 0).unwrap();
    assert_eq!(redis.connect(1), "a:1");
    redis.log_in(1);
    // The master becomes a replica, which it says when it is asked.
    redis.session.ask_role(2_000);
    assert!(redis.written(BusLink::Publisher).contains("HELLO\r\n$1\r\n3\r\n"));
    redis.receive(BusLink::Publisher, &[HELLO_REPLICA], 2_000).unwrap();
    assert!(redis.written(BusLink::Publisher).contains("CLUSTER\r\n$5\r\nSLOTS\r\n"));
    let slots = b"*1\r\n*4\r\n:0\r\n:16383\r\n*2\r\n+b\r\n:3\r\n*2\r\n+a\r\n:1\r\n";
    redis.receive(BusLink::Publisher, &[slots], 2_000).unwrap();
    assert_eq!(redis.connect(2_001), "b:3");
}

#[test]
fn without_an_owner_each_known_server_is_asked() {
    let mut redis = Clustered::new();
    redis.connect(0);
    redis.log_in(0);
    let mut now_ms = 0;
    let mut next = |redis: &mut Clustered| {
        redis.session.abort("it has closed the connection", &mut redis.random, now_ms);
        now_ms += 10_000;
        redis.connect(now_ms)
    };
    let servers = [0; 4].map(|_| next(&mut redis));
    assert_eq!(servers, ["a:1", "seed:2", "seed:6379", "a:1"]);
    // If the owner does not answer, another server is asked.
    let replies = [HELLO_MASTER, SLOTS, b"-MOVED 1 b:3\r\n"];
    redis.receive(BusLink::Subscriber, &replies, 40_000).unwrap();
    assert_eq!(redis.connect(40_001), "b:3");
    redis.session.abort("no answer", &mut redis.random, 40_001);
    assert_eq!(redis.connect(50_000), "a:2");
}

#[test]
fn servers_that_name_each_other_do_not_keep_a_session_busy() {
    let mut redis = Clustered::new();
    for n in 0..5 {
        redis.connect(n);
        let moved = b"-MOVED 1 a:1\r\n";
        redis.receive(BusLink::Subscriber, &[HELLO_MASTER, SLOTS, moved], n).unwrap();
    }
    redis.connect(5);
    let replies = [HELLO_MASTER, SLOTS, b"-MOVED 1 a:1\r\n"];
    let why = redis.receive(BusLink::Subscriber, &replies, 5).unwrap_err();
    assert!(why.contains("5 servers of the Redis Cluster in a row"), "{why}");
}

#[test]
fn a_server_before_version_7_gets_plain_messages() {
    let mut redis = Clustered::new();
    redis.connect(0);
    let replies = [HELLO_MASTER, SLOTS, UNKNOWN, UNKNOWN, SUBSCRIBED, SUBSCRIBED];
    redis.receive(BusLink::Subscriber, &replies, 0).unwrap();
    redis.receive(BusLink::Publisher, &[HELLO_MASTER], 0).unwrap();
    assert!(redis.session.is_up() && !redis.session.is_sharded() && redis.session.has_inbox());
    let written = redis.written(BusLink::Subscriber);
    assert!(written.contains("$9\r\nSUBSCRIBE\r\n$23\r\nreverb:0000000000000007\r\n"), "{written}");
    redis.session.publish(b"text\r\n".as_slice().into(), 1);
    assert!(redis.written(BusLink::Publisher).contains("$7\r\nPUBLISH\r\n$6\r\nreverb\r\n"));
}

#[test]
fn everything_is_published_twice_while_a_node_knows_plain_messages_only() {
    let mut redis = Clustered::new();
    redis.connect(0);
    redis.log_in(0);
    let mut published = |announces: bool, has_plain_nodes: bool| {
        redis.written(BusLink::Publisher);
        redis.session.set_has_plain_nodes(has_plain_nodes);
        match announces {
            true => redis.session.announce(b"text\r\n".as_slice().into(), 1),
            false => redis.session.publish(b"text\r\n".as_slice().into(), 1),
        }
        let written = redis.written(BusLink::Publisher);
        let count = |name: &str| written.matches(name).count();
        [count("$8\r\nSPUBLISH\r\n"), count("$7\r\nPUBLISH\r\n")]
    };
    assert_eq!(published(false, false), [1, 0]);
    assert_eq!(published(false, true), [1, 1]);
    assert_eq!(published(true, false), [1, 1]);
}

#[test]
fn only_a_sharded_copy_proves_that_messages_are_delivered() {
    let mut redis = Clustered::new();
    redis.connect(0);
    redis.log_in(0);
    redis.session.expect_echo(0);
    redis.receive(BusLink::Subscriber, &[b">3\r\n+message\r\n+c\r\n$1\r\nm\r\n"], 1).unwrap();
    redis.session.echoed();
    assert!(!redis.session.delivers());
    redis.receive(BusLink::Subscriber, &[b">3\r\n+smessage\r\n+c\r\n$1\r\nm\r\n"], 1).unwrap();
    redis.session.echoed();
    assert!(redis.session.delivers());
}
