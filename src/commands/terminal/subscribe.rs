//! `reverb subscribe`: subscribes to channels, as a browser does with the help of its application, and
//! prints their events.

use std::io::Write;
use std::thread;

use serde_core::de::IgnoredAny;

use super::endpoint::Endpoint;
use super::feed::Pause;
use super::screen::{self, escaped};
use super::socket::{End, Error, Socket, data_of};
use super::watch;
use crate::args::terminal::SubscribeArgs;
use crate::commands::Failure;
use crate::proto::auth::Signer;
use crate::proto::json_object::JsonObject;
use crate::proto::message::{self, Object};

/// Prints events until a signal, or until the reader of the output has gone.
pub(super) fn run(
    args: &SubscribeArgs,
    endpoint: Endpoint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let user = user(args)?;
    watch::end_quietly()?;
    let mut subscriber = Subscriber { args, endpoint, user, was_subscribed: false };
    let mut pause = Pause::default();
    loop {
        let Err(end) = subscriber.print_events(out, &mut pause);
        match end {
            Stop::Failed(failure) => return Err(failure),
            Stop::Ended(End::Refused(why)) => return Err(Failure::at_work(why)),
            Stop::Ended(End::Lost(why)) if !subscriber.was_subscribed => {
                return Err(Failure::at_work(why));
            }
            Stop::Ended(End::Lost(why)) => {
                let wait = pause.next();
                let wait_s = wait.as_secs();
                screen::note(&format!(
                    "{why}; events are missing until the next attempt in {wait_s} s"
                ));
                thread::sleep(wait);
            }
        }
    }
}

/// The `channel_data` of presence channels.
fn user(args: &SubscribeArgs) -> Result<String, Failure> {
    let mut data = JsonObject::new();
    data.text("user_id", args.user.as_deref().unwrap_or(DEFAULT_USER));
    if let Some(info) = &args.info {
        if let Err(error) = serde_json::from_str::<IgnoredAny>(info) {
            let text = format!("--info is not JSON: {error}");
            return Err(Failure { text, exit_code: 2 });
        }
        data.raw("user_info", info.trim());
    }
    Ok(data.end())
}

struct Subscriber<'a> {
    args: &'a SubscribeArgs,
    endpoint: Endpoint,
    /// The `channel_data` of presence channels.
    user: String,
    /// Whether the server has accepted a subscription at some time.
    was_subscribed: bool,
}

/// Why no more events are printed.
enum Stop {
    Failed(Failure),
    Ended(End),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Stop::Ended(end)
    }
}

impl Subscriber<'_> {
    /// Connects, subscribes, and prints events until the connection ends.
    fn print_events(
        &mut self,
        out: &mut dyn Write,
        pause: &mut Pause,
    ) -> Result<std::convert::Infallible, Stop> {
        let mut socket = Socket::open(&self.endpoint)?;
        for channel in &self.args.channels {
            let message = self.subscription(&socket.socket_id, channel);
            socket.send(&self.endpoint, &message)?;
        }
        loop {
            let text = socket.next_text(&self.endpoint)?;
            let message = message::object(&text).unwrap_or_default();
            let (event, channel) = (message.text("event"), message.text("channel"));
            match (event.as_deref(), channel.as_deref()) {
                (Some("pusher:subscription_error"), _) => {
                    return Err(self.refused(&message).into());
                }
                // This server sends another error after it, which names the channel.
                (Some("pusher:error"), _) => self.note_error(&message),
                (Some("pusher_internal:subscription_succeeded"), Some(channel)) => {
                    (self.was_subscribed, *pause) = (true, Pause::default());
                    screen::note(&subscribed(channel, &message));
                    if self.args.json {
                        self.print(out, &screen::json_line(&text))?;
                    }
                }
                (Some(_), Some(_)) if self.args.json => {
                    self.print(out, &screen::json_line(&text))?;
                }
                (Some(event), Some(channel)) => {
                    let data = escaped(&data_of(&message));
                    let line = format!("{} {} {data}", escaped(channel), escaped(event));
                    self.print(out, line.trim_end())?;
                }
                _ => {}
            }
        }
    }

    fn print(&self, out: &mut dyn Write, line: &str) -> Result<(), Stop> {
        screen::print(out, line).map_err(Stop::Failed)
    }

    /// The request for a channel, signed if it needs to be.
    fn subscription(&self, socket_id: &str, channel: &str) -> String {
        let mut data = JsonObject::new();
        data.text("channel", channel);
        let app = &self.endpoint.app;
        let signed =
            |parts: &[&str]| format!("{}:{}", app.key, Signer::new(&app.secret).sign(parts));
        if channel.starts_with("presence-") {
            data.text("auth", &signed(&[socket_id, ":", channel, ":", &self.user]));
            data.text("channel_data", &self.user);
        } else if channel.starts_with("private-") {
            data.text("auth", &signed(&[socket_id, ":", channel]));
        }
        JsonObject::new().text("event", "pusher:subscribe").raw("data", &data.end()).end()
    }

    fn refused(&self, message: &Object<'_>) -> End {
        let data = data_of(message);
        let data = message::object(&data).unwrap_or_default();
        let reason = data.text("error").or(data.text("message"));
        let reason = reason.as_deref().unwrap_or("it gives no reason");
        let advice = match data.number("status") {
            Some(401) => "; the server has another secret for this app: run `reverb reload` there",
            _ => "",
        };
        End::Refused(format!(
            "{} refuses the channel {}: {}{advice}",
            self.endpoint,
            escaped(&message.text("channel").unwrap_or_default()),
            escaped(reason.trim_end_matches('.')),
        ))
    }

    /// Reports an error. If the server also closes the connection, the close frame ends the command.
    fn note_error(&self, message: &Object<'_>) {
        let Error { code, reason } = Error::of(message);
        screen::note(&format!("{} reports: {code} {}", self.endpoint, escaped(&reason)));
    }
}

/// The note about a subscription.
fn subscribed(channel: &str, message: &Object<'_>) -> String {
    let (channel, data) = (escaped(channel), data_of(message));
    let presence = message::object(&data).and_then(|data| data.get("presence"));
    let presence = presence.and_then(|presence| message::object(presence.get()));
    match presence.and_then(|presence| presence.number("count")) {
        Some(1) => format!("subscribed to {channel} with 1 member"),
        Some(count) => format!("subscribed to {channel} with {count} members"),
        None => format!("subscribed to {channel}"),
    }
}

/// The user on presence channels without `--user`.
const DEFAULT_USER: &str = "reverb-subscribe";
