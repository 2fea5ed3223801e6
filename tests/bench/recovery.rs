//! What one node costs the others: a node that joins a cluster with many channels, and one that
//! stands still until Redis drops it, behind a link that has little room.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reverb::net::send_signal;
use reverb::proto::auth::Signer;

use crate::Plan;
use crate::event::{self, MARK};
use crate::process::{APP_KEY, APP_SECRET, Process};
use crate::redis::daemon::Redis;
use crate::support::until;
use crate::swarm::Fault;
use crate::table::{Table, number};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    Ok(vec![join(plan)?, stopped(plan)?])
}

/// Connections that subscribe to [`PER_CLIENT`] channels each.
const CLIENTS: usize = 100;
const PER_CLIENT: usize = 1_000;

/// The processor time that a joining node costs each of three nodes.
fn join(plan: &Plan) -> Result<Table, Fault> {
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..plan.runs {
        let redis = Redis::start();
        let [sender, bystander] = [node(plan, redis.port()), node(plan, redis.port())];
        let clients = (0..CLIENTS).map(|n| thread::spawn(move || subscribe(sender.address, n)));
        let clients: Vec<_> = clients.collect();
        for client in clients {
            client.join().map_err(|_| "a client failed")?;
        }
        knows_all(&bystander);
        // What the subscriptions have caused is not part of the cost.
        [&sender, &bystander].iter().for_each(|node| node.settle(Duration::from_secs(10)));
        let before = [sender.cpu_ns(), bystander.cpu_ns(), 0.0];
        let joiner = node(plan, redis.port());
        knows_all(&joiner);
        for (n, node) in [&sender, &bystander, &joiner].into_iter().enumerate() {
            node.settle(Duration::from_secs(2));
            costs[n].push((node.cpu_ns() - before[n]) / 1e6);
        }
    }
    let channels = CLIENTS * PER_CLIENT;
    let mut table = Table::new(format!(
        "recovery: a node joins two others, one of which has {channels} channels; processor time, ms"
    ));
    let [sender, bystander, joiner] = costs;
    table.value("the node with the channels", sender, None);
    table.value("the other node", bystander, Some(5.0));
    table.value("the node that joins", joiner, None);
    Ok(table)
}

/// Events a second, of a kilobyte.
const RATE: u64 = 8_000;
/// Events in a request.
const BATCH: u64 = 10;
/// How long events are published, when the node stands still, and for how long.
const DURATION: Duration = Duration::from_secs(40);
const STOPPED_AT: Duration = Duration::from_secs(5);
const STOPPED_FOR: Duration = Duration::from_secs(9);
/// Events that show how many bytes the link needs.
const TRIAL: Duration = Duration::from_secs(4);

/// Events that other nodes lose while one stands still.
fn stopped(plan: &Plan) -> Result<Table, Fault> {
    let redis = Redis::start();
    let link = Arc::new(Link::default());
    let port = link.listen(redis.port());
    let nodes: Vec<Process> = (0..4).map(|_| node(plan, port)).collect();
    let listeners: Vec<Listener> =
        nodes[1..].iter().map(|it| Listener::start(it.address)).collect();
    until("the nodes know each other", || {
        publish_for(&nodes[0], 0, Duration::from_millis(50), |_| {});
        listeners.iter().all(|listener| listener.received.load(Relaxed) > 0)
    });
    let before = link.bytes.load(Relaxed);
    let mut next = publish_for(&nodes[0], FIRST, TRIAL, |_| {});
    let needed = (link.bytes.load(Relaxed) - before) as f64 / TRIAL.as_secs_f64();
    link.limit.store((needed * 1.15) as u64, Relaxed);
    let seen: Vec<u64> = listeners.iter().map(|it| it.received.load(Relaxed)).collect();
    let full = link.watch();
    let process = nodes[3].id() as i32;
    let mut steps =
        [(STOPPED_AT, libc::SIGSTOP), (STOPPED_AT + STOPPED_FOR, libc::SIGCONT)].into_iter();
    let mut step = steps.next();
    let from = next;
    next = publish_for(&nodes[0], next, DURATION, |elapsed| {
        if let Some((at, signal)) = step
            && elapsed >= at
        {
            send_signal(process, signal).expect("the node runs");
            step = steps.next();
        }
    });
    thread::sleep(Duration::from_secs(3));
    link.has_ended.store(true, Relaxed);
    let full_ms = full.join().map_err(|_| "the link failed")?;
    let lost: Vec<u64> = listeners
        .iter()
        .zip(seen)
        .map(|(listener, seen)| (next - from) - (listener.received.load(Relaxed) - seen))
        .collect();
    let mut table = Table::new(format!(
        "recovery: {RATE} events/s of 1 KB to four nodes over a link of {} MB/s; one stands still \
         for {} s",
        number(needed * 1.15 / 1e6),
        STOPPED_FOR.as_secs()
    ));
    table.value("events lost at the first other node", vec![lost[0] as f64], Some(0.0));
    table.value("events lost at the second other node", vec![lost[1] as f64], Some(0.0));
    table.value("events lost at the node that stood still", vec![lost[2] as f64], None);
    table.value("the link is full, s", vec![full_ms as f64 / 1e3], Some(12.0));
    Ok(table)
}

/// The first number of the events that count.
const FIRST: u64 = 1_000_000;

fn node(plan: &Plan, redis: u16) -> Process {
    let port = redis.to_string();
    let variables = [("REVERB_SCALING_ENABLED", "true"), ("REDIS_PORT", port.as_str())];
    Process::server_with(plan, &variables)
}

