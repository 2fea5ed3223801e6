//! The effect of idle connections on active ones.

use std::time::Duration;

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let idle = plan.connections(15_000);
    let mut table = Table::new(format!(
        "growth: one event at a time to 10 subscribers with {idle} idle connections, against none"
    ));
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        alone.push(echo(plan, 0)?);
        among.push(echo(plan, idle)?);
    }
    let of = |runs: &[[f64; 3]], at: usize| runs.iter().map(|run| run[at]).collect::<Vec<f64>>();
    table.ratio("round trip p50, µs", of(&among, 0), &of(&alone, 0), None);
    table.ratio("round trip p99, µs", of(&among, 1), &of(&alone, 1), Some(1.1));
    table.ratio("server CPU per event, µs", of(&among, 2), &of(&alone, 2), Some(1.1));

    let others = plan.connections(15_000) * 2 / 3;
    let title = format!(
        "growth: a disconnect with {others} other connections, each on its own channel, \
                 against as many on one channel"
    );
    let mut disconnects = Table::new(title);
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        few.push(disconnect(plan, others, 1)?);
        many.push(disconnect(plan, others, others)?);
    }
    disconnects.ratio("server CPU per disconnect, µs", many, &few, Some(1.1));
    Ok(vec![table, disconnects])
}

/// Round trips at p50 and p99 and processor time, each in µs per event.
fn echo(plan: &Plan, idle: usize) -> Result<[f64; 3], Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 101);
    swarm.open(10, PARALLEL, |_| Some(0))?;
    swarm.open(idle, PARALLEL, |n| Some(1 + n % 100))?;
    let events = plan.scaled(20_000);
    swarm.echo(events / 10, 200)?;
    server.settle(Duration::from_secs(1));
    swarm.tally.latencies.clear();
    let before = server.cpu_ns();
    swarm.echo(events, 200)?;
    let cpu_ns = server.cpu_ns() - before;
    swarm.finish()?;
    let p = |part| percentile(&swarm.tally.latencies, part) / 1e3;
    Ok([p(0.5), p(0.99), cpu_ns / 1e3 / events as f64])
}

fn disconnect(plan: &Plan, others: usize, channels: usize) -> Result<f64, Fault> {
    let server = Process::server(plan);
    let leaving = plan.connections(15_000) / 3;
    let mut swarm = Swarm::new(&server, 1 + channels);
    swarm.open(others, PARALLEL, |n| Some(1 + n % channels))?;
    swarm.open(leaving, PARALLEL, |_| Some(0))?;
    server.settle(Duration::from_secs(2));
    let before = server.cpu_ns();
    swarm.hang_up(others..others + leaving);
    server.settle(Duration::from_secs(5));
    let cpu_ns = server.cpu_ns() - before;
    swarm.finish()?;
    Ok(cpu_ns / 1e3 / leaving as f64)
}
