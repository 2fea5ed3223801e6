//! Attacks that stay within the limits, one at a time, each on its own server process, with an
//! honest probe: how long the probe waits, whether it loses anything, and how much memory the
//! server takes.

mod crowd;
mod list;
mod probe;

use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reverb::proto::auth::Signer;

use crate::process::{APP_SECRET, Process};
use crate::swarm::Fault;
use crate::table::{Table, number};
use crate::{Plan, sys};
use crowd::Crowd;
use list::{ATTACKS, Attack};
use probe::Report;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(format!(
        "attacks: longest waits of a probe that pings and publishes every {} ms, from when each was \
         due, and resident memory of the server before the attack, at its peak, and at most {} s \
         after ({} s where most connections have closed){}",
        probe::PERIOD.as_millis(),
        AFTER.as_secs(),
        TRIMS_WITHIN.as_secs(),
        if plan.quick { "; a tenth of the sockets" } else { "" },
    ));
    table.line(HEADS.map(String::from));
    let mut faults = Vec::new();
    for attack in &ATTACKS {
        match measure(plan, attack) {
            Ok(outcome) => {
                let lost = outcome.report.lost();
                faults.extend(lost.as_ref().map(|lost| format!("{}: {lost}", attack.name)));
                table.line(outcome.cells(attack));
            }
            Err(fault) => {
                faults.push(format!("{}: {fault}", attack.name));
                table.line([attack.name, "failed"].map(String::from));
            }
        }
    }
    if faults.is_empty() {
        return Ok(vec![table]);
    }
    // The other figures are valid.
    print!("{}", table.markdown());
    Err(faults.join("; "))
}

const HEADS: [&str; 7] = [
    "",
    "without, ms: pong / answer / event",
    "with the attack",
    "server CPU, ms",
    "memory, MiB: before / peak / after",
    "lost by the probe",
    "honest sockets disconnected",
];

/// The result of one attack.
struct Outcome {
    report: Report,
    costs: Costs,
}

impl Outcome {
    fn cells(&self, attack: &Attack) -> [String; 7] {
        let waits = |phase: usize| joined(self.report.longest[phase].map(|ns| ns as f64 / 1e6));
        [
            attack.name.into(),
            waits(QUIET),
            waits(UNDER_ATTACK),
            number(self.costs.cpu_ns / 1e6),
            joined(self.costs.memory.map(|bytes| bytes / f64::from(1 << 20))),
            self.report.lost().unwrap_or("nothing".into()),
            self.costs.disconnected.to_string(),
        ]
    }
}

fn joined(values: [f64; 3]) -> String {
    values.map(number).join(" / ")
}

/// The probe shares its processor with the attackers, which have a lower priority: the probe waits
/// for the server alone.
fn measure(plan: &Plan, attack: &Attack) -> Result<Outcome, Fault> {
    let server = Process::server_with(plan, attack.variables);
    let phase = Phase::default();
    thread::scope(|scope| {
        let probe = scope.spawn(|| probe::run(&server, &phase));
        let attackers = scope.spawn(|| {
            sys::lower_priority();
            Scene::new(plan, &server, &phase).run(attack)
        });
        let costs = attackers.join().map_err(|panic| fault(&*panic));
        phase.set(OVER);
        let report = probe.join().map_err(|panic| fault(&*panic))??;
        Ok(Outcome { report, costs: costs?? })
    })
}

fn fault(panic: &(dyn Any + Send)) -> Fault {
    match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "panicked".into(),
    }
}

/// The current phase of the attack; the probe keeps its longest waits for each phase. The first
/// phase is the preparation, in which all sockets connect and subscribe.
#[derive(Default)]
struct Phase(AtomicUsize);

