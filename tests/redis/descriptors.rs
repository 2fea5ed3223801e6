//! A node with no descriptors left for clients still reconnects to Redis.

use super::cluster::scaled;
use super::daemon::Redis;
use crate::exhaustion::flooded;
use crate::support::{Setup, logged};

#[test]
fn a_node_reconnects_to_redis_while_clients_use_all_descriptors() {
    let redis = Redis::start();
    let setup = Setup::new().env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 300);
    let (server, _idle) = flooded(scaled(setup, redis.port()).env("REDIS_HOST", "localhost"));
    logged(&server, &["connected to Redis"]);
    redis.kill();
    logged(&server, &["[WARN] Redis: "]);
    redis.restart();
    logged(&server, &["Redis is back"]);
}
