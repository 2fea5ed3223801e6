//! Events from one node to another: over a Redis Cluster with and without sharded messages, and
//! while Sentinel replaces a master that was killed.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reverb::proto::auth::Signer;

use crate::Plan;
use crate::event::{self, MARK, NUMBER};
use crate::process::{APP_KEY, APP_SECRET, Process};
use crate::redis::daemon::Redis;
use crate::redis::sentinels::Sentinels;
use crate::redis::shards::{CHANNEL, Shards};
use crate::swarm::Fault;
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    Ok(vec![cluster(plan)?, outage(plan)?])
}

/// The latency from a node to another whose seed is another master, with sharded and with plain
/// messages, and over one Redis.
fn cluster(plan: &Plan) -> Result<Table, Fault> {
    let (shards, single) = (Shards::start(), Redis::start());
    let seeds = [shards.owner(), shards.stranger()].map(|at| shards.servers[at].port());
    let ways = [("true", seeds), ("false", seeds), ("false", [single.port(); 2])];
    let mut measured = [const { [Vec::new(), Vec::new()] }; 3];
    for _ in 0..plan.runs {
        for ((is_sharded, ports), [p50, p99]) in ways.iter().zip(&mut measured) {
            let nodes = ports.map(|port| {
                let port = port.to_string();
                node(plan, &[("REVERB_SCALING_CLUSTER", is_sharded), ("REDIS_PORT", &port)])
            });
            let latencies = latencies(&nodes, plan.scaled(1_000), Duration::from_millis(5), || {})?;
            p50.push(percentile(&latencies.from_first_node, 0.5) / 1e6);
            p99.push(percentile(&latencies.from_first_node, 0.99) / 1e6);
        }
    }
    let mut table =
        Table::new("nodes: an event to another node on a Redis Cluster, later than here, ms");
    let [[p50, p99], plain, single] = measured;
    table.value("median", p50.clone(), Some(0.3));
    table.value("99 %", p99.clone(), Some(3.0));
    for (what, [other50, other99]) in [("plain messages", plain), ("one Redis", single)] {
        table.ratio(format!("median, against {what}"), p50.clone(), &other50, None);
        table.ratio(format!("99 %, against {what}"), p99.clone(), &other99, None);
    }
    Ok(table)
}

/// The longest time that an event takes to another node, if the master is killed.
fn outage(plan: &Plan) -> Result<Table, Fault> {
    let mut longest = Vec::new();
    for _ in 0..plan.runs {
        let sentinels = Sentinels::start(5_000);
        let addresses = sentinels.addresses();
        let variables = [("REVERB_SCALING_SENTINELS", addresses.as_str())];
        let nodes = [node(plan, &variables), node(plan, &variables)];
        let kill = || sentinels.redis[0].kill();
        let latencies = latencies(&nodes, 1_200, Duration::from_millis(10), kill)?;
        longest.push(percentile(&latencies.from_publish, 1.0) / 1e9);
    }
    let mut table = Table::new("nodes: Sentinel with down-after 5 s, kill -9 of the master, s");
    table.value("longest time of an event to another node", longest, Some(8.0));
    Ok(table)
}

fn node(plan: &Plan, variables: &[(&str, &str)]) -> Process {
    let common = [("REVERB_SCALING_ENABLED", "true"), ("REVERB_SCALING_CHANNEL", CHANNEL)];
    Process::server_with(plan, &[&common[..], variables].concat())
}

/// How long events took to the subscriber at the second node, in nanoseconds.
struct Latencies {
    /// From when the publisher sent each.
    from_publish: Vec<u64>,
    /// From when a subscriber at the first node received it: the way between the nodes alone.
    from_first_node: Vec<u64>,
}

/// Publishes events at the first node, one in each `pause`, for a subscriber at each node. `disturb`
/// runs after a tenth of them.
fn latencies(
    nodes: &[Process; 2],
    events: u64,
    pause: Duration,
    disturb: impl FnOnce(),
) -> Result<Latencies, Fault> {
    let mut publisher = TcpStream::connect(nodes[0].address).map_err(|error| error.to_string())?;
    publisher.set_nodelay(true).unwrap();
    publisher.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let signer = Signer::new(APP_SECRET);
    // Once an event arrives, the nodes know each other.
    let first = listen(nodes[1].address, 1);
    let mut number = 0;
    while !first.is_finished() {
        publish(&mut publisher, &event::publish(&signer, 0, number, 200));
        number += 1;
        thread::sleep(Duration::from_millis(20));
    }
    first.join().map_err(|_| "the first subscriber failed")??;
    // The events before were on their way for a shorter time than this.
    thread::sleep(Duration::from_millis(500));
    let [local, listener] =
        [&nodes[0], &nodes[1]].map(|node| listen(node.address, events as usize));
    thread::sleep(Duration::from_millis(200));
    let (mut sent, mut disturb) = (Vec::new(), Some(disturb));
    let began = Instant::now();
    for n in 0..events {
        if n == events / 10
            && let Some(disturb) = disturb.take()
        {
            disturb();
        }
        let request = event::publish(&signer, 0, number + n, 200);
        thread::sleep((pause * n as u32).saturating_sub(began.elapsed()));
        sent.push(Instant::now());
        publish(&mut publisher, &request);
    }
    let received = listener.join().map_err(|_| "the subscriber failed")??;
    let local = local.join().map_err(|_| "the local subscriber failed")??;
    let order = received.iter().enumerate().find(|(n, (got, _))| *got != number + *n as u64);
    if let Some((n, (got, _))) = order {
        return Err(format!("event {got} arrived in place of {}", number + n as u64));
    }
    let since = |starts: Vec<Instant>| {
        let times = received.iter().zip(starts);
        times
            .map(|((_, at), start)| at.saturating_duration_since(start).as_nanos() as u64)
            .collect()
    };
    let local = local.into_iter().map(|(_, at)| at).collect();
    Ok(Latencies { from_publish: since(sent), from_first_node: since(local) })
}

/// Sends a request that publishes an event, and waits for the response.
fn publish(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    let (mut response, mut chunk) = (Vec::new(), [0; 1_024]);
    while !response.ends_with(b"{}") {
        match stream.read(&mut chunk).unwrap() {
            0 => panic!("the server has closed the connection"),
            len => response.extend_from_slice(&chunk[..len]),
        }
    }
    assert!(response.starts_with(b"HTTP/1.1 200"));
}

type Received = Result<Vec<(u64, Instant)>, Fault>;

/// A subscriber that receives this many events, with their times.
fn listen(address: SocketAddrV4, events: usize) -> JoinHandle<Received> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let upgrade = format!(
        "GET /app/{APP_KEY}?protocol=7 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).unwrap();
    let subscribe =
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{}"}}}}"#, event::channel(0));
    // A masked text frame; the mask is zero.
    let head = [0x81, 0x80 | subscribe.len() as u8, 0, 0, 0, 0];
    stream.write_all(&[&head[..], subscribe.as_bytes()].concat()).unwrap();
    thread::spawn(move || {
        let (mut received, mut pending, mut chunk) = (Vec::new(), Vec::new(), [0; 65_536]);
        while received.len() < events {
            let len = stream.read(&mut chunk).map_err(|error| format!("no event: {error}"))?;
            let now = Instant::now();
            pending.extend_from_slice(&chunk[..len]);
            while let Some(at) = pending.iter().position(|byte| *byte == MARK)
                && pending.len() > at + NUMBER
            {
                let number = event::number(&pending[at..]).ok_or("no number in an event")?;
                received.push((number, now));
                pending.drain(..=at + NUMBER);
            }
        }
        Ok(received)
    })
}
