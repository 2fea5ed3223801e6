//! The configuration: parsed once, validated as a whole, immutable after that.
//!
//! This file has plain values only, so that the pure layers can use them. `load` reads them from
//! files, environment and flags.

mod address;
mod app_draft;
mod app_limits;
pub mod apps_editor;
mod apps_files;
pub mod apps_folder;
pub mod apps_requests;
pub mod artisan;
mod cache_store;
mod cached;
pub mod checked;
mod compression;
mod console;
pub mod credentials;
pub mod dotenv;
pub mod env;
pub mod env_file;
mod error;
mod findings;
pub mod json;
mod json_text;
pub mod laravel;
mod laravel_events;
mod largest;
mod limit_kind;
mod limits;
pub mod load;
mod network;
mod overridden;
pub mod php;
pub mod redis;
pub mod render;
mod sentinel;
mod settings;
pub mod soketi;
mod sources;
pub mod tls;
mod url;
mod values;
pub mod variables;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use address::HostPort;
pub use app_limits::AppLimits;
pub use apps_files::AppsFiles;
pub use apps_requests::AppAction;
pub use artisan::Artisan;
pub use compression::Compression;
pub use console::{Console, ConsoleAddress};
pub use error::Error;
pub use findings::Findings;
pub use limit_kind::{Exceeded, LimitKind};
pub use limits::Limits;
pub use load::{Loaded, Purpose, Sources, load, load_for};
pub use network::Network;
pub use redis::{RedisTarget, RedisTls, Transport};
pub use sentinel::Sentinels;
pub use tls::Tls;
pub use url::Url;
pub use webhook::{Webhook, WebhookEvent, WebhookEvents};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The complete configuration of a server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The server: addresses, TLS, scaling.
    pub server: Server,
    /// The apps; ids and keys are unique.
    pub apps: Vec<App>,
    /// The limits.
    pub limits: Limits,
}

/// `servers.reverb` of `config/reverb.php`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The addresses to listen on, separated by commas: IP addresses, names that resolve to one, and
    /// paths of Unix sockets. `REVERB_SERVER_HOST`.
    pub host: String,
    /// The port; 0 lets the system choose. `REVERB_SERVER_PORT`.
    pub port: u16,
    /// Whether other servers of the same user may bind the same port. `REVERB_SERVER_REUSE_PORT`.
    pub reuse_port: bool,
    /// The path prefix, normalised: empty, or `/a/b` without a trailing slash.
    /// `REVERB_SERVER_PATH`.
    pub path: String,
    /// The public name of the server. `REVERB_HOST`.
    pub hostname: Option<String>,
    /// The address of the metrics for Prometheus, if enabled. `REVERB_SERVER_METRICS`.
    pub metrics: Option<SocketAddr>,
    /// The console.
    pub console: Console,
    /// The folder with files of apps that change while the server runs. `REVERB_APPS_DIR`.
    pub apps_dir: Option<PathBuf>,
    /// The proxies whose `X-Forwarded-For` is trusted. `REVERB_SERVER_TRUSTED_PROXIES`.
    pub trusted_proxies: Vec<Network>,
    /// The compression of WebSocket messages.
    pub compression: Compression,
    /// TLS, if enabled.
    pub tls: Tls,
    /// The longest HTTP request, head included, in bytes. `REVERB_MAX_REQUEST_SIZE`.
    pub max_request_size: usize,
    /// The share of messages recorded for the messages card of Laravel Pulse, in parts per million;
    /// `None` if the card is not enabled. `REVERB_SERVER_PULSE_SAMPLE_RATE`.
    pub pulse_sample_ppm: Option<u32>,
    /// Seconds between two records for Pulse. `REVERB_PULSE_INGEST_INTERVAL`.
    pub pulse_interval_s: u32,
    /// The connection to other nodes.
    pub scaling: Scaling,
    /// The directory in which webhooks wait that survive a crash. `REVERB_WEBHOOK_SPOOL`.
    pub webhook_spool: Option<PathBuf>,
    /// The file with the authorities that webhooks trust; `None` are those of the system.
    /// `SSL_CERT_FILE`.
    pub webhook_authorities: Option<PathBuf>,
    /// Whether webhooks may be sent to private and link-local addresses.
    /// `REVERB_WEBHOOK_PRIVATE_ADDRESSES`.
    pub webhook_private_addresses: bool,
    /// Whether lines of feeds may have the `data` of events. `REVERB_FEED_PAYLOAD`.
    pub feed_payload: bool,
    /// The events that the Laravel app dispatches. `REVERB_EVENTS`.
    pub laravel_events: WebhookEvents,
    /// Where they are posted, instead of the URL that the app has handed over. `REVERB_EVENTS_URL`.
    pub laravel_events_url: Option<Url>,
}

