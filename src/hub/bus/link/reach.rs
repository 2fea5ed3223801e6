//! Whether what this node publishes reaches the others. A Redis that is a replica takes PUBLISH and
//! delivers it to its own subscribers alone: nodes at the master do not receive it, and nothing fails.

use super::{Link, Purpose};
use crate::proto::resp::{self, Greeting};

/// What is known of it, on this connection if nothing else is said.
#[derive(Default)]
pub(super) struct Reach {
    /// Whether Redis is one of a cluster, which delivers from any server to any.
    is_cluster: bool,
    /// When the first envelope was published that has not come back.
    unechoed_ms: Option<u64>,
    /// Whether any has.
    is_echoed: bool,
    /// Whether it was logged that the connection works.
    is_confirmed: bool,
    /// When Redis was last asked for its role.
    asked_ms: Option<u64>,
    /// Whether other nodes are known not to receive this one, on this or an earlier connection.
    is_cut_off: bool,
}

impl Reach {
    /// The connection is lost.
    pub(super) fn lose(&mut self) {
        *self = Reach { is_cut_off: self.is_cut_off, ..Reach::default() };
    }

    /// How many subscribers an envelope has reached, where the number says something.
    pub(super) fn counted(&self, number: Option<i64>) -> Option<usize> {
        let number = number.filter(|_| !self.is_cluster)?;
        usize::try_from(number).ok()
    }
}

impl Link {
    /// Whether Redis delivers what this node publishes, as far as can be known.
    pub(in crate::hub::bus) fn delivers(&self) -> bool {
        self.is_up() && self.reach.is_echoed && !self.reach.is_cut_off
    }

    /// Something was published that will come back.
    pub(in crate::hub::bus) fn expect_echo(&mut self, now_ms: u64) {
        self.reach.unechoed_ms.get_or_insert(now_ms);
    }

    /// Something has come back.
    pub(in crate::hub::bus) fn echoed(&mut self) {
        (self.reach.unechoed_ms, self.reach.is_echoed) = (None, true);
        self.confirm();
    }

    /// Whether something was published on this connection, and nothing has come back yet.
    pub(in crate::hub::bus) fn awaits_first_echo(&self) -> bool {
        self.reach.unechoed_ms.is_some() && !self.reach.is_echoed
    }

    pub(super) fn echo_due_ms(&self) -> Option<u64> {
        Some(self.reach.unechoed_ms? + self.limits.echo_ms)
    }

    pub(super) fn is_echo_late(&self, now_ms: u64) -> bool {
        self.echo_due_ms().is_some_and(|due_ms| now_ms >= due_ms)
    }

    /// Whether other nodes are known not to receive this one.
    pub(in crate::hub::bus) fn is_cut_off(&self) -> bool {
        self.reach.is_cut_off
    }

    pub(in crate::hub::bus) fn set_cut_off(&mut self, is_cut_off: bool) {
        self.reach.is_cut_off = is_cut_off;
        self.confirm();
    }

    /// Logs that the connection works, once it does.
    fn confirm(&mut self) {
        if self.reach.is_confirmed || !self.delivers() {
            return;
        }
        self.reach.is_confirmed = true;
        match self.logged.take() {
            Some(_) => log::info!("Redis is back: the nodes hear each other again"),
            None => log::info!("connected to Redis, channel {:?}", self.channel),
        }
    }

    /// Asks Redis for its role, which may have changed since the login: a second at the most after
    /// the last time. Protocol 3 is named, as Redis 6.0 does not answer without.
    pub(in crate::hub::bus) fn ask_role(&mut self, now_ms: u64) {
        let is_recent = self.reach.asked_ms.is_some_and(|at_ms| now_ms < at_ms + ROLE_PAUSE_MS);
        if self.is_up() && !self.reach.is_cluster && !is_recent {
            self.reach.asked_ms = Some(now_ms);
            let hello = resp::command(&[b"HELLO", b"3"]);
            self.send(hello.into(), Purpose::Role, now_ms);
        }
    }

    /// Redis has named its role.
    ///
    /// # Errors
    ///
    /// What is published there does not reach all nodes.
    pub(super) fn greeted(&mut self, greeting: Greeting) -> Result<(), String> {
        self.reach.is_cluster = greeting.is_cluster;
        match greeting.is_replica && !greeting.is_cluster {
            true => Err(REPLICA.to_owned()),
            false => Ok(()),
        }
    }
}

/// The same at the login and later, so that it is one line of the log.
const REPLICA: &str = "it is a replica, so what is published there does not reach nodes that are \
    connected to its master; set REDIS_HOST or REDIS_URL to the master, or to a name that follows it";

const ROLE_PAUSE_MS: u64 = 1_000;
