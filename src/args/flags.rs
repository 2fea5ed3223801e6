//! Takes the flags of a command from the command line, by the table. What each command makes of their
//! values is in `args` and in the other files of this folder.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::table::CommandEntry;
use crate::nearest::did_you_mean;

/// Why a command line is not valid, with a suggestion if there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        UsageError(text.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The given flags with their values; the value of a switch is empty.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, OsString>);

impl Values {
    /// What is between the values of a flag that may be given several times and whose values may
    /// contain commas: a control character that no value has.
    pub(super) const SEPARATOR: &str = "\u{1e}";

    /// Whether a flag is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a flag that names a file.
    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.0.remove(name).map(PathBuf::from)
    }

    /// The value of a flag.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, UsageError> {
        match self.0.remove(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(UsageError(format!("the value of {name} is not UTF-8"))),
        }
    }

    /// The value of `--port`.
    pub(super) fn port(&mut self) -> Result<Option<u16>, UsageError> {
        let Some(text) = self.text("--port")? else { return Ok(None) };
        match text.parse() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(UsageError(format!("--port {text:?} is not a port (0 to 65535)"))),
        }
    }
}

/// Splits `--flag=value` into two arguments. pico-args does that too, but parses `--hostname=x` as
/// `--host` without its `=`, and requires UTF-8, which a path need not be.
pub(super) fn split_at_equals_sign(
    command: &CommandEntry,
    args: &[OsString],
) -> Result<Vec<OsString>, UsageError> {
    let mut split = Vec::new();
    for argument in args {
        let bytes = argument.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=');
        let (Some(at), true) = (equals, bytes.starts_with(b"--")) else {
            split.push(argument.clone());
            continue;
        };
        let name = OsStr::from_bytes(&bytes[..at]);
        if command.flags().any(|flag| flag.name == name && flag.value.is_none()) {
            return Err(UsageError(format!("{} takes no value", name.display())));
        }
        split.push(name.to_owned());
        split.push(OsString::from_vec(bytes[at + 1..].to_vec()));
    }
    Ok(split)
}

/// The given flags with their values, and the words that belong to no flag.
pub(super) fn take_flags(
    command: &CommandEntry,
    mut given: pico_args::Arguments,
) -> Result<(Values, Vec<String>), UsageError> {
    let mut values = Values::default();
    for flag in command.flags() {
        let Some(kind) = flag.value else {
            if given.contains(flag.name) {
                values.0.insert(flag.name, OsString::new());
            }
            continue;
        };
        while let Some(value) = value(&mut given, flag.name, kind)? {
            let all = values.0.entry(flag.name).or_default();
            if !all.is_empty() {
                all.push(if flag.has_commas() { Values::SEPARATOR } else { "," });
            }
            all.push(value);
            if !flag.repeats() {
                break;
            }
        }
    }
    let mut words = Vec::new();
    for argument in given.finish() {
        let word = argument.to_string_lossy().into_owned();
        // A dash alone is a word: it stands for standard input.
        if word.starts_with('-') && word != "-" {
            return Err(left_over(command, &word));
        }
        words.push(word);
    }
    Ok((values, words))
}

fn value(
    given: &mut pico_args::Arguments,
    name: &'static str,
    kind: &str,
) -> Result<Option<OsString>, UsageError> {
    let own = |value: &OsStr| Ok::<_, std::convert::Infallible>(value.to_owned());
    match given.opt_value_from_os_str(name, own) {
        Ok(None) => Ok(None),
        // A flag in the place of a value means that the value was forgotten.
        Ok(Some(value)) if !value.as_bytes().starts_with(b"-") => Ok(Some(value)),
        _ => Err(UsageError(format!("{name} needs a value: {kind}"))),
    }
}

/// The error for an argument that is left over once all flags are parsed: a repeated flag, an
/// unknown flag, or a word.
pub(super) fn left_over(command: &CommandEntry, argument: &str) -> UsageError {
    let shown = argument.escape_debug();
    if !argument.starts_with('-') {
        return UsageError(format!("reverb {} takes no argument {shown}", command.name));
    }
    if command.flags().any(|flag| flag.name == argument) {
        return UsageError(format!("{shown} is given twice"));
    }
    let meant = did_you_mean(argument, command.flags().map(|flag| flag.name));
    UsageError(format!("unknown flag {shown}{meant}"))
}
