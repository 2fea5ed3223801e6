//! Ten reloads with connected clients: the longest latency of an event, and a check that no event
//! is lost or duplicated and no client is disconnected.

use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use reverb::net::{outcome_address, send_signal};

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::{Table, percentile};

const RELOADS: usize = 10;
/// Events per second.
const RATE: f64 = 10.0;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let clients = plan.connections(10_000);
    let mut table = Table::new(format!(
        "reload: {RELOADS} reloads under {clients} subscribers and {RATE} events a second, against none"
    ));
    let (mut with, mut without, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        without.push(publish(plan, clients, 0)?.0);
        let (waits, times) = publish(plan, clients, RELOADS)?;
        with.push(waits);
        took.extend(times);
    }
    let of = |runs: &[[f64; 2]], at: usize| runs.iter().map(|run| run[at]).collect::<Vec<f64>>();
    table.ratio("due to delivered p50, ms", of(&with, 0), &of(&without, 0), None);
    table.ratio("due to delivered, longest, ms", of(&with, 1), &of(&without, 1), None);
    table.value("from the signal to the result of the new binary, ms", took, None);
    Ok(vec![table])
}

/// The latency of deliveries, p50 and maximum, and the time of each reload, all in ms.
fn publish(plan: &Plan, clients: usize, reloads: usize) -> Result<([f64; 2], Vec<f64>), Fault> {
    let server = Process::server(plan);
    let mut swarm = Swarm::new(&server, 1);
    swarm.open(clients, PARALLEL, |_| Some(0))?;
    server.settle(Duration::from_secs(2));
    let process = server.id();
    let took = thread::spawn(move || (0..reloads).map(|_| reload(process)).collect());
    // A second for each reload, and two more.
    let events = (RATE * (RELOADS as f64 + 2.0)) as u64;
    swarm.publish_at(RATE, events, 200)?;
    let took: Result<Vec<f64>, Fault> = took.join().map_err(|_| "a reload has failed")?;
    swarm.finish()?;
    let ms = |part| percentile(&swarm.tally.latencies, part) / 1e6;
    Ok(([ms(0.5), ms(1.0)], took?))
}

/// Triggers a reload after a pause, and waits for its result. Returns how long that took, in ms.
fn reload(process: u32) -> Result<f64, Fault> {
    let outcome = outcome_address(process, None).and_then(|at| UnixDatagram::bind_addr(&at));
    let outcome = outcome.map_err(|error| error.to_string())?;
    thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    send_signal(process as i32, libc::SIGUSR2).map_err(|error| error.to_string())?;
    let mut why_not = [0; 1_024];
    match outcome.recv(&mut why_not) {
        Ok(0) => Ok(began.elapsed().as_secs_f64() * 1e3),
        Ok(len) => Err(String::from_utf8_lossy(&why_not[..len]).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}
