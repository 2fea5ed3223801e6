//! Whether Redis delivers what this node publishes. A Redis replica accepts PUBLISH but delivers only
//! to its own subscribers: nodes connected to the master receive nothing, and no command fails. The
//! checks are in `delivery`.

/// The state of the delivery, for this connection unless noted otherwise.
#[derive(Default)]
pub(in crate::hub) struct Reach {
    /// Whether Redis is part of a Redis Cluster, which delivers between all of its servers.
    pub is_cluster: bool,
    /// When this node published the oldest message that it has not received back; `None` if it
    /// expects none.
    pub unechoed_ms: Option<u64>,
    /// Whether this node has received any of its messages back.
    pub is_echoed: bool,
    /// Whether it was logged that the connection works.
    pub is_confirmed: bool,
    /// Whether the last message received is a plain copy of a sharded one.
    pub is_plain_copy: bool,
    /// When Redis was last asked for its role.
    pub asked_ms: Option<u64>,
    /// Whether other nodes are known not to receive this one, on this or an earlier connection.
    pub is_cut_off: bool,
}

impl Reach {
    /// Resets everything but `is_cut_off`, which outlasts the connection.
    pub(in crate::hub) fn reset(&mut self) {
        *self = Reach { is_cut_off: self.is_cut_off, ..Reach::default() };
    }

    /// The number of subscribers in the reply to PUBLISH; `None` in a Redis Cluster, where it
    /// counts the subscribers of one server only.
    pub(in crate::hub) fn receivers(&self, number: Option<i64>) -> Option<usize> {
        let number = number.filter(|_| !self.is_cluster)?;
        usize::try_from(number).ok()
    }
}
