//! How much the flood of one app delays the events of another. App A has ten publishers that send
//! requests at a fixed rate, whatever the server answers; they are a thread of this process. App B
//! publishes to ten subscribers: its latency during the flood, against its latency while the same thread
//! sends the same requests to sockets of another program, so that what the clients of A cost the clients
//! of B, which share a processor, is on both sides.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reverb::proto::auth::{Signer, md5_hex};

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::{APP_ID, APP_KEY, APP_SECRET, Process};
use crate::swarm::{Fault, Swarm};
use crate::sys;
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(format!(
        "apps: latency of app B, 10 subscribers, {RATE} events of 200 B a second, while app A gets \
         {FLOOD_RATE}, against the same to another program, µs"
    ));
    let limited = format!(r#", "max_backend_events_per_second": {LIMIT}"#);
    for (what, setting, target) in
        [("A may publish a tenth", limited.as_str(), Some(1.2)), ("A has no limit", "", None)]
    {
        let (mut elsewhere, mut flooded) = (Vec::new(), Vec::new());
        let mut rates = Vec::new();
        for _ in 0..plan.runs {
            let server = Process::server_with_file(plan, &configuration(setting));
            let mut swarm = Swarm::new(&server, 1);
            swarm.open(10, PARALLEL, |_| Some(0))?;
            let sink = Sink::begin(plan.server_processor);
            let flood = Flood::begin(sink.address, 0);
            elsewhere.push(latency(plan, &mut swarm)?);
            flood.end();
            sink.end();
            let flood = Flood::begin(server.address, 10);
            flooded.push(latency(plan, &mut swarm)?);
            rates.push(flood.end());
            swarm.finish()?;
        }
        let of = |runs: &[[f64; 2]], at: usize| runs.iter().map(|run| run[at]).collect::<Vec<_>>();
        table.ratio(format!("{what}: p50"), of(&flooded, 0), &of(&elsewhere, 0), None);
        table.ratio(format!("{what}: p99"), of(&flooded, 1), &of(&elsewhere, 1), target);
        table.value(format!("{what}: its events a second"), of(&rates, 0), None);
        table.value(format!("{what}: of them accepted"), of(&rates, 1), None);
    }
    Ok(vec![table])
}

/// Two apps: B with the names that all benchmarks use, and A with this setting.
fn configuration(setting: &str) -> String {
    format!(
        r#"{{"apps": {{"apps": [
            {{"app_id": "{APP_ID}", "key": "{APP_KEY}", "secret": "{APP_SECRET}"}},
            {{"app_id": "{A}", "key": "{A}", "secret": "{A}"{setting}}}
        ]}}}}"#
    )
}

/// p50 and p99 of app B, in µs. The first second of the flood is not measured.
fn latency(plan: &Plan, swarm: &mut Swarm) -> Result<[f64; 2], Fault> {
    thread::sleep(Duration::from_secs(1));
    swarm.tally.latencies.clear();
    swarm.publish_at(RATE, plan.scaled(6_000), 200)?;
    let p = |part| percentile(&swarm.tally.latencies, part) / 1e3;
    Ok([p(0.5), p(0.99)])
}

/// The publishers of app A, and the subscribers of their channel.
struct Flood {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<[f64; 2]>,
}

impl Flood {
    fn begin(server: SocketAddrV4, subscribers: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        let thread = thread::spawn(move || flood(server, subscribers, &end));
        Flood { is_over, thread }
    }

