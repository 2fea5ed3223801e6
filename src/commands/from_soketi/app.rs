//! What becomes of the settings of an app of soketi. The names that both servers know are in
//! `config::soketi`.

use serde_json::{Map, Value, json};

use super::report::Report;
use super::source::{Found, Source, truth};
use crate::config::apps_folder::parse_file;
use crate::config::soketi;
use crate::config::{App, WebhookEvent};

/// The apps, as entries of `apps.apps`.
pub(super) fn convert(source: &Source, report: &mut Report) -> Vec<Map<String, Value>> {
    let driver = source.get("appManager.driver").and_then(|found| found.value.as_str());
    // soketi has an app unless a list replaces it.
    let no_settings = Vec::new();
    let mut apps: Vec<&Vec<Found>> = source.apps.iter().collect();
    if apps.is_empty() && driver.is_none_or(|driver| driver == "array") {
        apps.push(&no_settings);
    }
    let batch = batch_ms(source);
    apps.into_iter().enumerate().map(|(at, found)| app(at, found, batch.as_ref(), report)).collect()
}

/// The `batch_ms` of webhooks, if soketi collects events.
fn batch_ms(source: &Source) -> Option<Value> {
    let found = source.get("webhooks.batching.duration")?;
    source.is_on("webhooks.batching.enabled").then(|| found.value.clone())
}

fn app(
    at: usize,
    settings: &[Found],
    batch: Option<&Value>,
    report: &mut Report,
) -> Map<String, Value> {
    let mut entry = Map::new();
    for Found { path, label, value } in settings {
        if value.is_null() || value.as_str() == Some("") {
            report.not_mapped(label, "is empty");
            continue;
        }
        let name = common_name(path);
        match name.as_str() {
            "key" | "secret" => put(&mut entry, label, &name, text(value), at, report),
            "id" => put(&mut entry, label, "app_id", text(value), at, report),
            "enabled" => put(&mut entry, label, &name, truth(value).into(), at, report),
            "enableClientMessages" => {
                let from = if truth(value) { "members" } else { "none" };
                put(&mut entry, label, "accept_client_events_from", from.into(), at, report);
            }
            "webhooks" => {
                let list = webhooks(label, value, batch, report);
                if !list.is_empty() {
                    entry.insert("webhooks".into(), list.into());
                    report.mapped(label, &format!("apps.apps[{at}].webhooks"));
                }
            }
            "enableUserAuthentication" if truth(value) => {
                put(&mut entry, label, "authorization_timeout", 30.into(), at, report);
            }
            "enableUserAuthentication" => {
                report.not_mapped(label, "clients may sign in, and need not, without a setting");
            }
            "maxPresenceMemberSizeInKb" => {
                report.not_mapped(label, "limits.presence_data_bytes is for all apps");
            }
            "maxEventPayloadInKb" => match bytes(value, 1_024.0) {
                Some(bytes) => put_payload(&mut entry, label, bytes, at, report),
                None => report.not_mapped(label, NO_LIMIT),
            },
            name => match soketi::find(name) {
                None => report.not_mapped(label, "is not a setting of an app of soketi 1"),
                Some(alias) => match alias.value(value, &mut App::new("", "", "")) {
                    Ok(None) => report.not_mapped(label, NO_LIMIT),
                    Ok(Some(value)) => put(&mut entry, label, alias.ours, value, at, report),
                    Err(why) => report.not_mapped(label, &why),
                },
            },
        }
    }
    add_defaults(&mut entry, at, report);
    entry
}

/// The defaults of soketi, where this server has others.
fn add_defaults(entry: &mut Map<String, Value>, at: usize, report: &mut Report) {
    for (key, value) in [("app_id", "app-id"), ("key", "app-key"), ("secret", "app-secret")] {
        if !entry.contains_key(key) {
            entry.insert(key.into(), value.into());
            let place = format!("apps.apps[{at}].{key}");
            match key {
                "secret" => report.note(&format!(
                    "{place} is the default of soketi, which everybody knows: choose another"
                )),
                _ => report.note(&format!("{place} is the default of soketi, {value}")),
            }
        }
    }
    if !entry.contains_key("accept_client_events_from") {
        entry.insert("accept_client_events_from".into(), "none".into());
        report.note(&format!(
            "apps.apps[{at}].accept_client_events_from is none, the default of soketi"
        ));
    }
}

/// The most bytes of the data of an event. A client event with this data is a longer message.
pub(super) fn put_payload(
    entry: &mut Map<String, Value>,
    label: &str,
    bytes: u64,
    at: usize,
    report: &mut Report,
) {
    put(entry, label, "max_event_payload_size", bytes.into(), at, report);
    // JSON in a text needs escapes.
    put(entry, label, "max_message_size", bytes.saturating_mul(2).max(10_000).into(), at, report);
}

/// Adds a setting, if its value is valid.
pub(super) fn put(
    entry: &mut Map<String, Value>,
    label: &str,
    key: &str,
    value: Value,
    at: usize,
    report: &mut Report,
) {
    let mut alone = Map::from_iter([(key.to_owned(), value.clone())]);
    for credential in ["app_id", "key", "secret"] {
        alone.entry(credential).or_insert("x".into());
    }
    match parse_file("", &Value::Object(alone).to_string()) {
        Err(error) => report.not_mapped(label, &error.reason),
        Ok(_) => {
            entry.insert(key.to_owned(), value);
            report.mapped(label, &format!("apps.apps[{at}].{key}"));
        }
    }
}

