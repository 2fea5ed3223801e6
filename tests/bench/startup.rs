//! The time until the server listens, and the size of its binary.

use std::fs;

use crate::Plan;
use crate::process::{self, Process};
use crate::swarm::Fault;
use crate::table::Table;

pub fn run(plan: &Plan) -> Result<Vec<Table>, Fault> {
    let starts = (0..plan.runs * 4).map(|_| Process::server(plan).start.as_secs_f64() * 1e3);
    let mut table = Table::new("startup");
    table.value("from start to listening, ms", starts.collect(), Some(10.0));
    let binary = process::binary();
    let bytes = fs::read(&binary).unwrap();
    let kind = if needs_interpreter(&bytes) { "dynamic" } else { "static" };
    table.value(format!("{kind} binary, KiB"), vec![bytes.len() as f64 / 1024.0], None);
    Ok(vec![table])
}

/// Whether this 64-bit ELF file has a program header of type `PT_INTERP`.
fn needs_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, len: usize| {
        elf[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|n| number(table + n * size, 4) == 3)
}
