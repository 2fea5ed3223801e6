//! What stands between a node and its Redis, and does to the connection what networks do: cuts it,
//! in the middle of a message too, refuses it, holds it up, delays it, doubles what is published,
//! and puts in bytes that nobody sent.

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
    /// Each direction of a connection carries about so many bytes before both are cut.
    cut_after_bytes: Option<usize>,
    random: u64,
    /// The node's side of each connection, and Redis'.
    open: Vec<(TcpStream, TcpStream)>,
    ended: bool,
}

/// How bytes pass at the moment.
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

    /// Ends the connections there are. New ones lead to another Redis.
    pub fn lead_to(&self, redis: u16) {
        self.lead_new_to(redis);
        self.cut();
    }

    /// Leads new connections to another Redis. Existing connections stay.
    pub fn lead_new_to(&self, redis: u16) {
        self.shared.redis.store(redis, Ordering::Relaxed);
    }

    /// Ends the connections there are. New ones pass.
    pub fn cut(&self) {
        self.shared.rules().cut();
    }

    /// Ends the connections there are, and takes no more until [`Proxy::mend`].
    pub fn refuse(&self) {
        let mut rules = self.shared.rules();
        rules.refused = true;
        rules.cut();
    }

    /// Connections stay open, and nothing comes through until [`Proxy::mend`].
    pub fn hold(&self) {
        self.shared.rules().held = true;
    }

    /// Everything arrives so much later.
    pub fn delay(&self, milliseconds: u64) {
        self.shared.rules().delay = Duration::from_millis(milliseconds);
    }

    /// Each PUBLISH is given a second time, by a connection of its own: before or after the next.
    pub fn double(&self) {
        self.shared.rules().doubled = true;
    }

    /// Connections are cut, wherever a message stands then, after about so many bytes each way.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.rules().cut_after_bytes = Some(bytes);
    }

    /// The node receives bytes that Redis has not sent.
    pub fn say(&self, bytes: &[u8]) {
        for (node, _) in &self.shared.rules().open {
            let _ = (&*node).write_all(bytes);
        }
    }

    /// From now on it only passes on.
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

    /// Waits as long as nothing may pass; says how what passes does.
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

    /// After how many bytes a direction of a new connection ends.
    fn end(&mut self) -> usize {
        let Some(mean) = self.cut_after_bytes else { return usize::MAX };
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        1 + self.random as usize % (2 * mean)
    }
}

/// Joins a node to Redis, or ends its connection when there is no way.
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

/// Carries what the node says to Redis, and some of it twice.
fn there(shared: &Shared, node: TcpStream, redis: TcpStream, end: usize) {
    let mut said = Vec::new();
    let mut second: Option<TcpStream> = None;
    carry(shared, node, redis, end, |bytes, doubled| {
        said.extend_from_slice(bytes);
        while let Some((length, name)) = first_command(&said) {
            if doubled && name == "PUBLISH" {
                let second = second.get_or_insert_with(|| silent(shared.redis()));
                let _ = second.write_all(&said[..length]);
            }
            said.drain(..length);
        }
    });
}

/// A connection to Redis on which it does not answer.
fn silent(redis: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", redis)).unwrap();
    stream.write_all(&command(&[b"CLIENT", b"REPLY", b"OFF"])).unwrap();
    stream
}

/// Carries bytes from one to the other until one of them ends; or until `end` bytes have passed,
/// when connections are being cut.
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
