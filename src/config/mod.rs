//! What the server is told: the values, parsed once, checked whole, immutable after.
//!
//! This file holds the plain values alone, so that the pure layers may name them. Where they come
//! from (files, the environment, flags) is the business of the files beside it, and no layer below
//! `commands` names those.

pub mod credentials;
pub mod dotenv;
pub mod env;
mod error;
pub mod json;
mod json_text;
pub mod laravel;
mod largest;
mod limit_kind;
mod limits;
pub mod load;
mod network;
pub mod redis;
pub mod render;
mod settings;
pub mod tls;
mod values;
pub mod variables;

use std::net::SocketAddr;

pub use error::Error;
pub use limit_kind::LimitKind;
pub use limits::Limits;
pub use load::{Loaded, Sources, load};
pub use network::Network;
pub use redis::{RedisTarget, RedisTls, Transport};
pub use tls::Tls;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything a server needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Where it listens, and as whom.
    pub server: Server,
    /// The applications it serves; ids and keys are unique.
    pub apps: Vec<App>,
    /// What it refuses to do more of.
    pub limits: Limits,
}

/// `servers.reverb` of `config/reverb.php`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where to listen, with commas between several: IP addresses, names that resolve to one, and
    /// paths of Unix sockets. `REVERB_SERVER_HOST`.
    pub host: String,
    /// The port to bind; 0 lets the system choose. `REVERB_SERVER_PORT`.
    pub port: u16,
    /// Whether other servers of the same user may bind it as well. `REVERB_SERVER_REUSE_PORT`.
    pub reuse_port: bool,
    /// The path prefix, normalised: empty, or `/a/b` without a trailing slash.
    /// `REVERB_SERVER_PATH`.
    pub path: String,
    /// The public name of the server. `REVERB_HOST`.
    pub hostname: Option<String>,
    /// Where it serves figures for Prometheus, if it does. `REVERB_SERVER_METRICS`.
    pub metrics: Option<SocketAddr>,
    /// The proxies whose word on the address of a client is taken.
    /// `REVERB_SERVER_TRUSTED_PROXIES`.
    pub trusted_proxies: Vec<Network>,
    /// How it speaks TLS, if it does.
    pub tls: Tls,
    /// The longest HTTP request, head included, in bytes. `REVERB_MAX_REQUEST_SIZE`.
    pub max_request_size: usize,
    /// How many of a million messages are recorded for the messages card of Laravel Pulse, if it is
    /// fed. `REVERB_SERVER_PULSE_SAMPLE_RATE`.
    pub pulse_sample_ppm: Option<u32>,
    /// Seconds between two of these records. `REVERB_PULSE_INGEST_INTERVAL`.
    pub pulse_interval_s: u32,
    /// How several nodes find each other.
    pub scaling: Scaling,
}

impl Server {
    /// The parts of [`Server::host`]; those that begin with a slash are paths.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.host.split(',')
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
            trusted_proxies: Vec::new(),
            tls: Tls::default(),
            max_request_size: 1 << 20,
            pulse_sample_ppm: None,
            pulse_interval_s: 15,
            scaling: Scaling::default(),
        }
    }
}

/// `servers.reverb.scaling` of `config/reverb.php`.
#[derive(Clone, PartialEq)]
pub struct Scaling {
    /// Whether this node speaks to others at all. `REVERB_SCALING_ENABLED`.
    pub enabled: bool,
    /// The Redis channel the nodes share. `REVERB_SCALING_CHANNEL`.
    pub channel: String,
    /// `REDIS_URL`; what it names wins over the single values. [`RedisTarget::of`] puts them
    /// together.
    pub url: Option<String>,
    /// `REDIS_SCHEME`.
    pub scheme: Option<String>,
    /// `REDIS_HOST`: a name, an address, the path of a socket file, or one of them behind a
    /// scheme.
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

/// Leaves out what may hold a password.
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
    /// Names the app in the HTTP API. `REVERB_APP_ID`.
    pub id: String,
    /// Names the app in WebSocket URLs; public. `REVERB_APP_KEY`.
    pub key: String,
    /// Signs; never logged, never sent. `REVERB_APP_SECRET`.
    pub secret: String,
    /// Seconds of silence after which the server pings. `REVERB_APP_PING_INTERVAL`.
    pub ping_interval_s: u32,
    /// Seconds of silence after which the client pings, as told to it; at least 1.
    /// `REVERB_APP_ACTIVITY_TIMEOUT`.
    pub activity_timeout_s: u32,
    /// `*`, or patterns of origins with `*` as wildcard. `REVERB_APP_ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// The most WebSocket connections at a time; `None` is no limit.
    /// `REVERB_APP_MAX_CONNECTIONS`.
    pub max_connections: Option<u32>,
    /// The longest message of a client in bytes; 0 leaves only [`Limits::message_bytes`].
    /// `REVERB_APP_MAX_MESSAGE_SIZE`.
    pub max_message_size: usize,
    /// Whose `client-` events are passed on. `REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM`.
    pub accept_client_events_from: ClientEvents,
    /// Whether the server forwards client events on public channels as well, as Laravel Reverb
    /// does. `REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS`; off by default, as in Pusher.
    pub client_events_on_public_channels: bool,
    /// The most messages of one connection in a time. `REVERB_APP_RATE_LIMIT*`.
    pub rate_limit: Option<RateLimit>,
    /// Tells subscribers of channels other than presence ones how many they are (Pusher's
    /// "subscription counting"). `REVERB_APP_SUBSCRIPTION_COUNT`; off by default.
    pub subscription_count: bool,
    /// Refuses channel names with characters outside Pusher's set.
    /// `REVERB_APP_STRICT_CHANNEL_NAMES`; off by default, as Reverb takes any.
    pub strict_channel_names: bool,
    /// Answers the request for the users of a vacant presence channel with an empty list, as Pusher
    /// does. If off, the answer is 404, as in Laravel Reverb, which all official libraries treat as
    /// an error. `REVERB_APP_EMPTY_USERS_OK`; on by default.
    pub empty_users_ok: bool,
}

impl App {
    /// An app with these credentials and Reverb's defaults.
    pub fn new(id: impl Into<String>, key: impl Into<String>, secret: impl Into<String>) -> Self {
        App {
            id: id.into(),
            key: key.into(),
            secret: secret.into(),
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
        }
    }
}

/// Leaves the secret out, so that no log line can show it.
impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("id", &self.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Whose client events are passed on to the other subscribers of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvents {
    /// Those of subscribers of the channel.
    Members,
    /// Those of anybody connected to the app.
    All,
    /// Nobody's.
    None,
}

/// A fixed window that starts with the first message in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages that pass in a window. `REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// The length of a window in seconds. `REVERB_APP_RATE_LIMIT_DECAY_SECONDS`.
    pub decay_seconds: u32,
    /// Whether a connection that exceeds it is closed. `REVERB_APP_RATE_LIMIT_TERMINATE`.
    pub terminate_on_limit: bool,
}
