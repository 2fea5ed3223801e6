//! Sentinel: nodes find the master, and follow it when it is replaced.

use super::sentinels::Sentinels;
use super::team::{Team, by_sentinel};
use crate::support::{Server, Setup, logged, until};

/// Shorter times than the defaults, so that a failover takes few seconds.
fn setup() -> Setup {
    Setup::new()
        .arg("--debug")
        .env("REVERB_LIMIT_REDIS_REPLY_TIMEOUT_MS", 1_000)
        .env("REVERB_LIMIT_REDIS_RETRY_MAX_MS", 500)
}

fn team(sentinels: &Sentinels) -> Team {
    Team::of((0..3).map(|_| by_sentinel(sentinels, setup()).start()).collect())
}

/// Waits until a node has logged that it is connected again.
fn is_back(node: &Server) {
    logged(node, &["Redis is back"]);
}

#[test]
fn nothing_is_lost_in_a_failover() {
    let sentinels = Sentinels::start(1_000);
    let mut team = team(&sentinels);
    team.exchange(2_000, || sentinels.fail_over());
    team.nodes.iter().for_each(is_back);
    team.exchange(100, || {});
}

#[test]
fn nothing_is_lost_when_the_master_is_killed() {
    let sentinels = Sentinels::start(1_000);
    let mut team = team(&sentinels);
    let master = sentinels.master();
    team.exchange(2_000, || sentinels.redis[master].kill());
    team.nodes.iter().for_each(is_back);
    assert_ne!(sentinels.master(), master);
}

#[test]
fn nothing_is_lost_when_the_master_stops_answering() {
    let sentinels = Sentinels::start(1_000);
    let mut team = team(&sentinels);
    // On a machine with too much to do, the sentinels may have replaced the first master already.
    let master = &sentinels.redis[sentinels.master()];
    team.exchange(2_000, || master.stand_still());
    team.nodes.iter().for_each(is_back);
    assert_ne!(sentinels.redis[sentinels.master()].port(), master.port());
    // It answers again, as a second master at first, and no node returns to it.
    team.exchange(500, || master.go_on());
    until("the old master is a replica", || {
        master.has_info("replication", "master_link_status:up")
    });
    team.exchange(500, || {});
}

#[test]
fn a_node_asks_the_next_sentinel_if_one_does_not_answer() {
    let sentinels = Sentinels::start(1_000);
    sentinels.sentinels[0].stand_still();
    sentinels.sentinels[1].kill();
    let node = by_sentinel(&sentinels, Setup::new().arg("--debug")).start();
    logged(&node, &["connected to Redis"]);
    let log = node.stderr();
    assert!(!log.contains("[WARN]"), "{log}");
}

#[test]
fn the_log_has_the_reason_of_each_sentinel() {
    let sentinels = Sentinels::with(1_000, &[], "hush");
    let node = |variables: &[(&str, &str)]| {
        let setup = by_sentinel(&sentinels, setup());
        variables.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start()
    };
    let logged_in = node(&[("REDIS_SENTINEL_PASSWORD", "hush")]);
    logged(&logged_in, &["connected to Redis"]);
    let wrong = node(&[("REDIS_SENTINEL_PASSWORD", "hushed")]);
    logged(&wrong, &["[WARN] Redis: mymaster", "WRONGPASS", "REDIS_SENTINEL_PASSWORD"]);
    assert!(!wrong.stderr().contains("hush"));
    let unknown = [("REDIS_SENTINEL_PASSWORD", "hush"), ("REDIS_SENTINEL_SERVICE", "other")];
    logged(&node(&unknown), &["[WARN] Redis: other", "no master named", "REDIS_SENTINEL_SERVICE"]);
    sentinels.sentinels[2].kill();
    let refused =
        format!("Sentinel 127.0.0.1:{}: Connection refused", sentinels.sentinels[2].port());
    logged(&node(&[]), &["[WARN] Redis: mymaster", "NOAUTH", &refused]);
}

#[test]
fn a_sentinel_in_place_of_redis_is_named() {
    let sentinels = Sentinels::start(1_000);
    let port = sentinels.sentinels[0].port();
    let node = super::cluster::scaled(setup(), port).start();
    logged(&node, &["[WARN] Redis: the server is a sentinel", "REVERB_SCALING_SENTINELS"]);
}
