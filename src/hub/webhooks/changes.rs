//! What is yet to be reported to the app: channels and users whose state differs from the last one
//! that was reported. A state that is not in this table was reported, so a server at rest stores
//! nothing.
//!
//! | reported | is | what follows |
//! |---|---|---|
//! | absent | present | the owner of the channel sends at once |
//! | present | absent | the owner sends after the grace, unless the state returns before |
//! | unknown | any | as if it were the opposite; another node may have sent it |
//!
//! With several nodes every node keeps the change until its owner reports that it was acknowledged.
//! So another node can take over; it sends what is still in its table. Which node is the owner of a
//! channel is decided in `owners`.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::super::random::Hashing;

/// What a change is about: a channel, or a user of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::hub) struct Subject {
    pub app: u32,
    pub channel: Rc<str>,
    pub user: Option<Rc<str>>,
}

/// The last state of a subject that was reported to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Reported {
    Absent,
    Present,
    Unknown,
    /// Present; but another node may have sent that it is gone just before it returned.
    Returned,
}

impl From<bool> for Reported {
    fn from(is_present: bool) -> Self {
        if is_present { Reported::Present } else { Reported::Absent }
    }
}

impl Reported {
    /// Whether this state was reported.
    fn is(self, is_present: bool) -> bool {
        self == Reported::from(is_present)
    }
}

/// The part of this node in the events of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// Whether this node sends them.
    pub is_owner: bool,
    /// Whether there may be other nodes, which must learn what a webhook has acknowledged.
    pub is_shared: bool,
}

/// What to do about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Send its state.
    Send(bool),
    /// Notify the other nodes that nothing needs to be sent about this state.
    Confirm(bool),
    /// Ask the owner of the channel whether it has reported something later than this.
    Query(Reported),
}

/// A subject whose state was not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The last state that a webhook has acknowledged.
    pub reported: Reported,
    /// Its state.
    pub is_present: bool,
    /// Events about it that this node has queued and no webhook has acknowledged.
    pub queued: u32,
    /// The state in the last of these events.
    pub queued_state: bool,
    /// When an absent subject may be sent.
    pub due_ms: u64,
    /// When it is checked next; an entry of `checks` with another time is outdated.
    pub check_ms: u64,
    /// How often it was checked without a change.
    pub checks: u32,
    /// Whether another node may have sent something about it.
    pub is_foreign: bool,
}

impl Change {
    pub(super) fn new(reported: Reported, is_present: bool) -> Self {
        let (queued, queued_state, due_ms, check_ms) = (0, false, 0, 0);
        let (checks, is_foreign) = (0, false);
        Change { reported, is_present, queued, queued_state, due_ms, check_ms, checks, is_foreign }
    }

    /// The last reported state once everything queued is acknowledged.
    fn expected(&self) -> Reported {
        if self.queued > 0 { self.queued_state.into() } else { self.reported }
    }

    fn queue(&mut self, is_present: bool) -> Step {
        (self.queued, self.queued_state) = (self.queued + 1, is_present);
        Step::Send(is_present)
    }
}

/// All changes, at most `max`.
pub(super) struct Changes {
    changes: HashMap<Subject, Change, Hashing>,
    /// The subjects to check, the earliest first: each check is [`GRACE_MS`] after it was listed.
    checks: VecDeque<(u64, Subject)>,
    max: usize,
    /// Changes that were forgotten for lack of room.
    pub rejected: u64,
}

/// How long a channel or a user must be gone before this is sent, as in Pusher: a page that is
/// loaded again sends nothing.
pub(super) const GRACE_MS: u64 = 3_000;
/// After how many checks the owner is asked; the number doubles up to a limit.
const QUERY_AFTER: u32 = 2;
const QUERY_AFTER_MAX: u32 = 8;

