//! `cargo bench`: the cost of the server, as ratios to the best that the machine allows.
//!
//! The real binary runs on one processor, everything else on another. Processor time is that of
//! the whole process; nothing is asserted about time. It fails if an event is missing, duplicated
//! or out of order, or if a client is rejected. Each measurement starts a new process; compared
//! processes take turns.
//!
//! `cargo bench` runs everything five times, `cargo bench -- --quick` once and short, `cargo bench
//! -- fanout api` the named benchmarks, `cargo bench -- --runs 9` nine times. `attacks` runs once,
//! and only if it is named: it takes three minutes and some gigabytes of memory. `REVERB_BINARY`
//! names another binary to measure, `REVERB_BEFORE_BIN` one that `deflate` compares with.

#![allow(unsafe_code, reason = "processor affinity and times need libc")]
#![allow(clippy::unwrap_used, reason = "a panic is a failed benchmark")]

mod api;
mod apps;
mod attacks;
mod client;
mod connecting;
#[cfg(feature = "deflate")]
mod deflate;
mod event;
mod fanout;
#[cfg(feature = "console")]
mod feed;
mod growth;
mod idle;
mod instructions;
mod lane;
mod latency;
mod machine;
#[cfg(feature = "redis")]
mod nodes;
mod process;
mod raw;
#[cfg(feature = "redis")]
#[path = "../redis"]
#[allow(dead_code, reason = "the tests use the rest")]
mod redis {
    pub mod daemon;
    pub mod resp;
    pub mod sentinels;
    pub mod shards;
}
#[cfg(feature = "redis")]
mod recovery;
mod reload;
mod startup;
mod storms;
#[cfg(feature = "redis")]
mod support;
mod swarm;
mod sys;
mod table;
mod webhooks;
#[path = "../support/world.rs"]
mod world;

use std::process::ExitCode;

use swarm::Fault;
use table::Table;

/// The number of measurements, and the processors they run on.
pub struct Plan {
    /// How often each measurement is repeated.
    pub runs: usize,
    /// Whether measurements are short.
    pub quick: bool,
    /// The number of processors of this machine.
    pub processors: usize,
    /// The processor of the server.
    pub server_processor: usize,
    /// The processor of the clients.
    pub client_processor: usize,
    /// The most connections of a process, after its other files.
    pub connections_max: usize,
}

impl Plan {
    /// This number, or a tenth with `--quick`.
    pub fn scaled(&self, number: u64) -> u64 {
        if self.quick { number / 10 } else { number }
    }

    /// This many connections, or as many as the limit on open files allows.
    pub fn connections(&self, wanted: usize) -> usize {
        wanted.min(self.connections_max)
    }
}

type Bench = fn(&Plan) -> Result<Vec<Table>, Fault>;

const BENCHES: &[(&str, Bench)] = &[
    ("startup", startup::run),
    ("fanout", fanout::run),
    ("channels", fanout::run_channels),
    #[cfg(feature = "deflate")]
    ("deflate", deflate::run),
    ("api", api::run),
    #[cfg(feature = "console")]
    ("feed", feed::run),
    ("idle", idle::run),
    ("growth", growth::run),
    ("connecting", connecting::run),
    ("latency", latency::run),
    ("apps", apps::run),
    #[cfg(feature = "redis")]
    ("nodes", nodes::run),
    #[cfg(feature = "redis")]
    ("recovery", recovery::run),
    ("storms", storms::run),
    ("reload", reload::run),
    ("webhooks", webhooks::run),
    ("instructions", instructions::run),
    (ATTACKS, attacks::run),
];

const ATTACKS: &str = "attacks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, name, times] = &arguments[..]
        && flag == "--drive"
    {
        instructions::drive(name, times);
        return ExitCode::SUCCESS;
    }
    if raw::run(&arguments) {
        return ExitCode::SUCCESS;
    }
    let Some((plan, names)) = plan(&arguments) else {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: cargo bench -- [--quick] [--runs N] [NAME]...");
        eprintln!("names: {}", names.join(" "));
        return ExitCode::from(2);
    };
    sys::pin(plan.client_processor);
    print!("{}", machine::describe(&plan));
    let mut failed = false;
    for (name, bench) in BENCHES {
        let is_named = names.iter().any(|wanted| name.contains(wanted));
        if !is_named && (*name == ATTACKS || !names.is_empty()) {
            continue;
        }
        match bench(&plan) {
            Ok(tables) => tables.iter().for_each(|table| print!("{}", table.markdown())),
            Err(fault) => {
                println!("\n### {name}\n\nFAILED: {fault}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn plan(arguments: &[String]) -> Option<(Plan, Vec<&str>)> {
    let processors = sys::processors();
    let open_files = reverb::net::raise_open_files().unwrap_or(1_024);
    let mut plan = Plan {
        runs: 5,
        quick: false,
        processors: processors.len(),
        server_processor: *processors.last()?,
        client_processor: *processors.first()?,
        connections_max: (open_files as usize).saturating_sub(OTHER_FILES),
    };
    let mut names = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--quick" => (plan.quick, plan.runs) = (true, 1),
            "--runs" => plan.runs = rest.next()?.parse().ok().filter(|&runs| runs > 0)?,
            name if BENCHES.iter().any(|(bench, _)| bench.contains(name)) => names.push(name),
            _ => return None,
        }
    }
    Some((plan, names))
}

/// The descriptors of a process besides its connections: publishers, pollers, pipes.
const OTHER_FILES: usize = 100;
