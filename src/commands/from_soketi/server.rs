//! What becomes of the settings of soketi that are not those of an app. Limits of soketi are defaults
//! for its apps, so they become limits of each app.

use serde_json::{Map, Value, json};

use super::app::{NO_LIMIT, bytes, put, put_payload};
use super::report::Report;
use super::source::{Found, Source, truth};
use crate::config::{Config, Findings, Limits, json as config_json};

/// The settings of the server, as in `servers.reverb`. Adds limits to the apps.
pub(super) fn convert(
    source: &Source,
    apps: &mut [Map<String, Value>],
    report: &mut Report,
) -> Map<String, Value> {
    let mut server = Server { settings: Map::new(), report };
    for found in &source.server {
        server.convert(found, source, apps);
    }
    if source.get("port").is_none() {
        server.settings.insert("port".into(), 6_001.into());
        server.report.note("servers.reverb.port is 6001, the default of soketi");
    }
    server.raise_limits(apps);
    server.settings
}

struct Server<'a> {
    settings: Map<String, Value>,
    report: &'a mut Report,
}

impl Server<'_> {
    fn convert(&mut self, found: &Found, source: &Source, apps: &mut [Map<String, Value>]) {
        let Found { path, label, value } = found;
        if let Some(why) = reason(path) {
            return self.report.not_mapped(label, why);
        }
        if value.is_null() || value.as_str() == Some("") {
            return self.report.not_mapped(label, "is empty");
        }
        if let Some((_, key)) = SAME.iter().find(|(theirs, _)| theirs == path) {
            return self.set(label, key, value.clone());
        }
        if let Some((_, key)) = LIMITS_OF_APPS.iter().find(|(theirs, _)| theirs == path) {
            return self.limit_apps(label, key, apps, |app, at, report| {
                put(app, label, key, value.clone(), at, report);
            });
        }
        match path.as_str() {
            "adapter.driver" => self.adapter(label, value),
            "adapter.redis.prefix" => {
                let channel = format!("{}reverb", value.as_str().unwrap_or_default());
                self.set(label, "scaling.channel", channel.into());
            }
            "database.redis.sentinels" => match addresses(value) {
                Some(list) => self.set(label, "scaling.sentinels", list.join(",").into()),
                None => self.report.not_mapped(label, LIST_OF_ADDRESSES),
            },
            "database.redis.clusterNodes" => self.cluster_nodes(label, value),
            "metrics.enabled" => match truth(value) {
                true => {
                    let part = |path: &str| source.get(path).map(|found| plain(&found.value));
                    let host = part("metrics.host").unwrap_or("0.0.0.0".into());
                    let port = part("metrics.port").unwrap_or("9601".into());
                    self.set(label, "metrics", format!("{host}:{port}").into());
                }
                false => self.report.not_mapped(label, "no metrics are the default"),
            },
            "metrics.host" | "metrics.port" => match source.is_on("metrics.enabled") {
                true => self.report.mapped(label, "servers.reverb.metrics"),
                false => self.report.not_mapped(label, "metrics.enabled is not true"),
            },
            "appManager.driver" => match value.as_str() {
                Some("array") => self.report.mapped(label, "apps.apps"),
                _ => self.report.not_mapped(label, DATABASE),
            },
            "httpApi.requestLimitInMb" => match bytes(value, MEGABYTE) {
                Some(bytes) => self.set(label, "max_request_size", bytes.into()),
                None => self.report.not_mapped(label, "must be a number"),
            },
            "presence.maxMemberSizeInKb" => match bytes(value, 1_024.0) {
                Some(bytes) => self.set(label, "limits.presence_data_bytes", bytes.into()),
                None => self.report.not_mapped(label, "must be a number"),
            },
            "eventLimits.maxPayloadInKb" => match bytes(value, 1_024.0) {
                Some(bytes) => {
                    let key = "max_event_payload_size";
                    self.limit_apps(label, key, apps, |app, at, report| {
                        put_payload(app, label, bytes, at, report);
                    });
                }
                None => self.report.not_mapped(label, NO_LIMIT),
            },
            "userAuthenticationTimeout" => self.authentication(label, value, apps),
            "webhooks.batching.enabled" => match truth(value) {
                true => self.report.mapped(label, "batch_ms of each webhook"),
                false => self.report.not_mapped(label, BATCHES),
            },
            "webhooks.batching.duration" => match source.is_on("webhooks.batching.enabled") {
                true => self.report.mapped(label, "batch_ms of each webhook"),
                false => self.report.not_mapped(label, "webhooks.batching.enabled is not true"),
            },
            _ => self.report.not_mapped(label, "is not a setting of soketi 1"),
        }
    }

    /// Adds a setting with this path, if its value is valid.
    fn set(&mut self, label: &str, path: &str, value: Value) {
        let mut alone = Map::new();
        insert(&mut alone, path, value.clone());
        let text = json!({"servers": {"reverb": alone}}).to_string();
        let read = config_json::read("", &text, &mut Config::default(), &mut Findings::default());
        match read {
            Err(error) => self.report.not_mapped(label, &error.reason),
            Ok(_) => {
                insert(&mut self.settings, path, value);
                self.report.mapped(label, &format!("servers.reverb.{path}"));
            }
        }
    }

    fn adapter(&mut self, label: &str, value: &Value) {
        match value.as_str() {
            Some("redis") => self.set(label, "scaling.enabled", true.into()),
            Some("local") => self.report.not_mapped(label, "a server on its own is the default"),
            _ => self.report.not_mapped(
                label,
                "several servers exchange messages through Redis: set scaling in reverb.json",
            ),
        }
    }

    /// The first server of a Redis Cluster; the others are found through it.
    fn cluster_nodes(&mut self, label: &str, value: &Value) {
        let Some(first) = addresses(value).and_then(|list| list.into_iter().next()) else {
            return self.report.not_mapped(label, LIST_OF_ADDRESSES);
        };
        let (host, port) = first.rsplit_once(':').unwrap_or((&first, "6379"));
        self.set(label, "scaling.server.host", host.into());
        self.set(label, "scaling.server.port", port.into());
    }

    /// Adds a limit to the apps that do not have it.
    fn limit_apps(
        &mut self,
        label: &str,
        key: &str,
        apps: &mut [Map<String, Value>],
        add: impl Fn(&mut Map<String, Value>, usize, &mut Report),
    ) {
        if apps.is_empty() {
            return self.report.not_mapped(label, &format!("set {key} of each app"));
        }
        if apps.iter().all(|app| app.contains_key(key)) {
            return self.report.not_mapped(label, &format!("each app has its own {key}"));
        }
        let without = apps.iter_mut().enumerate().filter(|(_, app)| !app.contains_key(key));
        without.for_each(|(at, app)| add(app, at, self.report));
    }

    fn authentication(&mut self, label: &str, value: &Value, apps: &mut [Map<String, Value>]) {
        let seconds = bytes(value, 0.001);
        let with = |app: &Map<String, Value>| app.contains_key("authorization_timeout");
        match seconds {
            None => self.report.not_mapped(label, "must be a number of milliseconds"),
            Some(_) if !apps.iter().any(with) => {
                self.report.not_mapped(label, "no app has enableUserAuthentication");
            }
            Some(seconds) => {
                for (at, app) in apps.iter_mut().enumerate().filter(|(_, app)| with(app)) {
                    put(app, label, "authorization_timeout", seconds.into(), at, self.report);
                }
            }
        }
    }

    /// Raises limits of the server to those of the apps, which apply in addition.
    fn raise_limits(&mut self, apps: &[Map<String, Value>]) {
        for (of_app, of_server) in RAISED {
            let numbers = apps.iter().filter_map(|app| app.get(of_app)).map(plain);
            let most = numbers.filter_map(|number| number.parse::<u64>().ok()).max();
            let default = Limits::default().value(of_server);
            if let Some(most) = most.filter(|most| default.is_some_and(|now| now < *most)) {
                let key = format!("limits.{of_server}");
                self.set(&format!("{of_app} of the apps"), &key, most.into());
            }
        }
    }
}

