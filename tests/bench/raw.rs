//! The best that the machine allows, in separate processes: a bare loop that writes the server's
//! frame to as many sockets, and a loop that responds to requests without parsing them, with or
//! without the hash of the body that the protocol requires. No protocol, no state, no limits.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use std::{process, thread};

use mio::net::{TcpListener as MioListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use reverb::proto::auth::md5_hex;
use reverb::proto::http::switching_protocols;
use reverb::proto::message;

use crate::event::{self, NUMBER};
use crate::lane;

/// Runs the raw process that these arguments name, if any.
pub fn run(arguments: &[String]) -> bool {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--raw-writer", subscribers, size] => {
            end_with_owner();
            write(subscribers.parse().unwrap(), size.parse().unwrap()).unwrap();
        }
        ["--raw-http"] => {
            end_with_owner();
            answer(|_| ()).unwrap();
        }
        ["--raw-http", "hash"] => {
            end_with_owner();
            answer(|body| drop(black_box(md5_hex(body)))).unwrap();
        }
        _ => return false,
    }
    true
}

fn end_with_owner() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
}

/// For each byte on the first connection, writes an event to all others, which have completed a
/// handshake as with the server.
fn write(subscribers: usize, size: usize) -> io::Result<()> {
    let _ = reverb::net::raise_open_files();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    reverb::net::set_backlog(&listener)?;
    println!("listening on {}", listener.local_addr()?);
    let mut control = listener.accept()?.0;
    let mut sockets = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let mut socket = listener.accept()?.0;
        socket.set_nodelay(true)?;
        greet(&mut socket)?;
        sockets.push(socket);
    }
    let mut frame = event::frame(0, size);
    let at = frame.iter().position(|&byte| byte == event::MARK).unwrap() + 1;
    let mut bytes = [0];
    for number in 0_u64.. {
        if control.read(&mut bytes)? == 0 {
            return Ok(());
        }
        frame[at..at + NUMBER].copy_from_slice(event::digits(number).as_bytes());
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
    }
    Ok(())
}

/// Sends the messages a client waits for, regardless of its own. TCP acknowledges differently on a
/// connection whose client has sent something before, and over loopback the writer pays for that.
fn greet(socket: &mut std::net::TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4_096];
    let mut len = 0;
    while lane::find(&bytes[..len], b"\r\n\r\n").is_none() {
        let read = socket.read(&mut bytes[len..])?;
        assert!(read > 0, "a client has disconnected");
        len += read;
    }
    socket.write_all(
        &[&switching_protocols(b"", None)[..], &message::established("1.1", 30)].concat(),
    )?;
    // The subscription is a small frame, and arrives as one piece.
    len = socket.read(&mut bytes)?;
    assert!(len > 0, "a client has disconnected");
    socket.write_all(&message::subscription_succeeded(&event::channel(0), "{}"))
}

/// Responds to every request of any number of connections, after `look` has read its body.
fn answer(look: fn(&[u8])) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = MioListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    println!("listening on {}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; 65_536];
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(60)))?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(streams.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    streams.push(stream);
                }
                continue;
            }
            let stream = &mut streams[event.token().0];
            if let Ok(len @ 1..) = stream.read(&mut buffer) {
                let request = &buffer[..len];
                assert_eq!(lane::whole(request), Some(len), "a request arrived in parts");
                look(&request[lane::find(request, b"\r\n\r\n").unwrap() + 4..]);
                stream.write_all(ANSWER)?;
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
/// As long as the response of the server.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 16:15:33 GMT\r\n\
    Content-Type: application/json\r\nCache-Control: no-cache, private\r\n\
    Content-Length: 2\r\n\r\n{}";
