//! The arguments of `reverb apps`. The command is in `commands/apps`.

use super::flags::{UsageError, Values};
use super::running::RestartArgs;
use crate::nearest::did_you_mean;

/// The arguments of `reverb apps`.
#[derive(Debug, PartialEq)]
pub struct AppsArgs {
    /// The flags of the server's configuration.
    pub running: RestartArgs,
    /// What the command does.
    pub action: Action,
    /// `--json`.
    pub json: bool,
    /// `--no-signal`.
    pub no_signal: bool,
}

/// What `reverb apps` does.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Print all apps.
    List {
        /// `--secrets`: print the secrets as well.
        secrets: bool,
    },
    /// Write the file of a new app.
    Add(AddArgs),
    /// Give an app a new secret; the old one stays valid.
    Rotate {
        /// The app.
        id: String,
        /// `--secret`.
        secret: Option<String>,
    },
    /// `--finish`: end the validity of the old secret of this app.
    FinishRotation(String),
    /// Serve this app again.
    Enable(String),
    /// Do not serve this app.
    Disable(String),
    /// Remove this app.
    Remove(String),
}

/// The flags of `reverb apps add`.
#[derive(Debug, Default, PartialEq)]
pub struct AddArgs {
    /// `--id`.
    pub id: Option<String>,
    /// `--key`.
    pub key: Option<String>,
    /// `--secret`.
    pub secret: Option<String>,
    /// `--set`: keys and values.
    pub settings: Vec<(String, String)>,
}

/// Each action with the flags that it has besides those of all actions.
const ACTIONS: [(&str, &[&str]); 6] = [
    ("list", &["--secrets"]),
    ("add", &["--id", "--key", "--secret", "--set", "--no-signal"]),
    ("rotate", &["--secret", "--finish", "--no-signal"]),
    ("disable", &["--no-signal"]),
    ("enable", &["--no-signal"]),
    ("remove", &["--no-signal"]),
];

/// The names of the actions.
pub(super) fn actions() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|(name, _)| *name)
}

/// Parses the arguments.
pub(super) fn parse(values: &mut Values, words: &[String]) -> Result<AppsArgs, UsageError> {
    let Some((name, words)) = words.split_first() else {
        let names: Vec<&str> = actions().collect();
        return Err(UsageError::new(format!("reverb apps needs one of {}", names.join(", "))));
    };
    let Some((action, flags)) = ACTIONS.iter().find(|(action, _)| action == name) else {
        let meant = did_you_mean(name, actions());
        let text = format!("reverb apps does not know {}{meant}", name.escape_debug());
        return Err(UsageError::new(text));
    };
    let of_actions = ACTIONS.iter().flat_map(|(_, flags)| *flags);
    if let Some(flag) = of_actions.copied().find(|flag| !flags.contains(flag) && values.has(flag)) {
        return Err(UsageError::new(format!("reverb apps {action} has no flag {flag}")));
    }
    let action = match (*action, words) {
        ("list", []) => Action::List { secrets: values.has("--secrets") },
        ("add", []) => Action::Add(AddArgs {
            id: values.text("--id")?,
            key: values.text("--key")?,
            secret: values.text("--secret")?,
            settings: settings(values)?,
        }),
        ("list" | "add", [word, ..]) => {
            let word = word.escape_debug();
            return Err(UsageError::new(format!("reverb apps {action} takes no argument {word}")));
        }
        ("rotate", [id]) if values.has("--finish") => match values.text("--secret")? {
            None => Action::FinishRotation(id.clone()),
            Some(_) => {
                let text = "--finish drops the old secret, and cannot be used with --secret";
                return Err(UsageError::new(text));
            }
        },
        ("rotate", [id]) => Action::Rotate { id: id.clone(), secret: values.text("--secret")? },
        ("disable", [id]) => Action::Disable(id.clone()),
        ("enable", [id]) => Action::Enable(id.clone()),
        ("remove", [id]) => Action::Remove(id.clone()),
        _ => return Err(UsageError::new(format!("reverb apps {action} needs the ID of one app"))),
    };
    Ok(AppsArgs {
        running: RestartArgs::take(values)?,
        action,
        json: values.has("--json"),
        no_signal: values.has("--no-signal"),
    })
}

/// The values of `--set`.
fn settings(values: &mut Values) -> Result<Vec<(String, String)>, UsageError> {
    let mut settings = Vec::new();
    for text in values.text("--set")?.iter().flat_map(|all| all.split(Values::SEPARATOR)) {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let text = format!("--set {text:?} has no key: it must be KEY=VALUE");
            return Err(UsageError::new(text));
        };
        settings.push((key.to_owned(), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::super::{self as args, Command};
    use super::*;

    fn parsed(line: &[&str]) -> Result<AppsArgs, String> {
        let words = ["apps"].iter().chain(line).map(Into::into).collect();
        match args::parse(words) {
            Ok(Command::Apps(apps)) => Ok(apps),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn each_action_has_its_flags() {
        let running = RestartArgs { env: Some("e".into()), ..RestartArgs::default() };
        let action = Action::Rotate { id: "7".into(), secret: Some("s".into()) };
        let expected = AppsArgs { running, action, json: true, no_signal: true };
        let line = ["rotate", "--env", "e", "7", "--json", "--secret=s", "--no-signal"];
        assert_eq!(parsed(&line).as_ref(), Ok(&expected));
        for (line, error) in [
            (&[][..], "reverb apps needs one of list, add, rotate, disable, enable, remove"),
            (&["lst"], "reverb apps does not know lst; did you mean list?"),
            (&["list", "1"], "reverb apps list takes no argument 1"),
            (&["list", "--id", "1"], "reverb apps list has no flag --id"),
            (&["add", "1"], "reverb apps add takes no argument 1"),
            (&["enable"], "reverb apps enable needs the ID of one app"),
            (&["remove", "1", "2"], "reverb apps remove needs the ID of one app"),
            (
                &["rotate", "1", "--finish", "--secret", "s"],
                "--finish drops the old secret, and cannot be used with --secret",
            ),
            (&["add", "--set", "=1"], "--set \"=1\" has no key: it must be KEY=VALUE"),
        ] {
            assert_eq!(parsed(line), Err(error.to_owned()));
        }
    }

    #[test]
    fn a_setting_may_contain_commas_and_equals_signs() {
        let line =
            ["add", "--set", "allowed_origins=[\"a\",\"b\"]", "--set=webhook=https://h/?a=b"];
        let Ok(AppsArgs { action: Action::Add(add), .. }) = parsed(&line) else { panic!() };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected =
            [pair("allowed_origins", "[\"a\",\"b\"]"), pair("webhook", "https://h/?a=b")];
        assert_eq!(add.settings, expected);
    }
}
