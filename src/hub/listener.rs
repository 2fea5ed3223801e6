//! The listener of a program that embeds the server: the five events of Laravel Reverb. The hub
//! calls it; this file has no logic.

use super::ids::SocketId;

/// Receives events of the server as they happen. The default methods do nothing. A method runs on
/// the event loop and delays every client, so pass expensive work to another thread.
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
    /// A channel has its first subscriber.
    fn channel_created(&mut self, app_id: &str, channel: &str) {}

    /// A channel has lost its last subscriber.
    fn channel_removed(&mut self, app_id: &str, channel: &str) {}

    /// A connection was closed because its client answered no ping.
    fn connection_pruned(&mut self, app_id: &str, connection: SocketId) {}

    /// A client's message was handled without an error.
    fn message_received(&mut self, app_id: &str, from: SocketId, message: &str) {}

    /// A text message was put in a client's queue.
    fn message_sent(&mut self, app_id: &str, to: SocketId, message: &str) {}
}
