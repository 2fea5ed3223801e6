//! Compression: bytes on the wire and processor time of a delivery, against a server without it. The
//! events are orders as Laravel broadcasts them. `REVERB_BEFORE_BIN` names the binary to compare with;
//! without it, this one runs with compression off.

use std::env;
use std::path::PathBuf;

use crate::Plan;
use crate::event;
use crate::fanout::PARALLEL;
use crate::process::{self, Process};
use crate::swarm::{By, Fault, Swarm};
use crate::table::Table;

/// Whether the client of this index offers compression.
pub type Offers = fn(usize) -> bool;

const SHARES: [(&str, Offers); 3] =
    [("all", |_| true), ("half", |n| n % 2 == 0), ("none", |_| false)];

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let mut bytes = Table::new(
        "deflate: bytes per delivery that subscribers receive, against a server without compression",
    );
    let mut time = Table::new(
        "deflate: server CPU in seconds per million deliveries, one event in flight, against a server \
         without compression",
    );
    for size in [200, 2_000, 8_000] {
        for subscribers in [1, 100, 1_000, 10_000] {
            // The clients of both servers belong to this process.
            let subscribers = plan.connections(2 * subscribers).div_ceil(2);
            for (share, offers) in SHARES {
                let (mut with, mut without) = (Vec::new(), Vec::new());
                for _ in 0..plan.runs {
                    let [ours, theirs] = costs(plan, subscribers, size, offers)?;
                    with.push(ours);
                    without.push(theirs);
                }
                let what = format!("{size} B × {subscribers}, {share} offer it");
                let parts = |costs: &[Cost], part: fn(&Cost) -> f64| -> Vec<f64> {
                    costs.iter().map(part).collect()
                };
                let target = bytes_target(size, subscribers, share);
                let of_bytes = |costs: &[Cost]| parts(costs, |cost| cost.bytes);
                bytes.ratio(&*what, of_bytes(&with), &of_bytes(&without), target);
                let target = cpu_target(subscribers, share);
                let of_cpu = |costs: &[Cost]| parts(costs, |cost| cost.cpu_s);
                time.ratio(what, of_cpu(&with), &of_cpu(&without), target);
            }
        }
    }
    Ok(vec![bytes, time])
}

/// An event for one subscriber is sent plain, and one below `compression.minimum` as well.
fn bytes_target(size: usize, subscribers: usize, share: &str) -> Option<f64> {
    match (size, share) {
        (2_000, "all") if subscribers > 1 => Some(0.40),
        (8_000, "all") if subscribers > 1 => Some(0.25),
        _ => None,
    }
}

fn cpu_target(subscribers: usize, share: &str) -> Option<f64> {
    match share {
        "none" => Some(1.01),
        _ if subscribers >= 1_000 => Some(1.0),
        _ if subscribers == 1 => Some(1.01),
        _ => None,
    }
}

/// The cost of a delivery.
struct Cost {
    bytes: f64,
    cpu_s: f64,
}

/// The costs with and without compression. The servers take turns, so that a change in the load of the
/// machine affects both.
fn costs(plan: &Plan, subscribers: usize, size: usize, offers: Offers) -> Result<[Cost; 2], Fault> {
    let before = env::var_os("REVERB_BEFORE_BIN").map_or_else(process::binary, PathBuf::from);
    let servers = [
        Process::server(plan),
        Process::server_of(plan, &before, &[("REVERB_SERVER_COMPRESSION", "off")]),
    ];
    let audience = subscribers as u64;
    let events = (plan.scaled(DELIVERIES) / TURNS / audience).clamp(2, 2_000);
    let mut swarms = servers.each_ref().map(|server| Swarm::new(server, 1));
    for swarm in &mut swarms {
        swarm.data = order;
        swarm.offers_deflate = offers;
        swarm.open(subscribers, PARALLEL, |_| Some(0))?;
        // The first events allocate memory that is reused.
        swarm.publish(By::Requests(1), events, audience, size)?;
    }
    // The server closes a publisher's connection that was idle while many clients connected.
    for swarm in &mut swarms {
        swarm.lanes.clear();
        swarm.add_lane();
    }
    let mut costs = servers.each_ref().map(|_| Cost { bytes: 0.0, cpu_s: 0.0 });
    for _ in 0..TURNS {
        for ((server, swarm), cost) in servers.iter().zip(&mut swarms).zip(&mut costs) {
            let (cpu_ns, bytes) = (server.cpu_ns(), swarm.tally.bytes);
            swarm.publish(By::Requests(1), events, audience, size)?;
            cost.cpu_s += (server.cpu_ns() - cpu_ns) / 1e3;
            cost.bytes += (swarm.tally.bytes - bytes) as f64;
        }
    }
    let deliveries = (TURNS * events * audience) as f64;
    for (swarm, cost) in swarms.iter().zip(&mut costs) {
        swarm.finish()?;
        (cost.cpu_s, cost.bytes) = (cost.cpu_s / deliveries, cost.bytes / deliveries);
    }
    Ok(costs)
}

/// An order as Laravel broadcasts it: JSON in a JSON text. Each number has other values.
fn order(number: u64, size: usize) -> String {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut json = format!(
        r##"{{"order":{{"number":"#{}","status":"{}","total":"{}.{:02}","items":["##,
        event::digits(number),
        ["pending", "paid", "shipped"][random(3) as usize],
        random(900),
        random(100),
    );
    while json.len() + json.matches('"').count() < size {
        let product = PRODUCTS[random(PRODUCTS.len() as u64) as usize];
        let (id, sku, quantity, cents) =
            (random(100_000), random(1 << 24), random(5), random(30_000));
        let (day, hour, minute) = (random(28) + 1, random(24), random(60));
        json.push_str(&format!(
            r#"{{"id":{id},"sku":"SKU-{sku:06X}","name":"{product}","quantity":{quantity},"unit_price":"{}.{:02}","updated_at":"2026-11-{day:02}T{hour:02}:{minute:02}:00.000000Z"}},"#,
            cents / 100,
            cents % 100,
        ));
    }
    let json = json.trim_end_matches(',');
    format!("{json}]}}}}").replace('"', r#"\""#)
}

const PRODUCTS: [&str; 6] = [
    "Wireless Mouse",
    "Mechanical Keyboard",
    "USB-C Cable 2 m",
    "27-inch Monitor",
    "Laptop Stand",
    "Noise Cancelling Headphones",
];

const DELIVERIES: u64 = 200_000;
/// The number of turns.
const TURNS: u64 = 10;
