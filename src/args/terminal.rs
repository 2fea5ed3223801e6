//! The arguments of the commands that use a running server from the terminal. The commands are in
//! `commands/terminal`.

use super::flags::{UsageError, Values};
use super::running::RestartArgs;

/// A command that uses a running server.
#[derive(Debug, PartialEq)]
pub struct Command {
    /// The server and the app.
    pub server: ServerArgs,
    /// What the command does.
    pub action: Action,
}

/// What a command does.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Print what happens.
    Tail(TailArgs),
    /// Show the channels by their load.
    Top(TopArgs),
    /// Publish an event.
    Publish(PublishArgs),
    /// Print the events of channels.
    Subscribe(SubscribeArgs),
    /// Close connections.
    Kick(KickArgs),
}

/// The flags that name a server and an app.
#[derive(Debug, Default, PartialEq)]
pub struct ServerArgs {
    /// The flags of the server's configuration.
    pub running: RestartArgs,
    /// `--app`.
    pub app: Option<String>,
    /// `--url`.
    pub url: Option<String>,
}

/// The flags of `reverb tail`.
#[derive(Debug, Default, PartialEq)]
pub struct TailArgs {
    /// `--channel`: patterns with commas between them.
    pub channels: Option<String>,
    /// `--kind`: names with commas between them.
    pub kinds: Option<String>,
    /// `--event`: patterns with commas between them.
    pub events: Option<String>,
    /// `--socket`.
    pub socket: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--no-payload`.
    pub no_payload: bool,
    /// `--json`.
    pub json: bool,
}

/// The flags of `reverb top`.
#[derive(Debug, Default, PartialEq)]
pub struct TopArgs {
    /// `--sort`.
    pub sort: Sort,
    /// `--once`.
    pub once: bool,
}

/// The order of the channels of `reverb top`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Most subscribers first.
    #[default]
    Subscribers,
    /// Most messages first.
    Messages,
    /// Most bytes first.
    Bytes,
    /// By name.
    Name,
}

impl Sort {
    /// Each order with its name.
    pub const NAMES: [(Sort, &str); 4] = [
        (Sort::Subscribers, "subscribers"),
        (Sort::Messages, "messages"),
        (Sort::Bytes, "bytes"),
        (Sort::Name, "name"),
    ];
}

/// The arguments of `reverb publish`.
#[derive(Debug, Default, PartialEq)]
pub struct PublishArgs {
    /// The channel.
    pub channel: String,
    /// The name of the event.
    pub event: String,
    /// The data, or `-` for standard input.
    pub data: String,
    /// `--except`: the id of a connection that does not receive the event.
    pub except: Option<String>,
    /// `--json`: print the answer.
    pub json: bool,
}

/// The arguments of `reverb subscribe`.
#[derive(Debug, Default, PartialEq)]
pub struct SubscribeArgs {
    /// The channels.
    pub channels: Vec<String>,
    /// `--user`: the user on presence channels.
    pub user: Option<String>,
    /// `--info`: JSON about the user.
    pub info: Option<String>,
    /// `--json`.
    pub json: bool,
}

/// The arguments of `reverb kick`.
#[derive(Debug, PartialEq)]
pub struct KickArgs {
    /// Which connections are closed.
    pub target: KickTarget,
    /// `--json`: print the answer.
    pub json: bool,
}

/// Which connections `reverb kick` closes.
#[derive(Debug, PartialEq)]
pub enum KickTarget {
    /// The connection with this id.
    Socket(String),
    /// All connections of this user.
    User(String),
}

/// Parses the arguments of a command; `None` if it is not one of this file.
pub(super) fn parse(
    name: &str,
    values: &mut Values,
    words: &[String],
) -> Option<Result<Command, UsageError>> {
    let action = match name {
        "tail" => tail(values),
        "top" => top(values),
        "publish" => publish(values, words),
        "subscribe" => subscribe(values, words),
        "kick" => kick(values, words),
        _ => return None,
    };
    Some(action.and_then(|action| Ok(Command { server: server(values)?, action })))
}

fn server(values: &mut Values) -> Result<ServerArgs, UsageError> {
    let running = RestartArgs::take(values)?;
    let (app, url) = (values.text("--app")?, values.text("--url")?);
    if url.is_some() && (running.host.is_some() || running.port.is_some()) {
        return Err(UsageError::new("--url already names the host and the port"));
    }
    Ok(ServerArgs { running, app, url })
}

fn tail(values: &mut Values) -> Result<Action, UsageError> {
    Ok(Action::Tail(TailArgs {
        channels: values.text("--channel")?,
        kinds: values.text("--kind")?,
        events: values.text("--event")?,
        socket: values.text("--socket")?,
        user: values.text("--user")?,
        no_payload: values.has("--no-payload"),
        json: values.has("--json"),
    }))
}

fn top(values: &mut Values) -> Result<Action, UsageError> {
    let sort = match values.text("--sort")? {
        None => Sort::default(),
        Some(text) => {
            let known = Sort::NAMES.iter().find(|(_, name)| *name == text);
            let names = Sort::NAMES.map(|(_, name)| name).join(", ");
            let error = || UsageError::new(format!("--sort {text:?} is not one of {names}"));
            known.map(|(sort, _)| *sort).ok_or_else(error)?
        }
    };
    Ok(Action::Top(TopArgs { sort, once: values.has("--once") }))
}

fn publish(values: &mut Values, words: &[String]) -> Result<Action, UsageError> {
    let [channel, event, data] = words else {
        let text = "reverb publish needs three arguments: CHANNEL EVENT JSON";
        return Err(UsageError::new(text));
    };
    Ok(Action::Publish(PublishArgs {
        channel: channel.clone(),
        event: event.clone(),
        data: data.clone(),
        except: values.text("--except")?,
        json: values.has("--json"),
    }))
}

fn subscribe(values: &mut Values, words: &[String]) -> Result<Action, UsageError> {
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(UsageError::new("reverb subscribe needs at least one CHANNEL"));
    }
    Ok(Action::Subscribe(SubscribeArgs {
        channels: words.to_vec(),
        user: values.text("--user")?,
        info: values.text("--info")?,
        json: values.has("--json"),
    }))
}

fn kick(values: &mut Values, words: &[String]) -> Result<Action, UsageError> {
    let target = match (words, values.text("--user")?) {
        ([socket], None) => KickTarget::Socket(socket.clone()),
        ([], Some(user)) => KickTarget::User(user),
        _ => return Err(UsageError::new("reverb kick needs either SOCKET or --user ID")),
    };
    Ok(Action::Kick(KickArgs { target, json: values.has("--json") }))
}

#[cfg(test)]
mod tests {
    use super::super::{self as args, Command as Any};
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = line.split(' ').map(Into::into).collect();
        match args::parse(words) {
            Ok(Any::Terminal(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_and_words_may_be_in_any_order() {
        let server = ServerArgs { app: Some("1".into()), ..ServerArgs::default() };
        let action = Action::Publish(PublishArgs {
            channel: "a".into(),
            event: "b".into(),
            data: "-".into(),
            except: Some("1.2".into()),
            json: true,
        });
        let expected = Command { server, action };
        assert_eq!(parsed("publish a --except 1.2 b --json - --app=1").as_ref(), Ok(&expected));
        assert_eq!(parsed("publish --json --app 1 --except=1.2 a b -").as_ref(), Ok(&expected));
    }

    #[test]
    fn some_flags_may_be_given_several_times() {
        let tail = TailArgs { channels: Some("a,b,c".into()), ..TailArgs::default() };
        let action = Action::Tail(tail);
        let server = ServerArgs::default();
        assert_eq!(parsed("tail --channel a,b --channel=c"), Ok(Command { server, action }));
        assert_eq!(parsed("tail --user 1 --user 2"), Err("--user is given twice".into()));
        let action = Action::Top(TopArgs { sort: Sort::Name, once: true });
        let server = ServerArgs::default();
        assert_eq!(parsed("top --sort name --once"), Ok(Command { server, action }));
    }

    #[test]
    fn words_in_the_wrong_place_are_rejected() {
        for (line, error) in [
            ("tail a", "reverb tail takes no argument a"),
            ("top --sort size", "--sort \"size\" is not one of subscribers, messages, bytes, name"),
            ("publish a b 1 2", "reverb publish needs three arguments: CHANNEL EVENT JSON"),
            ("subscribe", "reverb subscribe needs at least one CHANNEL"),
            ("publish a b -5", "unknown flag -5"),
            ("subscribe a --chanel", "unknown flag --chanel"),
        ] {
            assert_eq!(parsed(line), Err(error.to_owned()));
        }
        let Ok(Command { action: Action::Subscribe(subscribe), .. }) =
            parsed("subscribe a -- -b --json")
        else {
            panic!()
        };
        assert_eq!(subscribe.channels, ["a", "-b", "--json"]);
        assert!(!subscribe.json);
    }
}