impl Changes {
    pub(super) fn new(hashing: Hashing, max: usize) -> Self {
        let changes = HashMap::with_hasher(hashing);
        Changes { changes, checks: VecDeque::new(), max, rejected: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// When the next check is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.checks.front().map(|(at_ms, _)| *at_ms)
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Change> {
        self.changes.get(subject)
    }

    /// All changes, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Subject, &Change)> {
        self.changes.iter()
    }

    /// All changes, in the order of their checks. One whose subject was listed twice at the same
    /// time comes twice.
    pub(super) fn by_check(&self) -> impl Iterator<Item = (&Subject, &Change)> {
        self.checks.iter().filter_map(|(at_ms, subject)| {
            let change = self.changes.get(subject)?;
            (change.check_ms == *at_ms).then_some((subject, change))
        })
    }

    /// A subject has become present or absent.
    pub(super) fn set(
        &mut self,
        subject: Subject,
        is_present: bool,
        role: Role,
        now_ms: u64,
    ) -> Step {
        let Some(change) = self.changes.get_mut(&subject) else {
            if is_present && role.is_owner && !role.is_shared {
                return Step::Send(true);
            }
            let mut change = Change::new((!is_present).into(), is_present);
            let step = match is_present && role.is_owner {
                true => change.queue(true),
                false => Step::Nothing,
            };
            change.due_ms = now_ms + GRACE_MS;
            change.is_foreign = !role.is_owner;
            return if self.insert(subject, change, now_ms) { step } else { Step::Nothing };
        };
        change.is_present = is_present;
        change.checks = 0;
        change.is_foreign |= !role.is_owner;
        if !is_present {
            change.due_ms = now_ms + GRACE_MS;
            if change.queued == 0 && change.reported == Reported::Absent {
                // Another node may have sent that it is present.
                change.reported = Reported::Unknown;
            }
            self.list(subject, now_ms);
            return Step::Nothing;
        }
        if change.expected().is(true) {
            if change.queued > 0 {
                return Step::Nothing;
            }
            if !change.is_foreign {
                // It is back within the grace.
                self.remove(&subject);
                return if role.is_shared { Step::Confirm(true) } else { Step::Nothing };
            }
            // Another node may have sent that it is gone, at the same time.
            change.reported = Reported::Returned;
        }
        if !role.is_owner {
            return Step::Nothing;
        }
        let step = change.queue(true);
        if !role.is_shared {
            self.remove(&subject);
        }
        step
    }

    /// A node that has just started learns from another one that the subject is present: the other
    /// one has reported it, or will.
    pub(super) fn defer(&mut self, subject: &Subject) {
        let is_new = |change: &Change| change.queued == 0 && change.is_present;
        if self.changes.get(subject).is_some_and(is_new) {
            self.remove(subject);
        }
    }

    /// Another node has reported this state to the app. `is_present` is the state of the subject.
    pub(super) fn reported(
        &mut self,
        subject: Subject,
        reported: Reported,
        is_present: bool,
        role: Role,
        now_ms: u64,
    ) {
        let Some(change) = self.changes.get_mut(&subject) else {
            if !reported.is(is_present) {
                let mut change = Change::new(reported, is_present);
                (change.due_ms, change.is_foreign) = (now_ms + GRACE_MS, true);
                self.insert(subject, change, now_ms);
            }
            return;
        };
        // If both nodes believe to be the owner, it is unknown which of them the app has received
        // last.
        change.reported = if role.is_owner { Reported::Unknown } else { reported };
        change.is_foreign = true;
        if change.queued == 0 && change.reported.is(change.is_present) {
            self.remove(&subject);
        }
    }

    /// The owner of the channel has nothing to send about a subject with this state.
    pub(super) fn confirmed(&mut self, subject: &Subject, is_present: bool) {
        let Some(change) = self.changes.get(subject) else { return };
        let is_settled = change.reported == Reported::Returned || change.reported.is(is_present);
        if change.queued == 0 && change.is_present == is_present && is_settled {
            self.remove(subject);
        }
    }

    /// A webhook has acknowledged an event that this node has queued, or the event was dropped.
    pub(super) fn acknowledged(&mut self, subject: &Subject, is_present: bool) {
        let Some(change) = self.changes.get_mut(subject) else { return };
        change.queued = change.queued.saturating_sub(1);
        change.reported = is_present.into();
        if change.queued == 0 && change.reported.is(change.is_present) {
            self.remove(subject);
        }
    }

    /// Keeps a change as it is, to be sent once it is due: for a state of an earlier process.
    pub(super) fn insert(&mut self, subject: Subject, change: Change, now_ms: u64) -> bool {
        if self.changes.len() >= self.max {
            self.rejected += 1;
            return false;
        }
        self.changes.insert(subject.clone(), change);
        self.list(subject, now_ms);
        true
    }

    /// Restores a saved change. The changes must be in the order of their checks, and no other
    /// change may be restored after one was set.
    pub(super) fn restore(&mut self, subject: Subject, change: Change) {
        self.checks.push_back((change.check_ms, subject.clone()));
        self.changes.insert(subject, change);
    }

    /// The next subject whose check is due.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<Subject> {
        while self.checks.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let (at_ms, subject) = self.checks.pop_front()?;
            if self.changes.get(&subject).is_some_and(|change| change.check_ms == at_ms) {
                return Some(subject);
            }
        }
        // Free the capacity that a wave of changes has left.
        if self.checks.is_empty() && self.checks.capacity() > IDLE_CAPACITY_MAX {
            self.checks = VecDeque::new();
        }
        None
    }

    /// Decides about a subject whose check is due. Without `may_leave`, absent ones wait.
    pub(super) fn check(
        &mut self,
        subject: Subject,
        role: Role,
        may_leave: bool,
        now_ms: u64,
    ) -> Step {
        let Some(change) = self.changes.get_mut(&subject) else { return Step::Nothing };
        change.checks = change.checks.saturating_add(1);
        change.is_foreign |= !role.is_owner;
        let is_early = !change.is_present && (now_ms < change.due_ms || !may_leave);
        let mut step = Step::Nothing;
        if change.expected().is(change.is_present) {
            if change.queued == 0 {
                let is_present = change.is_present;
                self.remove(&subject);
                return match role.is_owner && role.is_shared {
                    true => Step::Confirm(is_present),
                    false => Step::Nothing,
                };
            }
        } else if role.is_owner && !is_early {
            step = change.queue(change.is_present);
            if !role.is_shared {
                self.remove(&subject);
                return step;
            }
        } else if !role.is_owner && !is_early && change.queued == 0 && is_query_due(change.checks) {
            step = Step::Query(change.reported);
        }
        self.list(subject, now_ms);
        step
    }

    fn list(&mut self, subject: Subject, now_ms: u64) {
        let Some(change) = self.changes.get_mut(&subject) else { return };
        change.check_ms = now_ms + GRACE_MS;
        self.checks.push_back((change.check_ms, subject));
    }

    fn remove(&mut self, subject: &Subject) {
        self.changes.remove(subject);
        if self.changes.is_empty() && self.changes.capacity() > IDLE_CAPACITY_MAX {
            self.changes.shrink_to_fit();
        }
    }
}

fn is_query_due(checks: u32) -> bool {
    checks >= QUERY_AFTER && (checks.is_power_of_two() || checks.is_multiple_of(QUERY_AFTER_MAX))
}

/// The table and the list keep at most this capacity when they are empty.
const IDLE_CAPACITY_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
