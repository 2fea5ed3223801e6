//! The tables of all settings of the server and of an app: key in `reverb.json`, variable, and the
//! field they set. File and environment use the same tables, so they cannot disagree.
//!
//! Limits have their own table (`Limits`). Files and variables are read in `json` and `variables`.

mod of_app;

use std::ops::RangeInclusive;

use serde_json::Value;

use super::console;
use super::values::{
    bind_addresses, boolean, host_name, metrics_address, networks, path_prefix, share_ppm, shown,
    switch, whole,
};
use super::{Config, Url, laravel_events, redis, sentinel};
pub use of_app::APP;

/// One setting of a `T`.
pub struct Setting<T: 'static> {
    /// The key below `servers.reverb`, or in an entry of `apps.apps`; dots separate levels. Empty if
    /// only the variable exists.
    pub key: &'static str,
    /// The variable; empty if only the key exists.
    pub variable: &'static str,
    /// The type of the value, and the function that sets it.
    pub kind: Kind<T>,
}

/// The type of a value, with the function that sets it.
pub enum Kind<T: 'static> {
    /// Text. The function validates it.
    Text(fn(&mut T, &str) -> Result<(), String>),
    /// Text that PHP may have turned into a number.
    Id(fn(&mut T, &str) -> Result<(), String>),
    /// A whole number in a range.
    Whole(RangeInclusive<u64>, fn(&mut T, u64)),
    /// True or false.
    Boolean(fn(&mut T, bool)),
    /// True or false, or the words `on` and `off`.
    Switch(fn(&mut T, bool)),
    /// A list of texts; in a variable, separated by commas.
    List(fn(&mut T, Vec<String>)),
    /// Any type: a setting of Laravel that this server ignores.
    Ignored,
}

impl<T> Setting<T> {
    /// Sets the value from a variable, which must not be empty.
    ///
    /// # Errors
    ///
    /// The value is invalid; the text says why.
    pub fn set_text(&self, target: &mut T, text: &str) -> Result<(), String> {
        match &self.kind {
            Kind::Text(set) | Kind::Id(set) => set(target, text),
            Kind::Whole(range, set) => {
                set(target, whole(text, range)?);
                Ok(())
            }
            Kind::Boolean(set) => boolean(text).map(|on| set(target, on)),
            Kind::Switch(set) => switch(text).map(|on| set(target, on)),
            Kind::List(set) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<String> = items.map(str::to_owned).collect();
                if items.is_empty() {
                    return Err("is an empty list".into());
                }
                set(target, items);
                Ok(())
            }
            Kind::Ignored => Ok(()),
        }
    }

    /// Sets the value from a JSON file. `null` and an empty text change nothing.
    ///
    /// # Errors
    ///
    /// The value is invalid; the text says why.
    pub fn set_json(&self, target: &mut T, value: &Value) -> Result<(), String> {
        match (&self.kind, value) {
            (Kind::Ignored, _) | (_, Value::Null) => Ok(()),
            (Kind::List(set), Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                let texts: Option<Vec<String>> = texts;
                set(target, texts.ok_or("must be a list of texts")?);
                Ok(())
            }
            (Kind::List(_), _) => Err("must be a list of texts".into()),
            (_, Value::String(text)) if text.is_empty() => Ok(()),
            (_, Value::String(text)) => self.set_text(target, text),
            (Kind::Id(_) | Kind::Whole(..), Value::Number(number)) => {
                self.set_text(target, &number.to_string())
            }
            (Kind::Boolean(_) | Kind::Switch(_), Value::Number(number)) => {
                self.set_text(target, &number.to_string())
            }
            (Kind::Boolean(set) | Kind::Switch(set), Value::Bool(on)) => {
                set(target, *on);
                Ok(())
            }
            (Kind::Text(_) | Kind::Id(_), _) => Err("must be text".into()),
            (Kind::Whole(..), _) => Err("must be a whole number".into()),
            (Kind::Boolean(_) | Kind::Switch(_), _) => Err("must be true or false".into()),
        }
    }
}

