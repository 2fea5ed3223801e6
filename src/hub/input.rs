//! Which connection is read from next. Held input (it was read, but its handling was postponed) is
//! handled before more is read. The lanes and budgets are in `connections/input` and `work`.

use super::Hub;
use super::ids::{ConnId, Now};
use super::peer::Phase;

impl<T> Hub<T> {
    /// The next connection to read from, and how many bytes to read at most; pass the bytes to
    /// [`Hub::receive`]. Handles held input first. Returns `None` when the budget of the turn is
    /// used up, or when all connections with input were visited.
    pub fn next_read(&mut self, now: Now) -> Option<(ConnId, usize)> {
        self.connections.happenings.set_now(now);
        while let Some((id, lane)) = self.connections.next_visit() {
            self.connections.work.begin_visit(lane);
            if self.connections.must_wait_for_reader(id, now) || self.resume(id, now) {
                self.count_webhook_work();
                self.drop_slow(now);
                continue;
            }
            let bytes = self.connections.read_bytes(id);
            if bytes > 0 {
                return Some((id, bytes));
            }
        }
        self.connections.work.end_visit();
        None
    }

    /// Whether the next turn has work even if the poller reports no event: input to handle, or
    /// connections whose deadline has passed. Pending writes are not included; see
    /// [`Hub::has_dirty`].
    pub fn has_work(&self) -> bool {
        self.connections.schedule.has_work()
            || self.connections.has_due_connections()
            || self.has_webhook_work()
    }

    /// Handles the held input of a connection. Returns `false` if there was none.
    fn resume(&mut self, id: ConnId, now: Now) -> bool {
        let Some(peer) = self.connections.get_mut(id) else { return true };
        match &mut peer.phase {
            Phase::Request(request) if request.is_held => {
                let request = request.take();
                self.handle_request_bytes(id, request, &mut [], now);
            }
            Phase::Open(_) => {
                let Some(held) = self.connections.schedule.take_held(id) else { return false };
                self.handle_held(id, held, now);
            }
            _ => return false,
        }
        // The socket may have more input: its readable event may have arrived while this was held.
        let lane = self.connections.work.lane_after_visit();
        self.connections.schedule_in(id, lane);
        true
    }
}
