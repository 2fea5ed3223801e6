//! Publishing to a channel without subscribers: the cost of a request, against a server that
//! responds without parsing it.

use crate::Plan;
use crate::event;
use crate::process::Process;
use crate::swarm::{Fault, Swarm};
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new(
        "api: server CPU in µs per request on 16 kept connections, against one that answers \
         without parsing",
    );
    for size in [200, 2_000] {
        let mut costs = [(); 4].map(|()| Vec::new());
        for _ in 0..plan.runs {
            let (bare, server) = (Process::raw(plan, &["--raw-http"]), Process::server(plan));
            let hashing = Process::raw(plan, &["--raw-http", "hash"]);
            let mut requesters = [(&bare, 1), (&hashing, 1), (&server, 1), (&server, 10)]
                .map(|(process, events)| Requester::new(process, size, events));
            take_turns(plan, &mut requesters)?;
            costs
                .iter_mut()
                .zip(&requesters)
                .for_each(|(costs, requester)| costs.push(requester.cost_us()));
        }
        let [bare, hashing, one, ten] = costs;
        table.ratio(format!("POST events, {size} B"), one.clone(), &bare, Some(2.0));
        table.ratio("the same, against one that hashes the body", one.clone(), &hashing, None);
        let what = format!("POST batch_events of 10 × {size} B, against a single one");
        table.ratio(what, ten, &one, Some(3.0));
    }
    Ok(vec![table])
}

/// The cost of a request to a server that responds without parsing it, in µs.
pub fn raw_request(plan: &Plan, size: usize) -> Result<f64, Fault> {
    let bare = Process::raw(plan, &["--raw-http"]);
    let mut requesters = [Requester::new(&bare, size, 1)];
    take_turns(plan, &mut requesters)?;
    Ok(requesters[0].cost_us())
}

/// Sends requests on kept connections, and measures their processor time.
struct Requester<'a> {
    process: &'a Process,
    swarm: Swarm,
    requests: Vec<Vec<u8>>,
    answered: u64,
    spent_ns: f64,
}

impl<'a> Requester<'a> {
    /// Publishes `events` events in each request.
    fn new(process: &'a Process, size: usize, events: u64) -> Self {
        let mut swarm = Swarm::new(process, 1);
        (1..CONNECTIONS).for_each(|_| swarm.add_lane());
        let signer = swarm.signer();
        let requests = (0..256).map(|number| match events {
            1 => event::publish(signer, 0, number, size),
            _ => event::publish_batch(signer, 0, number..number + events, size),
        });
        let requests = requests.collect();
        Requester { process, swarm, requests, answered: 0, spent_ns: 0.0 }
    }

    fn send_requests(&mut self, count: u64) -> Result<(), Fault> {
        let before = self.process.cpu_ns();
        self.swarm.send_requests(&self.requests, count)?;
        self.spent_ns += self.process.cpu_ns() - before;
        self.answered += count;
        Ok(())
    }

    fn cost_us(&self) -> f64 {
        self.spent_ns / 1e3 / self.answered as f64
    }
}

/// The processes take turns, so that a change in the load of the machine affects all of them.
fn take_turns(plan: &Plan, requesters: &mut [Requester<'_>]) -> Result<(), Fault> {
    let count = plan.scaled(100_000) / TURNS;
    // The first requests allocate memory that is reused.
    requesters.iter_mut().try_for_each(|requester| requester.send_requests(count))?;
    requesters.iter_mut().for_each(|requester| (requester.answered, requester.spent_ns) = (0, 0.0));
    (0..TURNS).try_for_each(|_| {
        requesters.iter_mut().try_for_each(|requester| requester.send_requests(count))
    })
}

const CONNECTIONS: usize = 16;
/// The number of turns.
const TURNS: u64 = 10;
