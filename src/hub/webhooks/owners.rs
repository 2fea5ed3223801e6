//! Which node sends the events of a channel. Every node computes it from the ids of the live nodes,
//! with a rendezvous hash: when a node comes or goes, only its own share of the channels changes hands.

/// The nodes that share the channels.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The id of this node.
    pub me: u64,
    /// The ids of the other live nodes that send webhooks.
    pub others: Vec<u64>,
    /// Whether the node waits for the state of the other nodes and sends nothing yet.
    pub is_unsettled: bool,
    /// Whether the node has started so recently that the other nodes know more than it does.
    pub is_fresh: bool,
}

impl Owners {
    /// Whether this node sends the events of a channel.
    pub(super) fn is_owner(&self, app: &str, channel: &str) -> bool {
        if self.is_unsettled {
            return false;
        }
        if self.others.is_empty() {
            return true;
        }
        let hash = hash(app, channel);
        let mine = (mix(hash ^ mix(self.me)), self.me);
        self.others.iter().all(|&other| (mix(hash ^ mix(other)), other) < mine)
    }
}

/// FNV-1a of the names.
fn hash(app: &str, channel: &str) -> u64 {
    let bytes = app.bytes().chain([0]).chain(channel.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The last step of SplitMix64, which spreads every bit over the whole number.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(nodes: &[u64], channel: &str) -> u64 {
        let is_owner = |me: u64| {
            let others = nodes.iter().copied().filter(|node| *node != me).collect();
            Owners { me, others, ..Owners::default() }.is_owner("1", channel)
        };
        let owners: Vec<u64> = nodes.iter().copied().filter(|node| is_owner(*node)).collect();
        assert_eq!(owners.len(), 1, "{channel}");
        owners[0]
    }

    #[test]
    fn each_channel_has_one_owner_and_a_lost_node_moves_only_its_own() {
        let nodes = [7, 8, 9, 10];
        let mut counts = [0; 4];
        for n in 0..4_000 {
            let channel = format!("private-user.{n}");
            let before = owner(&nodes, &channel);
            counts[(before - 7) as usize] += 1;
            let after = owner(&nodes[..3], &channel);
            assert!(before == 10 || after == before);
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_node_that_waits_for_the_others_owns_nothing() {
        let mut owners = Owners { is_unsettled: true, ..Owners::default() };
        assert!(!owners.is_owner("1", "c"));
        owners.is_unsettled = false;
        assert!(owners.is_owner("1", "c"));
    }
}
