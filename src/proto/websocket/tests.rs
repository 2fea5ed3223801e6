//! The reader with frames split at every point, and with each violation once.

use super::violation::{BAD_CONTROL, BAD_LENGTH, BINARY, RESERVED_BITS, UNMASKED};
use super::*;

const BOUNDS: Bounds =
    Bounds { message_bytes: 100_000, fragments: 16, binary: true, masked: true, deflate: false };

/// A client's frame with the mask 1, 2, 3, 4.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([1, 2, 3, 4]);
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ (i % 4 + 1) as u8));
    bytes
}

/// All items of the input, split into pieces of this size, as text.
fn read(bytes: &[u8], piece: usize) -> Result<Vec<String>, Violation> {
    read_within(bytes, piece, BOUNDS)
}

fn read_within(bytes: &[u8], piece: usize, bounds: Bounds) -> Result<Vec<String>, Violation> {
    let (mut reader, mut inflater) = (Reader::default(), Inflater::default());
    let mut items = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        let mut input = piece.to_vec();
        let mut at = 0;
        while let Some(item) = reader.next(&mut input, &mut at, bounds, &mut inflater)? {
            items.push(format!("{item:?}"));
        }
        assert_eq!(at, input.len());
    }
    Ok(items)
}

#[test]
fn messages_are_the_same_wherever_the_bytes_are_split() {
    let long = "é".repeat(300);
    let mut bytes = masked(0x81, b"hello");
    bytes.extend(masked(0x01, "fr\u{fc}".as_bytes()));
    bytes.extend(masked(0x89, b"inside"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x80, long.as_bytes()));
    bytes.extend(masked(0x82, &[0xff, 0]));
    bytes.extend(masked(0x8a, b"x"));
    bytes.extend(masked(0x88, b"\x03\xe8bye"));
    let whole = read(&bytes, bytes.len()).unwrap();
    assert_eq!(whole[0], "Text(\"hello\")");
    assert_eq!(whole[1], "Ping([105, 110, 115, 105, 100, 101])");
    assert_eq!(whole[2], format!("Text(\"frü{long}\")"));
    assert_eq!(whole[3..], ["Binary([255, 0])", "Pong", "Close(Some((1000, \"bye\")))"]);
    for piece in 1..40 {
        assert_eq!(read(&bytes, piece).unwrap(), whole, "pieces of {piece}");
    }
}

#[test]
fn each_violation_has_its_code() {
    let cases: [(Vec<u8>, Violation); 15] = [
        (masked(0xc1, b"x"), RESERVED_BITS),
        (masked(0x83, b"x"), BAD_OPCODE),
        (masked(0x8b, b"x"), BAD_OPCODE),
        (vec![0x81, 1, b'x'], UNMASKED),
        (masked(0x09, b"x"), BAD_CONTROL),
        (masked(0x89, &[0; 126]), BAD_CONTROL),
        (masked(0x80, b"x"), NOTHING_TO_CONTINUE),
        (masked(0x00, b"x"), NOTHING_TO_CONTINUE),
        ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), EXPECTED_CONTINUATION),
        (masked(0x88, b"\x03"), BAD_CLOSE_CODE),
        (masked(0x88, b"\x03\xed"), BAD_CLOSE_CODE),
        (masked(0x88, b"\x03\xe8\xff"), REASON_NOT_UTF8),
        (masked(0x81, b"\xff"), NOT_UTF8),
        ([0x81, 0xff].into_iter().chain([0xff; 8]).chain([0; 4]).collect(), BAD_LENGTH),
        (masked(0x81, &[b'x'; 100_001]), TOO_BIG),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(&bytes, bytes.len()), Err(expected));
        assert_eq!(read(&bytes, 1), Err(expected));
    }
}

#[test]
fn a_too_long_message_is_rejected_at_its_header() {
    let bytes = masked(0x81, &[b'x'; 100_001]);
    assert_eq!(read(&bytes[..14], 14), Err(TOO_BIG));
    let two = [masked(0x01, &[b'x'; 60_000]), masked(0x80, &[b'x'; 60_000])].concat();
    assert_eq!(read(&two[..60_022], 60_022), Err(TOO_BIG));
}

#[test]
fn invalid_utf8_is_rejected_before_the_frame_ends() {
    let mut bytes = masked(0x81, b"ok \xf4\x90 and much more");
    bytes.truncate(6 + 5);
    assert_eq!(read(&bytes, 1), Err(NOT_UTF8));
    let cut = [masked(0x01, b"\xc3"), masked(0x80, b"")].concat();
    assert_eq!(read(&cut, cut.len()), Err(NOT_UTF8));
}

#[test]
fn binary_messages_may_be_rejected_at_the_header() {
    let (mut input, mut at) = (masked(0x02, b""), 0);
    let (mut reader, bounds) = (Reader::default(), Bounds { binary: false, ..BOUNDS });
    assert_eq!(reader.next(&mut input, &mut at, bounds, &mut Inflater::default()), Err(BINARY));
}