/// Publishes events at the rate for this long, and calls `step` between. Returns the number after
/// the last event.
fn publish_for(node: &Process, from: u64, time: Duration, mut step: impl FnMut(Duration)) -> u64 {
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut responses = stream.try_clone().unwrap();
    let reader = thread::spawn(move || _ = std::io::copy(&mut responses, &mut std::io::sink()));
    let (signer, began) = (Signer::new(APP_SECRET), Instant::now());
    let mut next = from;
    while began.elapsed() < time {
        let due = from + (began.elapsed().as_secs_f64() * RATE as f64) as u64;
        while next + BATCH <= due {
            let request = event::publish_batch(&signer, 0, next..next + BATCH, 1_000);
            stream.write_all(&request).unwrap();
            next += BATCH;
        }
        step(began.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = reader.join();
    next
}

/// Counts the events of one subscriber.
struct Listener {
    received: Arc<AtomicU64>,
}

impl Listener {
    fn start(address: SocketAddrV4) -> Self {
        let received = Arc::<AtomicU64>::default();
        let count = Arc::clone(&received);
        let mut stream = open(address);
        stream.write_all(&frame(&subscription(&event::channel(0)))).unwrap();
        thread::spawn(move || {
            let (mut pending, mut chunk) = (Vec::new(), vec![0; 1 << 18]);
            while let Ok(len @ 1..) = stream.read(&mut chunk) {
                pending.extend_from_slice(&chunk[..len]);
                let marks = pending.iter().filter(|byte| **byte == MARK).count();
                count.fetch_add(marks as u64, Relaxed);
                pending.clear();
            }
        });
        Listener { received }
    }
}

/// A connected client.
fn open(address: SocketAddrV4) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let upgrade = format!(
        "GET /app/{APP_KEY}?protocol=7 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).unwrap();
    stream
}

/// A masked text frame; the mask is zero.
fn frame(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn subscription(channel: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
}

/// A client that subscribes to its share of the channels, and stays connected.
fn subscribe(address: SocketAddrV4, client: usize) {
    let mut stream = open(address);
    for n in 0..PER_CLIENT {
        let channel = event::channel(client * PER_CLIENT + n);
        stream.write_all(&frame(&subscription(&channel))).unwrap();
    }
    let (mut confirmed, mut chunk) = (0, vec![0; 1 << 16]);
    while confirmed < PER_CLIENT {
        let len = stream.read(&mut chunk).unwrap();
        confirmed += chunk[..len].windows(19).filter(|it| *it == b"subscription_succee").count();
    }
    std::mem::forget(stream);
}

/// Waits until a node knows the last channel of each client.
fn knows_all(node: &Process) {
    let signer = Signer::new(APP_SECRET);
    let mut stream = TcpStream::connect(node.address).unwrap();
    let mut buffer = vec![0; 4_096];
    for client in 0..CLIENTS {
        let channel = event::channel(client * PER_CLIENT + PER_CLIENT - 1);
        until("the node knows the channels", || {
            stream
                .write_all(&event::get(&signer, &format!("channels/{channel}"), "info="))
                .unwrap();
            let len = stream.read(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).contains(r#""occupied":true"#)
        });
    }
}

/// A link from Redis to all nodes, with a limit that they share.
#[derive(Default)]
struct Link {
    /// Bytes a second from Redis to the nodes; 0 for no limit.
    limit: AtomicU64,
    bytes: AtomicU64,
    /// When the bytes so far are through the link.
    free_at: Mutex<Option<Instant>>,
    has_ended: AtomicBool,
}

impl Link {
    /// Forwards connections at the returned port to Redis.
    fn listen(self: &Arc<Self>, redis: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = Arc::clone(self);
        thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, redis)).unwrap();
                node.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (down, up) = (Arc::clone(&link), Arc::clone(&link));
                let (from, to) = (server.try_clone().unwrap(), node.try_clone().unwrap());
                thread::spawn(move || down.forward(from, to, true));
                thread::spawn(move || up.forward(node, server, false));
            }
        });
        port
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, is_limited: bool) {
        let mut chunk = vec![0; 16_384];
        while let Ok(len @ 1..) = from.read(&mut chunk) {
            if is_limited {
                self.pass(len as u64);
            }
            if to.write_all(&chunk[..len]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
    }

    /// Waits until the link has taken these bytes.
    fn pass(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        let limit = self.limit.load(Relaxed);
        if limit == 0 {
            return;
        }
        let now = Instant::now();
        let free_at = {
            let mut at = self.free_at.lock().unwrap();
            let begin = at.map_or(now, |at| at.max(now));
            *at.insert(begin + Duration::from_secs_f64(bytes as f64 / limit as f64))
        };
        thread::sleep(free_at.saturating_duration_since(now));
    }

    /// Measures, until the end, how many milliseconds the link was full.
    fn watch(self: &Arc<Self>) -> JoinHandle<u64> {
        let link = Arc::clone(self);
        thread::spawn(move || {
            let (mut full_ms, mut before) = (0, link.bytes.load(Relaxed));
            let mut began = Instant::now();
            while !link.has_ended.load(Relaxed) {
                thread::sleep(Duration::from_millis(200));
                let (now, bytes) = (Instant::now(), link.bytes.load(Relaxed));
                let rate = (bytes - before) as f64 / (now - began).as_secs_f64();
                if rate > 0.97 * link.limit.load(Relaxed) as f64 {
                    full_ms += (now - began).as_millis() as u64;
                }
                (before, began) = (bytes, now);
            }
            full_ms
        })
    }
}
