//! Envelopes that arrived before a missing one that precedes them. They are held until the missing
//! one is retransmitted, so that the later ones need no retransmission. What is missing is found in
//! `sequence`.

use std::collections::BTreeMap;

use crate::proto::envelope::NodeId;

/// Envelopes by node and number, bounded in bytes.
pub(in crate::hub) struct Early {
    envelopes: BTreeMap<(u64, u64), Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// The node whose expected sequence number has changed, so that its next envelope may be held.
    due: Option<NodeId>,
}

impl Early {
    pub(in crate::hub) fn new(bytes_max: usize) -> Self {
        Early { envelopes: BTreeMap::new(), bytes: 0, bytes_max, due: None }
    }

    /// Holds an envelope if there is room. Otherwise its node must retransmit it.
    pub(in crate::hub) fn hold(&mut self, node: NodeId, seq: u64, text: Vec<u8>) {
        let bytes = bytes(&text);
        if self.bytes + bytes <= self.bytes_max && !self.envelopes.contains_key(&(node.0, seq)) {
            self.bytes += bytes;
            self.envelopes.insert((node.0, seq), text);
        }
    }

    /// The sequence number that is expected next from the node has changed.
    pub(in crate::hub) fn advance(&mut self, node: NodeId) {
        if !self.envelopes.is_empty() {
            self.due = Some(node);
        }
    }

    /// The node whose next envelope may be held, and was not looked up yet.
    pub(in crate::hub) fn due(&self) -> Option<NodeId> {
        self.due
    }

    /// Takes the node's envelope with this number. Earlier ones are dropped: they were received as
    /// retransmissions.
    pub(in crate::hub) fn take(&mut self, node: NodeId, next: u64) -> Option<Vec<u8>> {
        while let Some((&(_, seq), _)) = self.envelopes.range((node.0, 0)..(node.0, next)).next() {
            self.remove(node, seq);
        }
        let text = self.remove(node, next);
        if text.is_none() {
            self.due = None;
        }
        text
    }

    fn remove(&mut self, node: NodeId, seq: u64) -> Option<Vec<u8>> {
        let text = self.envelopes.remove(&(node.0, seq))?;
        self.bytes -= bytes(&text);
        Some(text)
    }

    /// Drops all envelopes of a node.
    pub(in crate::hub) fn drop_node(&mut self, node: NodeId) {
        self.envelopes.retain(|(id, _), _| *id != node.0);
        self.bytes = self.envelopes.values().map(|text| bytes(text)).sum();
        self.due = self.due.filter(|due| *due != node);
    }
}

/// The bytes an envelope takes, with an estimate for its map entry.
fn bytes(text: &[u8]) -> usize {
    text.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    #[test]
    fn early_envelopes_are_taken_in_order_and_earlier_ones_dropped() {
        let mut early = Early::new(1_000);
        early.advance(NODE);
        assert_eq!(early.due(), None, "nothing is held");
        for seq in [4, 3, 8, 1, 3] {
            early.hold(NODE, seq, vec![seq as u8; 10]);
        }
        early.hold(NodeId(8), 3, vec![0; 10]);
        early.advance(NODE);
        assert_eq!((early.due(), early.bytes), (Some(NODE), 5 * 74));
        assert_eq!(early.take(NODE, 3), Some(vec![3; 10]));
        assert_eq!(early.take(NODE, 4), Some(vec![4; 10]));
        assert_eq!((early.take(NODE, 5), early.due()), (None, None));
        assert_eq!(early.bytes, 2 * 74);
        early.drop_node(NODE);
        assert_eq!((early.bytes, early.take(NodeId(8), 3)), (74, Some(vec![0; 10])));
    }

    #[test]
    fn an_envelope_without_room_is_not_held() {
        let mut early = Early::new(100);
        early.hold(NODE, 1, vec![0; 36]);
        early.hold(NODE, 2, vec![0; 1]);
        assert_eq!((early.take(NODE, 2), early.bytes), (None, 0));
    }
}
