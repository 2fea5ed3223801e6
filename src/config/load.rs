//! Puts the configuration together: flags over the file over the environment over the defaults,
//! each layer written on top of the one before.
//!
//! What each source says is read in `json` and `variables`; this file finds the sources and
//! decides who wins.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::env::Environment;
use super::laravel::{PulseStream, RestartKey};
use super::{Config, Error, Server, Tls, credentials, json, largest, tls, values, variables};

/// The file that is read when none is named, if it is there.
pub const CONFIG_FILE: &str = "reverb.json";
/// The environment file that is read when none is named, if it is there.
pub const ENV_FILE: &str = ".env";

/// Where to look, and what the command line said.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; it must exist. Without it, [`CONFIG_FILE`] if it exists.
    pub config_file: Option<PathBuf>,
    /// `--env`; it must exist. Without it, [`ENV_FILE`] if it exists.
    pub env_file: Option<PathBuf>,
    /// The directory that files without a path are in; empty for that of the process.
    pub working_dir: PathBuf,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--path`.
    pub path: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--metrics`.
    pub metrics: Option<String>,
}

/// A configuration ready for use.
#[derive(Debug)]
pub struct Loaded {
    /// With at least one app.
    pub config: Config,
    /// Whether nobody configured an app, so that the only one has random credentials. They must
    /// be told to somebody, or nobody can use them.
    pub generated_app: bool,
    /// The files that were there, in the order of their reading.
    pub files_read: Vec<PathBuf>,
    /// Where the Laravel app is told to restart it.
    pub restart_key: RestartKey,
    /// Where the messages card of Laravel Pulse is fed, if it is.
    pub pulse: Option<PulseStream>,
    /// Every variable, those that tell the server nothing as well.
    pub environment: Environment,
    /// What is most likely a mistake, one line each.
    pub warnings: Vec<String>,
}

/// Reads all sources. `process_env` is the environment of the process
/// ([`std::env::vars_os`]).
///
/// Without any app one with random credentials is made up, for this machine alone: the host is
/// then 127.0.0.1.
///
/// # Errors
///
/// A file that is named and not there, or cannot be read; the first wrong value; no app, and a
/// host that others can reach.
pub fn load(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let Layered { mut config, files_read, restart_key, pulse, environment, warnings } =
        layered(sources, process_env)?;
    let generated_app = config.apps.is_empty();
    default_host(&mut config);
    if generated_app {
        if !config.server.hosts().all(is_for_this_machine) {
            return Err(Error::whole("configuration", no_app(&config.server.host)));
        }
        let app = credentials::generate()
            .map_err(|error| Error::whole(credentials::RANDOM_DEVICE, error))?;
        config.apps.push(app);
    }
    largest::check(&config)?;
    Ok(Loaded { config, generated_app, files_read, restart_key, pulse, environment, warnings })
}

