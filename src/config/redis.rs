//! The address and login of Redis, from the many settings that Laravel has for them.
//!
//! Connections and DNS are in `net`. Errors quote no part of a URL, because any part of an invalid
//! one may be the password.

use std::fmt;
use std::path::PathBuf;

use super::address::{NO_HOST, WRONG_HOST, host_name, split_port};
use super::sentinel::Sentinels;
use super::{Error, Scaling};
use crate::proto::query::{Query, decode_percent};
use crate::proto::resp::cluster::hash_tag;
use crate::proto::resp::login::Login;

/// Everything needed to connect to Redis and log in.
#[derive(Clone, PartialEq)]
pub struct RedisTarget {
    /// The address.
    pub transport: Transport,
    /// The TLS options; `None` without TLS. Their `peer_name` is set unless another server names the
    /// host: a sentinel or a node of a Redis Cluster.
    pub tls: Option<RedisTls>,
    /// The ACL user, only with a password; `None` is the user `default` of Redis.
    pub username: Option<String>,
    /// The password; `None` if Redis needs none.
    pub password: Option<String>,
    /// The database. Pub/sub ignores it, but permissions may depend on it.
    pub database: u32,
    /// Whether the server is part of a Redis Cluster.
    pub is_cluster: bool,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// A host, by name or address (IPv6 without brackets), and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port; never 0.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The master that these sentinels name at each attempt to connect.
    Sentinel(Sentinels),
}

/// The TLS options for Redis, named after those of PHP's SSL contexts.
/// `servers.reverb.scaling.server.tls`.
#[derive(Clone, PartialEq)]
pub struct RedisTls {
    /// The certificate authorities; `None` are those of the system. `REDIS_TLS_CAFILE`.
    pub cafile: Option<PathBuf>,
    /// Whether the certificate of Redis is verified. `REDIS_TLS_VERIFY_PEER`.
    pub verify_peer: bool,
    /// The expected name in the certificate; `None` is the host. `REDIS_TLS_PEER_NAME`.
    pub peer_name: Option<String>,
    /// The client certificate, if Redis requests one. `REDIS_TLS_LOCAL_CERT`.
    pub local_cert: Option<PathBuf>,
    /// The key of the client certificate; `None` means in the same file. `REDIS_TLS_LOCAL_PK`.
    pub local_pk: Option<PathBuf>,
    /// The passphrase of the key. `REDIS_TLS_PASSPHRASE`.
    pub passphrase: Option<String>,
}

impl Default for RedisTls {
    fn default() -> Self {
        RedisTls {
            cafile: None,
            verify_peer: true,
            peer_name: None,
            local_cert: None,
            local_pk: None,
            passphrase: None,
        }
    }
}

impl RedisTarget {
    /// The credentials and the database for the login.
    pub fn login(&self) -> Login<'_> {
        let (username, password) = (self.username.as_deref(), self.password.as_deref());
        Login { username, password, database: self.database }
    }

    /// Combines the settings. The parts of the URL take precedence over those of `host`, and these
    /// over the other values, as in Laravel.
    ///
    /// # Errors
    ///
    /// An invalid value, or two values that contradict each other.
    pub fn of(scaling: &Scaling) -> Result<Self, Error> {
        let error = |key: &str, reason: String| {
            Error::new("configuration", format!("servers.reverb.scaling.server.{key}"), reason)
        };
        let single = Endpoint {
            tls: scaling
                .scheme
                .as_deref()
                .map(scheme)
                .transpose()
                .map_err(|e| error("scheme", e))?,
            port: Some(scaling.port).filter(|port| *port > 0),
            username: scaling.username.clone(),
            password: scaling.password.clone(),
            database: Some(scaling.database),
            address: None,
        };
        let mut endpoint = host(&scaling.host).map_err(|e| error("host", e))?.or(single);
        if let Some(text) = &scaling.url {
            endpoint = url(text).map_err(|e| error("url", e))?.or(endpoint);
        }
        let Some(address) = endpoint.address else { return Err(error("host", NO_HOST.into())) };
        let mut tls = endpoint.tls.unwrap_or_default().then(|| scaling.tls.clone());
        let (has_sentinels, is_cluster) = (!scaling.sentinels.is_empty(), scaling.cluster);
        let transport = match (address, &mut tls) {
            (Address::File(_), _) if has_sentinels => {
                return Err(error("host", format!("is a Unix socket{NO_SENTINELS}")));
            }
            (Address::File(_), _) if is_cluster => {
                return Err(error("host", format!("is a Unix socket{NO_CLUSTER}")));
            }
            (Address::File(_), Some(_)) => {
                return Err(error("host", "is a Unix socket, which does not support TLS".into()));
            }
            (Address::File(path), None) => Transport::Unix(path),
            (Address::Host(_), _) if has_sentinels => Transport::Sentinel(sentinels(scaling)),
            (Address::Host(host), tls) => {
                if let Some(tls) = tls.as_mut().filter(|_| !is_cluster) {
                    tls.peer_name.get_or_insert_with(|| host.clone());
                }
                Transport::Tcp { host, port: endpoint.port.unwrap_or(DEFAULT_PORT) }
            }
        };
        let (username, password) = credentials(endpoint.username, endpoint.password);
        let database = endpoint.database.unwrap_or_default();
        if is_cluster {
            check_cluster(scaling, database)?;
        }
        Ok(RedisTarget { transport, tls, username, password, database, is_cluster })
    }
}

