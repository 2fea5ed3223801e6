//! Reads the settings of soketi: a JSON file, which variables with the prefix `SOKETI_` override. The
//! file may also be an environment file with such variables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::report::Report;
use super::variables::VARIABLES;
use crate::config::{Error, dotenv};

/// A setting.
pub(super) struct Found {
    /// Its levels with dots between them, as in `database.redis.host`; for an app without the levels
    /// above it.
    pub path: String,
    /// Its name in the report.
    pub label: String,
    pub value: Value,
}

/// All settings.
#[derive(Default)]
pub(super) struct Source {
    /// The settings of the server.
    pub server: Vec<Found>,
    /// The settings of each app of the list.
    pub apps: Vec<Vec<Found>>,
}

impl Source {
    /// Reads the text of a file, and the variables.
    pub(super) fn read<'a>(
        name: &str,
        text: &str,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
        report: &mut Report,
    ) -> Result<Self, Error> {
        let text = text.trim_start_matches('\u{feff}');
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut found = Vec::new();
        if text.trim_start().starts_with('{') {
            let tree = serde_json::from_str(text).map_err(|error| Error::whole(name, error))?;
            flatten("", tree, &mut found);
        } else {
            let entries = dotenv::parse(text, |_| None);
            let entries =
                entries.map_err(|e| Error::whole(format_args!("{name}:{}", e.line), e.reason))?;
            all.extend(entries.into_iter().map(|(name, entry)| (name.to_string(), entry.value)));
        }
        all.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (name, value) in all {
            let Some(short) = name.strip_prefix(PREFIX) else { continue };
            let Some((_, path)) = VARIABLES.iter().find(|(variable, _)| *variable == short) else {
                report.not_mapped(&name, "is not a variable of soketi");
                continue;
            };
            found.retain(|earlier: &Found| {
                let stays = earlier.path != *path;
                if !stays {
                    report.not_mapped(&earlier.label, &format!("{name} overrides it"));
                }
                stays
            });
            // A value may be JSON, but credentials are text even if they are digits.
            let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
            let is_text = ["id", "key", "secret", "passphrase"].contains(&&*last)
                || last.ends_with("password");
            let value = match is_text {
                true => Value::String(value),
                false => serde_json::from_str(&value).unwrap_or(Value::String(value)),
            };
            found.push(Found { path: (*path).to_owned(), label: name, value });
        }
        let mut source = Source::default();
        let mut apps: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        for setting in found {
            let of_app = setting.path.strip_prefix(APPS).and_then(|rest| rest.split_once('.'));
            let of_app = of_app.and_then(|(at, key)| Some((at.parse().ok()?, key.to_owned())));
            match of_app {
                Some((at, path)) => {
                    apps.entry(at).or_default().push(Found { path, ..setting });
                }
                None => source.server.push(setting),
            }
        }
        source.apps = apps.into_values().collect();
        Ok(source)
    }

    /// A setting of the server.
    pub(super) fn get(&self, path: &str) -> Option<&Found> {
        self.server.iter().find(|found| found.path == path)
    }

    /// Whether a setting of the server is on.
    pub(super) fn is_on(&self, path: &str) -> bool {
        self.get(path).is_some_and(|found| truth(&found.value))
    }
}

/// Whether a value is true: for JavaScript, or as the text of a variable.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(is_on) => *is_on,
        Value::Null => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !["", "0", "false"].contains(&text.as_str()),
        _ => true,
    }
}

/// Adds every value below a key. Objects and the list of apps have levels, other lists are values.
fn flatten(path: &str, value: Value, found: &mut Vec<Found>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        // The values of these keys are read as a whole.
        Value::Object(object) if !path.starts_with(APPS) || is_app(path) => {
            object.into_iter().for_each(|(key, value)| flatten(&join(&key), value, found));
        }
        Value::Array(list) if format!("{path}.") == APPS => {
            let list = list.into_iter().enumerate();
            list.for_each(|(at, value)| flatten(&join(&at.to_string()), value, found));
        }
        value => found.push(Found { path: path.to_owned(), label: path.to_owned(), value }),
    }
}

/// Whether a path is that of an app, as in `appManager.array.apps.0`.
fn is_app(path: &str) -> bool {
    path.strip_prefix(APPS).is_some_and(|at| at.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What precedes the number of an app.
const APPS: &str = "appManager.array.apps.";
const PREFIX: &str = "SOKETI_";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> (Vec<String>, String) {
        let mut report = Report::default();
        let source = Source::read("f", text, variables.iter().copied(), &mut report).unwrap();
        let shown = |found: &Found| format!("{}={} ({})", found.path, found.value, found.label);
        let server = source.server.iter().map(shown);
        let apps = source.apps.iter().flatten().map(shown);
        (server.chain(apps).collect(), report.text())
    }

    #[test]
    fn variables_override_the_file() {
        let text = r#"{"port": 1, "ssl": {"certPath": "c"}, "debug": true,
            "appManager.array.apps.0.key": "dotted",
            "appManager": {"array": {"apps": [{"id": 7, "webhooks": [{"url": "u"}]}]}}}"#;
        let variables =
            [("SOKETI_PORT", "2"), ("SOKETI_DEFAULT_APP_ID", "x"), ("SOKETI_X", ""), ("PATH", "p")];
        let (found, report) = read(text, &variables);
        assert_eq!(
            found,
            [
                "debug=true (debug)",
                "ssl.certPath=\"c\" (ssl.certPath)",
                "port=2 (SOKETI_PORT)",
                "webhooks=[{\"url\":\"u\"}] (appManager.array.apps.0.webhooks)",
                "key=\"dotted\" (appManager.array.apps.0.key)",
                "id=\"x\" (SOKETI_DEFAULT_APP_ID)",
            ]
        );
        assert_eq!(
            report,
            "not mapped  appManager.array.apps.0.id: SOKETI_DEFAULT_APP_ID overrides it\n\
             not mapped  port: SOKETI_PORT overrides it\n\
             not mapped  SOKETI_X: is not a variable of soketi\n"
        );
    }

    #[test]
    fn a_file_of_variables_is_read() {
        let (found, report) = read("SOKETI_PORT=3\nAPP_NAME=x\n", &[]);
        assert_eq!((found, report), (vec!["port=3 (SOKETI_PORT)".to_owned()], String::new()));
    }
}
