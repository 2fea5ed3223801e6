//! The integration tests: the real binary, spoken to over real sockets.

mod support;
#[path = "support/world.rs"]
mod world;

mod api;
mod apps;
mod bounds;
mod cache;
mod check;
mod cli;
mod client_events;
mod clock;
mod cluster_simulation;
mod completions;
mod config;
mod corpus;
mod counters;
mod echo;
mod exhaustion;
mod frames;
mod golden;
mod handshake;
mod hostile;
mod http;
mod limits;
mod listening;
mod liveness;
mod logging;
mod metrics;
mod origins;
mod presence;
mod proxies;
mod rate_limit;
mod redis;
mod redis_ways;
mod restart_key;
mod security;
mod shutdown;
mod signatures;
mod signin;
mod simulation;
mod storms;
mod subscribe;
mod systemd;
mod tidy;
mod tls;
