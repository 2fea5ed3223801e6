//! Parses the command line, by the table of commands and flags in `table`. The commands themselves are
//! in `commands`.

mod completions;
mod table;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::config::Sources;
use crate::nearest::did_you_mean;

pub use table::{COMMANDS, CommandEntry, Flag, GLOBAL_FLAGS, explain, overview};

/// A parsed command line.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve.
    Start(StartArgs),
    /// Check whether a server with these flags can serve.
    Try(StartArgs),
    /// Stop the running server.
    Restart(RestartArgs),
    /// Make the running server hand over to the present binary.
    Reload(RestartArgs),
    /// Check the setup.
    Check(RestartArgs),
    /// Print the address and the token of the console.
    Console(RestartArgs),
    /// Prepare a Laravel app.
    Install(InstallArgs),
    /// Print this text.
    Help(String),
    /// Print [`VERSION`].
    Version,
}

/// The line `reverb --version` prints.
pub const VERSION: &str = concat!("reverb ", env!("CARGO_PKG_VERSION"));

/// The flags of `reverb start`.
#[derive(Debug, Default, PartialEq)]
pub struct StartArgs {
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--path`, as typed.
    pub path: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--metrics`.
    pub metrics: Option<String>,
    /// `--console`.
    pub console: Option<String>,
    /// `--debug`.
    pub debug: bool,
    /// `--stop-with-stdin`.
    pub stop_with_stdin: bool,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--env`.
    pub env: Option<PathBuf>,
}

impl StartArgs {
    /// The sources of the configuration, relative to the working directory.
    pub fn sources(&self) -> Sources {
        Sources {
            config_file: self.config.clone(),
            finds_hand_over: false,
            env_file: self.env.clone(),
            working_dir: PathBuf::new(),
            host: self.host.clone(),
            port: self.port,
            path: self.path.clone(),
            hostname: self.hostname.clone(),
            metrics: self.metrics.clone(),
            console: self.console.clone(),
        }
    }
}

/// The flags of `reverb restart`, `reverb reload` and `reverb check`, which concern a running server.
#[derive(Debug, Default, PartialEq)]
pub struct RestartArgs {
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--env`.
    pub env: Option<PathBuf>,
}

impl RestartArgs {
    /// The sources of the running server's configuration.
    pub fn sources(&self) -> Sources {
        Sources {
            config_file: self.config.clone(),
            finds_hand_over: true,
            env_file: self.env.clone(),
            host: self.host.clone(),
            port: self.port,
            ..Sources::default()
        }
    }
}

/// The flags of `reverb install`.
#[derive(Debug, Default, PartialEq)]
pub struct InstallArgs {
    /// `--config`: the file to write.
    pub config: Option<PathBuf>,
    /// `--env`: the file to add to.
    pub env: Option<PathBuf>,
    /// `--remove`: take the provider back instead.
    pub remove: bool,
}

/// Why a command line is not valid, with a suggestion if there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Parses the arguments of the process, without its name.
///
/// # Errors
///
/// No command, an unknown command or flag, a flag given twice or without its value, or an invalid
/// port.
pub fn parse(args: Vec<OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(UsageError(format!("a command is missing\n\n{}", overview())));
    };
    let first = first.to_string_lossy();
    match first.as_ref() {
        "-h" | "--help" => return Ok(Command::Help(overview())),
        "-V" | "--version" => return Ok(Command::Version),
        flag if flag.starts_with('-') => return Err(flag_before_command(flag)),
        _ => {}
    }
    // A running server checks its successor with this command. It is not for users, so the table
    // does not list it.
    let tries = first == crate::net::successor::TRY;
    let name = if tries { "start" } else { &first };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(unknown_command(&first));
    };
    let mut given = pico_args::Arguments::from_vec(split_at_equals_sign(command, args)?);
    if given.contains(["-h", "--help"]) {
        return Ok(Command::Help(explain(command)));
    }
    if command.name == "help" {
        return help(given);
    }
    if command.name == "completions" {
        let shell = given.opt_free_from_fn(|text| Ok::<_, UsageError>(text.to_owned()));
        let text = shell.ok().flatten().and_then(|shell| completions::of(&shell));
        let error = || UsageError("reverb completions needs a shell: bash, zsh or fish".into());
        return text.map(Command::Help).ok_or_else(error);
    }
    let mut values = take_flags(command, given)?;
    Ok(match command.name {
        "start" => {
            let args = StartArgs {
                host: text(&mut values, "--host")?,
                port: port(&mut values)?,
                path: text(&mut values, "--path")?,
                hostname: text(&mut values, "--hostname")?,
                metrics: text(&mut values, "--metrics")?,
                console: text(&mut values, "--console")?,
                debug: values.contains_key("--debug"),
                stop_with_stdin: values.contains_key("--stop-with-stdin"),
                config: values.remove("--config").map(PathBuf::from),
                env: values.remove("--env").map(PathBuf::from),
            };
            if tries { Command::Try(args) } else { Command::Start(args) }
        }
        "restart" | "reload" | "check" | "console" => {
            let args = RestartArgs {
                host: text(&mut values, "--host")?,
                port: port(&mut values)?,
                config: values.remove("--config").map(PathBuf::from),
                env: values.remove("--env").map(PathBuf::from),
            };
            match command.name {
                "restart" => Command::Restart(args),
                "reload" => Command::Reload(args),
                "console" => Command::Console(args),
                _ => Command::Check(args),
            }
        }
        _ => Command::Install(InstallArgs {
            config: values.remove("--config").map(PathBuf::from),
            env: values.remove("--env").map(PathBuf::from),
            remove: values.contains_key("--remove"),
        }),
    })
}

