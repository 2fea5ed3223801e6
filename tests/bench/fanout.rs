//! One event to many: what a delivery costs, against a bare loop of writes; and whether channels
//! nobody publishes to cost anything.

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
            let (mut raw, mut ours) = (Vec::new(), WAYS.map(|_| Vec::new()));
            for _ in 0..plan.runs {
                let [bare, costs @ ..] = costs(plan, subscribers, size)?;
                raw.push(bare);
                ours.iter_mut().zip(costs).for_each(|(all, cost)| all.push(cost));
            }
            for ((way, _, target), costs) in WAYS.iter().zip(ours) {
                let what = format!("{subscribers} × {size} B, {way}");
                table.ratio(what, costs, &raw, Some(*target));
            }
        }
    }
    Ok(vec![table])
}

const WAYS: [(&str, By, f64); 3] = [
    ("one in flight", By::Requests(1), 1.10),
    ("16 pipelined", By::Requests(16), 0.50),
    ("batches of 10", By::Batch(10), 0.50),
];

/// What a delivery costs a bare loop, and the server in each of the ways. Both are there at the same
/// time and write by turns, so that neither has the better moments of the machine.
fn costs(plan: &Plan, subscribers: usize, size: usize) -> Result<[f64; 4], Fault> {
    let (count, bytes) = (subscribers.to_string(), size.to_string());
    let writer = Process::raw(plan, &["--raw-writer", &count, &bytes]);
    let mut bare = Swarm::new(&writer, 1);
    bare.open(subscribers, PARALLEL, |_| Some(0))?;
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(subscribers, PARALLEL, |_| Some(0))?;

    let mut spent = [0.0; 4];
    let audience = subscribers as u64;
    let events = (plan.scaled(DELIVERIES) / TURNS / audience).max(16);
    // The first events pay for memory that stays.
    for turn in 0..=TURNS {
        let counts = turn > 0;
        let before = writer.cpu_ns();
        bare.publish(By::Raw, events, audience, size)?;
        spent[0] += if counts { writer.cpu_ns() - before } else { 0.0 };
        for ((_, by, _), spent) in WAYS.iter().zip(&mut spent[1..]) {
            let before = server.cpu_ns();
            swarm.publish(*by, events, audience, size)?;
            *spent += if counts { server.cpu_ns() - before } else { 0.0 };
        }
    }
    bare.finish()?;
    swarm.finish()?;
    Ok(spent.map(|cpu_ns| cpu_ns / 1e3 / (TURNS * events * audience) as f64))
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
/// In so many parts.
const TURNS: u64 = 10;
/// Clients that connect at the same time.
pub const PARALLEL: usize = 64;
