//! The environment as Laravel's `env()` sees it: variables of the process take precedence over those
//! of the `.env` file, and empty ones count as absent.
//!
//! The meaning of the variables is in `settings` and `variables`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Error;
use super::dotenv::{self, Entry};

/// The variables of the process and of the `.env` file.
pub struct Environment {
    process: BTreeMap<String, String>,
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Environment {
    /// The environment of a process, without a file.
    ///
    /// Other variables that are not UTF-8 are ignored.
    ///
    /// # Errors
    ///
    /// A `REVERB_` or `REDIS_` variable whose value is not UTF-8.
    pub fn new(process: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Error> {
        let mut kept = BTreeMap::new();
        for (name, value) in process {
            let Ok(name) = name.into_string() else { continue };
            // An empty value counts as absent, so it does not hide the value in the file.
            if value.is_empty() {
                continue;
            }
            match value.into_string() {
                Ok(value) => _ = kept.insert(name, value),
                Err(_) if name.starts_with("REVERB_") || name.starts_with("REDIS_") => {
                    return Err(Error::new(PROCESS, name, "is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        Ok(Environment { process: kept, file: PathBuf::new(), entries: BTreeMap::new() })
    }

    /// The environment of a process without variables, and with this `.env` file.
    #[cfg(test)]
    pub fn of_file(text: &str) -> Self {
        let mut environment = Environment::new([]).unwrap();
        environment.add_file(Path::new(".env"), text.as_bytes()).unwrap();
        environment
    }

    /// Adds the text of a `.env` file; errors name it as `file`. Bytes that are not UTF-8 are
    /// replaced, as in PHP.
    ///
    /// # Errors
    ///
    /// The text has a syntax error.
    pub fn add_file(&mut self, file: &Path, text: &[u8]) -> Result<(), Error> {
        let text = String::from_utf8_lossy(text);
        self.entries = dotenv::parse(&text, |name| self.process.get(name).cloned())
            .map_err(|e| Error::whole(format_args!("{}:{}", file.display(), e.line), e.reason))?;
        self.file = file.to_owned();
        Ok(())
    }

    /// The value of a variable, of the process or else of the file. `None` for an empty value, `null`,
    /// `(null)`, `empty` and `(empty)`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = match self.process.get(name) {
            Some(value) => value,
            None => &self.entries.get(name)?.value,
        };
        let absent = ["null", "(null)", "empty", "(empty)"];
        if absent.iter().any(|word| value.eq_ignore_ascii_case(word)) {
            return None;
        }
        Some(unquoted(value)).filter(|value| !value.is_empty())
    }

    /// The value of a variable that may be set to an empty text, such as a prefix; `None` only if the
    /// variable is not set.
    pub fn text(&self, name: &str) -> Option<&str> {
        let is_set = self.entries.contains_key(name) || self.process.contains_key(name);
        self.get(name).or(is_set.then_some(""))
    }

    /// The source of the value of a variable, for errors.
    pub fn source(&self, name: &str) -> String {
        match self.entries.get(name) {
            Some(entry) if !self.process.contains_key(name) => {
                format!("{}:{}", self.file.display(), entry.line)
            }
            _ => PROCESS.to_owned(),
        }
    }

    /// The names of all variables, each once, including those with an empty value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let in_file = self.entries.keys().filter(|name| !self.process.contains_key(*name));
        self.process.keys().chain(in_file).map(String::as_str)
    }
}

/// Omits the values, some of which are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The name of the process environment in errors.
const PROCESS: &str = "environment";

/// Removes quotes that are part of the value, as `env()` does: container tools pass them on.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn process(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn environment(variables: &[(&str, &str)], file: &str) -> Environment {
        let mut environment = Environment::new(process(variables)).unwrap();
        environment.add_file(Path::new(".env"), file.as_bytes()).unwrap();
        environment
    }

    #[test]
    fn the_process_takes_precedence_over_the_file() {
        let environment = environment(&[("A", "process"), ("C", "")], "A=file\nB=file\nC=file");
        assert_eq!(environment.get("A"), Some("process"));
        assert_eq!(environment.get("B"), Some("file"));
        assert_eq!(environment.get("C"), Some("file"));
        assert_eq!(environment.get("D"), None);
        assert_eq!(environment.source("A"), "environment");
        assert_eq!(environment.source("B"), ".env:2");
        assert_eq!(environment.source("D"), "environment");
        assert_eq!(environment.names().collect::<Vec<_>>(), ["A", "B", "C"]);
    }

    #[test]
    fn laravels_words_for_no_value_are_no_value() {
        for word in ["", "null", "NULL", "(null)", "empty", "(empty)", "\"\"", "''"] {
            assert_eq!(environment(&[("A", word)], "").get("A"), None, "{word}");
        }
    }

    #[test]
    fn a_text_may_be_empty() {
        let environment = environment(&[("A", "a"), ("C", "")], "B=\nD=null");
        assert_eq!(
            ["A", "B", "C", "D"].map(|name| environment.text(name)),
            [Some("a"), Some(""), None, Some("")]
        );
    }

    #[test]
    fn quotes_in_a_value_are_removed() {
        assert_eq!(environment(&[("A", "\"b\"")], "").get("A"), Some("b"));
        assert_eq!(environment(&[], "A=\"'b'\"").get("A"), Some("b"));
        assert_eq!(environment(&[("A", "\"")], "").get("A"), Some("\""));
        assert_eq!(environment(&[("A", "\"b'")], "").get("A"), Some("\"b'"));
    }

    #[test]
    fn a_syntax_error_names_file_and_line() {
        let mut environment = Environment::new(process(&[])).unwrap();
        let refused = environment.add_file(Path::new("a/.env"), b"X=1\nY='abc");
        let message = refused.unwrap_err().to_string();
        assert_eq!(message, "a/.env:2: missing closing single quote");
    }

    #[test]
    fn only_our_variables_must_be_utf_8() {
        let bytes = || OsString::from_vec(vec![0xff]);
        assert!(Environment::new([("LANG".into(), bytes()), (bytes(), "x".into())]).is_ok());
        let refused = Environment::new([("REVERB_APP_SECRET".into(), bytes())]);
        let message = refused.err().unwrap().to_string();
        assert_eq!(message, "environment: REVERB_APP_SECRET: is not UTF-8");
    }
}
