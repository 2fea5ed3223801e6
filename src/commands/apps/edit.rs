//! The JSON of an app in a file: the entry of a new app, and other secrets. Keys that this program does
//! not know stay as they are.

use serde_json::{Map, Value, json};

use crate::config::apps_folder::parse_file;
use crate::config::{App, Error, render};

/// The entry of a new app with these credentials and settings, the app itself, and what the operator
/// should know.
pub(super) fn new_app(
    app: &App,
    settings: &[(String, String)],
) -> Result<(Value, App, Vec<String>), Error> {
    let mut tree = json!({"app_id": app.id, "key": app.key, "secret": app.secret});
    for (key, text) in settings {
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
        set(&mut tree, key, value)?;
    }
    let (apps, findings) = parse_file(COMMAND_LINE, &render::tree(&tree))?;
    if let Some(mistake) = findings.warnings.first() {
        return Err(mistaken(mistake));
    }
    let app = apps.into_iter().next();
    let app = app.ok_or_else(|| Error::whole(COMMAND_LINE, "has no app"))?;
    Ok((tree, app, findings.notes))
}

const COMMAND_LINE: &str = "command line";

/// The error for a finding about a setting, which has its source already.
fn mistaken(finding: &str) -> Error {
    let reason = finding.strip_prefix(COMMAND_LINE).map(|rest| rest.trim_start_matches(": "));
    Error::new(COMMAND_LINE, "--set", reason.unwrap_or(finding))
}

/// Sets the value of a key, whose levels have dots between them.
fn set(tree: &mut Value, key: &str, value: Value) -> Result<(), Error> {
    let refused = |reason: &str| Err(Error::new(COMMAND_LINE, format!("--set {key}"), reason));
    let flag = match key {
        "app_id" | "id" => "--id",
        "key" => "--key",
        "secret" | "secrets" => "--secret",
        _ => "",
    };
    if !flag.is_empty() {
        return refused(&format!("is not a setting; use {flag}"));
    }
    let mut place = tree;
    let (levels, last) = match key.rsplit_once('.') {
        Some((levels, last)) => (levels.split('.').collect(), last),
        None => (Vec::new(), key),
    };
    for level in levels {
        let Some(object) = place.as_object_mut() else { return refused("is below a value") };
        place = object.entry(level).or_insert_with(|| Value::Object(Map::new()));
    }
    match place.as_object_mut() {
        None => refused("is below a value"),
        Some(object) if object.contains_key(last) => refused("is given twice"),
        Some(object) => {
            object.insert(last.to_owned(), value);
            Ok(())
        }
    }
}

/// Replaces the secrets of an entry.
pub(super) fn set_secrets(entry: &mut Map<String, Value>, new: &str, old: Option<&str>) {
    entry.remove("secret");
    entry.remove("secrets");
    match old {
        None => entry.insert("secret".into(), new.into()),
        Some(old) => entry.insert("secrets".into(), json!([new, old])),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(settings: &[(&str, &str)]) -> Result<Value, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let settings: Vec<_> = settings.iter().map(own).collect();
        let made = new_app(&App::new("1", "k", "s"), &settings);
        made.map(|(tree, _, _)| tree).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_is_json_or_else_text() {
        let tree = new(&[
            ("max_connections", "100"),
            ("accept_client_events_from", "all"),
            ("allowed_origins", "[\"a.example\", \"b.example\"]"),
            ("rate_limiting.enabled", "true"),
            ("rate_limiting.max_attempts", "5"),
        ]);
        let expected = json!({
            "app_id": "1", "key": "k", "secret": "s", "max_connections": 100,
            "accept_client_events_from": "all", "allowed_origins": ["a.example", "b.example"],
            "rate_limiting": {"enabled": true, "max_attempts": 5},
        });
        assert_eq!(tree, Ok(expected));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (settings, error) in [
            (
                &[("max_conections", "1")][..],
                "command line: --set: max_conections: is not a known key, so it has no effect; did you \
                 mean max_connections?",
            ),
            (
                &[("max_connections", "many")],
                "command line: max_connections: \"many\" is not a whole number",
            ),
            (&[("secret", "x")], "command line: --set secret: is not a setting; use --secret"),
            (
                &[("enabled", "1"), ("enabled.a", "1")],
                "command line: --set enabled.a: is below a value",
            ),
            (&[("enabled", "1"), ("enabled", "0")], "command line: --set enabled: is given twice"),
        ] {
            assert_eq!(new(settings), Err(error.to_owned()));
        }
    }
}