impl Phase {
    fn set(&self, phase: usize) {
        self.0.store(phase, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The sockets are subscribed, and the attack has not begun.
const QUIET: usize = 1;
/// From the first byte of the attack until the attackers have disconnected and the server is idle.
const UNDER_ATTACK: usize = 2;
/// The probe stops sending.
const OVER: usize = 3;
const PHASES: usize = 4;

/// One server and all sockets but the probe's: the attackers' and the honest ones.
struct Scene<'a> {
    plan: &'a Plan,
    server: &'a Process,
    phase: &'a Phase,
    crowd: Crowd,
    signer: Signer,
    memory_before: f64,
    cpu_before_ns: f64,
}

/// The cost of an attack for the server and its honest clients.
struct Costs {
    /// Before the attack, at its peak, and after it.
    memory: [f64; 3],
    /// Processor time of the attack: if other processes use the processor of the server, too, it is
    /// more reliable than the waits.
    cpu_ns: f64,
    /// Honest sockets that the server disconnected.
    disconnected: usize,
}

impl<'a> Scene<'a> {
    fn new(plan: &'a Plan, server: &'a Process, phase: &'a Phase) -> Self {
        let (crowd, signer) = (Crowd::new(server), Signer::new(APP_SECRET));
        Scene { plan, server, phase, crowd, signer, memory_before: 0.0, cpu_before_ns: 0.0 }
    }

    fn run(mut self, attack: &Attack) -> Result<Costs, Fault> {
        let attackers = (attack.run)(&mut self)?;
        self.wait_until_idle();
        let most_leave = attackers.len() * 2 > self.crowd.len();
        self.crowd.close(attackers);
        let memory_after = self.wait_until_small(if most_leave { TRIMS_WITHIN } else { AFTER });
        let memory = [self.memory_before, self.server.peak_rss(), memory_after];
        let cpu_ns = self.server.cpu_ns() - self.cpu_before_ns;
        Ok(Costs { memory, cpu_ns, disconnected: self.crowd.disconnected() })
    }

    /// This many sockets, or a tenth with `--quick`; no more than the open-file limit allows.
    fn scaled(&self, count: usize) -> usize {
        self.plan.connections(self.plan.scaled(count as u64) as usize)
    }

    /// Ends the preparation: measures the server without the attack, and starts the attack.
    fn begin(&mut self) {
        self.wait_until_idle();
        self.phase.set(QUIET);
        self.crowd.pass(QUIET_FOR);
        self.memory_before = self.server.rss();
        self.cpu_before_ns = self.server.cpu_ns();
        self.server.reset_peak();
        self.phase.set(UNDER_ATTACK);
    }

    /// Reads and writes until the server uses less than a tenth of its processor.
    fn wait_until_idle(&mut self) {
        let until = Instant::now() + PATIENCE;
        let mut idle = 0;
        while idle < 3 && Instant::now() < until {
            let before = self.server.cpu_ns();
            self.crowd.pass(GLANCE);
            let used = self.server.cpu_ns() - before;
            idle = if used < GLANCE.as_nanos() as f64 / 10.0 { idle + 1 } else { 0 };
        }
    }

    /// Waits until the server has freed nearly all memory of the attack, for this long at most.
    /// Returns its resident memory.
    fn wait_until_small(&mut self, at_most: Duration) -> f64 {
        let until = Instant::now() + at_most;
        self.crowd.pass(Duration::from_secs(2));
        while self.server.rss() > self.memory_before + NEARLY_NOTHING && Instant::now() < until {
            self.crowd.pass(GLANCE);
        }
        self.server.rss()
    }
}

/// Sockets of the crowd: the attackers, which leave when the attack is over.
type Attackers = Range<usize>;

const QUIET_FOR: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(200);
/// The longest the server may be busy with one attack.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after the attack at which memory is measured.
const AFTER: Duration = Duration::from_secs(6);
/// The same if most connections have closed: the server returns memory twelve seconds later.
const TRIMS_WITHIN: Duration = Duration::from_secs(16);
/// Bytes of growth that need no wait.
const NEARLY_NOTHING: f64 = 4.0 * 1024.0 * 1024.0;
