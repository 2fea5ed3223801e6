//! One event to many subscribers: the cost of a delivery, against a bare loop of writes; and
//! whether channels without events have a cost.

use crate::Plan;
use crate::process::Process;
use crate::swarm::{By, Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(
        "fanout: server CPU in seconds per million deliveries to the subscribers of one channel, \
         against a bare loop that writes each event to each socket, one event in flight",
    );
    for size in [200, 2_000] {
        for subscribers in [100, 1_000, 9_500] {
            let subscribers = plan.connections(subscribers);
            let (mut raw, mut one) = (Vec::new(), Vec::new());
            let mut shared = SHARED.map(|_| Vec::new());
            for _ in 0..plan.runs {
                let (bare, server) = one_in_flight(plan, subscribers, size)?;
                raw.push(bare);
                one.push(server);
                for ((_, by), costs) in SHARED.iter().zip(&mut shared) {
                    costs.push(cost(plan, *by, subscribers, size)?);
                }
            }
            let what = |way| format!("{subscribers} × {size} B, {way}");
            table.ratio(what("one in flight"), one, &raw, Some(1.10));
            for ((way, _), costs) in SHARED.iter().zip(shared) {
                // Without a ratio: the bare loop writes each event by itself, so it does less with
                // each write than the server does here.
                table.value(what(way), costs, None);
            }
        }
    }
    Ok(vec![table])
}

/// Ways in which events share writes.
const SHARED: [(&str, By); 2] =
    [("16 pipelined", By::Requests(16)), ("batches of 10", By::Batch(10))];

/// The cost of a delivery for a bare loop and for the server. They take turns, so that a change in
/// the load of the machine affects both. Their sockets have the same history: a socket that once
/// received much at a time acknowledges less often from then on.
fn one_in_flight(plan: &Plan, subscribers: usize, size: usize) -> Result<(f64, f64), Fault> {
    let (count, bytes) = (subscribers.to_string(), size.to_string());
    let writer = Process::raw(plan, &["--raw-writer", &count, &bytes]);
    let mut bare = Swarm::new(&writer, 1);
    bare.open(subscribers, PARALLEL, |_| Some(0))?;
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(subscribers, PARALLEL, |_| Some(0))?;

    let (audience, mut spent) = (subscribers as u64, (0.0, 0.0));
    let events = (plan.scaled(DELIVERIES) / TURNS / audience).max(16);
    // The first events allocate memory that is reused.
    bare.publish(By::Raw, events, audience, size)?;
    swarm.publish(By::Requests(1), events, audience, size)?;
    for _ in 0..TURNS {
        let before = writer.cpu_ns();
        bare.publish(By::Raw, events, audience, size)?;
        spent.0 += writer.cpu_ns() - before;
        let before = server.cpu_ns();
        swarm.publish(By::Requests(1), events, audience, size)?;
        spent.1 += server.cpu_ns() - before;
    }
    bare.finish()?;
    swarm.finish()?;
    let each = |cpu_ns: f64| cpu_ns / 1e3 / (TURNS * events * audience) as f64;
    Ok((each(spent.0), each(spent.1)))
}

fn cost(plan: &Plan, by: By, subscribers: usize, size: usize) -> Result<f64, Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(subscribers, PARALLEL, |_| Some(0))?;
    let audience = subscribers as u64;
    let events = (plan.scaled(DELIVERIES) / audience).max(48);
    swarm.publish(by, (events / 10).max(16), audience, size)?;
    let before = server.cpu_ns();
    swarm.publish(by, events, audience, size)?;
    let cpu_ns = server.cpu_ns() - before;
    swarm.finish()?;
    Ok(cpu_ns / 1e3 / (events * audience) as f64)
}

/// Cost of a publish to one of ten thousand channels.
pub fn run_channels(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let many = plan.connections(10_000);
    let mut table = Table::new(format!(
        "channels: server CPU in µs per publish to one subscriber, one in flight: {many} \
         subscribers on as many channels, round robin, against one on an otherwise empty server"
    ));
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        one.push(cost_of_channels(plan, 1)?);
        all.push(cost_of_channels(plan, many)?);
    }
    table.ratio(format!("{many} channels, 200 B"), all, &one, Some(1.3));
    Ok(vec![table])
}

fn cost_of_channels(plan: &Plan, channels: usize) -> Result<f64, Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, channels);
    swarm.open(channels, PARALLEL, Some)?;
    let events = plan.scaled(30_000);
    swarm.publish(By::Requests(1), events / 10, 1, 200)?;
    let before = server.cpu_ns();
    swarm.publish(By::Requests(1), events, 1, 200)?;
    let cpu_ns = server.cpu_ns() - before;
    swarm.finish()?;
    Ok(cpu_ns / 1e3 / events as f64)
}

const DELIVERIES: u64 = 500_000;
/// The number of turns.
const TURNS: u64 = 10;
/// Clients that connect at the same time.
pub const PARALLEL: usize = 64;