/// A user and a password. A user without a password cannot log in, so Laravel ignores it.
fn credentials(
    username: Option<String>,
    password: Option<String>,
) -> (Option<String>, Option<String>) {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let password = given(password);
    (given(username).filter(|_| password.is_some()), password)
}

fn sentinels(scaling: &Scaling) -> Sentinels {
    let Scaling { sentinels, sentinel_service, sentinel_username, sentinel_password, .. } = scaling;
    let (username, password) = credentials(sentinel_username.clone(), sentinel_password.clone());
    let service = sentinel_service.clone();
    Sentinels { addresses: sentinels.clone(), service, username, password }
}

/// Rejects settings that a Redis Cluster does not support.
fn check_cluster(scaling: &Scaling, database: u32) -> Result<(), Error> {
    let (key, reason) = if !scaling.sentinels.is_empty() {
        (
            "cluster",
            "cannot be true with Sentinel; remove REVERB_SCALING_SENTINELS for a Redis \
                     Cluster, which replaces its masters itself",
        )
    } else if database > 0 {
        (
            "server.database",
            "must be 0 in a Redis Cluster, which has no others; remove REDIS_DB, \
                             or set REVERB_SCALING_CLUSTER to false",
        )
    } else if inbox_prefix(&scaling.channel).is_none() {
        (
            "channel",
            "has a brace that is not part of a hash tag such as {reverb}, so a Redis \
                     Cluster cannot keep the channels of all nodes on one server; change \
                     REVERB_SCALING_CHANNEL",
        )
    } else {
        return Ok(());
    };
    Err(Error::new("configuration", format!("servers.reverb.scaling.{key}"), reason))
}

/// The beginning of the names of further channels that are on the same server of a Redis Cluster as
/// this one; `None` if there are no such names.
///
/// The server depends on the hash tag, or on the whole name if it has none.
pub fn inbox_prefix(channel: &str) -> Option<String> {
    match hash_tag(channel) {
        Some(tag) if !tag.is_empty() => Some(channel.to_owned()),
        None if !channel.contains('}') && !channel.is_empty() => Some(format!("{{{channel}}}")),
        _ => None,
    }
}

/// The address, for the log.
impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Transport::Tcp { host, port } => write!(f, "{host}:{port}"),
            Transport::Unix(path) => path.display().fmt(f),
            Transport::Sentinel(sentinels) => sentinels.fmt(f),
        }
    }
}

/// Omits the password.
impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisTarget { transport, tls, username, database, .. } = self;
        let mut shown = f.debug_struct("RedisTarget");
        shown.field("transport", transport).field("tls", tls).field("username", username);
        shown.field("database", database).finish_non_exhaustive()
    }
}

/// Omits the passphrase.
impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisTls");
        shown.field("peer_name", &self.peer_name).field("cafile", &self.cafile);
        shown.field("verify_peer", &self.verify_peer).finish_non_exhaustive()
    }
}

