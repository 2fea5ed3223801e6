//! What Redis sends, in any pieces, and the replies of sentinels and of a Redis Cluster.

use super::*;

const STREAM: &[u8] = b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n+OK\r\n\
    >3\r\n$9\r\nsubscribe\r\n$6\r\nreverb\r\n:1\r\n\
    >3\r\n$7\r\nmessage\r\n$6\r\nreverb\r\n$5\r\nhe\r\nl\r\n:2\r\n\
    -NOPERM no permission\r\n>2\r\n+invalidate\r\n_\r\n";

fn all(pieces: &[&[u8]]) -> Vec<Incoming> {
    let (mut reader, mut messages) = (Reader::new(1_000), Vec::new());
    for piece in pieces {
        let mut bytes = *piece;
        while let Some(message) = reader.next(&mut bytes).unwrap() {
            messages.push(message);
        }
        assert!(bytes.is_empty());
    }
    messages
}

#[test]
fn messages_are_the_same_in_any_pieces() {
    let whole = all(&[STREAM]);
    assert_eq!(
        whole,
        [
            Incoming::Reply,
            Incoming::Reply,
            Incoming::Subscribed,
            Incoming::Message(b"he\r\nl".to_vec()),
            Incoming::Number(2),
            Incoming::Error("NOPERM no permission".into()),
            Incoming::Other,
        ]
    );
    for at in 1..STREAM.len() {
        assert_eq!(all(&[&STREAM[..at], &STREAM[at..]]), whole, "{at}");
    }
    assert_eq!(all(&STREAM.chunks(1).collect::<Vec<_>>()), whole);
}

#[test]
fn a_server_names_its_role() {
    for (role, mode, is_replica, is_cluster, is_sentinel) in [
        ("master", "standalone", false, false, false),
        ("replica", "standalone", true, false, false),
        ("slave", "standalone", true, false, false),
        ("replica", "cluster", true, true, false),
        ("", "sentinel", false, false, true),
    ] {
        let hello = format!(
            "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n+{mode}\r\n\
             $4\r\nrole\r\n${}\r\n{role}\r\n",
            role.len()
        );
        let greeting = Greeting { is_replica, is_cluster, is_sentinel };
        assert_eq!(all(&[hello.as_bytes()]), [Incoming::Greeting(greeting)]);
    }
}

#[test]
fn sharded_messages_and_moves_of_a_slot_are_received() {
    let stream = b">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n\
        >3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n\
        >3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n";
    let message = Incoming::ShardMessage(b"hi".to_vec());
    assert_eq!(all(&[stream]), [Incoming::Subscribed, message, Incoming::ShardMoved]);
}

#[test]
fn other_protocols_are_an_error() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x16\x03\x01", b"*x\r\n"] {
        assert_eq!(Reader::new(1_000).next(&mut &garbage[..]), Err(ProtocolError::Malformed));
    }
    let mut reader = Reader::new(1_000);
    for bytes in [&b"*x\r\n"[..], b"+OK\r\n"] {
        assert_eq!(reader.next(&mut &bytes[..]), Err(ProtocolError::Malformed));
    }
}

#[test]
fn a_reply_over_the_limit_is_an_error_before_it_is_stored() {
    let mut reader = Reader::new(1_000);
    assert_eq!(reader.next(&mut &b"$99999999\r\n"[..]), Err(ProtocolError::TooLong(1_000)));
    let mut reader = Reader::new(1_000);
    assert_eq!(reader.next(&mut &[b"+", &[b'x'; 900][..]].concat()[..]), Ok(None));
    assert_eq!(reader.next(&mut &[b'x'; 900][..]), Err(ProtocolError::TooLong(1_000)));
}

#[test]
fn a_message_over_the_limit_is_skipped_and_the_next_is_read() {
    let text = [&b"head\r\n"[..], &[b'x'; 2_000]].concat();
    let push = |text: &[u8]| {
        let len = text.len();
        let begin = format!(">3\r\n$7\r\nmessage\r\n$6\r\nreverb\r\n${len}\r\n");
        [begin.as_bytes(), text, b"\r\n"].concat()
    };
    let stream = [&push(b"one")[..], b":1\r\n", &push(&text), b":2\r\n", &push(b"two")].concat();
    let bytes = push(&text).len() as u64;
    let expected = [
        Incoming::Message(b"one".to_vec()),
        Incoming::Number(1),
        Incoming::TooLong { bytes, head: text[..128].to_vec() },
        Incoming::Number(2),
        Incoming::Message(b"two".to_vec()),
    ];
    for len in [1, 2, 7, 100, 1_999, stream.len()] {
        assert_eq!(all(&stream.chunks(len).collect::<Vec<_>>()), expected, "{len}");
    }
    // A message of many small values is skipped as well.
    let many = format!(">1000\r\n{}:7\r\n", "_\r\n".repeat(1_000));
    let messages = all(&[many.as_bytes()]);
    assert_eq!(
        messages,
        [Incoming::TooLong { bytes: 3_007, head: Vec::new() }, Incoming::Number(7)]
    );
}

