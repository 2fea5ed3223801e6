//! The machine of the run: values apply to that machine only, ratios to others, too.

use std::fs;

use crate::Plan;

/// Memory of the kernel for its own objects: sockets, files and their buffers.
pub fn kernel_bytes() -> f64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let slab = memory.lines().find_map(|line| line.strip_prefix("Slab:"));
    let slab = slab.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    slab.map_or(f64::NAN, |kib| kib * 1_024.0)
}

pub fn describe(plan: &Plan) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown", |(_, name)| name.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let Plan { runs, processors, server_processor, client_processor, .. } = plan;
    let shared = match server_processor == client_processor {
        true => "; SERVER AND CLIENTS SHARE A PROCESSOR: ratios mean little",
        false => "",
    };
    format!(
        "## reverb {}: benchmarks\n\n{processors} × {model}, {} {}, TCP with {}, load {load} at the start; \
         server on processor {server_processor}, clients on {client_processor}{shared}; \
         median of {runs} (smallest – largest), the compared in turns.\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        kernel.trim(),
        congestion.trim(),
    )
}
