//! All clients and publishers of one measurement, around one poller on one thread: opens them,
//! publishes at a rate, and checks that every event arrived once and in order.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use reverb::proto::auth::Signer;

use crate::client::{Client, CounterVec, Phase};
use crate::event;
use crate::lane::Lane;
use crate::process::{APP_SECRET, Process};
use crate::sys;

/// A failure: an event or a client was lost.
pub type Fault = String;

/// How events are published.
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    /// One request each, this many in flight.
    Requests(u64),
    /// One request for this many events.
    Batch(u64),
    /// A byte to a raw writer, for one event at a time.
    Raw,
}

/// The clients and publishers of one process.
pub struct Swarm {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    target: SocketAddrV4,
    signer: Signer,
    dialed: u32,
    /// Polls without blocking: waking the clients up would be charged to the process that writes to
    /// them; real clients run on other machines.
    awake: bool,
    pub clients: Vec<Client>,
    pub lanes: Vec<Lane>,
    pub tally: CounterVec,
    /// What [`By::Requests`] publishes.
    pub data: event::Data,
    /// Whether the client of this index offers compression.
    pub offers_deflate: fn(usize) -> bool,
    /// The receive buffer of a client that does not read; the default of the kernel if none.
    pub receive_buffer: Option<i32>,
}

