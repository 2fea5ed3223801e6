//! The cost of webhooks: processor time for a steady stream of events, and the delay of other
//! clients while many leave at once. The receiver is a thread of this process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Plan;
use crate::event;
use crate::fanout::PARALLEL;
use crate::lane::{find, whole};
use crate::process::{APP_KEY, Process};
use crate::swarm::{Fault, Swarm};
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut stream = Table::new(format!(
        "webhooks: {RATE} client events a second from {SENDERS} clients, server CPU in percent of \
         a processor"
    ));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        without.push(stream_of_events(plan, None)?);
        with.push(stream_of_events(plan, Some(&Receiver::start()))?);
    }
    let added = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    stream.value("added by a webhook that gets all of them", added, Some(10.0));
    stream.ratio("with it, against a server without webhooks", with, &without, None);

    let count = plan.connections(plan.scaled(50_000) as usize - 1);
    let mut leaving = Table::new(format!(
        "webhooks: {count} clients leave at once, each the last member of {CHANNELS} presence \
         channels; delay of an event for another client, ms"
    ));
    let (mut longest, mut longest_without, mut middle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        longest_without.push(leave_at_once(plan, count, None)?[1]);
        let [p50, most] = leave_at_once(plan, count, Some(&Receiver::start()))?;
        middle.push(p50);
        longest.push(most);
    }
    // So many closed connections delay an event without webhooks as well.
    let added = longest.iter().zip(&longest_without).map(|(with, without)| with - without);
    leaving.value("p50, with a webhook", middle, None);
    leaving.value("longest, added by a webhook", added.collect(), Some(50.0));
    leaving.ratio(
        "longest, with a webhook, against a server without",
        longest,
        &longest_without,
        None,
    );
    Ok(vec![stream, leaving])
}

fn server(plan: &Plan, receiver: Option<&Receiver>, events: &str) -> Process {
    let mut variables = vec![
        ("REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS", "true"),
        ("REVERB_LIMIT_CLIENT_EVENTS_PER_SECOND", "0"),
        ("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", "all"),
    ];
    if let Some(receiver) = receiver {
        variables.push(("REVERB_APP_WEBHOOK_URL", &receiver.url));
        variables.push(("REVERB_APP_WEBHOOK_EVENTS", events));
    }
    Process::server_with(plan, &variables)
}

/// The server's share of a processor, in percent, while clients send events at [`RATE`].
fn stream_of_events(plan: &Plan, receiver: Option<&Receiver>) -> Result<f64, Fault> {
    let server = server(plan, receiver, "client_event,channel_occupied,channel_vacated");
    let mut swarm = Swarm::new(&server, SENDERS);
    swarm.open(SENDERS, PARALLEL, Some)?;
    server.settle(Duration::from_millis(500));
    let messages: Vec<String> = (0..SENDERS)
        .map(|n| {
            let channel = event::channel(n);
            format!(r#"{{"event":"client-moved","channel":"{channel}","data":{{"x":100,"y":7}}}}"#)
        })
        .collect();
    // Each sender has occupied its channel.
    if let Some(receiver) = receiver {
        receiver.wait_for(SENDERS as u64)?;
    }
    let (count, cpu, began) = (plan.scaled(RATE * 5), server.cpu_ns(), Instant::now());
    for n in 0..count {
        let due = Duration::from_nanos(n * 1_000_000_000 / RATE);
        while began.elapsed() < due {
            swarm.turn_within(Duration::ZERO);
        }
        let sender = n as usize % SENDERS;
        swarm.clients[sender].message(&messages[sender]);
    }
    let share = (server.cpu_ns() - cpu) / began.elapsed().as_nanos() as f64 * 100.0;
    if let Some(receiver) = receiver {
        receiver.wait_for(SENDERS as u64 + count)?;
    }
    swarm.finish()?;
    Ok(share)
}

/// The median and the longest delay of an event, in ms, while this many clients leave and are
/// reported.
fn leave_at_once(
    plan: &Plan,
    count: usize,
    receiver: Option<&Receiver>,
) -> Result<[f64; 2], Fault> {
    let server = server(plan, receiver, "member_added,member_removed");
    let mut swarm = Swarm::new(&server, count + 1);
    swarm.open(count + 1, PARALLEL, Some)?;
    // Only the first client is expected to receive what follows.
    swarm.clients[1..].iter_mut().for_each(|client| client.deaf = true);
    for n in 1..count + 1 {
        join(&mut swarm, n);
    }
    let members = (CHANNELS * count) as u64;
    if let Some(receiver) = receiver {
        receiver.wait_for(members)?;
    }
    server.settle(Duration::from_secs(2));
    // The server has closed the connection of the publisher, if the clients took ten seconds.
    swarm.lanes.clear();
    swarm.add_lane();
    swarm.hang_up(1..count + 1);
    // The clients are reported three seconds after they have left.
    swarm.publish_at(200.0, 200 * 6, 200)?;
    if let Some(receiver) = receiver {
        receiver.wait_for(2 * members)?;
    }
    swarm.finish()?;
    let ms = |part| percentile(&swarm.tally.latencies, part) / 1e6;
    Ok([ms(0.5), ms(1.0)])
}

/// Makes a client the only member of [`CHANNELS`] presence channels.
fn join(swarm: &mut Swarm, client: usize) {
    let data = format!(r#"{{"user_id":"{client}"}}"#);
    for n in 0..CHANNELS {
        let channel = format!("presence-{client}-{n}");
        let socket_id = swarm.clients[client].socket_id.clone();
        let signature = swarm.signer().sign(&[&socket_id, ":", &channel, ":", &data]);
        let message = json!({"event": "pusher:subscribe", "data": {
            "channel": channel, "auth": format!("{APP_KEY}:{signature}"), "channel_data": data,
        }});
        swarm.clients[client].message(&message.to_string());
    }
}

/// An HTTP server that acknowledges each request and counts the events.
struct Receiver {
    url: String,
    events: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let events = Arc::<AtomicU64>::default();
        let count = Arc::clone(&events);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                thread::spawn(move || serve(stream, &count));
            }
        });
        Receiver { url, events }
    }

    fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn wait_for(&self, events: u64) -> Result<(), Fault> {
        let began = Instant::now();
        while self.events() < events {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(format!("{} of {events} events reached the webhook", self.events()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        match self.events() {
            count if count == events => Ok(()),
            count => Err(format!("{count} events reached the webhook, {events} were expected")),
        }
    }
}

fn serve(mut stream: TcpStream, events: &AtomicU64) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
        while let Some(len) = whole(&bytes) {
            let mut rest = &bytes[..len];
            while let Some(at) = find(rest, NAME) {
                events.fetch_add(1, Ordering::Relaxed);
                rest = &rest[at + NAME.len()..];
            }
            bytes.drain(..len);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// How an event in a body begins.
const NAME: &[u8] = br#"{"name":""#;
/// The channels that each client leaves: three times the clients that the open-file limit allows.
const CHANNELS: usize = 3;
/// Client events a second, of all clients.
const RATE: u64 = 2_000;
const SENDERS: usize = 20;