type Values = BTreeMap<&'static str, OsString>;

/// Splits `--flag=value` into two arguments. pico-args does that too, but parses `--hostname=x` as
/// `--host` without its `=`, and requires UTF-8, which a path need not be.
fn split_at_equals_sign(
    command: &CommandEntry,
    args: impl Iterator<Item = OsString>,
) -> Result<Vec<OsString>, UsageError> {
    let mut split = Vec::new();
    for argument in args {
        let bytes = argument.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=');
        let (Some(at), true) = (equals, bytes.starts_with(b"--")) else {
            split.push(argument);
            continue;
        };
        let name = OsStr::from_bytes(&bytes[..at]);
        if command.flags.iter().any(|flag| flag.name == name && flag.value.is_none()) {
            return Err(UsageError(format!("{} takes no value", name.display())));
        }
        split.push(name.to_owned());
        split.push(OsString::from_vec(bytes[at + 1..].to_vec()));
    }
    Ok(split)
}

/// The given flags with their values; the value of a switch is empty.
fn take_flags(
    command: &CommandEntry,
    mut given: pico_args::Arguments,
) -> Result<Values, UsageError> {
    let mut values = Values::new();
    for flag in command.flags {
        let Some(kind) = flag.value else {
            if given.contains(flag.name) {
                values.insert(flag.name, OsString::new());
            }
            continue;
        };
        let own = |value: &OsStr| Ok::<_, std::convert::Infallible>(value.to_owned());
        match given.opt_value_from_os_str(flag.name, own) {
            Ok(None) => {}
            // A flag in the place of a value means that the value was forgotten.
            Ok(Some(value)) if !value.as_bytes().starts_with(b"-") => {
                values.insert(flag.name, value);
            }
            _ => return Err(UsageError(format!("{} needs a value: {kind}", flag.name))),
        }
    }
    match given.finish().first() {
        None => Ok(values),
        Some(left) => Err(left_over(command, &left.to_string_lossy())),
    }
}

fn text(values: &mut Values, name: &str) -> Result<Option<String>, UsageError> {
    match values.remove(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(UsageError(format!("the value of {name} is not UTF-8"))),
    }
}

fn port(values: &mut Values) -> Result<Option<u16>, UsageError> {
    let Some(text) = text(values, "--port")? else { return Ok(None) };
    match text.parse() {
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(UsageError(format!("--port {text:?} is not a port (0 to 65535)"))),
    }
}

fn help(mut given: pico_args::Arguments) -> Result<Command, UsageError> {
    let Ok(Some(name)) = given.opt_free_from_fn(|text| Ok::<_, UsageError>(text.to_owned())) else {
        return Ok(Command::Help(overview()));
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => Ok(Command::Help(explain(command))),
        None => Err(unknown_command(&name)),
    }
}

fn unknown_command(name: &str) -> UsageError {
    // Artisan commands have a prefix, as in reverb:start.
    let bare = name.strip_prefix("reverb:").unwrap_or(name);
    let meant = did_you_mean(bare, COMMANDS.iter().map(|command| command.name));
    UsageError(format!("unknown command {}{meant}", name.escape_debug()))
}

fn flag_before_command(flag: &str) -> UsageError {
    let name = flag.split('=').next().unwrap_or(flag);
    if let Some(command) = COMMANDS.iter().find(|c| c.flags.iter().any(|f| f.name == name)) {
        return UsageError(format!("{name} must follow its command: reverb {}", command.name));
    }
    let meant = did_you_mean(name, GLOBAL_FLAGS.iter().map(|flag| flag.name));
    UsageError(format!("unknown flag {}{meant}", name.escape_debug()))
}

