//! A server for the Pusher protocol, as a replacement of Laravel Reverb.
//!
//! ```text
//!             bytes                     values                     frames
//!   sockets  ------->  net (effects)  ------->  hub (pure)  ------->  outboxes  -->  sockets
//!                                                 |
//!                                              proto (pure): bytes <-> values
//! ```
//!
//! There are three layers: [`net`] depends on [`hub`], and `hub` on [`proto`], never the other way
//! round. `proto` and `hub` use no sockets, files, clock or randomness: time is an argument, a random
//! seed is passed at the start, and frames to send are put in outboxes. So the whole server can be
//! tested without a socket:
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
//! let (_, outbox) = hub.outbox(client).expect("the client is connected");
//! assert!(outbox.bytes() > 0);
//! ```
//!
//! To embed the server in another program, bind a [`net::Server`], set a [`hub::Listener`] to receive
//! its events, and call [`net::Server::run`] on a thread of its own:
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
//!         println!("{from} sent {message}");
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

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
compile_error!("reverb builds for Linux, macOS and FreeBSD: `net::sys` has what differs there");

// The modules that need Unix are left out elsewhere, so that the sentence above is the only error.
pub mod config;
pub mod hub;
#[cfg(unix)]
pub mod net;

// Public for the program, which is a crate of its own, and for the tests of its help.
#[cfg(unix)]
#[doc(hidden)]
pub mod args;
// Public for the program, which is a crate of its own.
#[cfg(unix)]
#[doc(hidden)]
pub mod commands;
// Public for the fuzz targets, which are crates of their own, and for the test that replays them.
#[doc(hidden)]
pub mod fuzzing;
#[cfg(unix)]
mod logging;
mod nearest;
// Public for tests and benchmarks, which sign requests and build messages with it.
#[doc(hidden)]
pub mod proto;