    /// Ends the flood. Returns how many events a second were answered, and how many accepted.
    fn end(self) -> [f64; 2] {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn flood(server: SocketAddrV4, subscribers: usize, is_over: &AtomicBool) -> [f64; 2] {
    let mut subscribers: Vec<TcpStream> = (0..subscribers).map(|_| subscriber(server)).collect();
    let mut publishers: Vec<TcpStream> = (0..10).map(|_| connect(server)).collect();
    let request = request();
    let (mut buffer, mut answers) = (vec![0; 1 << 18], Vec::new());
    let (mut answered, mut accepted) = (0, 0);
    let began = Instant::now();
    let mut sent = 0;
    for turn in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let due = (began.elapsed().as_secs_f64() * FLOOD_RATE) as usize;
        // After a pause of this thread not all that is missing is sent at once.
        sent = sent.max(due.saturating_sub(MISSED_MAX));
        for number in sent..due {
            let publisher = &mut publishers[number % 10];
            // A part would leave the server with half a request: it gets a new connection.
            if publisher.write_all(&request).is_err() {
                *publisher = connect(server);
            }
        }
        sent = due;
        // One connection is read each time: app B has the same processor.
        answers.clear();
        if let Some(subscriber) = subscribers.get_mut(turn % 20) {
            assert!(read(subscriber, &mut buffer, &mut answers), "a subscriber of A was closed");
        } else {
            assert!(read(&mut publishers[turn % 10], &mut buffer, &mut answers));
            // Parts of an answer at the end of a read are missed, which are few.
            answered += count(&answers, b"HTTP/1.1 ");
            accepted += count(&answers, b"HTTP/1.1 200 ");
        }
        thread::sleep(Duration::from_micros(100));
    }
    let rate = |requests: usize| requests as f64 / began.elapsed().as_secs_f64();
    [rate(answered), rate(accepted)]
}

/// A program that reads what it gets, every ten milliseconds, and answers nothing.
struct Sink {
    address: SocketAddrV4,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sink {
    /// On this processor, so that app B is delayed by no more than its clients.
    fn begin(processor: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        listener.set_nonblocking(true).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            sys::pin(processor);
            let (mut streams, mut buffer, mut bytes) = (Vec::new(), vec![0; 1 << 18], Vec::new());
            while !end.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    streams.push(stream);
                }
                streams.retain_mut(|stream| read(stream, &mut buffer, &mut bytes));
                bytes.clear();
                thread::sleep(Duration::from_millis(10));
            }
        });
        Sink { address, is_over, thread }
    }

    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn count(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).filter(|it| *it == text).count()
}

/// Reads what has arrived. Returns whether the connection is still open.
fn read(stream: &mut TcpStream, buffer: &mut [u8], bytes: &mut Vec<u8>) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn connect(server: SocketAddrV4) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn subscriber(server: SocketAddrV4) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    let upgrade = format!(
        "GET /app/{A} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let text = r#"{"event":"pusher:subscribe","data":{"channel":"flood"}}"#;
    let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
    stream.write_all(&[upgrade.as_bytes(), &frame].concat()).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&answer).contains("subscription_succeeded") {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "app A accepts no subscriber");
        answer.extend_from_slice(&buffer[..len]);
    }
    stream.set_nonblocking(true).unwrap();
    stream
}

/// One event of 200 bytes to the channel of app A. Its signature is valid for ten minutes.
fn request() -> Vec<u8> {
    let data = "x".repeat(200);
    let body = format!(r#"{{"name":"e","channel":"flood","data":"{data}"}}"#);
    let (path, md5) = (format!("/apps/{A}/events"), md5_hex(body.as_bytes()));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let query = format!("auth_key={A}&auth_timestamp={time}&auth_version=1.0&body_md5={md5}");
    let signature = Signer::new(A).sign(&["POST\n", &path, "\n", &query]);
    format!(
        "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Id, key and secret of app A.
const A: &str = "app-a";
/// What the setting of app A allows.
const LIMIT: u64 = 1_000;
/// The requests that it gets each second.
const FLOOD_RATE: f64 = 10.0 * LIMIT as f64;
/// The events of app B each second, which leave the processor of the clients to the flood.
const RATE: f64 = 1_000.0;
/// Requests of app A that are sent at once after a pause of the thread.
const MISSED_MAX: usize = 100;
