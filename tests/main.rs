//! The integration tests: the real binary over real sockets.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;
#[path = "support/world.rs"]
mod world;

mod api;
mod app_limits;
mod apps;
mod apps_command;
mod apps_folder;
mod bounds;
mod cache;
mod chaos;
mod check;
mod cli;
mod client_events;
mod clock;
mod cluster_simulation;
mod completions;
#[cfg(feature = "deflate")]
mod compression;
mod config;
#[cfg(feature = "console")]
mod console;
mod corpus;
mod counters;
mod echo;
mod exhaustion;
#[cfg(feature = "console")]
mod feed;
mod frames;
mod golden;
mod handshake;
mod hangup;
mod hostile;
mod http;
mod install;
#[cfg(feature = "laravel")]
mod laravel;
mod limits;
mod listening;
mod liveness;
mod logging;
mod metrics;
mod origins;
mod presence;
mod proxies;
mod pulse;
mod rate_limit;
mod readme;
mod redis;
mod redis_ways;
mod references;
mod rejections;
mod reload;
mod rest;
mod restart_key;
mod security;
mod shutdown;
mod signatures;
mod signed_names;
mod signin;
mod simulation;
mod soketi;
mod storms;
mod subscribe;
mod systemd;
#[cfg(feature = "console")]
mod terminal;
mod tidy;
mod tls;
mod traps;
mod turns;
mod webhooks;
