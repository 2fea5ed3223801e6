//! The cost of the feed: published events at full load, while one viewer reads the lines that it
//! gets, against the same without a viewer. The viewer is a thread of this process.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use reverb::proto::auth::Signer;

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::{APP_ID, APP_KEY, APP_SECRET, Process};
use crate::swarm::{By, Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(
        "feed: server CPU in µs per published event of 200 B while one viewer reads, \
         against no viewer",
    );
    for (by, way) in WAYS {
        for subscribers in [1, 100] {
            let (mut alone, mut watched) = (Vec::new(), Vec::new());
            let (mut bare, mut lost) = (Vec::new(), Vec::new());
            for _ in 0..plan.runs {
                alone.push(cost(plan, by, subscribers, None)?.0);
                let (cpu_us, missing) = cost(plan, by, subscribers, Some(""))?;
                watched.push(cpu_us);
                lost.push(missing);
                bare.push(cost(plan, by, subscribers, Some("payload=false"))?.0);
            }
            let what = |of: &str| format!("{way}, subscribers: {subscribers}, {of}");
            table.ratio(what("all members"), watched, &alone, Some(1.05));
            table.ratio(what("without data"), bare, &alone, None);
            table.value(what("lines dropped, %"), lost, None);
        }
    }
    Ok(vec![table])
}

const WAYS: [(By, &str); 2] =
    [(By::Requests(64), "64 pipelined"), (By::Batch(10), "batches of 10")];

/// Microseconds of each event, and the percentage of lines that were dropped.
fn cost(
    plan: &Plan,
    by: By,
    subscribers: usize,
    viewer: Option<&str>,
) -> Result<(f64, f64), Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(subscribers, PARALLEL, |_| Some(0))?;
    let viewer = viewer.map(|parameters| Viewer::open(&server, parameters));
    let (audience, events) =
        (subscribers as u64, plan.scaled(EVENTS) / (1 + subscribers as u64 / 20));
    swarm.publish(by, events / 10, audience, SIZE)?;
    let before = server.cpu_ns();
    swarm.publish(by, events, audience, SIZE)?;
    let cpu_ns = server.cpu_ns() - before;
    let read = viewer.map_or(0, Viewer::lines);
    swarm.finish()?;
    let all = events + events / 10;
    let missing = all.saturating_sub(read) as f64;
    Ok((cpu_ns / 1e3 / events as f64, 100.0 * missing / all as f64))
}

/// A viewer that counts the events in its lines.
struct Viewer {
    stream: TcpStream,
    reader: JoinHandle<u64>,
}

impl Viewer {
    fn open(server: &Process, parameters: &str) -> Self {
        let path = format!("/apps/{APP_ID}/feed");
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut query = format!("auth_key={APP_KEY}&auth_timestamp={time}&auth_version=1.0");
        if !parameters.is_empty() {
            query.push_str(&format!("&{parameters}"));
        }
        let signature = Signer::new(APP_SECRET).sign(&["GET\n", &path, "\n", &query]);
        let mut stream = TcpStream::connect(server.address).unwrap();
        let target = format!("{path}?{query}&auth_signature={signature}");
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        let mut reading = stream.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let (mut buffer, mut lines, mut before) = (vec![0; 1 << 20], 0, 0);
            while let Ok(len @ 1..) = reading.read(&mut buffer) {
                // A line is the only place with a brace before a line feed.
                for &byte in &buffer[..len] {
                    lines += u64::from(byte == b'\n' && before == b'}');
                    before = byte;
                }
            }
            lines
        });
        Viewer { stream, reader }
    }

    /// The number of lines after the first.
    fn lines(self) -> u64 {
        thread::sleep(std::time::Duration::from_millis(100));
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.reader.join().unwrap() - 1
    }
}

const SIZE: usize = 200;
const EVENTS: u64 = 200_000;
