//! What the nodes of a cluster report to each other about webhooks, as far as the table of changes is
//! concerned. The items are sent and received in `cluster/webhooks`.

use super::Webhooks;
use super::changes::{Change, GRACE_MS, Step, Subject, Told};

/// A report for the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) enum Report {
    /// The app was told that the subject is present, or absent.
    Told(Subject, bool),
    /// This node owns the channel, and has nothing to send about the subject while it is present, or
    /// absent.
    Known(Subject, bool),
    /// This node knows of no later state that the app was told. The owner of the channel compares it
    /// with what it has told.
    Ask(Subject, Told),
}

/// What this node knows of the others.
#[derive(Debug, Default)]
pub(in crate::hub) struct Cluster {
    /// The id of this node.
    pub me: u64,
    /// The ids of the other live nodes that send webhooks.
    pub others: Vec<u64>,
    /// Milliseconds since this node has started.
    pub up_ms: u64,
    /// After how many milliseconds of silence a node is no longer live.
    pub lease_ms: u64,
    /// Whether Redis is connected.
    pub is_up: bool,
    /// Whether this node has the whole state of each live node.
    pub is_synced: bool,
}

impl Webhooks {
    /// Takes over what this node knows of the others. It sends nothing until it knows them, so that
    /// it does not repeat what they have told: until it has the state of all nodes that have
    /// answered within a second, or for the duration of a lease.
    pub(in crate::hub) fn set_cluster(&mut self, cluster: Cluster) {
        let now_ms = self.now.ms;
        self.up_since_ms = cluster.is_up.then(|| self.up_since_ms.unwrap_or(now_ms));
        let have_answered = self.up_since_ms.is_some_and(|ms| now_ms >= ms + ANSWER_MS);
        let is_fresh = cluster.up_ms < cluster.lease_ms;
        self.owners.is_fresh = is_fresh;
        self.owners.is_unsettled = is_fresh && !(have_answered && cluster.is_synced);
        (self.owners.me, self.owners.others) = (cluster.me, cluster.others);
    }

    /// The reports for the other nodes since the last call.
    pub(in crate::hub) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.to_publish)
    }

    /// Another node has told the app a state.
    pub(in crate::hub) fn receive_told(
        &mut self,
        subject: Subject,
        is_told: bool,
        is_present: bool,
    ) {
        if self.tracks(subject.app, &subject.channel, subject.user.is_some()) {
            self.record_state(&subject, is_told);
            let role = self.role(&subject);
            self.changes.told(subject, is_told.into(), is_present, role, self.now.ms);
        }
    }

    /// The owner of a channel has nothing to send.
    pub(in crate::hub) fn receive_known(&mut self, subject: &Subject, is_present: bool) {
        self.changes.confirmed(subject, is_present);
    }

    /// Reports the changes that are not settled, so that another node tells the app if this one ends
    /// before they are: to a node that receives the whole state, and to all when a node has ended.
    /// More than [`REPORTED_MAX`] would take too long; the owner is asked about the rest later.
    pub(in crate::hub) fn report_changes(&mut self) {
        let unsettled = self.changes.iter().take(REPORTED_MAX);
        let reports = unsettled.map(|(subject, change)| Report::Ask(subject.clone(), change.told));
        self.to_publish.extend(reports);
    }

    /// Another node asks about a state: if this node owns the channel, and the subject has another
    /// state, it tells the app. Any other node keeps the change: it may become the owner.
    pub(in crate::hub) fn receive_ask(&mut self, subject: Subject, told: Told, is_present: bool) {
        let role = self.role(&subject);
        if self.changes.get(&subject).is_some()
            || !self.tracks(subject.app, &subject.channel, subject.user.is_some())
        {
            return;
        }
        if told == Told::from(is_present) {
            return;
        }
        let mut change = Change::new(told, is_present);
        (change.due_ms, change.is_foreign) = (self.now.ms + GRACE_MS, !role.is_owner);
        if self.changes.insert(subject.clone(), change, self.now.ms) {
            let step = self.changes.check(subject.clone(), role, true, self.now.ms);
            self.perform(subject, step);
        }
    }

    /// Checks the next change that is due. Returns `false` if there is none.
    pub(super) fn check_next(&mut self, may_leave: bool) -> bool {
        let Some(subject) = self.changes.next_due(self.now.ms) else { return false };
        let role = self.role(&subject);
        let step = self.changes.check(subject.clone(), role, may_leave, self.now.ms);
        self.units += CHECK_UNITS;
        debug_assert!(step != Step::Send(true) || role.is_owner);
        self.perform(subject, step);
        true
    }
}

/// The most changes reported at once; 10,000 take about 10 ms.
const REPORTED_MAX: usize = 10_000;
/// How long a node that has connected to Redis waits for the others to answer.
const ANSWER_MS: u64 = 1_000;
/// Units of work of a check.
const CHECK_UNITS: u64 = 5;