impl Server {
    /// The addresses in [`Server::host`]; one that begins with a slash is a path.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.host.split(',')
    }

    /// The same, as they are reached from the server's own machine.
    pub fn local_hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts().map(|host| match host {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        })
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            host: "0.0.0.0".into(),
            port: 8080,
            reuse_port: false,
            path: String::new(),
            hostname: None,
            metrics: None,
            console: Console::default(),
            apps_dir: None,
            trusted_proxies: Vec::new(),
            compression: Compression::default(),
            tls: Tls::default(),
            max_request_size: 1 << 20,
            pulse_sample_ppm: None,
            pulse_interval_s: 15,
            scaling: Scaling::default(),
            webhook_spool: None,
            webhook_authorities: None,
            webhook_private_addresses: true,
            feed_payload: true,
            laravel_events: WebhookEvents::default(),
            laravel_events_url: None,
        }
    }
}

/// `servers.reverb.scaling` of `config/reverb.php`.
#[derive(Clone, PartialEq)]
pub struct Scaling {
    /// Whether this node exchanges messages with others. `REVERB_SCALING_ENABLED`.
    pub enabled: bool,
    /// The Redis channel that the nodes share. `REVERB_SCALING_CHANNEL`.
    pub channel: String,
    /// The addresses of the sentinels that know the master; empty without Sentinel.
    /// `REVERB_SCALING_SENTINELS`.
    pub sentinels: Vec<HostPort>,
    /// The name under which the sentinels monitor the master. `REDIS_SENTINEL_SERVICE`.
    pub sentinel_service: String,
    /// `REDIS_SENTINEL_USERNAME`.
    pub sentinel_username: Option<String>,
    /// `REDIS_SENTINEL_PASSWORD`.
    pub sentinel_password: Option<String>,
    /// Whether Redis is a Redis Cluster. `REVERB_SCALING_CLUSTER`.
    pub cluster: bool,
    /// `REDIS_URL`; its parts take precedence over the following values. [`RedisTarget::of`] combines
    /// them.
    pub url: Option<String>,
    /// `REDIS_SCHEME`.
    pub scheme: Option<String>,
    /// `REDIS_HOST`: a name, an address, the path of a Unix socket, or one of them after a scheme.
    pub host: String,
    /// `REDIS_PORT`.
    pub port: u16,
    /// `REDIS_USERNAME`.
    pub username: Option<String>,
    /// `REDIS_PASSWORD`.
    pub password: Option<String>,
    /// `REDIS_DB`.
    pub database: u32,
    /// `REDIS_TIMEOUT`, in seconds.
    pub timeout_s: u32,
    /// `REDIS_TLS_*`.
    pub tls: RedisTls,
}

impl Default for Scaling {
    fn default() -> Self {
        Scaling {
            enabled: false,
            channel: "reverb".into(),
            sentinels: Vec::new(),
            sentinel_service: sentinel::DEFAULT_SERVICE.into(),
            sentinel_username: None,
            sentinel_password: None,
            cluster: false,
            url: None,
            scheme: None,
            host: "127.0.0.1".into(),
            port: 6379,
            username: None,
            password: None,
            database: 0,
            timeout_s: 60,
            tls: RedisTls::default(),
        }
    }
}

/// Omits fields that may contain a password.
impl std::fmt::Debug for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Scaling");
        shown.field("enabled", &self.enabled).field("channel", &self.channel);
        shown.field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// One entry of `apps.apps` of `config/reverb.php`.