#[test]
fn too_many_fragments_are_rejected() {
    let bytes: Vec<u8> = std::iter::once(masked(0x01, b""))
        .chain((0..16).map(|_| masked(0x00, b"")))
        .flatten()
        .collect();
    assert_eq!(read(&bytes, bytes.len()), Err(TOO_MANY_FRAMES));
}

#[test]
fn an_idle_reader_has_no_buffer() {
    let mut reader = Reader::default();
    let mut input = [masked(0x01, b"a"), masked(0x80, b"b")].concat();
    let mut at = 0;
    assert_eq!(
        reader.next(&mut input, &mut at, BOUNDS, &mut Inflater::default()),
        Ok(Some(Item::Text("ab")))
    );
    assert_eq!(reader.next(&mut input, &mut at, BOUNDS, &mut Inflater::default()), Ok(None));
    assert!(reader.partial.is_none());
}

#[cfg(feature = "console")]
#[test]
fn a_client_reads_frames_of_a_server_and_sends_masked_ones() {
    let of_server = Bounds { masked: false, ..BOUNDS };
    for payload in ["", "hello", &"é".repeat(40_000)] {
        let frame = text(payload);
        let (mut reader, mut at) = (Reader::default(), 0);
        let mut input = frame.to_vec();
        assert_eq!(
            reader.next(&mut input, &mut at, of_server, &mut Inflater::default()),
            Ok(Some(Item::Text(payload)))
        );
        let mut sent = super::masked(&frame, [9, 8, 7, 6]);
        let (mut reader, mut at) = (Reader::default(), 0);
        assert_eq!(
            reader.next(&mut sent.clone(), &mut at, of_server, &mut Inflater::default()),
            Err(violation::MASKED)
        );
        assert_eq!(
            reader.next(&mut sent, &mut at, BOUNDS, &mut Inflater::default()),
            Ok(Some(Item::Text(payload)))
        );
        assert_eq!(at, sent.len());
    }
}

const DEFLATE: Bounds = Bounds { message_bytes: 100, deflate: true, ..BOUNDS };

/// The items or the violation of the input, whole and in single bytes.
#[track_caller]
fn read_both_ways(bytes: &[u8], bounds: Bounds) -> Result<Vec<String>, Violation> {
    let [whole, cut] = [bytes.len(), 1].map(|piece| read_within(bytes, piece, bounds));
    assert_eq!(whole, cut);
    whole
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_are_decompressed() {
    const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let mut bytes = masked(0xC1, &HELLO);
    bytes.extend(masked(0x81, b"plain"));
    bytes.extend(masked(0x41, &HELLO[..3]));
    bytes.extend(masked(0x89, b"x"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x80, &HELLO[3..]));
    bytes.extend(masked(0xC2, &HELLO));
    let items = ["Text(\"Hello\")", "Text(\"plain\")", "Ping([120])", "Text(\"Hello\")"];
    let items = items.map(str::to_owned).into_iter();
    let binary = format!("Binary({:?})", b"Hello");
    assert_eq!(read_both_ways(&bytes, DEFLATE), Ok(items.chain([binary]).collect()));

    let code = |bytes: &[u8]| read_both_ways(bytes, DEFLATE).map_err(|error| error.code);
    // Invalid, incomplete, and not UTF-8: a stored block with 0xFF.
    assert_eq!(code(&masked(0xC1, &[7])), Err(1007));
    assert_eq!(code(&masked(0xC1, &HELLO[..5])), Err(1007));
    assert_eq!(code(&masked(0xC1, &[0, 1, 0, 0xFE, 0xFF, 0xFF, 0])), Err(1007));
    let bomb = Deflater::new(1).compress(&text(&"a".repeat(101))).unwrap();
    assert_eq!(code(&masked(0xC1, payload(&bomb))), Err(1009));
    let whole = Deflater::new(1).compress(&text(&"a".repeat(100))).unwrap();
    assert_eq!(code(&masked(0xC1, payload(&whole))).map(|items| items.len()), Ok(1));
}

#[test]
fn a_reserved_bit_is_for_the_first_frame_of_a_negotiated_message() {
    let reserved = |bytes: &[u8], bounds| read_both_ways(bytes, bounds).map_err(|error| error.code);
    assert_eq!(reserved(&masked(0xC1, &[0]), BOUNDS), Err(1002));
    for first in [0xC9, 0xC8, 0xCA, 0xA1, 0x91, 0xE1] {
        assert_eq!(reserved(&masked(first, &[0]), DEFLATE), Err(1002), "{first:x}");
    }
    let continued = [masked(0x01, b"a"), masked(0xC0, b"b")].concat();
    assert_eq!(reserved(&continued, DEFLATE), Err(1002));
}
