//! The sentinels: whether each answers, whether they agree on the master, and whether they replace
//! it before nodes consider each other dead.

use std::time::Duration;

use super::report::Report;
use crate::config::{HostPort, RedisTarget, Sentinels};
use crate::net;

/// Asks each sentinel for the master. `lease_ms` is the lease of the nodes, if there are any.
pub(super) fn check(
    report: &mut Report<'_>,
    sentinels: &Sentinels,
    target: &RedisTarget,
    lease_ms: Option<u64>,
    timeout: Duration,
) {
    let mut named: Option<(HostPort, HostPort)> = None;
    let mut down_after_ms = None;
    for address in &sentinels.addresses {
        let asked = net::ask_sentinel(address, sentinels, target.tls.as_ref(), timeout);
        let answer = match asked {
            Ok(answer) => answer,
            Err(why) => {
                report.wrong(&format!("Sentinel {address}: {why}"));
                continue;
            }
        };
        let master = answer.master;
        match &named {
            Some((first, other)) if *other != master => report.wrong(&format!(
                "Sentinel {address} names the master {master}, but {first} names {other}: a \
                 failover is in progress, or the sentinels monitor different servers"
            )),
            _ => report.fine(&format!("Sentinel {address} names the master {master}")),
        }
        named.get_or_insert((address.clone(), master));
        down_after_ms = down_after_ms.max(answer.down_after_ms);
    }
    if let (Some(lease_ms), Some(down_after_ms)) = (lease_ms, down_after_ms) {
        lease(report, &sentinels.service, lease_ms, down_after_ms);
    }
}

fn lease(report: &mut Report<'_>, service: &str, lease_ms: u64, down_after_ms: u64) {
    if lease_ms > down_after_ms + FAILOVER_MS {
        return;
    }
    // Sentinel accepts no smaller value than 1 ms.
    let advice = match lease_ms.saturating_sub(FAILOVER_MS + 1) {
        0 => String::new(),
        most => format!("run `SENTINEL SET {service} down-after-milliseconds {most}` at each, or "),
    };
    report.wrong(&format!(
        "Sentinel replaces a master {down_after_ms} ms after its last answer \
         (down-after-milliseconds), but nodes consider each other dead after {lease_ms} ms, and a \
         failover takes up to {FAILOVER_MS} ms: in a failover, presence members would leave and \
         join again; {advice}set REVERB_LIMIT_NODE_LEASE_MS to more than {}",
        down_after_ms + FAILOVER_MS
    ));
}

/// The longest usual time from the decision that the master is down until its nodes are connected
/// to the new one: sentinels vote within 1 s, the promotion takes 1 s, and the nodes retry.
const FAILOVER_MS: u64 = 3_000;
