//! WebSocket frames: every violation of RFC 6455 by a client, and everything that it allows.

use crate::support::{Client, Got, Server, Setup, frame};
use serde_json::json;

const PING: &[u8] = br#"{"event":"pusher:ping"}"#;

/// Sends these bytes on a new connection, which the server must close with this code.
#[track_caller]
fn closes(server: &Server, bytes: &[u8], code: u16) {
    let mut client = Client::connect(server);
    client.raw(bytes);
    client.closed(code);
}

#[track_caller]
fn pong(client: &mut Client) {
    client.expect(json!({"event": "pusher:pong"}));
}

#[test]
fn a_message_may_be_sent_in_fragments() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.frame(0x01, b"{\"eve");
    client.frame(0x00, b"nt\":");
    client.frame(0x80, b"\"pusher:ping\"}");
    pong(&mut client);
    client.frame(0x01, b"");
    client.frame(0x00, b"");
    client.frame(0x80, PING);
    pong(&mut client);
    for byte in PING {
        let first = if *byte == PING[0] { 0x01 } else { 0x00 };
        client.frame(first, &[*byte]);
    }
    client.frame(0x80, b"");
    pong(&mut client);
    client.nothing();
}

#[test]
fn control_frames_may_be_sent_between_fragments() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.frame(0x01, b"{\"eve");
    client.frame(0x89, b"mid");
    assert_eq!(client.receive(), Got::Pong(b"mid".to_vec()));
    client.frame(0x8A, b"unasked");
    client.frame(0x80, b"nt\":\"pusher:ping\"}");
    pong(&mut client);
    client.frame(0x01, b"{\"eve");
    client.frame(0x88, &1000u16.to_be_bytes());
    client.closed(1000);
}

#[test]
fn fragments_out_of_order_are_a_protocol_error() {
    let server = Server::start();
    closes(&server, &frame(0x80, PING), 1002);
    closes(&server, &frame(0x00, b"{"), 1002);
    closes(&server, &[frame(0x01, b"{\"eve"), frame(0x81, PING)].concat(), 1002);
    closes(&server, &[frame(0x01, b"{\"eve"), frame(0x82, PING)].concat(), 1002);
}

