//! The honest client during an attack: one WebSocket and one HTTP connection, which send a ping and
//! a publish at fixed times, whether or not the server has answered the previous ones. A wait counts
//! from when its ping or publish was due.

use std::time::{Duration, Instant};

use super::{OVER, PHASES, Phase};
use crate::event;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};

/// What the probe saw.
pub struct Report {
    /// By phase: the longest wait for a pong, an answer and an event, in ns.
    pub longest: [[u64; 3]; PHASES],
    /// Pongs, answers and events that did not arrive.
    missing: [u64; 3],
    /// Whether the server disconnected the probe, refused a request or repeated an event.
    fault: Option<Fault>,
}

impl Report {
    /// What the probe lost, if it lost anything.
    pub fn lost(&self) -> Option<String> {
        let [pongs, answers, events] = self.missing;
        match (&self.fault, pongs + answers + events) {
            (None, 0) => None,
            (None, _) => Some(format!("{pongs} pongs, {answers} answers, {events} events")),
            (Some(fault), _) => {
                Some(format!("{pongs} pongs, {answers} answers, {events} events; {fault}"))
            }
        }
    }
}

/// Pings and publishes until the attack is over and everything has arrived.
pub fn run(server: &Process, phase: &Phase) -> Result<Report, Fault> {
    let mut swarm = Swarm::new(server, 1);
    swarm.open(1, 1, |_| Some(0))?;
    let start_ns = swarm.tally.now_ns();
    let mut probe = Probe { swarm, start_ns, sent: 0, seen: [0; 3], longest: [[0; 3]; PHASES] };
    while phase.get() != OVER {
        probe.send_due();
        probe.turn(probe.until_due(), phase);
    }
    let until = Instant::now() + PATIENCE;
    while probe.seen.iter().any(|&seen| seen < probe.sent) && Instant::now() < until {
        probe.turn(PERIOD, phase);
    }
    let missing = probe.seen.map(|seen| probe.sent - seen.min(probe.sent));
    let refused = probe.swarm.lanes[0].refused;
    let refused = (refused > 0).then(|| format!("{refused} requests refused"));
    let fault = probe.swarm.finish().err().or(refused);
    Ok(Report { longest: probe.longest, missing, fault })
}

struct Probe {
    swarm: Swarm,
    start_ns: u64,
    /// Pings sent so far, and as many publishes.
    sent: u64,
    /// Pongs, answers and events so far.
    seen: [u64; 3],
    longest: [[u64; 3]; PHASES],
}

impl Probe {
    fn send_due(&mut self) {
        while self.due_ns(self.sent) <= self.swarm.tally.now_ns() {
            self.sent += 1;
            self.swarm.clients[0].ping();
            let number = self.swarm.number(0);
            let request = event::publish(self.swarm.signer(), 0, number, SIZE);
            self.swarm.lanes[0].send(&request);
        }
    }

    /// Receives what arrives within this time. Pongs, answers and events arrive in order.
    fn turn(&mut self, timeout: Duration, phase: &Phase) {
        self.swarm.turn_within(timeout);
        let (now_ns, phase) = (self.swarm.tally.now_ns(), phase.get());
        let lane = &self.swarm.lanes[0];
        let arrived =
            [self.swarm.tally.pongs, lane.answered + lane.refused, self.swarm.tally.received];
        for (kind, arrived) in arrived.into_iter().enumerate() {
            if arrived > self.seen[kind] {
                // The first of several has waited longest.
                let wait_ns = now_ns.saturating_sub(self.due_ns(self.seen[kind]));
                let longest = &mut self.longest[phase][kind];
                *longest = wait_ns.max(*longest);
                self.seen[kind] = arrived;
            }
        }
    }

    /// Whole milliseconds, as the poller waits for no less: the last one passes without waiting.
    fn until_due(&self) -> Duration {
        let left_ns = self.due_ns(self.sent).saturating_sub(self.swarm.tally.now_ns());
        Duration::from_millis(left_ns / 1_000_000)
    }

    fn due_ns(&self, number: u64) -> u64 {
        self.start_ns + number * PERIOD.as_nanos() as u64
    }
}

/// Between two pings, and two publishes.
pub const PERIOD: Duration = Duration::from_millis(50);
/// Bytes of an event.
const SIZE: usize = 100;
/// How long the probe waits for what is missing after the attack.
const PATIENCE: Duration = Duration::from_secs(30);