#[derive(Clone, PartialEq)]
pub struct App {
    /// The id of the app in the HTTP API. `REVERB_APP_ID`.
    pub id: String,
    /// The public key of the app in WebSocket URLs. `REVERB_APP_KEY`.
    pub key: String,
    /// The secret for signatures; never logged or sent. `REVERB_APP_SECRET`.
    pub secret: String,
    /// The secret before this one, while it is being replaced: signatures of both are valid, and the
    /// server signs with `secret`.
    pub previous_secret: Option<String>,
    /// Whether the app is served. Clients of an app that is not get close code 4003.
    pub enabled: bool,
    /// Seconds without a message after which the server pings. `REVERB_APP_PING_INTERVAL`.
    pub ping_interval_s: u32,
    /// Seconds without a message after which clients are asked to ping; at least 1.
    /// `REVERB_APP_ACTIVITY_TIMEOUT`.
    pub activity_timeout_s: u32,
    /// Patterns of allowed origins, with `*` as wildcard. `REVERB_APP_ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// The most concurrent WebSocket connections; `None` is no limit.
    /// `REVERB_APP_MAX_CONNECTIONS`.
    pub max_connections: Option<u32>,
    /// The longest message of a client in bytes; 0 is no limit except [`Limits::message_bytes`].
    /// `REVERB_APP_MAX_MESSAGE_SIZE`.
    pub max_message_size: usize,
    /// The clients whose `client-` events are forwarded. `REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM`.
    pub accept_client_events_from: ClientEvents,
    /// Whether the server forwards client events on public channels as well, as Laravel Reverb
    /// does. `REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS`; off by default, as in Pusher.
    pub client_events_on_public_channels: bool,
    /// The rate limit for messages of one connection. `REVERB_APP_RATE_LIMIT*`.
    pub rate_limit: Option<RateLimit>,
    /// Whether the server sends the subscription count of a channel to its subscribers (Pusher's
    /// "subscription counting"), except on presence channels. `REVERB_APP_SUBSCRIPTION_COUNT`; off
    /// by default.
    pub subscription_count: bool,
    /// Whether channel names with characters that Pusher does not allow are rejected.
    /// `REVERB_APP_STRICT_CHANNEL_NAMES`; off by default, because Laravel Reverb accepts any.
    pub strict_channel_names: bool,
    /// Whether the API returns an empty list for the users of a vacant presence channel, as Pusher
    /// does. If off, the status is 404, as in Laravel Reverb; all official libraries treat that
    /// status as an error. `REVERB_APP_EMPTY_USERS_OK`; on by default.
    pub empty_users_ok: bool,
    /// The limits of the app, in addition to those of the server. `REVERB_APP_MAX_*`,
    /// `REVERB_APP_AUTHORIZATION_TIMEOUT`.
    pub limits: AppLimits,
    /// The webhooks of the app. `REVERB_APP_WEBHOOK_URL` and `REVERB_APP_WEBHOOK_EVENTS` for one.
    pub webhooks: Vec<Webhook>,
}

impl App {
    /// An app with these credentials and the defaults of Laravel Reverb.
    pub fn new(id: impl Into<String>, key: impl Into<String>, secret: impl Into<String>) -> Self {
        App {
            id: id.into(),
            key: key.into(),
            secret: secret.into(),
            previous_secret: None,
            enabled: true,
            ping_interval_s: 60,
            activity_timeout_s: 30,
            allowed_origins: vec!["*".into()],
            max_connections: None,
            max_message_size: 10_000,
            accept_client_events_from: ClientEvents::Members,
            client_events_on_public_channels: false,
            rate_limit: None,
            subscription_count: false,
            strict_channel_names: false,
            empty_users_ok: true,
            limits: AppLimits::default(),
            webhooks: Vec::new(),
        }
    }
}

/// Omits the secret, so that no log line can contain it.
impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("id", &self.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The clients whose events are forwarded to the other subscribers of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvents {
    /// Subscribers of the channel.
    Members,
    /// All clients of the app.
    All,
    /// No client.
    None,
}

/// A rate limit with fixed windows, each of which starts with its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The messages allowed in a window. `REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// The length of a window in seconds. `REVERB_APP_RATE_LIMIT_DECAY_SECONDS`.
    pub decay_seconds: u32,
    /// Whether a connection that exceeds the limit is closed. `REVERB_APP_RATE_LIMIT_TERMINATE`.
    pub terminate_on_limit: bool,
}
