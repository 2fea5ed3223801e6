//! A proxy between a node and Redis that injects network faults: it cuts connections, also within a
//! message, refuses, stalls and delays them, duplicates publishes, and injects bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::resp::{command, first_command};

/// A proxy in front of one Redis, for one node.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    redis: AtomicU16,
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Default)]
struct Rules {
    refused: bool,
    held: bool,
    delay: Duration,
    doubled: bool,
    /// The mean number of bytes in one direction after which a connection is cut.
    cut_after_bytes: Option<usize>,
    random: u64,
    /// Each connection: the socket to the node and the socket to Redis.
    open: Vec<(TcpStream, TcpStream)>,
    ended: bool,
}

/// How bytes are forwarded at the moment.
struct Passage {
    delay: Duration,
    is_doubled: bool,
    is_cut: bool,
}

impl Proxy {
    pub fn start(redis: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Mutex::new(Rules { random: u64::from(port) | 1, ..Rules::default() });
        let shared =
            Arc::new(Shared { redis: AtomicU16::new(redis), rules, changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                if of_thread.rules().ended {
                    return;
                }
                connect(&of_thread, node);
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections. New ones lead to another Redis server.
    pub fn lead_to(&self, redis: u16) {
        self.lead_new_to(redis);
        self.cut();
    }

    /// Forwards new connections to another Redis server. Existing connections stay.
    pub fn lead_new_to(&self, redis: u16) {
        self.shared.redis.store(redis, Ordering::Relaxed);
    }

    /// Cuts all connections. New ones are accepted.
    pub fn cut(&self) {
        self.shared.rules().cut();
    }

    /// Cuts all connections and refuses new ones until [`Proxy::mend`].
    pub fn refuse(&self) {
        let mut rules = self.shared.rules();
        rules.refused = true;
        rules.cut();
    }

    /// Keeps connections open, but forwards nothing until [`Proxy::mend`].
    pub fn hold(&self) {
        self.shared.rules().held = true;
    }

    /// Delays all bytes.
    pub fn delay(&self, milliseconds: u64) {
        self.shared.rules().delay = Duration::from_millis(milliseconds);
    }

    /// Sends each PUBLISH twice; the duplicate on its own connection, so that its order varies.
    pub fn double(&self) {
        self.shared.rules().doubled = true;
    }

    /// Cuts new connections after about this many bytes each way, also within a message.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.rules().cut_after_bytes = Some(bytes);
    }

    /// Sends bytes to the node as if they were from Redis.
    pub fn say(&self, bytes: &[u8]) {
        for (node, _) in &self.shared.rules().open {
            let _ = (&*node).write_all(bytes);
        }
    }

    /// Ends all faults: the proxy only forwards.
    pub fn mend(&self) {
        let mut rules = self.shared.rules();
        let open = std::mem::take(&mut rules.open);
        *rules = Rules { random: rules.random, open, ..Rules::default() };
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut rules = self.shared.rules();
        rules.ended = true;
        rules.cut();
        drop(rules);
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap()
    }

    fn redis(&self) -> u16 {
        self.redis.load(Ordering::Relaxed)
    }

    /// Waits while connections are stalled, then returns how bytes are forwarded.
    fn passage(&self) -> Passage {
        let rules = self.rules();
        let rules = self.changed.wait_while(rules, |rules| rules.held && !rules.ended).unwrap();
        let is_cut = rules.cut_after_bytes.is_some();
        Passage { delay: rules.delay, is_doubled: rules.doubled, is_cut }
    }
}

impl Rules {
    fn cut(&mut self) {
        for (node, redis) in self.open.drain(..) {
            let _ = node.shutdown(Shutdown::Both);
            let _ = redis.shutdown(Shutdown::Both);
        }
    }

    /// The number of bytes after which one direction of a new connection is cut.
    fn end(&mut self) -> usize {
        let Some(mean) = self.cut_after_bytes else { return usize::MAX };
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        1 + self.random as usize % (2 * mean)
    }
}

/// Connects a node to Redis, or closes its connection if Redis is unreachable.
fn connect(shared: &Arc<Shared>, node: TcpStream) {
    let mut rules = shared.rules();
    if rules.refused {
        return;
    }
    let Ok(redis) = TcpStream::connect(("127.0.0.1", shared.redis())) else { return };
    let _ = (node.set_nodelay(true), redis.set_nodelay(true));
    let ends = [rules.end(), rules.end()];
    rules.open.push((node.try_clone().unwrap(), redis.try_clone().unwrap()));
    drop(rules);
    let (back, forth) = (redis.try_clone().unwrap(), node.try_clone().unwrap());
    let [of_there, of_back] = [Arc::clone(shared), Arc::clone(shared)];
    thread::spawn(move || there(&of_there, node, redis, ends[0]));
    thread::spawn(move || carry(&of_back, back, forth, ends[1], |_, _| {}));
}

/// Forwards bytes from the node to Redis, and duplicates publishes if that fault is set.
fn there(shared: &Shared, node: TcpStream, redis: TcpStream, end: usize) {
    let mut pending = Vec::new();
    let mut second: Option<TcpStream> = None;
    carry(shared, node, redis, end, |bytes, doubled| {
        pending.extend_from_slice(bytes);
        while let Some((length, name)) = first_command(&pending) {
            if doubled && name == "PUBLISH" {
                let second = second.get_or_insert_with(|| silent(shared.redis()));
                let _ = second.write_all(&pending[..length]);
            }
            pending.drain(..length);
        }
    });
}

/// A connection on which Redis sends no replies.
fn silent(redis: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", redis)).unwrap();
    stream.write_all(&command(&[b"CLIENT", b"REPLY", b"OFF"])).unwrap();
    stream
}

/// Forwards bytes until either socket closes, or until `end` bytes have passed if connections are
/// cut.
fn carry(
    shared: &Shared,
    mut from: TcpStream,
    mut to: TcpStream,
    mut end: usize,
    mut seen: impl FnMut(&[u8], bool),
) {
    let mut chunk = [0; 65536];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let passage = shared.passage();
        thread::sleep(passage.delay);
        let bytes = match passage.is_cut {
            true => &chunk[..length.min(end)],
            false => &chunk[..length],
        };
        end = end.saturating_sub(bytes.len());
        if to.write_all(bytes).is_err() || (passage.is_cut && end == 0) {
            break;
        }
        seen(bytes, passage.is_doubled);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
