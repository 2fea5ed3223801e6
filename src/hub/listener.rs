//! What a program that embeds the server may listen to: Reverb's five events.

use super::ids::SocketId;

/// Told what happens, as it happens. Every method does nothing unless it is written; whatever one
/// does delays every client, so hand the work to another thread.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// #[derive(Default)]
/// struct Count(Rc<Cell<u64>>);
///
/// impl reverb::hub::Listener for Count {
///     fn message_sent(&mut self, _app_id: &str, _to: reverb::hub::SocketId, _message: &str) {
///         self.0.set(self.0.get() + 1);
///     }
/// }
///
/// let count = Count::default();
/// let sent = Rc::clone(&count.0);
/// let config = reverb::config::Config::default();
/// let mut hub: reverb::hub::Hub<()> = reverb::hub::Hub::new(&config, [0; 32], Default::default());
/// hub.listen(Box::new(count));
/// assert_eq!(sent.get(), 0);
/// ```
#[expect(unused_variables, reason = "the names of the arguments are the documentation")]
pub trait Listener {
    /// The first subscriber has made this channel.
    fn channel_created(&mut self, app_id: &str, channel: &str) {}

    /// The last subscriber has left this channel.
    fn channel_removed(&mut self, app_id: &str, channel: &str) {}

    /// A connection was closed because it answered no ping.
    fn connection_pruned(&mut self, app_id: &str, connection: SocketId) {}

    /// A client's message was handled without an error.
    fn message_received(&mut self, app_id: &str, from: SocketId, message: &str) {}

    /// A text message was put in a client's queue.
    fn message_sent(&mut self, app_id: &str, to: SocketId, message: &str) {}
}
