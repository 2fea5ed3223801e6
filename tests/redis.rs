//! Several nodes on one Redis: a real Redis and the real binary, with faults between them.
#![cfg(feature = "redis")]

pub mod cluster;
pub mod daemon;
mod descriptors;
mod events;
mod failover;
mod hostile;
mod inbox;
mod lease;
mod outages;
mod presence;
pub mod proxy;
mod refusals;
mod reload;
mod replica;
pub mod resp;
mod rolling;
mod secrets;
pub mod sentinels;
mod sharded;
pub mod shards;
mod shared;
mod support;
mod team;
mod traffic;
mod users;
