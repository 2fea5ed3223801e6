//! Idle connections: the memory of each, and whether the server frees it.

use std::thread;
use std::time::Duration;

use crate::Plan;
use crate::fanout::PARALLEL;
use crate::machine;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let count = plan.connections(19_500);
    let mut table = Table::new(format!(
        "idle: resident memory with {count} idle connections, subscribed to 100 channels"
    ));
    let (mut start, mut each, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let (mut again, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let server = Process::server_with(plan, &[("REVERB_APP_PING_INTERVAL", "5")]);
        start.push(server.rss() / 1024.0);
        let mut swarm = Swarm::new(&server, 100);
        // A few connect and disconnect first, so that the program's code is loaded.
        swarm.open(100, PARALLEL, Some)?;
        swarm.hang_up(0..100);
        server.settle(Duration::from_secs(1));
        let (before, kernel_before) = (server.rss(), machine::kernel_bytes());
        let first = swarm.clients.len();
        swarm.open(count, PARALLEL, |n| Some(n % 100))?;
        server.settle(Duration::from_secs(2));
        let open = server.rss();
        // Both ends are on this machine.
        kernel.push((machine::kernel_bytes() - kernel_before) / 2.0 / count as f64);
        each.push((open - before) / count as f64);
        swarm.finish()?;
        swarm.hang_up(first..first + count);
        // The memory of deadlines is freed when they expire, that of a request after ten seconds;
        // then the allocator returns unused memory.
        thread::sleep(Duration::from_secs(20));
        left.push((server.rss() - before) / (open - before));
        swarm.reopen(first..first + count, PARALLEL)?;
        server.settle(Duration::from_secs(2));
        again.push((server.rss() - before) / count as f64);
        swarm.finish()?;
    }
    table.value("at the start, KiB", start, Some(4_096.0));
    table.value("growth for each connection, bytes", each, Some(512.0));
    table.value("part of the growth that remains after all have disconnected", left, Some(0.1));
    table.value("growth for each after they have reconnected, bytes", again, Some(512.0));
    table.value("of the system for each of its sockets, bytes", kernel, None);
    Ok(vec![table])
}
