//! The progress of a full sync: the state that this node sends to another, a little at a time.
//! `cluster/full_sync` sends it.

/// A full sync in progress.
pub(in crate::hub) struct FullSync {
    /// Whether cached events are included.
    pub with_cache: bool,
    /// Whether `SyncBegin` was sent.
    pub has_begun: bool,
    /// The index of the app whose state is being sent.
    pub app: u32,
    /// The index of the next channel in the app's slab.
    pub place: usize,
    /// The place of the last user of this channel that was sent, if any.
    pub user: Option<u64>,
    /// The number of the last cached event that was sent.
    pub cached_number: u64,
}

impl FullSync {
    pub(in crate::hub) fn new(with_cache: bool) -> Self {
        FullSync { with_cache, has_begun: false, app: 0, place: 0, user: None, cached_number: 0 }
    }
}