#[test]
fn a_message_of_too_many_fragments_is_rejected() {
    let server = Setup::new().env("REVERB_LIMIT_MESSAGE_FRAGMENTS", 3).start();
    let mut client = Client::connect(&server);
    client.frame(0x01, b"{\"eve");
    client.frame(0x00, b"nt\":");
    client.frame(0x80, b"\"pusher:ping\"}");
    pong(&mut client);
    client.frame(0x01, b"");
    client.frame(0x00, b"");
    client.frame(0x00, b"");
    client.frame(0x00, b"");
    match client.receive() {
        Got::Close(Some(1008 | 1009), _) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ping_is_answered_with_its_payload_and_a_pong_not_at_all() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for payload in [&b""[..], b"hello", &[0xFF; 125]] {
        client.frame(0x89, payload);
        assert_eq!(client.receive(), Got::Pong(payload.to_vec()));
    }
    client.frame(0x8A, b"");
    client.frame(0x8A, b"x");
    client.nothing();
}

#[test]
fn a_long_or_fragmented_control_frame_is_a_protocol_error() {
    let server = Server::start();
    for opcode in [0x8, 0x9, 0xA] {
        closes(&server, &frame(0x80 | opcode, &[b'x'; 126]), 1002);
        closes(&server, &frame(opcode, &1000u16.to_be_bytes()), 1002);
    }
}

#[test]
fn reserved_bits_and_opcodes_are_a_protocol_error() {
    let server = Server::start();
    for first in [0xC1, 0xA1, 0x91, 0xC9, 0xF1] {
        closes(&server, &frame(first, PING), 1002);
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        closes(&server, &frame(0x80 | opcode, b""), 1002);
    }
}

#[test]
fn an_unmasked_frame_is_a_protocol_error() {
    let server = Server::start();
    closes(&server, b"\x81\x17{\"event\":\"pusher:ping\"}", 1002);
    closes(&server, b"\x89\x01x", 1002);
    closes(&server, b"\x88\x02\x03\xE8", 1002);
    closes(&server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002);
}

#[test]
fn binary_frames_are_not_supported() {
    let server = Server::start();
    closes(&server, &frame(0x82, PING), 1003);
    closes(&server, &frame(0x82, b""), 1003);
    closes(&server, &frame(0x02, b"{"), 1003);
}

#[test]
fn text_that_is_not_utf_8_is_rejected() {
    let server = Server::start();
    for bad in [
        &b"\xFF\xFE\xFD"[..],
        b"{\"event\":\"\xC3\x28\"}",
        b"\"\xED\xA0\x80\"",
        b"\"\xC0\xAF\"",
        b"\"\xF4\x90\x80\x80\"",
        b"\"\xC3",
    ] {
        closes(&server, &frame(0x81, bad), 1007);
    }
    closes(&server, &[frame(0x01, b"\"\xC3"), frame(0x80, b"\"")].concat(), 1007);
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.frame(0x01, b"{\"event\":\"pusher:ping\",\"data\":[\"\xF0\x9F");
    client.frame(0x00, b"\x98");
    client.frame(0x80, b"\x80\"]}");
    pong(&mut client);
}

#[test]
fn an_invalid_byte_in_an_incomplete_frame_closes_the_connection() {
    let server = Server::start();
    let whole = frame(0x81, &[b"{\"event\":\"\xFF".as_slice(), &[b'x'; 100]].concat());
    closes(&server, &whole[..20], 1007);
    let long = frame(0x81, &[b"{\"event\":\"\xFF".as_slice(), &[b'x'; 5000]].concat());
    closes(&server, &long[..30], 1007);
    closes(&server, &frame(0x01, b"{\"event\":\"\xFF"), 1007);
}

#[test]
fn a_message_at_the_limit_is_accepted_and_one_byte_more_is_not() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let fill = |length: usize| [PING, &vec![b' '; length - PING.len()]].concat();
    client.frame(0x81, &fill(10_000));
    pong(&mut client);
    client.frame(0x01, &fill(6_000));
    client.frame(0x89, &[b'x'; 125]);
    client.frame(0x80, &[b' '; 4_000]);
    assert_eq!(client.receive(), Got::Pong(vec![b'x'; 125]));
    pong(&mut client);
    closes(&server, &frame(0x81, &fill(10_001)), 1009);
    closes(&server, &[frame(0x01, &fill(6_000)), frame(0x80, &[b' '; 4_001])].concat(), 1009);
}

#[test]
fn an_oversized_message_is_rejected_by_its_frame_header() {
    let server = Server::start();
    closes(&server, &frame(0x81, &[b'x'; 20_000])[..8], 1009);
    closes(&server, b"\x81\xFF\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009);
    closes(
        &server,
        &[frame(0x01, &[b' '; 9_000]), frame(0x00, &[b' '; 1_001])[..8].to_vec()].concat(),
        1009,
    );
}

#[test]
fn a_client_that_still_sends_receives_the_close_frame() {
    let server = Server::start();
    closes(&server, &frame(0x81, &vec![b'x'; 5_000_000]), 1009);
    closes(&server, &[frame(0x82, b"x"), vec![b'x'; 5_000_000]].concat(), 1003);
}

#[test]
fn a_length_with_the_top_bit_set_is_a_protocol_error() {
    let server = Server::start();
    closes(&server, b"\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00", 1002);
}

#[test]
fn the_message_size_of_an_app_may_be_raised_or_unlimited() {
    let server = Server::with(&[("REVERB_APP_MAX_MESSAGE_SIZE", "100000")]);
    let mut client = Client::connect(&server);
    let fill = |length: usize| [PING, &vec![b' '; length - PING.len()]].concat();
    client.frame(0x81, &fill(100_000));
    pong(&mut client);
    client.frame(0x81, &fill(100_001));
    client.closed(1009);

    let server = Setup::new()
        .env("REVERB_APP_MAX_MESSAGE_SIZE", 0)
        .env("REVERB_LIMIT_MESSAGE_BYTES", 2_000_000)
        .start();
    let mut client = Client::connect(&server);
    client.frame(0x81, &fill(2_000_000));
    pong(&mut client);
    client.raw(&frame(0x81, &fill(2_000_001))[..14]);
    client.closed(1009);
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_the_connection_ends() {
    let server = Server::start();
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4100, 4999]) {
        closes(&server, &frame(0x88, &u16::to_be_bytes(code)), code);
    }
}