/// The parts of an address and login that one setting contains.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Endpoint {
    tls: Option<bool>,
    address: Option<Address>,
    port: Option<u16>,
    username: Option<String>,
    password: Option<String>,
    database: Option<u32>,
}

#[derive(Debug, PartialEq)]
enum Address {
    Host(String),
    File(PathBuf),
}

impl Endpoint {
    /// Fills in missing parts from `other`.
    fn or(self, other: Endpoint) -> Endpoint {
        Endpoint {
            tls: self.tls.or(other.tls),
            address: self.address.or(other.address),
            port: self.port.or(other.port),
            username: self.username.or(other.username),
            password: self.password.or(other.password),
            database: self.database.or(other.database),
        }
    }
}

/// Parses a scheme; returns whether it means TLS.
pub(super) fn scheme(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "tls" | "rediss" => Ok(true),
        "tcp" | "redis" | "unix" => Ok(false),
        _ => Err("must be one of tcp, redis, tls, rediss, unix".into()),
    }
}

/// Parses `REDIS_HOST`: a name, an address, the path of a Unix socket, or a URL.
pub(super) fn host(text: &str) -> Result<Endpoint, String> {
    if text.contains("://") || text.starts_with("unix:") {
        return url(text);
    }
    let address = match text.starts_with('/') {
        true => Address::File(text.into()),
        false => Address::Host(host_name(text).ok_or(WRONG_HOST)?),
    };
    Ok(Endpoint { address: Some(address), ..Endpoint::default() })
}

/// Parses a URL.
pub(super) fn url(text: &str) -> Result<Endpoint, String> {
    let (scheme_name, rest) = text.split_once(':').ok_or(NO_SCHEME)?;
    let tls = scheme(scheme_name).map_err(|_| NO_SCHEME)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let query = Query::parse(query);
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let asked = |names: [&str; 2]| names.iter().find_map(|name| query.value(name));
    let mut database = asked(["database", "db"]).map(str::to_owned);
    let (address, port) = if scheme_name.eq_ignore_ascii_case("unix") {
        if !address.is_empty() || !path.starts_with('/') || path.len() < 2 {
            return Err("must have the path of a Unix socket: unix:/run/redis.sock".into());
        }
        (Address::File(decode_percent(path).into_owned().into()), None)
    } else {
        let number = path.trim_start_matches('/');
        if database.is_none() && !number.is_empty() {
            database = Some(number.to_owned());
        }
        let split = split_port(address).map_err(|reason| format!("{reason}{ESCAPED}"));
        let (name, port) = split?;
        (Address::Host(name), port)
    };
    let decoded = |text: &str| decode_percent(text).into_owned();
    Ok(Endpoint {
        tls: Some(tls),
        address: Some(address),
        port,
        username: Some(user)
            .filter(|user| !user.is_empty())
            .map(decoded)
            .or_else(|| asked(["username", "user"]).map(str::to_owned)),
        password: password.map(decoded).or_else(|| asked(["password", "pass"]).map(str::to_owned)),
        database: database.map(|text| number_of_database(&text)).transpose()?,
    })
}

fn number_of_database(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 0..=DATABASE_MAX) => Ok(number),
        _ => Err(format!("has a database that is not between 0 and {DATABASE_MAX}")),
    }
}

const DEFAULT_PORT: u16 = 6379;
/// The greatest number of a database in Redis.
pub(super) const DATABASE_MAX: u32 = i32::MAX as u32;
/// The end of the errors for a Unix socket.
const NO_SENTINELS: &str =
    ", so sentinels cannot name another server; remove REVERB_SCALING_SENTINELS";
const NO_CLUSTER: &str = ", so no other server of the cluster can be reached; set \
                          REVERB_SCALING_CLUSTER to false";
const NO_SCHEME: &str = "must begin with redis://, rediss://, tcp://, tls:// or unix:/";
/// The reason for most invalid hosts and ports.
const ESCAPED: &str = "; in the user and password of a URL, write @ : / ? # % as %40 %3A %2F %3F \
                       %23 %25";

#[cfg(test)]
mod tests;
