//! Connecting and disconnecting: the cost of a connection from accept to subscription and to its
//! end, whether churn leaks memory, and whether all clients can reconnect at once.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::api::raw_request;
use crate::fanout::PARALLEL;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let count = plan.connections(10_000);
    let mut table = Table::new(
        "connecting: server CPU in µs per connection, against a request answered without looking",
    );
    let mut raw = Vec::new();
    let (mut runs, mut drifts) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        raw.push(raw_request(plan, 200)?);
        runs.push(measure(plan, count)?);
        drifts.push(drift(plan)?);
    }
    let of = |field: fn(&Measured) -> f64| runs.iter().map(field).collect::<Vec<f64>>();
    table.ratio("accept, handshake, subscription", of(|run| run.connect_us), &raw, Some(7.0));
    table.ratio("the same and closing, by turns", of(|run| run.churn_us), &raw, Some(11.0));
    let mut rest = Table::new(format!("connecting: {count} connections"));
    rest.value("growth of resident memory under churn, per cent", drifts, Some(5.0));
    let back = of(|run| run.back_ms);
    rest.value("all reconnected at once after a disconnect of all, none rejected, ms", back, None);
    Ok(vec![table, rest])
}

struct Measured {
    connect_us: f64,
    churn_us: f64,
    back_ms: f64,
}

fn measure(plan: &Plan, count: usize) -> Result<Measured, Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 100);
    let before = server.cpu_ns();
    swarm.open(count, PARALLEL, |n| Some(n % 100))?;
    let connect_us = (server.cpu_ns() - before) / 1e3 / count as f64;

    churn(&mut swarm, count)?;
    server.settle(Duration::from_secs(2));
    let before = server.cpu_ns();
    churn(&mut swarm, count)?;
    server.settle(Duration::from_secs(2));
    let churn_us = (server.cpu_ns() - before) / 1e3 / count as f64;

    swarm.hang_up(0..count);
    let began = Instant::now();
    swarm.reopen(0..count, count)?;
    let back_ms = began.elapsed().as_secs_f64() * 1e3;
    swarm.finish()?;
    Ok(Measured { connect_us, churn_us, back_ms })
}

/// The growth of memory in per cent between the second and the last of several rounds in which a
/// thousand clients disconnect and reconnect. Deadlines of closed connections are freed when they
/// expire: here after a second, so that many expire during the rounds.
fn drift(plan: &Plan) -> Result<f64, Fault> {
    let soon = [("REVERB_APP_PING_INTERVAL", "1"), ("REVERB_LIMIT_REQUEST_TIMEOUT_MS", "1000")];
    let server = Process::server_with(plan, &soon);
    let mut swarm = Swarm::new(&server, 100);
    let count = plan.connections(1_000);
    swarm.open(count, PARALLEL, |n| Some(n % 100))?;
    let mut after_round = Vec::new();
    for _ in 0..if plan.quick { 3 } else { 6 } {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            churn(&mut swarm, count)?;
        }
        after_round.push(server.rss());
    }
    swarm.finish()?;
    Ok((after_round.last().unwrap() / after_round[1] - 1.0) * 100.0)
}

fn churn(swarm: &mut Swarm, count: usize) -> Result<(), Fault> {
    for first in (0..count).step_by(PARALLEL) {
        let some = first..(first + PARALLEL).min(count);
        swarm.hang_up(some.clone());
        swarm.reopen(some, PARALLEL)?;
    }
    Ok(())
}