#[test]
fn a_reply_is_a_text_null_or_an_error() {
    let mut bytes = &b"$3\r\nabc\r\n$-1\r\n_\r\n+stream\r\n-NOAUTH Log in.\r\n"[..];
    let mut reader = Reader::new(1_000);
    let mut next = || reader.answer(&mut bytes).unwrap().unwrap();
    assert_eq!(next(), Ok(Some(b"abc".to_vec())));
    assert_eq!([next(), next()], [Ok(None), Ok(None)]);
    assert_eq!(next(), Ok(Some(b"stream".to_vec())));
    assert_eq!(next(), Err("NOAUTH Log in.".into()));
}

#[test]
fn a_command_is_an_array_of_words() {
    assert_eq!(command(&[b"SELECT", b"2"]), b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n");
}

#[test]
fn a_sentinel_names_the_master() {
    let master = |bytes: &[u8]| Reader::new(1_000).master(&mut &bytes[..]).unwrap().unwrap();
    let address = HostPort { host: "10.0.0.5".into(), port: 6380 };
    assert_eq!(master(b"*2\r\n$8\r\n10.0.0.5\r\n$4\r\n6380\r\n"), Ok(Some(address)));
    let address = HostPort { host: "::1".into(), port: 1 };
    assert_eq!(master(b"*2\r\n$3\r\n::1\r\n$1\r\n1\r\n"), Ok(Some(address)));
    assert_eq!(master(b"*-1\r\n"), Ok(None));
    assert_eq!(master(b"-NOAUTH Log in.\r\n"), Err("NOAUTH Log in.".into()));
    for other in [
        &b"*1\r\n$1\r\na\r\n"[..],
        b"*2\r\n$1\r\na\r\n$1\r\n0\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nx\r\n",
        b"*2\r\n$0\r\n\r\n$1\r\n1\r\n",
        b"*2\r\n:1\r\n:1\r\n",
        b"+OK\r\n",
    ] {
        assert!(master(other).is_err(), "{other:?}");
    }
}

#[test]
fn a_sentinel_reports_its_settings() {
    let field =
        |bytes: &[u8], name| Reader::new(1_000).field(&mut &bytes[..], name).unwrap().unwrap();
    let bytes = b"*4\r\n$4\r\nname\r\n$1\r\nm\r\n$5\r\nother\r\n$2\r\n30\r\n";
    assert_eq!(field(bytes, "other"), Ok(Some("30".into())));
    assert_eq!(field(bytes, "m"), Ok(None));
    assert_eq!(field(b"%1\r\n+a\r\n+b\r\n", "a"), Ok(Some("b".into())));
    assert_eq!(field(b"-ERR No such master\r\n", "a"), Err("ERR No such master".into()));
}

#[test]
fn a_cluster_lists_its_slots() {
    let next = |bytes: &[u8]| Reader::new(1_000).next(&mut &bytes[..]).unwrap().unwrap();
    let node = |host: &str, port| {
        let host = Some(host.to_owned()).filter(|host| !host.is_empty());
        ClusterNode { host, port }
    };
    let bytes = b"*2\r\n*4\r\n:0\r\n:5460\r\n*3\r\n$1\r\na\r\n:1\r\n$2\r\nid\r\n\
        *4\r\n$0\r\n\r\n:2\r\n$2\r\nid\r\n%0\r\n*3\r\n:5461\r\n:16383\r\n*2\r\n$1\r\n?\r\n:3\r\n";
    let replicas = vec![node("", 2)];
    let (first, second) = (Some(node("a", 1)), None);
    assert_eq!(
        next(bytes),
        Incoming::Slots(vec![
            SlotRange { first: 0, last: 5460, master: first, replicas },
            SlotRange { first: 5461, last: 16383, master: second, replicas: Vec::new() },
        ])
    );
    for other in [&b"*0\r\n"[..], b"*1\r\n:1\r\n", b"*1\r\n*2\r\n:1\r\n:2\r\n"] {
        assert_eq!(next(other), Incoming::Reply, "{other:?}");
    }
}