#[test]
fn close_codes_that_no_client_may_send_are_a_protocol_error() {
    let server = Server::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        closes(&server, &frame(0x88, &u16::to_be_bytes(code)), 1002);
    }
    closes(&server, &frame(0x88, b"\x03"), 1002);
}

#[test]
fn an_empty_close_frame_is_answered_with_1000() {
    let server = Server::start();
    closes(&server, &frame(0x88, b""), 1000);
}

#[test]
fn the_reason_of_a_close_frame_must_be_utf_8() {
    let server = Server::start();
    closes(&server, &frame(0x88, b"\x03\xE8\xC3\x28"), 1007);
    closes(&server, &frame(0x88, "\u{3}x grüße".as_bytes()), 1002);
    let reason = [&1000u16.to_be_bytes()[..], "grüße".as_bytes()].concat();
    closes(&server, &frame(0x88, &reason), 1000);
    closes(&server, &frame(0x88, &[&1000u16.to_be_bytes()[..], &[b'r'; 123]].concat()), 1000);
}

#[test]
fn frames_after_a_close_or_an_error_are_ignored() {
    let server = Server::start();
    closes(&server, &[frame(0x88, &1000u16.to_be_bytes()), frame(0x89, b"x")].concat(), 1000);
    closes(&server, &[frame(0x81, b"\xFF"), frame(0x81, PING)].concat(), 1007);
    closes(&server, &[frame(0x82, b"x"), frame(0x81, PING), frame(0x89, b"x")].concat(), 1003);
}

#[test]
fn a_client_that_never_answers_the_close_frame_is_disconnected() {
    let server = Setup::new().env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 100).start();
    let mut client = Client::connect(&server);
    client.frame(0x82, b"x");
    assert!(matches!(client.receive(), Got::Close(Some(1003), _)));
    client.ended();
}

#[test]
fn messages_in_one_segment_are_all_handled_in_order() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let subscribe = |channel: &str| {
        let message = json!({"event": "pusher:subscribe", "data": {"channel": channel}});
        frame(0x81, message.to_string().as_bytes())
    };
    client.raw(&[subscribe("a"), frame(0x89, b"1"), subscribe("b"), frame(0x81, PING)].concat());
    client.subscribed("a");
    assert_eq!(client.receive(), Got::Pong(b"1".to_vec()));
    client.subscribed("b");
    pong(&mut client);
}

#[test]
fn every_kind_of_frame_may_be_sent_byte_by_byte() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let long = [PING, &[b' '; 200]].concat();
    let bytes = [
        frame(0x81, PING),
        frame(0x81, &long),
        frame(0x89, b"hello"),
        frame(0x01, b"{\"event\":"),
        frame(0x8A, b"x"),
        frame(0x80, b"\"pusher:ping\",\"data\":[\"\xC3\xA9\"]}"),
        frame(0x88, &1000u16.to_be_bytes()),
    ];
    for byte in bytes.concat() {
        client.raw(&[byte]);
    }
    pong(&mut client);
    pong(&mut client);
    assert_eq!(client.receive(), Got::Pong(b"hello".to_vec()));
    pong(&mut client);
    client.closed(1000);
}

#[test]
fn messages_of_every_length_class_arrive_whole() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.subscribe("c");
    let bare = json!({"event": "e", "channel": "c", "data": ""}).to_string().len();
    for length in [125, 126, 127, 65_535, 65_536, 200_000] {
        let data = "d".repeat(length - bare);
        server.publish("c", "e", &data);
        match client.receive() {
            Got::Text(text) => assert_eq!(text.len(), length),
            other => panic!("{other:?}"),
        }
    }
}