/// The error for an argument that is left over once all flags are parsed: a repeated flag, an
/// unknown flag, or a word.
fn left_over(command: &CommandEntry, argument: &str) -> UsageError {
    let shown = argument.escape_debug();
    if !argument.starts_with('-') {
        return UsageError(format!("reverb {} takes no argument {shown}", command.name));
    }
    if command.flags.iter().any(|flag| flag.name == argument) {
        return UsageError(format!("{shown} is given twice"));
    }
    let meant = did_you_mean(argument, command.flags.iter().map(|flag| flag.name));
    UsageError(format!("unknown flag {shown}{meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let args = line.split_whitespace().map(OsString::from).collect();
        parse(args).map_err(|error| error.to_string())
    }

    fn refused(line: &str) -> String {
        parsed(line).unwrap_err()
    }

    #[test]
    fn values_follow_a_space_or_an_equals_sign() {
        let expected = Command::Start(StartArgs {
            host: Some("::1".into()),
            port: Some(9000),
            path: Some("/ws".into()),
            hostname: Some("ws.example".into()),
            metrics: Some("9100".into()),
            console: Some("9101".into()),
            debug: true,
            stop_with_stdin: true,
            config: Some("a=b.json".into()),
            env: Some("e".into()),
        });
        let spaced = "start --host ::1 --port 9000 --path /ws --hostname ws.example --metrics 9100 --console 9101 --debug \
                      --stop-with-stdin --config a=b.json --env e";
        let equalled = "start --debug --stop-with-stdin --metrics=9100 --console=9101 --hostname=ws.example --host=::1 --port=9000 --path=/ws \
                        --config=a=b.json --env=e";
        assert_eq!(parsed(spaced).as_ref(), Ok(&expected));
        assert_eq!(parsed(equalled).as_ref(), Ok(&expected));
        assert_eq!(parsed("start"), Ok(Command::Start(StartArgs::default())));
    }

    #[test]
    fn each_command_has_its_own_flags() {
        let restart = RestartArgs { host: Some("h".into()), port: Some(1), ..Default::default() };
        assert_eq!(parsed("restart --host h --port=1"), Ok(Command::Restart(restart)));
        let check = RestartArgs { port: Some(1), env: Some("e".into()), ..Default::default() };
        assert_eq!(parsed("check --port 1 --env e"), Ok(Command::Check(check)));
        let install =
            InstallArgs { config: Some("c".into()), env: Some("e".into()), remove: false };
        assert_eq!(parsed("install --config c --env=e"), Ok(Command::Install(install)));
        let remove = InstallArgs { remove: true, ..InstallArgs::default() };
        assert_eq!(parsed("install --remove"), Ok(Command::Install(remove)));
        assert_eq!(refused("install --port 1"), "unknown flag --port");
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let start = StartArgs { path: Some(String::new()), ..StartArgs::default() };
        assert_eq!(parsed("start --path="), Ok(Command::Start(start)));
    }

    #[test]
    fn a_file_name_need_not_be_utf_8() {
        let name = OsString::from_vec(b"--config=\xff".to_vec());
        let Ok(Command::Start(start)) = parse(vec!["start".into(), name]) else { panic!() };
        assert_eq!(start.config.unwrap().as_os_str().as_bytes(), b"\xff");
        let name = OsString::from_vec(b"--host=\xff".to_vec());
        let refused = parse(vec!["start".into(), name]).unwrap_err().to_string();
        assert_eq!(refused, "the value of --host is not UTF-8");
    }

    #[test]
    fn errors_suggest_what_was_meant() {
        let mistakes = [
            ("strat", "unknown command strat; did you mean start?"),
            ("reverb:start", "unknown command reverb:start; did you mean start?"),
            ("serve", "unknown command serve"),
            ("help strat", "unknown command strat; did you mean start?"),
            ("--verison", "unknown flag --verison; did you mean --version?"),
            ("--port=9000", "--port must follow its command: reverb start"),
            ("start --prot 9000", "unknown flag --prot; did you mean --port?"),
            ("start --prot=9000", "unknown flag --prot; did you mean --port?"),
            ("start --hostnam=x", "unknown flag --hostnam; did you mean --hostname?"),
            ("start -p 9000", "unknown flag -p"),
            ("start now", "reverb start takes no argument now"),
            ("start --port", "--port needs a value: PORT"),
            ("start --host --port 1", "--host needs a value: HOST"),
            ("start --port 1 --port=2", "--port is given twice"),
            ("start --debug --debug", "--debug is given twice"),
            ("start --debug=1", "--debug takes no value"),
            ("start --port 65536", "--port \"65536\" is not a port (0 to 65535)"),
            ("start --port=", "--port \"\" is not a port (0 to 65535)"),
        ];
        for (line, error) in mistakes {
            assert_eq!(refused(line), error, "{line}");
        }
    }

    #[test]
    fn without_a_command_the_help_is_the_error() {
        assert_eq!(refused(""), format!("a command is missing\n\n{}", overview()));
    }

    #[test]
    fn help_is_asked_for_in_five_ways() {
        assert_eq!(parsed("--help"), Ok(Command::Help(overview())));
        assert_eq!(parsed("-h"), Ok(Command::Help(overview())));
        assert_eq!(parsed("help"), Ok(Command::Help(overview())));
        let start = Command::Help(explain(&COMMANDS[0]));
        assert_eq!(parsed("help start").as_ref(), Ok(&start));
        assert_eq!(parsed("start --port 1 --help").as_ref(), Ok(&start));
        assert_eq!(parsed("start -h").as_ref(), Ok(&start));
    }

    #[test]
    fn the_version_has_two_flags() {
        assert_eq!(parsed("--version"), Ok(Command::Version));
        assert_eq!(parsed("-V"), Ok(Command::Version));
    }
}