/// What a server started with the same sources is: where it listens.
///
/// # Errors
///
/// Those of [`load`], but that there need not be an app.
pub fn server(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Server, Error> {
    let mut config = layered(sources, process_env)?.config;
    default_host(&mut config);
    Ok(config.server)
}

/// What the environment alone makes of the configuration, with the app it describes, if any.
///
/// # Errors
///
/// As [`load`].
pub fn from_environment(environment: &Environment) -> Result<Config, Error> {
    let mut config = Config::default();
    let about_redis = variables::apply(environment, &mut config, &mut Vec::new())?;
    if let Some(error) = about_redis.filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    config.apps.extend(variables::app(environment)?);
    Ok(config)
}

/// All layers on top of each other. The host is empty where none names one; there may be no app.
struct Layered {
    config: Config,
    files_read: Vec<PathBuf>,
    restart_key: RestartKey,
    pulse: Option<PulseStream>,
    environment: Environment,
    warnings: Vec<String>,
}

fn layered(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Layered, Error> {
    let mut files_read = Vec::new();
    let mut environment = Environment::new(process_env)?;
    let home = environment.get("HOME").map(PathBuf::from);
    if let Some((file, text)) = find(sources, sources.env_file.as_deref(), ENV_FILE)? {
        environment.add_file(&file, &text)?;
        files_read.push(file);
    }
    let mut config = Config::default();
    config.server.host.clear();
    let mut warnings = variables::slips(&environment);
    let about_redis = variables::apply(&environment, &mut config, &mut warnings)?;

    if let Some((file, text)) = find(sources, sources.config_file.as_deref(), CONFIG_FILE)? {
        let name = file.display().to_string();
        let text = String::from_utf8(text).map_err(|_| Error::whole(&name, "is not UTF-8"))?;
        config.apps = json::read(&name, &text, &mut config, &mut warnings)?;
        files_read.push(file);
    }
    apply_flags(sources, &mut config)?;
    secure_by_name(&mut config.server, home.as_deref(), &mut warnings)?;

    // The file says whether the server scales, so only now does Redis matter or not.
    if let Some(error) = about_redis.clone().filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    let scaling = &config.server.scaling;
    let pulse = match config.server.pulse_sample_ppm {
        None => None,
        Some(_) => Some(
            PulseStream::of(&environment, scaling, about_redis.clone())
                .map_err(|why| Error::new("configuration", "pulse_sample_rate", why))?,
        ),
    };
    if pulse.is_some() && environment.get("PULSE_INGEST_DRIVER") != Some("redis") {
        warnings
            .push("pulse_sample_rate: PULSE_INGEST_DRIVER is not redis, so nobody reads it".into());
    }
    let restart_key = match RestartKey::of(&environment, &config.server.scaling, about_redis) {
        Ok(Some(key)) => key,
        other => {
            let unheard = "`php artisan reverb:restart` will not be heard of";
            warnings.extend(other.err().map(|why| format!("{why}; {unheard}")));
            let env_file = sources.env_file.as_deref().unwrap_or(Path::new(ENV_FILE));
            let storage = environment.get("LARAVEL_STORAGE_PATH").unwrap_or("storage");
            RestartKey::Files(sources.working_dir.join(env_file).with_file_name(storage))
        }
    };
    if config.apps.is_empty() {
        config.apps.extend(variables::app(&environment)?);
    }
    Ok(Layered { config, files_read, restart_key, pulse, environment, warnings })
}

fn apply_flags(sources: &Sources, config: &mut Config) -> Result<(), Error> {
    let refused = |flag: &str, reason| Error::new("command line", flag, reason);
    let server = &mut config.server;
    if let Some(host) = &sources.host {
        server.host = values::bind_addresses(host).map_err(|reason| refused("--host", reason))?;
    }
    if let Some(port) = sources.port {
        server.port = port;
    }
    if let Some(path) = &sources.path {
        server.path = values::path_prefix(path).map_err(|reason| refused("--path", reason))?;
    }
    if let Some(name) = &sources.hostname {
        let name = values::host_name(name).map_err(|reason| refused("--hostname", reason))?;
        server.hostname = Some(name);
    }
    if let Some(address) = &sources.metrics {
        let address = values::metrics_address(address);
        server.metrics = Some(address.map_err(|reason| refused("--metrics", reason))?);
    }
    Ok(())
}

/// Takes the certificate that Herd or Valet made for the server's name, unless another is given.
fn secure_by_name(
    server: &mut Server,
    home: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let named = server.hostname.as_deref().filter(|_| server.tls.local_cert.is_none());
    if let Some((certificate, key)) = named.zip(home).and_then(|(n, home)| tls::of_host(home, n)) {
        if cfg!(feature = "tls") {
            (server.tls.local_cert, server.tls.local_pk) = (Some(certificate), Some(key));
        } else {
            warnings.push(format!("{}: is not used: {}", certificate.display(), Tls::MISSING));
        }
    }
    if server.tls.needs_certificate() {
        let reason = "needs local_cert, or a hostname that Herd or Valet have a certificate for";
        return Err(Error::new("configuration", "servers.reverb.options.tls", reason));
    }
    Ok(())
}

/// Where no source names a host: everybody may come, unless the credentials are made up.
fn default_host(config: &mut Config) {
    if config.server.host.is_empty() {
        let host = if config.apps.is_empty() { "127.0.0.1" } else { "0.0.0.0" };
        config.server.host = host.to_owned();
    }
}

fn is_for_this_machine(host: &str) -> bool {
    // A path is a Unix socket.
    if host.starts_with('/') {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn no_app(host: &str) -> String {
    format!(
        "no app for {host}: set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET \
         (`reverb install` does); without them the server listens on 127.0.0.1 only"
    )
}

/// The path and bytes of a file that was named, or of the usual one if it is there.
fn find(
    sources: &Sources,
    named: Option<&Path>,
    usual: &str,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let path = sources.working_dir.join(named.unwrap_or(Path::new(usual)));
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Error::whole(path.display(), format_args!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests;
