//! The names that soketi has for settings of an app, so that an app object of soketi can stay as it
//! is. Other keys of soketi stay unknown. The settings are in `settings/of_app`.

use serde_json::Value;

use super::App;

/// A setting under the name that it has in soketi.
pub struct Alias {
    /// The key of soketi.
    pub key: &'static str,
    /// The key of this server.
    pub ours: &'static str,
    unit: Unit,
}

/// How a value of soketi becomes one of this server.
enum Unit {
    /// Text or number, unchanged.
    Same,
    /// A number; -1 is no limit.
    Limit,
    /// As `Limit`, in units of 1,024 bytes.
    Kilobytes,
    /// `true` is `members`, `false` is `none`.
    ClientEvents,
}

/// All aliases. soketi has the names `key`, `secret` and `enabled` as well, with the same meaning.
const ALIASES: &[Alias] = &[
    alias("id", "app_id", Unit::Same),
    alias("enableClientMessages", "accept_client_events_from", Unit::ClientEvents),
    alias("maxConnections", "max_connections", Unit::Limit),
    alias("maxBackendEventsPerSecond", "max_backend_events_per_second", Unit::Limit),
    alias("maxReadRequestsPerSecond", "max_read_requests_per_second", Unit::Limit),
    alias("maxClientEventsPerSecond", "max_client_events_per_second", Unit::Limit),
    alias("maxPresenceMembersPerChannel", "max_presence_members", Unit::Limit),
    alias("maxEventPayloadInKb", "max_event_payload_size", Unit::Kilobytes),
    alias("maxEventNameLength", "max_event_name_length", Unit::Limit),
    alias("maxChannelNameLength", "max_channel_name_length", Unit::Limit),
    alias("maxEventChannelsAtOnce", "max_event_channels_at_once", Unit::Limit),
    alias("maxEventBatchSize", "max_event_batch_size", Unit::Limit),
];

const fn alias(key: &'static str, ours: &'static str, unit: Unit) -> Alias {
    Alias { key, ours, unit }
}

/// The alias of this name.
pub fn find(key: &str) -> Option<&'static Alias> {
    ALIASES.iter().find(|alias| alias.key == key)
}

impl Alias {
    /// The value for the setting of this server. `None` if none is to be set: the value is null, or
    /// was -1, which removes the limit from `app`.
    ///
    /// # Errors
    ///
    /// The value has no meaning in soketi. Most errors are left to the setting.
    pub fn value(&self, value: &Value, app: &mut App) -> Result<Option<Value>, String> {
        let is_unlimited = value.as_i64() == Some(-1) || value.as_str() == Some("-1");
        match (&self.unit, value) {
            (_, Value::Null) => Ok(None),
            (Unit::Limit | Unit::Kilobytes, _) if is_unlimited => {
                match self.ours {
                    "max_connections" => app.max_connections = None,
                    key => app.limits.remove(key),
                }
                Ok(None)
            }
            (Unit::Same | Unit::Limit, value) => Ok(Some(value.clone())),
            (Unit::Kilobytes, value) => {
                let text = value.as_str().map(str::to_owned);
                let text = text.unwrap_or_else(|| value.to_string());
                match text.parse::<u32>() {
                    Ok(kilobytes) => Ok(Some(Value::from(u64::from(kilobytes) * 1_024))),
                    Err(_) => Err("must be a whole number, or -1 for no limit".into()),
                }
            }
            (Unit::ClientEvents, Value::Bool(is_on)) => {
                Ok(Some(Value::from(if *is_on { "members" } else { "none" })))
            }
            (Unit::ClientEvents, _) => Err("must be true or false".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientEvents, Config, Findings, json, settings};
    use serde_json::json;

    fn read(app: Value) -> Result<(App, Findings), String> {
        let mut findings = Findings::default();
        let text = json!({"apps": {"apps": [app]}}).to_string();
        let apps = json::read("f", &text, &mut Config::default(), &mut findings);
        apps.map(|apps| (apps[0].clone(), findings)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_alias_names_a_setting() {
        for alias in ALIASES {
            assert!(settings::APP.iter().any(|setting| setting.key == alias.ours), "{}", alias.key);
            assert!(settings::APP.iter().all(|setting| setting.key != alias.key), "{}", alias.key);
        }
    }

    #[test]
    fn an_app_of_soketi_is_read_with_its_limits() {
        let (app, findings) = read(json!({
            "id": "7", "key": "k", "secret": "s", "enabled": false, "enableClientMessages": false,
            "maxConnections": 1, "maxBackendEventsPerSecond": 2, "maxReadRequestsPerSecond": "3",
            "maxClientEventsPerSecond": 4, "maxPresenceMembersPerChannel": 5,
            "maxEventPayloadInKb": 6, "maxEventNameLength": 7, "maxChannelNameLength": 8,
            "maxEventChannelsAtOnce": 9, "maxEventBatchSize": 10,
        }))
        .unwrap();
        assert_eq!(findings, Findings::default());
        assert_eq!((app.id.as_str(), app.enabled), ("7", false));
        assert_eq!(app.accept_client_events_from, ClientEvents::None);
        assert_eq!(app.max_connections, Some(1));
        let limits: Vec<_> = app.limits.values().filter_map(|(_, value)| value).collect();
        assert_eq!(limits, [2, 3, 4, 5, 6 * 1_024, 7, 8, 9, 10]);
    }

    #[test]
    fn minus_one_and_null_are_no_limit() {
        let mut app = json!({"id": 7, "key": "k", "secret": "s", "enableClientMessages": true});
        for alias in ALIASES {
            if let Unit::Limit | Unit::Kilobytes = alias.unit {
                app[alias.key] = json!(-1);
            }
        }
        app["maxConnections"] = json!("-1");
        app["maxEventBatchSize"] = json!(null);
        let (app, findings) = read(app).unwrap();
        assert_eq!(findings, Findings::default());
        assert_eq!(app, App::new("7", "k", "s"));
    }

    #[test]
    fn errors_name_the_key_in_the_file() {
        let refused = |key: &str, value: Value| {
            let mut app = json!({"id": 7, "key": "k", "secret": "s"});
            app[key] = value;
            read(app).unwrap_err()
        };
        assert_eq!(
            refused("maxEventBatchSize", json!(0)),
            "f: apps.apps[0].maxEventBatchSize: 0 is not between 1 and 100000"
        );
        assert_eq!(
            refused("maxEventPayloadInKb", json!("x")),
            "f: apps.apps[0].maxEventPayloadInKb: must be a whole number, or -1 for no limit"
        );
        assert_eq!(
            refused("enableClientMessages", json!("members")),
            "f: apps.apps[0].enableClientMessages: must be true or false"
        );
        assert_eq!(
            refused("app_id", json!("8")),
            "f: apps.apps[0].id: app_id is set as well: keep one of them"
        );
    }

    #[test]
    fn other_keys_of_soketi_are_findings() {
        let app = json!({"id": 7, "key": "k", "secret": "s", "maxPresenceMemberSizeInKb": 2});
        let (_, findings) = read(app).unwrap();
        let notes = findings.notes.concat() + &findings.warnings.concat();
        assert!(notes.contains("apps.apps[0].maxPresenceMemberSizeInKb: is not a"), "{notes}");
    }
}
