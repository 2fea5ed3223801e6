//! The state of a handover to a newer binary. The steps are in `control/replace`.

use crate::hub::ConnId;
use crate::net::successor::{Outcome, Successor, Trial};

/// The handover to a newer binary, which `reverb reload` and SIGUSR2 request.
pub(super) struct Handover {
    /// The binary to execute; without it every request is rejected.
    pub successor: Option<Successor>,
    /// The stage of the handover in progress, if there is one.
    pub stage: Option<Stage>,
    /// Sends the result to `reverb reload`.
    pub outcome: Outcome,
    /// Whether this process has taken over from a predecessor and must still report that it serves.
    pub has_taken_over: bool,
}

impl Handover {
    pub(super) fn new(outcome: Outcome) -> Self {
        Handover { successor: None, stage: None, outcome, has_taken_over: false }
    }

    /// When the current stage times out.
    pub(super) fn next_ms(&self) -> Option<u64> {
        match self.stage.as_ref()? {
            Stage::Trial(trial) => Some(trial.deadline_ms),
            Stage::Leaving(leaving) => Some(leaving.end_ms),
        }
    }

    /// Whether new connections are left to the new binary.
    pub(super) fn leaves_new_connections(&self) -> bool {
        matches!(&self.stage, Some(Stage::Leaving(leaving)) if leaving.is_last)
    }
}

/// A stage of a handover.
pub(super) enum Stage {
    /// The new binary runs as a child, to check that it can serve.
    Trial(Trial),
    /// The connections that cannot be handed over are being closed.
    Leaving(Leaving),
}

/// The connections that are closed before a handover.
pub(super) struct Leaving {
    /// The connections that are still open of those to close.
    pub left: Vec<ConnId>,
    /// Whether all connections are closed, because the new binary reads another version of the
    /// state; otherwise only those with TLS.
    pub all: bool,
    /// Whether this is the last round: new connections stay in the backlog.
    pub is_last: bool,
    /// When the new binary is executed, even if connections are left.
    pub end_ms: u64,
}

/// Why a stopping server rejects a handover.
pub(super) const IS_STOPPING: &str = "it was asked to stop";
