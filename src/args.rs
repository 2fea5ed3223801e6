//! Parses the command line, by the table of commands and flags in `table`. The commands themselves are
//! in `commands`.

pub mod apps;
mod completions;
mod flags;
mod running;
mod table;
#[cfg(feature = "console")]
pub mod terminal;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::Sources;
use crate::nearest::did_you_mean;

pub use flags::UsageError;
use flags::{Values, left_over, split_at_equals_sign, take_flags};
pub use running::RestartArgs;
pub use table::{COMMANDS, CommandEntry, Flag, GLOBAL_FLAGS, explain, overview};
pub use version::{VERSION, version};

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
    /// Ask the running server whether it accepts clients.
    Health(RestartArgs),
    /// Print the address and the token of the console.
    Console(RestartArgs),
    /// Prepare a Laravel app.
    Install(InstallArgs),
    /// List or edit the apps.
    Apps(apps::AppsArgs),
    /// Use a running server from the terminal.
    #[cfg(feature = "console")]
    Terminal(terminal::Command),
    /// Print this text.
    Help(String),
    /// Print the version.
    Version,
}

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

/// The flags of `reverb install`.
#[derive(Debug, Default, PartialEq)]
pub struct InstallArgs {
    /// `--config`: the file to write.
    pub config: Option<PathBuf>,
    /// `--env`: the file to add to.
    pub env: Option<PathBuf>,
    /// `--remove`: take the provider back instead.
    pub remove: bool,
    /// `--from-soketi`: convert the configuration in this file instead.
    pub from_soketi: Option<PathBuf>,
}

/// Parses the arguments of the process, without its name.
///
/// # Errors
///
/// No command, an unknown command or flag, a flag given twice or without its value, or an invalid
/// port.
pub fn parse(args: Vec<OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(UsageError::new(format!("a command is missing\n\n{}", overview())));
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
    // The arguments after `--` are words, whatever they begin with.
    let args: Vec<OsString> = args.collect();
    let end = args.iter().position(|argument| argument == "--").unwrap_or(args.len());
    let (flags, rest) = args.split_at(end);
    let mut given = pico_args::Arguments::from_vec(split_at_equals_sign(command, flags)?);
    if given.contains(["-h", "--help"]) {
        return Ok(Command::Help(explain(command)));
    }
    if command.name == "help" {
        return help(given);
    }
    if command.name == "completions" {
        let shell = given.opt_free_from_fn(|text| Ok::<_, UsageError>(text.to_owned()));
        let text = shell.ok().flatten().and_then(|shell| completions::of(&shell));
        let error = || UsageError::new("reverb completions needs a shell: bash, zsh or fish");
        return text.map(Command::Help).ok_or_else(error);
    }
    let (mut values, mut words) = take_flags(command, given)?;
    words.extend(rest.iter().skip(1).map(|word| word.to_string_lossy().into_owned()));
    if let (None, Some(word)) = (command.argument, words.first()) {
        return Err(left_over(command, word));
    }
    #[cfg(feature = "console")]
    if let Some(parsed) = terminal::parse(command.name, &mut values, &words) {
        return parsed.map(Command::Terminal);
    }
    Ok(match command.name {
        "start" if tries => Command::Try(start(&mut values)?),
        "start" => Command::Start(start(&mut values)?),
        "restart" => Command::Restart(RestartArgs::take(&mut values)?),
        "reload" => Command::Reload(RestartArgs::take(&mut values)?),
        "check" if values.has("--health") => Command::Health(RestartArgs::take(&mut values)?),
        "check" => Command::Check(RestartArgs::take(&mut values)?),
        "console" => Command::Console(RestartArgs::take(&mut values)?),
        "install" if values.has("--remove") && values.has("--from-soketi") => {
            return Err(UsageError::new("--remove cannot be used with --from-soketi"));
        }
        "apps" => Command::Apps(apps::parse(&mut values, &words)?),
        _ => Command::Install(InstallArgs {
            config: values.path("--config"),
            env: values.path("--env"),
            remove: values.has("--remove"),
            from_soketi: values.path("--from-soketi"),
        }),
    })
}

fn start(values: &mut Values) -> Result<StartArgs, UsageError> {
    Ok(StartArgs {
        host: values.text("--host")?,
        port: values.port()?,
        path: values.text("--path")?,
        hostname: values.text("--hostname")?,
        metrics: values.text("--metrics")?,
        console: values.text("--console")?,
        debug: values.has("--debug"),
        stop_with_stdin: values.has("--stop-with-stdin"),
        config: values.path("--config"),
        env: values.path("--env"),
    })
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
    if !cfg!(feature = "console") && TERMINAL.contains(&name) {
        let text = format!("reverb {name} needs the feature console, which this build lacks");
        return UsageError::new(text);
    }
    let meant = did_you_mean(bare, COMMANDS.iter().map(|command| command.name));
    UsageError::new(format!("unknown command {}{meant}", name.escape_debug()))
}

fn flag_before_command(flag: &str) -> UsageError {
    let name = flag.split('=').next().unwrap_or(flag);
    if let Some(command) = COMMANDS.iter().find(|c| c.flags().any(|f| f.name == name)) {
        return UsageError::new(format!("{name} must follow its command: reverb {}", command.name));
    }
    let meant = did_you_mean(name, GLOBAL_FLAGS.iter().map(|flag| flag.name));
    UsageError::new(format!("unknown flag {}{meant}", name.escape_debug()))
}

/// The commands of the feature `console`.
const TERMINAL: [&str; 5] = ["tail", "top", "publish", "subscribe", "kick"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
        let health = RestartArgs { port: Some(1), ..Default::default() };
        assert_eq!(parsed("check --health --port 1"), Ok(Command::Health(health)));
        let install = InstallArgs {
            config: Some("c".into()),
            env: Some("e".into()),
            ..InstallArgs::default()
        };
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