/// Inserts a value below the levels of a path.
fn insert(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => _ = object.insert(path.to_owned(), value),
        Some((level, rest)) => {
            let below = object.entry(level).or_insert_with(|| Value::Object(Map::new()));
            if let Some(below) = below.as_object_mut() {
                insert(below, rest, value);
            }
        }
    }
}

/// The addresses of a list of objects with `host` and `port`.
fn addresses(value: &Value) -> Option<Vec<String>> {
    let address = |entry: &Value| {
        let (host, port) = (entry.get("host")?.as_str()?, entry.get("port").map(plain));
        Some(port.map_or(host.to_owned(), |port| format!("{host}:{port}")))
    };
    value.as_array()?.iter().map(address).collect()
}

/// A text or a number as text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Settings with another name only.
const SAME: &[(&str, &str)] = &[
    ("adapter.redis.clusterMode", "scaling.cluster"),
    ("channelLimits.cacheTtl", "limits.cache_ttl_s"),
    ("database.redis.db", "scaling.server.database"),
    ("database.redis.host", "scaling.server.host"),
    ("database.redis.name", "scaling.server.sentinel.service"),
    ("database.redis.password", "scaling.server.password"),
    ("database.redis.port", "scaling.server.port"),
    ("database.redis.sentinelPassword", "scaling.server.sentinel.password"),
    ("database.redis.username", "scaling.server.username"),
    ("host", "host"),
    ("pathPrefix", "path"),
    ("port", "port"),
    ("ssl.certPath", "options.tls.local_cert"),
    ("ssl.keyPath", "options.tls.local_pk"),
    ("ssl.passphrase", "options.tls.passphrase"),
];