/// The settings of `servers.reverb`, except `options` and `limits`.
pub const SERVER: &[Setting<Config>] = &[
    text("host", "REVERB_SERVER_HOST", |config, host| {
        config.server.host = bind_addresses(host)?;
        Ok(())
    }),
    whole_number("port", "REVERB_SERVER_PORT", 0..=65_535, |config, port| {
        config.server.port = port as u16;
    }),
    boolean_value("reuse_port", "REVERB_SERVER_REUSE_PORT", |config, on| {
        config.server.reuse_port = on;
    }),
    text("path", "REVERB_SERVER_PATH", |config, path| {
        config.server.path = path_prefix(path)?;
        Ok(())
    }),
    text("hostname", "REVERB_HOST", |config, name| {
        config.server.hostname = Some(host_name(name)?);
        Ok(())
    }),
    text("apps_dir", "REVERB_APPS_DIR", |config, folder| {
        config.server.apps_dir = Some(folder.into());
        Ok(())
    }),
    text("trusted_proxies", "REVERB_SERVER_TRUSTED_PROXIES", |config, list| {
        config.server.trusted_proxies = networks(list)?;
        Ok(())
    }),
    text("metrics", "REVERB_SERVER_METRICS", |config, address| {
        config.server.metrics = Some(metrics_address(address)?);
        Ok(())
    }),
    text("console", "REVERB_SERVER_CONSOLE", |config, address| {
        config.server.console.address = Some(console::address(address)?);
        Ok(())
    }),
    boolean_value("console_anywhere", "REVERB_CONSOLE_ANYWHERE", |config, on| {
        config.server.console.anywhere = on;
    }),
    boolean_value("console_write", "REVERB_CONSOLE_WRITE", |config, on| {
        config.server.console.write = on;
    }),
    text("console_token", "REVERB_CONSOLE_TOKEN", |config, token| {
        config.server.console.token = Some(console::token(token)?);
        Ok(())
    }),
    whole_number(
        "max_request_size",
        "REVERB_MAX_REQUEST_SIZE",
        1_024..=1_073_741_824,
        |config, bytes| config.server.max_request_size = bytes as usize,
    ),
    Setting {
        key: "compression.enabled",
        variable: "REVERB_SERVER_COMPRESSION",
        kind: Kind::Switch(|config, on| config.server.compression.enabled = on),
    },
    whole_number(
        "compression.minimum",
        "REVERB_SERVER_COMPRESSION_MINIMUM",
        1..=U32_MAX,
        |c, n| {
            c.server.compression.minimum_bytes = n as usize;
        },
    ),
    whole_number("compression.level", "REVERB_SERVER_COMPRESSION_LEVEL", 1..=9, |config, level| {
        config.server.compression.level = level as u8;
    }),
    whole_number(
        "compression.subscribers",
        "REVERB_SERVER_COMPRESSION_SUBSCRIBERS",
        1..=U32_MAX,
        |config, n| config.server.compression.subscribers = n as u32,
    ),
    boolean_value("compression.safari", "REVERB_SERVER_COMPRESSION_SAFARI", |config, on| {
        config.server.compression.safari = on;
    }),
    boolean_value("scaling.enabled", "REVERB_SCALING_ENABLED", |config, on| {
        config.server.scaling.enabled = on;
    }),
    text("scaling.channel", "REVERB_SCALING_CHANNEL", |config, channel| {
        config.server.scaling.channel = channel.to_owned();
        Ok(())
    }),
    text("scaling.sentinels", "REVERB_SCALING_SENTINELS", |config, list| {
        config.server.scaling.sentinels = sentinel::addresses(list)?;
        Ok(())
    }),
    boolean_value("scaling.cluster", "REVERB_SCALING_CLUSTER", |config, on| {
        config.server.scaling.cluster = on;
    }),
    text("scaling.server.url", "REDIS_URL", |config, url| {
        redis::url(url)?;
        config.server.scaling.url = Some(url.to_owned());
        Ok(())
    }),
    text("scaling.server.scheme", "REDIS_SCHEME", |config, scheme| {
        redis::scheme(scheme)?;
        config.server.scaling.scheme = Some(scheme.to_owned());
        Ok(())
    }),
    text("scaling.server.host", "REDIS_HOST", |config, host| {
        redis::host(host)?;
        config.server.scaling.host = host.to_owned();
        Ok(())
    }),
    // Laravel apps that connect to Redis by a Unix socket set port 0.
    whole_number("scaling.server.port", "REDIS_PORT", 0..=65_535, |config, port| {
        config.server.scaling.port = port as u16;
    }),
    text("scaling.server.username", "REDIS_USERNAME", |config, name| {
        config.server.scaling.username = Some(name.to_owned());
        Ok(())
    }),
    text("scaling.server.password", "REDIS_PASSWORD", |config, password| {
        config.server.scaling.password = Some(password.to_owned());
        Ok(())
    }),
    whole_number(
        "scaling.server.database",
        "REDIS_DB",
        0..=redis::DATABASE_MAX as u64,
        |config, number| {
            config.server.scaling.database = number as u32;
        },
    ),
    whole_number("scaling.server.timeout", "REDIS_TIMEOUT", 0..=YEAR_S, |config, seconds| {
        config.server.scaling.timeout_s = seconds as u32;
    }),
    text("scaling.server.sentinel.service", "REDIS_SENTINEL_SERVICE", |config, name| {
        config.server.scaling.sentinel_service = name.to_owned();
        Ok(())
    }),
    text("scaling.server.sentinel.username", "REDIS_SENTINEL_USERNAME", |config, name| {
        config.server.scaling.sentinel_username = Some(name.to_owned());
        Ok(())
    }),
    text("scaling.server.sentinel.password", "REDIS_SENTINEL_PASSWORD", |config, password| {
        config.server.scaling.sentinel_password = Some(password.to_owned());
        Ok(())
    }),
    // OpenSSL, and therefore PHP, reads this variable. The next setting takes precedence.
    text("", "SSL_CERT_FILE", |config, file| {
        config.server.webhook_authorities = Some(file.into());
        config.server.scaling.tls.cafile = Some(file.into());
        Ok(())
    }),
    text("scaling.server.tls.cafile", "REDIS_TLS_CAFILE", |config, file| {
        config.server.scaling.tls.cafile = Some(file.into());
        Ok(())
    }),
    boolean_value("scaling.server.tls.verify_peer", "REDIS_TLS_VERIFY_PEER", |config, on| {
        config.server.scaling.tls.verify_peer = on;
    }),
    text("scaling.server.tls.peer_name", "REDIS_TLS_PEER_NAME", |config, name| {
        config.server.scaling.tls.peer_name = Some(host_name(name)?);
        Ok(())
    }),
    text("scaling.server.tls.local_cert", "REDIS_TLS_LOCAL_CERT", |config, file| {
        config.server.scaling.tls.local_cert = Some(file.into());
        Ok(())
    }),
    text("scaling.server.tls.local_pk", "REDIS_TLS_LOCAL_PK", |config, file| {
        config.server.scaling.tls.local_pk = Some(file.into());
        Ok(())
    }),
    text("scaling.server.tls.passphrase", "REDIS_TLS_PASSPHRASE", |config, passphrase| {
        config.server.scaling.tls.passphrase = Some(passphrase.to_owned());
        Ok(())
    }),
    whole_number(
        "pulse_ingest_interval",
        "REVERB_PULSE_INGEST_INTERVAL",
        1..=3_600,
        |config, seconds| config.server.pulse_interval_s = seconds as u32,
    ),
    // A number in JSON, but read as text, because it has decimals.
    Setting {
        key: "pulse_sample_rate",
        variable: "REVERB_SERVER_PULSE_SAMPLE_RATE",
        kind: Kind::Id(|config, rate| {
            config.server.pulse_sample_ppm = Some(share_ppm(rate)?);
            Ok(())
        }),
    },
    text("webhook_spool", "REVERB_WEBHOOK_SPOOL", |config, directory| {
        config.server.webhook_spool = Some(directory.into());
        Ok(())
    }),
    boolean_value("webhook_private_addresses", "REVERB_WEBHOOK_PRIVATE_ADDRESSES", |config, on| {
        config.server.webhook_private_addresses = on
    }),
    boolean_value("feed_payload", "REVERB_FEED_PAYLOAD", |config, on| {
        config.server.feed_payload = on;
    }),
    text("", "REVERB_EVENTS", |config, names| {
        config.server.laravel_events = laravel_events::parse(names)?;
        Ok(())
    }),
    text("", "REVERB_EVENTS_URL", |config, url| {
        config.server.laravel_events_url = Some(Url::parse(url)?);
        Ok(())
    }),
    // The provider in the Laravel app reads it.
    ignored("", "REVERB_BINARY"),
    ignored("telescope_ingest_interval", "REVERB_TELESCOPE_INGEST_INTERVAL"),
    ignored("", "REVERB_SERVER"),
    // The next two are for browsers and the Laravel app. A mistake in them is one of the most common
    // reasons why "wss fails", so they are validated although the server does not use them.
    whole_number("", "REVERB_PORT", 1..=65_535, |_, _| {}),
    text("", "REVERB_SCHEME", |_, scheme| match scheme {
        "http" | "https" => Ok(()),
        _ => Err(format!("{} is neither http nor https", shown(scheme))),
    }),
];

/// One year, the longest interval.
const YEAR_S: u64 = 31_536_000;
const U32_MAX: u64 = u32::MAX as u64;

const fn text<T>(
    key: &'static str,
    variable: &'static str,
    set: fn(&mut T, &str) -> Result<(), String>,
) -> Setting<T> {
    Setting { key, variable, kind: Kind::Text(set) }
}

const fn whole_number<T>(
    key: &'static str,
    variable: &'static str,
    range: RangeInclusive<u64>,
    set: fn(&mut T, u64),
) -> Setting<T> {
    Setting { key, variable, kind: Kind::Whole(range, set) }
}

const fn boolean_value<T>(
    key: &'static str,
    variable: &'static str,
    set: fn(&mut T, bool),
) -> Setting<T> {
    Setting { key, variable, kind: Kind::Boolean(set) }
}

const fn ignored<T>(key: &'static str, variable: &'static str) -> Setting<T> {
    Setting { key, variable, kind: Kind::Ignored }
}

#[cfg(test)]
mod tests;
