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
            let all = costs(plan, by, subscribers)?;
            let what = |of: &str| format!("{way}, subscribers: {subscribers}, {of}");
            table.ratio(what("all members"), all.watched, &all.alone, Some(1.05));
            table.ratio(what("without data"), all.bare, &all.alone, None);
            table.value(what("lines dropped, %"), all.lost, None);
        }
    }
    Ok(vec![table])
}

const WAYS: [(By, &str); 2] =
    [(By::Requests(64), "64 pipelined"), (By::Batch(10), "batches of 10")];

/// Microseconds of each event, and percentages of lines that were dropped.
#[derive(Default)]
struct Costs {
    alone: Vec<f64>,
    watched: Vec<f64>,
    bare: Vec<f64>,
    lost: Vec<f64>,
}

/// Publishes to one server without a viewer and with one, in turns. Another process would differ by
/// more than a viewer costs: the places of its memory are others.
fn costs(plan: &Plan, by: By, subscribers: usize) -> Result<Costs, Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(subscribers, PARALLEL, |_| Some(0))?;
    let audience = subscribers as u64;
    let events = plan.scaled(EVENTS) / (1 + audience / 20);
    let mut cost = |viewer: Option<&str>| -> Result<(f64, f64), Fault> {
        let viewer = viewer.map(|parameters| Viewer::open(&server, parameters));
        swarm.publish(by, events / 10, audience, SIZE)?;
        let before = server.cpu_ns();
        swarm.publish(by, events, audience, SIZE)?;
        let cpu_ns = server.cpu_ns() - before;
        let read = viewer.map_or(0, Viewer::lines);
        let all = events + events / 10;
        let missing = all.saturating_sub(read) as f64;
        Ok((cpu_ns / 1e3 / events as f64, 100.0 * missing / all as f64))
    };
    let mut costs = Costs::default();
    for _ in 0..plan.runs * TURNS {
        costs.alone.push(cost(None)?.0);
        let (cpu_us, missing) = cost(Some(""))?;
        costs.watched.push(cpu_us);
        costs.lost.push(missing);
        costs.bare.push(cost(Some("payload=false"))?.0);
    }
    swarm.finish()?;
    Ok(costs)
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
const EVENTS: u64 = 60_000;
/// Measurements of one server in each run.
const TURNS: usize = 4;
