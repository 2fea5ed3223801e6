//! A server that speaks the Pusher protocol, in place of Laravel Reverb.
//!
//! ```text
//!             bytes                     values                    who must be told
//!   sockets  ------->  net (effects)  ------->  hub (pure)  ------->  outboxes  -->  sockets
//!                                                 |
//!                                              proto (pure): bytes <-> values
//! ```
//!
//! Three layers, one law: [`net`] may name [`hub`], and `hub` may name [`proto`], never the other
//! way round. `proto` and `hub` have no sockets, files, clock or randomness: time is an argument,
//! a random seed is given at the start, and what is to be sent lies in outboxes. That is why the
//! whole server can be tried without a socket:
//!
//! ```
//! use reverb::config::{App, Config};
//! use reverb::hub::{Hub, Now};
//!
//! let config = Config { apps: vec![App::new("1", "key", "secret")], ..Config::default() };
//! let now = Now { ms: 0, unix_s: 1_795_450_533 };
//! let mut hub: Hub<()> = Hub::new(&config, [0; 32], now);
//! let client = hub.open((), None, now);
//! hub.receive(client, &mut b"GET /up HTTP/1.1\r\n\r\n".to_vec(), now);
//! let (_, outbox) = hub.outbox(client).expect("the client has not gone");
//! assert!(outbox.bytes() > 0);
//! ```
//!
//! To run the server inside another program, bind a [`net::Server`], give it a [`hub::Listener`]
//! if you want to know what happens, and let it [`net::Server::run`] on a thread of its own:
//!
//! ```no_run
//! use reverb::config::{App, Config};
//! use reverb::hub::{Listener, SocketId};
//!
//! struct Print;
//!
//! impl Listener for Print {
//!     fn channel_created(&mut self, app_id: &str, channel: &str) {
//!         println!("{app_id}: {channel} has its first subscriber");
//!     }
//!     fn message_received(&mut self, _app_id: &str, from: SocketId, message: &str) {
//!         println!("{from} says {message}");
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let config = Config { apps: vec![App::new("1", "key", "secret")], ..Config::default() };
//! let seed = [7; 32]; // Take yours from the operating system's random numbers.
//! let mut server = reverb::net::Server::bind(&config, seed)?;
//! server.listen(Box::new(Print));
//! let stopper = server.stopper()?;
//! std::thread::spawn(move || {
//!     std::thread::sleep(std::time::Duration::from_secs(60));
//!     stopper.stop();
//! });
//! server.run()
//! # }
//! ```

pub mod args;
pub mod commands;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod hub;
pub mod logging;
mod nearest;
pub mod net;
pub mod proto;