impl Swarm {
    /// One publisher and no clients yet, which will use this many channels.
    pub fn new(process: &Process, channels: usize) -> Self {
        let mut swarm = Swarm {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1_024),
            buffer: vec![0; 262_144],
            target: process.address,
            signer: Signer::new(APP_SECRET),
            dialed: 0,
            awake: process.alone,
            clients: Vec::new(),
            lanes: Vec::new(),
            tally: CounterVec::new(channels),
            data: event::data,
            offers_deflate: |_| false,
            receive_buffer: None,
        };
        swarm.add_lane();
        swarm
    }

    pub fn add_lane(&mut self) {
        let mut stream = sys::connect_from(Ipv4Addr::LOCALHOST, self.target, None).unwrap();
        let token = Token(FIRST_LANE + self.lanes.len());
        self.poll.registry().register(&mut stream, token, BOTH).unwrap();
        self.lanes.push(Lane::new(stream));
    }

    /// Adds this many clients and waits until each is connected and subscribed; `parallel` of them
    /// connect at a time.
    pub fn open(
        &mut self,
        count: usize,
        parallel: usize,
        channel: impl Fn(usize) -> Option<usize>,
    ) -> Result<(), Fault> {
        let first = self.clients.len();
        self.clients.extend((0..count).map(|n| Client::new(channel(n))));
        self.reopen(first..first + count, parallel)
    }

    /// Connects these clients, regardless of their state.
    pub fn reopen(&mut self, range: Range<usize>, parallel: usize) -> Result<(), Fault> {
        let (already, count) = (self.tally.ready, range.len());
        let mut waiting = range;
        let until = Instant::now() + PATIENCE;
        while self.tally.ready < already + count {
            let done = self.tally.ready - already;
            let on_their_way = count - waiting.len() - done;
            for index in waiting.by_ref().take(parallel.saturating_sub(on_their_way)) {
                let stream = self.dial(index);
                self.clients[index].begin(stream, (self.offers_deflate)(index));
            }
            self.turn();
            self.check(until, "connecting")?;
        }
        Ok(())
    }

    fn dial(&mut self, index: usize) -> mio::net::TcpStream {
        // 16 addresses have enough ports, also for connections that have just closed.
        self.dialed += 1;
        let source = Ipv4Addr::new(127, 0, 0, 2 + (self.dialed % 16) as u8);
        let mut stream = sys::connect_from(source, self.target, self.receive_buffer).unwrap();
        self.poll.registry().register(&mut stream, Token(index), BOTH).unwrap();
        stream
    }

    pub fn hang_up(&mut self, range: Range<usize>) {
        for index in range {
            self.clients[index].hang_up(&mut self.tally);
        }
    }

    /// Publishes `events` to one channel after the other, with at most as many in flight as `by`
    /// allows, and waits until all have arrived. Each channel has `audience` subscribers.
    pub fn publish(
        &mut self,
        by: By,
        events: u64,
        audience: u64,
        size: usize,
    ) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        let (received, channels) = (self.tally.received, self.tally.published.len());
        let mut channel = 0;
        let mut published = 0;
        while published < events {
            let count = match by {
                By::Requests(count) | By::Batch(count) => count.min(events - published),
                By::Raw => 1,
            };
            match by {
                By::Raw => {
                    self.tally.published[0] += 1;
                    self.lanes[0].send(&[0]);
                }
                By::Batch(_) => {
                    let from = self.tally.published[channel];
                    self.tally.published[channel] += count;
                    let numbers = from..from + count;
                    let request = event::publish_batch(&self.signer, channel, numbers, size);
                    self.lanes[0].send(&request);
                    channel = (channel + 1) % channels;
                }
                By::Requests(_) => {
                    let mut requests = Vec::new();
                    for _ in 0..count {
                        let number = self.number(channel);
                        let data = (self.data)(number, size);
                        requests.extend(event::publish_data(&self.signer, channel, &data));
                        channel = (channel + 1) % channels;
                    }
                    self.lanes[0].send(&requests);
                }
            }
            published += count;
            while self.tally.received < received + published * audience {
                self.turn();
                self.check(until, "publishing")?;
            }
        }
        Ok(())
    }

    /// Publishes `events` to the first channel at this rate per second, regardless of the server;
    /// latency counts from the moment an event was due.
    pub fn publish_at(&mut self, rate: f64, events: u64, size: usize) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        let subscribers = self.clients.iter().filter(|client| !client.deaf).count() as u64;
        let (start, received) = (self.tally.now_ns(), self.tally.received);
        let mut published = 0;
        while self.tally.received < received + events * subscribers {
            let now_ns = self.tally.now_ns();
            let due_ns = |number: u64| start + (number as f64 * 1e9 / rate) as u64;
            let mut requests = Vec::new();
            while published < events && due_ns(published) <= now_ns {
                let number = self.number(0);
                self.tally.sent_ns.resize(number as usize, u64::MAX);
                self.tally.sent_ns.push(due_ns(published));
                requests.extend(event::publish(&self.signer, 0, number, size));
                published += 1;
            }
            if !requests.is_empty() {
                self.lanes[0].send(&requests);
            }
            self.turn();
            self.check(until, "publishing at a rate")?;
        }
        Ok(())
    }

    /// Publishes one event at a time to the first channel, and measures each.
    pub fn echo(&mut self, events: u64, size: usize) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        let subscribers = self.clients.iter().filter(|c| c.channel == Some(0)).count() as u64;
        for _ in 0..events {
            let received = self.tally.received;
            let number = self.number(0);
            let request = event::publish(&self.signer, 0, number, size);
            self.tally.sent_ns.resize(number as usize, u64::MAX);
            let now = self.tally.now_ns();
            self.tally.sent_ns.push(now);
            self.lanes[0].send(&request);
            while self.tally.received < received + subscribers {
                self.turn();
                self.check(until, "echoing")?;
            }
        }
        Ok(())
    }

    /// Keeps one of these requests in flight per publisher until `count` responses have arrived.
    pub fn send_requests(&mut self, requests: &[Vec<u8>], count: u64) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        let mut waiting = requests.iter().cycle().take(count as usize);
        let mut answered: Vec<u64> = self.lanes.iter().map(|lane| lane.answered).collect();
        let end = answered.iter().sum::<u64>() + count;
        for (lane, request) in self.lanes.iter_mut().zip(&mut waiting) {
            lane.send(request);
        }
        while answered.iter().sum::<u64>() < end {
            self.turn();
            self.check(until, "asking")?;
            for (lane, answered) in self.lanes.iter_mut().zip(&mut answered) {
                if lane.answered > *answered {
                    *answered = lane.answered;
                    waiting.next().into_iter().for_each(|request| lane.send(request));
                }
            }
        }
        Ok(())
    }

    /// A signer of the app, for requests that are prepared in advance.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The number of the next event of a channel, which counts as published.
    pub fn number(&mut self, channel: usize) -> u64 {
        self.tally.published[channel] += 1;
        self.tally.published[channel] - 1
    }

    fn turn(&mut self) {
        self.turn_within(if self.awake { Duration::ZERO } else { TURN });
    }

    /// Handles ready events, or waits this long for the first.
    pub fn turn_within(&mut self, timeout: Duration) {
        let _ = self.poll.poll(&mut self.events, Some(timeout));
        for event in &self.events {
            let (ended, token) = (event.is_read_closed() || event.is_error(), event.token().0);
            if let Some(lane) = token.checked_sub(FIRST_LANE) {
                self.lanes[lane].flush();
                self.lanes[lane].receive(&mut self.buffer);
                continue;
            }
            let client = &mut self.clients[token];
            client.flush();
            client.receive(&mut self.buffer, ended, &mut self.tally);
        }
    }

    fn check(&self, until: Instant, doing: &str) -> Result<(), Fault> {
        let CounterVec { ready, received, refused, .. } = self.tally;
        let requests: u64 = self.lanes.iter().map(|lane| lane.refused).sum();
        if refused + requests > 0 {
            return Err(format!("{doing}: {refused} clients, {requests} requests refused"));
        }
        if Instant::now() > until {
            return Err(format!("{doing}: no end in sight; {ready} ready, {received} received"));
        }
        Ok(())
    }

    /// Fails unless every event reached every subscriber once and in order, and the server
    /// disconnected none.
    pub fn finish(&self) -> Result<(), Fault> {
        let CounterVec { late, refused, mut missing, .. } = self.tally;
        let listening = self.clients.iter().filter(|c| c.phase == Phase::Ready && !c.deaf);
        for client in listening {
            let published = client.channel.map_or(0, |channel| self.tally.published[channel]);
            missing += published - client.next;
        }
        match missing + late + refused {
            0 => Ok(()),
            _ => Err(format!("{missing} missing, {late} twice or late, {refused} let go")),
        }
    }
}

const FIRST_LANE: usize = 1 << 32;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Whether the clients share their processor with the server.
const TURN: Duration = Duration::from_millis(1);
/// The longest wait before an event or a client counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);
