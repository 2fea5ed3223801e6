//! Publishing to a channel nobody is in: what a request costs, against one that is answered
//! without being understood.

use crate::Plan;
use crate::event;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(
        "api: server CPU in µs per request on 16 kept connections, against one that answers \
         without looking",
    );
    for size in [200, 2_000] {
        let (mut raw, mut single, mut batch) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            raw.push(raw_request(plan, size)?);
            single.push(cost(plan, &Process::server(plan), size, 1)?);
            batch.push(cost(plan, &Process::server(plan), size, 10)?);
        }
        table.ratio(format!("POST events, {size} B"), single.clone(), &raw, Some(2.0));
        let what = format!("POST batch_events of 10 × {size} B, against a single one");
        table.ratio(what, batch, &single, Some(3.0));
    }
    Ok(vec![table])
}

/// What a request costs that is answered without being understood, in µs.
pub fn raw_request(plan: &Plan, size: usize) -> Result<f64, Fault> {
    cost(plan, &Process::raw(plan, &["--raw-http"]), size, 1)
}

fn cost(plan: &Plan, process: &Process, size: usize, events: u64) -> Result<f64, Fault> {
    let mut swarm = Swarm::new(process, 1);
    (1..CONNECTIONS).for_each(|_| swarm.add_lane());
    let signer = swarm.signer();
    let requests: Vec<Vec<u8>> = (0..256)
        .map(|number| match events {
            1 => event::publish(signer, 0, number, size),
            _ => event::publish_batch(signer, 0, number..number + events, size),
        })
        .collect();
    let count = plan.scaled(100_000);
    swarm.ask(&requests, count / 10)?;
    process.settle(std::time::Duration::from_millis(500));
    let before = process.cpu_ns();
    swarm.ask(&requests, count)?;
    Ok((process.cpu_ns() - before) / 1e3 / count as f64)
}

const CONNECTIONS: usize = 16;