fn webhooks(label: &str, value: &Value, batch: Option<&Value>, report: &mut Report) -> Vec<Value> {
    // A list may be the text of a variable, or of a column of a database.
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let Value::Array(list) = parsed.as_ref().unwrap_or(value) else {
        report.not_mapped(label, "must be a list");
        return Vec::new();
    };
    if list.is_empty() {
        report.not_mapped(label, "is empty");
    }
    let list = list.iter().enumerate();
    list.filter_map(|(at, hook)| webhook(&format!("{label}[{at}]"), hook, batch, report)).collect()
}

fn webhook(label: &str, hook: &Value, batch: Option<&Value>, report: &mut Report) -> Option<Value> {
    let Some(url) = hook.get("url").filter(|url| url.is_string()) else {
        report.not_mapped(label, "has no url: the server sends requests only, and calls no Lambda");
        return None;
    };
    let mut ours = json!({"url": url});
    for (key, value) in hook.as_object().into_iter().flatten() {
        let label = format!("{label}.{key}");
        match key.as_str() {
            "url" => report.mapped(&label, "url"),
            "event_types" => {
                let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                let events: Vec<&str> =
                    names.filter_map(|name| event(&label, name, report)).collect();
                if events.is_empty() {
                    report.not_mapped(
                        &label,
                        "has no event of this server, so the webhook is left out",
                    );
                    return None;
                }
                report.mapped(&label, "events");
                ours["events"] = events.into();
            }
            "filter" | "filters" => {
                let part = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
                let pattern = format!(
                    "{}*{}",
                    part("channel_name_starts_with"),
                    part("channel_name_ends_with")
                );
                if pattern == "*" {
                    report.not_mapped(&label, "is empty");
                } else {
                    report.mapped(&label, "channels");
                    ours["channels"] = json!([pattern]);
                }
            }
            "headers" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let label = format!("{label}.{name}");
                    let mut alone = json!({"url": "http://x"});
                    alone["headers"] = json!({name: value});
                    match is_valid(alone) {
                        Ok(()) => {
                            ours["headers"][name] = value.clone();
                            report.mapped(&label, "headers");
                        }
                        Err(why) => report.not_mapped(&label, &why),
                    }
                }
            }
            "lambda_function" | "lambda" => report.not_mapped(&label, "the server calls no Lambda"),
            _ => report.not_mapped(&label, "is not a setting of a webhook of soketi 1"),
        }
    }
    if let Some(batch) = batch {
        ours["batch_ms"] = batch.clone();
    }
    match is_valid(ours.clone()) {
        Ok(()) => Some(ours),
        Err(why) => {
            report.not_mapped(label, &why);
            None
        }
    }
}

/// Whether this server accepts a webhook.
fn is_valid(webhook: Value) -> Result<(), String> {
    let app = json!({"app_id": "x", "key": "x", "secret": "x", "webhooks": [webhook]});
    let parsed = parse_file("", &app.to_string());
    parsed.map(drop).map_err(|error| format!("{} {}", error.key, error.reason))
}

/// The name of an event of webhooks.
fn event<'a>(label: &str, name: &'a str, report: &mut Report) -> Option<&'a str> {
    let name = if name == "cache_missed" { "cache_miss" } else { name };
    let is_known = WebhookEvent::ALL.iter().any(|event| event.name() == name);
    if !is_known {
        report.not_mapped(label, &format!("there is no event {}", name.escape_debug()));
    }
    is_known.then_some(name)
}

/// The name of a setting in JSON. DynamoDB has names as `MaxConnections`, databases as
/// `max_connections`, some of which are shorter.
fn common_name(name: &str) -> String {
    match name {
        "AppId" | "AppKey" | "AppSecret" => return name[3..].to_lowercase(),
        "max_backend_events_per_sec" => return "maxBackendEventsPerSecond".into(),
        "max_client_events_per_sec" => return "maxClientEventsPerSecond".into(),
        "max_read_req_per_sec" => return "maxReadRequestsPerSecond".into(),
        _ => {}
    }
    let mut common = String::new();
    let mut is_upper = false;
    for character in name.chars() {
        match character {
            '_' => is_upper = true,
            _ if common.is_empty() => common.push(character.to_ascii_lowercase()),
            _ if is_upper => {
                common.push(character.to_ascii_uppercase());
                is_upper = false;
            }
            _ => common.push(character),
        }
    }
    common
}

/// A credential, which may be a number.
fn text(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        value => value.clone(),
    }
}

/// A number of bytes from one of a larger unit; `None` for no limit.
pub(super) fn bytes(value: &Value, unit: f64) -> Option<u64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (number >= 0.0).then(|| (number * unit).ceil() as u64)
}

/// Why -1 is not mapped.
pub(super) const NO_LIMIT: &str = "no limit is the default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_databases_are_those_of_json() {
        for (name, common) in [
            ("maxConnections", "maxConnections"),
            ("MaxConnections", "maxConnections"),
            ("max_connections", "maxConnections"),
            ("AppSecret", "secret"),
            ("max_read_req_per_sec", "maxReadRequestsPerSecond"),
            ("max_event_payload_in_kb", "maxEventPayloadInKb"),
        ] {
            assert_eq!(common_name(name), common);
        }
    }
}
