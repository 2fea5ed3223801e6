//! The latency of events at half the maximum rate, one at a time and in shared writes, and whether
//! one subscriber that does not read changes it for the others.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::Process;
use crate::swarm::{By, Fault, Swarm};
use crate::table::{Table, percentile};

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table =
        Table::new("latency: 100 subscribers, 200 B, at half the rate that is reached, µs");
    for (way, by) in [("one after the other", By::Requests(1)), ("16 at a time", By::Requests(16))]
    {
        let (mut rate, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            let [events, low, high] = half_the_rate(plan, by)?;
            rate.push(events);
            p50.push(low);
            p99.push(high);
        }
        table.value(format!("{way}: events a second"), rate, None);
        table.value(format!("{way}: p50"), p50.clone(), None);
        table.ratio(format!("{way}: p99, against p50"), p99, &p50, Some(3.0));
    }

    let mut slow = Table::new(
        "latency: 20 subscribers, 500 publishes a second of 4,000 B, one of them not reading, \
         against all of them reading, µs",
    );
    let (mut all_read, mut one_does_not) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        all_read.push(with_slow_one(plan, false)?);
        one_does_not.push(with_slow_one(plan, true)?);
    }
    let of = |runs: &[[f64; 2]], at: usize| runs.iter().map(|run| run[at]).collect::<Vec<f64>>();
    slow.ratio("p50 of the others", of(&one_does_not, 0), &of(&all_read, 0), None);
    slow.ratio("p99 of the others", of(&one_does_not, 1), &of(&all_read, 1), Some(1.1));
    Ok(vec![table, slow])
}

/// Half the maximum rate of events with this many in flight, and p50 and p99 at that rate, each
/// measured from when the event was due.
fn half_the_rate(plan: &Plan, by: By) -> Result<[f64; 3], Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(100, PARALLEL, |_| Some(0))?;
    let events = plan.scaled(10_000);
    swarm.publish(by, events / 10, 100, 200)?;
    let began = Instant::now();
    swarm.publish(by, events, 100, 200)?;
    let rate = events as f64 / began.elapsed().as_secs_f64() / 2.0;
    swarm.publish_at(rate, (rate * seconds(plan)) as u64, 200)?;
    swarm.finish()?;
    let p = |part| percentile(&swarm.tally.latencies, part) / 1e3;
    Ok([rate, p(0.5), p(0.99)])
}

/// p50 and p99 of the subscribers that read, in µs.
fn with_slow_one(plan: &Plan, slow: bool) -> Result<[f64; 2], Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(19, PARALLEL, |_| Some(0))?;
    swarm.receive_buffer = slow.then_some(16 * 1024);
    swarm.open(1, 1, |_| Some(0))?;
    swarm.clients[19].deaf = slow;
    server.settle(Duration::from_millis(500));
    // 2 MB a second: the kernel buffers some 3 MB for the slow subscriber, and the outbox 4 MiB, so
    // that within five seconds it is first slow and then disconnected.
    swarm.publish_at(500.0, (500.0 * seconds(plan) * 2.5) as u64, 4_000)?;
    swarm.finish()?;
    let p = |part| percentile(&swarm.tally.latencies, part) / 1e3;
    Ok([p(0.5), p(0.99)])
}

fn seconds(plan: &Plan) -> f64 {
    if plan.quick { 0.5 } else { 2.0 }
}
