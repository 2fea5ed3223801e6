//! Bursts: the cost of thousands of clients that connect and disconnect, and that it grows linearly
//! with their number.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use reverb::hub::ConnId;

use crate::Plan;
use crate::api::raw_request;
use crate::process::Process;
use crate::swarm::Fault;
use crate::sys;
use crate::table::Table;
use crate::world::{World, frame};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table =
        Table::new("storms: server CPU in µs each, against a request answered without parsing");
    let (mut raw, mut resets) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        raw.push(raw_request(plan, 200)?);
        resets.push(reset_all(plan)?);
    }
    table.ratio("connection opened, and reset after an answer", resets, &raw, Some(7.0));

    let few = if plan.quick { 200 } else { 1_000 };
    let mut growth = Table::new(format!(
        "storms: CPU of the hub without sockets in µs each, ten times as many against {few}"
    ));
    type Storm = fn(usize) -> f64;
    let storms: [(&str, Storm, usize); 4] = [
        ("subscribe and unsubscribe, with so many on the channel", flap, few),
        // A connection may have a thousand channels by default.
        ("channel of a connection with a tenth of so many", many_channels, few / 10),
        ("connection of one user that joins a presence channel with so many", join_again, few),
        ("member of one presence channel that all leave together", leave_together, few),
    ];
    for (what, storm, few) in storms {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            small.push(storm(few));
            large.push(storm(few * 10));
        }
        growth.ratio(what, large, &small, Some(2.0));
    }

    let mut rest = Table::new("storms: a server without free descriptors, 200 clients waiting");
    let idle: Result<Vec<f64>, Fault> = (0..plan.runs).map(|_| exhausted(plan)).collect();
    rest.value("server CPU in a second, ms", idle?, Some(20.0));
    Ok(vec![table, growth, rest])
}

/// Connections that send a request, and reset with the response unread.
fn reset_all(plan: &Plan) -> Result<f64, Fault> {
    let server = Process::server(plan);
    let count = plan.scaled(10_000);
    let before = server.cpu_ns();
    for _ in 0..count / 100 {
        let some: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
        for mut stream in &some {
            stream.write_all(b"GET /up HTTP/1.1\r\n\r\n").map_err(|error| error.to_string())?;
        }
        for stream in &some {
            stream.peek(&mut [0]).map_err(|error| error.to_string())?;
        }
    }
    server.settle(Duration::from_secs(2));
    Ok((server.cpu_ns() - before) / 1e3 / count as f64)
}

fn connect(server: &Process) -> TcpStream {
    TcpStream::connect(server.address).expect("the server listens")
}

/// Processor time of this process, which is that of one thread here, in µs.
fn timed(act: impl FnOnce()) -> f64 {
    let before = sys::process_cpu_ns(std::process::id());
    act();
    (sys::process_cpu_ns(std::process::id()) - before) as f64 / 1e3
}

fn flap(others: usize) -> f64 {
    let mut world = World::new();
    (0..others).for_each(|_| _ = world.subscriber("c"));
    let client = world.subscriber("d");
    let message =
        |verb: &str| frame(&format!(r#"{{"event":"pusher:{verb}","data":{{"channel":"c"}}}}"#));
    let pair = [message("subscribe"), message("unsubscribe")].concat();
    let rounds = 10_000;
    timed(|| (0..rounds).for_each(|_| _ = world.handle(client, &mut pair.clone()))) / rounds as f64
}

fn many_channels(count: usize) -> f64 {
    let mut world = World::with(|limits| limits.channels_per_connection = count as u32 + 1);
    let client = world.subscriber("c");
    let message = |verb: &str, n: usize| {
        // The order differs from that of every list in the hub.
        let n = n * 7_919 % count;
        frame(&format!(r#"{{"event":"pusher:{verb}","data":{{"channel":"channel-{n}"}}}}"#))
    };
    let spent = timed(|| {
        (0..count).for_each(|n| _ = world.handle(client, &mut message("subscribe", n)));
        (0..count).for_each(|n| _ = world.handle(client, &mut message("unsubscribe", n)));
    });
    spent / count as f64
}

/// The cost of a join without that of the member list and of member events: there is one user.
fn join_again(tabs: usize) -> f64 {
    let mut world = World::new();
    timed(|| (0..tabs).for_each(|_| _ = world.member(7))) / tabs as f64
}

/// The hub handles the disconnects in small groups, as it does in the event loop.
fn leave_together(members: usize) -> f64 {
    let mut world = World::new();
    let ids: Vec<ConnId> = (0..members).map(|user| world.member(user)).collect();
    let spent = timed(|| {
        for some in ids.chunks(100) {
            some.iter().for_each(|&id| world.hub.finished(id, world.now));
            world.write();
            world.now.ms += 2;
        }
        world.pass(2);
    });
    assert_eq!(world.hub.connections(), 0);
    spent / members as f64
}

/// The cost of waiting for a server that cannot accept connections.
fn exhausted(plan: &Plan) -> Result<f64, Fault> {
    let server = Process::server_with_descriptors(plan, 40);
    let _waiting: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    // Once the first client has a response, the rest are in the backlog.
    let mut first = &_waiting[0];
    first.write_all(b"GET /up HTTP/1.1\r\n\r\n").map_err(|error| error.to_string())?;
    first.read_exact(&mut [0]).map_err(|error| error.to_string())?;
    let (before, began) = (server.cpu_ns(), Instant::now());
    thread::sleep(Duration::from_secs(1));
    Ok((server.cpu_ns() - before) / 1e6 / began.elapsed().as_secs_f64())
}
