//! How much the flood of one app delays the events of another. App A has ten publishers that send
//! requests at a fixed rate, whatever the server answers; they are a thread of this process. App B
//! publishes one event at a time to ten subscribers: its latency during the flood, against its latency
//! before.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reverb::proto::auth::{Signer, md5_hex};

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::{APP_ID, APP_KEY, APP_SECRET, Process};
use crate::swarm::{Fault, Swarm};
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(format!(
        "apps: latency of app B, 10 subscribers, 200 B, one event at a time, while app A gets \
         {FLOOD_RATE} events a second, against without them, µs"
    ));
    let limited = format!(r#", "max_backend_events_per_second": {LIMIT}"#);
    for (what, setting, target) in
        [("A may publish a tenth", limited.as_str(), Some(1.2)), ("A has no limit", "", None)]
    {
        let (mut alone, mut flooded) = (Vec::new(), Vec::new());
        let mut accepted = Vec::new();
        for _ in 0..plan.runs {
            let server = Process::server_with_file(plan, &configuration(setting));
            let mut swarm = Swarm::new(&server, 1);
            swarm.open(10, PARALLEL, |_| Some(0))?;
            alone.push(latency(plan, &mut swarm)?);
            let flood = Flood::begin(server.address);
            // The first second of the flood is not measured.
            thread::sleep(Duration::from_secs(1));
            flooded.push(latency(plan, &mut swarm)?);
            accepted.push(flood.end());
            swarm.finish()?;
        }
        let of = |runs: &[[f64; 2]], at: usize| runs.iter().map(|run| run[at]).collect::<Vec<_>>();
        table.ratio(format!("{what}: p50"), of(&flooded, 0), &of(&alone, 0), None);
        table.ratio(format!("{what}: p99"), of(&flooded, 1), &of(&alone, 1), target);
        table.value(format!("{what}: its events a second"), accepted, None);
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

/// p50 and p99 of app B, in µs.
fn latency(plan: &Plan, swarm: &mut Swarm) -> Result<[f64; 2], Fault> {
    swarm.tally.latencies.clear();
    swarm.echo(plan.scaled(10_000), 200)?;
    let p = |part| percentile(&swarm.tally.latencies, part) / 1e3;
    Ok([p(0.5), p(0.99)])
}

/// The publishers of app A, and ten subscribers of their channel.
struct Flood {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Flood {
    fn begin(server: SocketAddrV4) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        let thread = thread::spawn(move || flood(server, &end));
        Flood { is_over, thread }
    }

    /// Ends the flood. Returns how many events a second were accepted.
    fn end(self) -> f64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn flood(server: SocketAddrV4, is_over: &AtomicBool) -> f64 {
    let mut subscribers: Vec<TcpStream> = (0..10).map(|_| subscriber(server)).collect();
    let mut publishers: Vec<TcpStream> = (0..10).map(|_| connect(server)).collect();
    let requests = request().repeat(IN_A_ROW);
    let (mut buffer, mut accepted, mut answers) = (vec![0; 1 << 18], 0, Vec::new());
    let began = Instant::now();
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * FLOOD_RATE) as usize;
        // After a pause of this thread not all that is missing is sent at once.
        for _ in 0..((due.saturating_sub(sent)) / IN_A_ROW).min(10) {
            let publisher = &mut publishers[sent / IN_A_ROW % 10];
            // A part would leave the server with half a request: it gets a new connection.
            if publisher.write_all(&requests).is_err() {
                *publisher = connect(server);
            }
            sent += IN_A_ROW;
        }
        sent = sent.max(due.saturating_sub(100 * IN_A_ROW));
        for publisher in &mut publishers {
            answers.clear();
            if !read(publisher, &mut buffer, &mut answers) {
                *publisher = connect(server);
            }
            // Parts of an answer at the end of a read are missed, which are few.
            accepted += answers.windows(13).filter(|it| *it == b"HTTP/1.1 200 ").count();
        }
        for subscriber in &mut subscribers {
            answers.clear();
            assert!(read(subscriber, &mut buffer, &mut answers), "a subscriber of A was closed");
        }
        thread::sleep(Duration::from_millis(1));
    }
    accepted as f64 / began.elapsed().as_secs_f64()
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
/// Requests that one publisher of app A sends at once.
const IN_A_ROW: usize = 10;
