//! Instructions of the hub's hot paths, counted by valgrind: the same on every run and any
//! machine of this kind, however busy. Skipped if valgrind is not installed.
//!
//! The paths run in a separate process of this executable, a few times and many times: the
//! difference is the cost of the path alone.

use std::env;
use std::process::Command;

use crate::Plan;
use crate::swarm::Fault;
use crate::table::Table;
use crate::world::{World, batch_request, frame, publish_request};

/// A path, and how often it runs.
type Path = fn(u64);

const PATHS: [(&str, Path); 7] = [
    ("publish 200 B to 1", |times| publish(times, 1, 200)),
    ("publish 200 B to 100", |times| publish(times, 100, 200)),
    ("publish 200 B to 1,000", |times| publish(times, 1_000, 200)),
    ("publish 2,000 B to 1", |times| publish(times, 1, 2_000)),
    ("a batch of 10 × 200 B to 1", batch),
    ("client event to 1", client_event),
    ("connect, subscribe, leave", connect),
];

pub fn run(_: &Plan) -> Result<Vec<Table>, Fault> {
    let mut table = Table::new("instructions: of the hub without sockets, by valgrind");
    if Command::new("valgrind").arg("--version").output().is_err() {
        table.title.push_str(", which is not here");
        return Ok(vec![table]);
    }
    for (name, _) in PATHS {
        let (few, many) = (instructions(name, FEW)?, instructions(name, FEW + TIMES)?);
        table.value(name, vec![(many - few) / TIMES as f64], None);
    }
    Ok(vec![table])
}

/// Runs a path under valgrind.
pub fn drive(name: &str, times: &str) {
    let path = PATHS.iter().find(|(known, _)| *known == name).unwrap().1;
    path(times.parse().unwrap());
}

fn instructions(name: &str, times: u64) -> Result<f64, Fault> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["--drive", name, &times.to_string()])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stderr);
    let counted = output.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, number)| number.trim().parse().ok());
    counted.ok_or_else(|| format!("valgrind counted nothing: {output}"))
}

fn publish(times: u64, subscribers: usize, size: usize) {
    let mut world = World::new();
    for _ in 0..subscribers {
        world.subscriber("c");
    }
    let publisher = world.open();
    let mut bytes = publish_request("c", size);
    for _ in 0..times {
        assert_eq!(world.handle(publisher, &mut bytes), subscribers + 1);
    }
}

fn batch(times: u64) {
    let mut world = World::new();
    world.subscriber("c");
    let publisher = world.open();
    let mut bytes = batch_request("c", 10, 200);
    for _ in 0..times {
        assert_eq!(world.handle(publisher, &mut bytes), 2);
    }
}

fn client_event(times: u64) {
    let mut world = World::new();
    let sender = world.subscriber("c");
    world.subscriber("c");
    let data = "x".repeat(200);
    let text = format!(r#"{{"event":"client-e","channel":"c","data":{{"text":"{data}"}}}}"#);
    let mut bytes = frame(&text);
    for _ in 0..times {
        assert_eq!(world.handle(sender, &mut bytes), 1);
    }
}

fn connect(times: u64) {
    let mut world = World::new();
    world.subscriber("c");
    for _ in 0..times {
        let id = world.subscriber("c");
        world.hub.close(id, world.now);
        world.write();
    }
}

const FEW: u64 = 10;
const TIMES: u64 = 500;
