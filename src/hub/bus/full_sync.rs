//! The progress of a full sync: the state that this node sends to another, a little at a time.
//! `cluster/full_sync` sends it.

/// A full sync in progress.
pub(in crate::hub) struct FullSync {
    /// Whether cached events are included.
    pub with_cache: bool,
    pub has_begun: bool,
    pub app: u32,
    /// The next channel, by its place, and the last of its users that was sent.
    pub place: usize,
    pub user: Option<u64>,
    /// The number of the last cached event that was sent.
    pub cached_number: u64,
}

impl FullSync {
    pub(in crate::hub) fn new(with_cache: bool) -> Self {
        FullSync { with_cache, has_begun: false, app: 0, place: 0, user: None, cached_number: 0 }
    }
}
