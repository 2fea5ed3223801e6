//! Three real sentinels, a master and its replica.

use super::daemon::Redis;
use super::resp::Reply;
use crate::support::until;

/// The name under which the sentinels monitor the master.
pub const SERVICE: &str = "mymaster";

/// Running sentinels and the servers they monitor.
pub struct Sentinels {
    /// The first master, and its replica.
    pub redis: [Redis; 2],
    pub sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts everything, and waits until each sentinel knows the replica and the other sentinels.
    #[track_caller]
    pub fn start(down_after_ms: u32) -> Self {
        Sentinels::with(down_after_ms, &[], "")
    }

    /// The same with these arguments for the two servers. The sentinels require this password, if it
    /// is not empty.
    #[track_caller]
    pub fn with(down_after_ms: u32, arguments: &[&str], password: &str) -> Self {
        // Without the delay, the master sends its data to a replica at once.
        let arguments = [&["--repl-diskless-sync-delay", "0"], arguments].concat();
        let redis = [Redis::with(&arguments), Redis::with(&arguments)];
        let port = redis[0].port();
        redis[1].call(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        let config = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n\
             sentinel failover-timeout {SERVICE} 6000\n"
        ) + &match password {
            "" => String::new(),
            password => format!("requirepass {password}\nsentinel sentinel-pass {password}\n"),
        };
        until("the replica is in sync", || {
            redis[1].has_info("replication", "master_link_status:up")
        });
        let sentinels: Vec<Redis> = (0..3).map(|_| Redis::sentinel(&config)).collect();
        sentinels.iter().for_each(|sentinel| sentinel.log_in_with(password));
        let started = Sentinels { redis, sentinels };
        for at in 0..3 {
            until("the sentinels know each other", || {
                let master = started.description(at);
                let value = |name: &str| {
                    let at = master.iter().position(|word| word == name).unwrap();
                    master[at + 1].as_str()
                };
                value("num-slaves") == "1" && value("num-other-sentinels") == "2"
            });
        }
        started
    }

    fn description(&self, sentinel: usize) -> Vec<String> {
        match self.sentinels[sentinel].call(&["SENTINEL", "MASTER", SERVICE]) {
            Reply::List(words) => words.iter().map(|word| word.text().to_owned()).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The value of `REVERB_SCALING_SENTINELS`.
    pub fn addresses(&self) -> String {
        let addresses = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port()));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The index of the master, as a sentinel names it.
    #[track_caller]
    pub fn master(&self) -> usize {
        let named = self.sentinels[0].call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        let Reply::List(address) = named else { panic!("{named:?}") };
        let port = address[1].text();
        self.redis.iter().position(|redis| redis.port().to_string() == port).unwrap()
    }

    /// Makes the replica the master, and waits until the sentinel names it.
    #[track_caller]
    pub fn fail_over(&self) {
        let before = self.master();
        self.sentinels[0].call(&["SENTINEL", "FAILOVER", SERVICE]);
        until("the sentinel names the other master", || self.master() != before);
    }
}
