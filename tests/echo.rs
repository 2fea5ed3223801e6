//! The echo server for conformance suites. The suites take long to install; their requirements that
//! no other test covers are tested here.

#[path = "echo/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use crate::support::{DEADLINE, HANDSHAKE};

/// A server that runs as long as the test does.
struct Echo {
    address: SocketAddr,
    stopper: reverb::net::Stopper,
}

impl Echo {
    fn start() -> Self {
        let (sender, receiver) = channel();
        // A server stays on the thread that created it.
        thread::spawn(move || {
            let server = server::bind(0).unwrap();
            sender.send((server.local_address().unwrap(), server.stopper().unwrap())).unwrap();
            server.run().unwrap();
        });
        let (address, stopper) = receiver.recv_timeout(DEADLINE).unwrap();
        Echo { address, stopper }
    }

    /// A WebSocket at this path.
    fn open(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        stream
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// A frame under a mask of zeroes, whatever its length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// The first byte and the payload of the next frame.
#[track_caller]
fn next(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let extended = match header[1] {
        127 => 8,
        126 => 2,
        _ => 0,
    };
    let mut length = [0; 8];
    stream.read_exact(&mut length[8 - extended..]).unwrap();
    let length = if extended == 0 { header[1].into() } else { u64::from_be_bytes(length) };
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).unwrap();
    (header[0], payload)
}

#[test]
fn the_server_echoes_each_message_with_its_type_and_sends_nothing_first() {
    let echo = Echo::start();
    for path in ["/", "/app/echo", "/anything?x=y"] {
        let mut stream = echo.open(path);
        stream.write_all(&frame(0x81, "é".as_bytes())).unwrap();
        assert_eq!(next(&mut stream), (0x81, "é".as_bytes().to_vec()));
        stream.write_all(&frame(0x82, b"\xff\0")).unwrap();
        assert_eq!(next(&mut stream), (0x82, b"\xff\0".to_vec()));
        stream.write_all(&frame(0x89, b"ping")).unwrap();
        assert_eq!(next(&mut stream), (0x8a, b"ping".to_vec()));
    }
}

#[test]
fn the_longest_message_and_the_most_fragments_are_echoed() {
    let echo = Echo::start();
    let mut stream = echo.open("/");
    let long = vec![b'x'; 16 << 20];
    stream.write_all(&frame(0x82, &long)).unwrap();
    assert!(next(&mut stream) == (0x82, long));
    let mut fragments = frame(0x01, &[b'*'; 64]);
    (1..65_536).for_each(|_| fragments.extend(frame(0x00, &[b'*'; 64])));
    fragments.extend(frame(0x80, b""));
    stream.write_all(&fragments).unwrap();
    assert!(next(&mut stream) == (0x81, vec![b'*'; 4 << 20]));
    stream.write_all(&frame(0x81, &[b'x'; (16 << 20) + 1])[..14]).unwrap();
    let (first, payload) = next(&mut stream);
    assert_eq!((first, &payload[..2]), (0x88, &1009_u16.to_be_bytes()[..]));
}

#[test]
fn invalid_utf8_closes_the_connection_before_the_frame_ends() {
    let echo = Echo::start();
    let mut stream = echo.open("/");
    let whole = frame(0x81, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited");
    // Up to the first byte that makes the character invalid.
    stream.write_all(&whole[..14 + 7]).unwrap();
    let (first, payload) = next(&mut stream);
    assert_eq!((first, &payload[..2]), (0x88, &1007_u16.to_be_bytes()[..]));
}

#[test]
fn the_server_closes_the_connection_after_the_close_handshake() {
    let echo = Echo::start();
    let mut stream = echo.open("/");
    stream.write_all(&frame(0x88, b"\x03\xe8")).unwrap();
    assert_eq!(next(&mut stream), (0x88, b"\x03\xe8".to_vec()));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