/// Defaults for the limits of apps.
const LIMITS_OF_APPS: &[(&str, &str)] = &[
    ("channelLimits.maxNameLength", "max_channel_name_length"),
    ("eventLimits.maxBatchSize", "max_event_batch_size"),
    ("eventLimits.maxChannelsAtOnce", "max_event_channels_at_once"),
    ("eventLimits.maxNameLength", "max_event_name_length"),
    ("presence.maxMembersPerChannel", "max_presence_members"),
];

/// Limits of apps, and those of the server that apply in addition.
const RAISED: [(&str, &str); 6] = [
    ("max_channel_name_length", "channel_name_length"),
    ("max_event_batch_size", "events_per_batch"),
    ("max_event_channels_at_once", "channels_per_event"),
    ("max_event_name_length", "event_name_length"),
    ("max_presence_members", "presence_members"),
    ("max_client_events_per_second", "client_events_per_second"),
];

const MEGABYTE: f64 = 1_048_576.0;
const LIST_OF_ADDRESSES: &str = "must be a list of objects with host and port";
const BATCHES: &str = "a request may have several events, those of 50 ms";
const DATABASE: &str = "the server reads no database: let the application write a file for each app, \
                        see reverb-apps(7)";

/// Why a setting, or all settings below a level, have no counterpart.
fn reason(path: &str) -> Option<&'static str> {
    let (_, why) = NOT_MAPPED.iter().find(|(level, _)| {
        let rest = path.strip_prefix(level);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })?;
    Some(why)
}

const NOT_MAPPED: &[(&str, &str)] = &[
    ("adapter.cluster", "nodes find each other through Redis"),
    ("adapter.nats", "several servers exchange messages through Redis"),
    ("adapter.redis.redisPubOptions", "is an option of a library of soketi"),
    ("adapter.redis.redisSubOptions", "is an option of a library of soketi"),
    ("adapter.redis.requestsTimeout", "nodes know the state of the others, and request nothing"),
    ("adapter.redis.shardMode", "the server uses no sharded channels of Redis"),
    ("appManager.cache", "apps are in memory"),
    ("appManager.dynamodb", DATABASE),
    ("appManager.mysql", DATABASE),
    ("appManager.postgres", DATABASE),
    ("cache", "cached events are in memory, on each node"),
    ("cluster", "nodes find each other through Redis"),
    (
        "cors",
        "browsers send no requests to the HTTP API; allowed_origins of each app is for WebSockets",
    ),
    ("database.mysql", DATABASE),
    ("database.postgres", DATABASE),
    ("database.redis.keyPrefix", "the server stores nothing in Redis"),
    ("databasePooling", DATABASE),
    ("debug", "start the server with --debug"),
    ("httpApi.acceptTraffic", "a server with too many connections refuses more by itself"),
    ("instance", "each node chooses its own name"),
    ("metrics.driver", "metrics are always for Prometheus"),
    ("metrics.prometheus", "the names of metrics begin with reverb_"),
    ("mode", "one process does everything"),
    ("queue", "webhooks need no queue; webhook_spool keeps those that wait on the disk"),
    ("rateLimiter", "each node counts for itself"),
    (
        "shutdownGracePeriod",
        "limits.drain_window_ms is the time in which a stop spreads disconnects",
    ),
    (
        "ssl.caPath",
        "append the issuers to the file of local_cert; verify_peer and cafile are for certificates of \
         clients",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::variables::VARIABLES;
    use super::*;

    #[test]
    fn every_variable_of_the_server_is_known() {
        for (variable, path) in VARIABLES {
            let mut report = Report::default();
            let value = json!("1");
            let (label, path) = ((*variable).to_owned(), (*path).to_owned());
            if path.starts_with("appManager.array.") {
                continue;
            }
            let source = Source { server: vec![Found { path, label, value }], apps: Vec::new() };
            convert(&source, &mut [Map::new()], &mut report);
            let text = report.text();
            assert!(text.contains(variable), "{variable}\n{text}");
            assert!(!text.contains("is not a setting"), "{text}");
        }
    }
}
