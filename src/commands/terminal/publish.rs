//! `reverb publish`: publishes one event, as an application does.

use std::io::{self, Read, Write};

use super::api::Call;
use super::endpoint::Endpoint;
use super::screen;
use crate::args::terminal::PublishArgs;
use crate::commands::Failure;
use crate::proto::json_object::JsonObject;

/// Publishes the event. Prints nothing, or the response of the server.
pub(super) fn run(
    args: &PublishArgs,
    endpoint: &Endpoint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let data = match args.data.as_str() {
        "-" => read_input()?,
        data => data.to_owned(),
    };
    // The line end of a file is not part of the value.
    let data = data.trim();
    if let Err(error) = serde_json::from_str::<serde_core::de::IgnoredAny>(data) {
        let text = format!("the data is not JSON ({error}); a text needs quotes: '\"text\"'");
        return Err(Failure { text, exit_code: 2 });
    }
    let mut event = JsonObject::new();
    event.text("name", &args.event).text("data", data);
    event.texts("channels", &mut [args.channel.as_str()].into_iter());
    let body = event.optional("socket_id", args.except.as_deref()).end();
    let call = Call { method: "POST", path: "/events", parameters: &[], body: body.as_bytes() };
    let answer = call.send(endpoint)?;
    match args.json {
        true => screen::print(out, &screen::json_line(&answer)),
        false => Ok(()),
    }
}

fn read_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::at_work(format!("cannot read standard input: {error}")))?;
    match text.len() as u64 > INPUT_BYTES_MAX {
        true => Err(Failure::at_work(format!("standard input is over {INPUT_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

/// The most bytes read: 64 times the default of `max_request_size`.
const INPUT_BYTES_MAX: u64 = 64 << 20;
