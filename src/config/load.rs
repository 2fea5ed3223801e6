//! Loads the configuration. Precedence, highest first: flags, `reverb.json`, environment, defaults.
//! The sources are applied in reverse order, each over the previous one.
//!
//! The sources are parsed in `json` and `variables`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::artisan::HAND_OVER;
use super::env::Environment;
use super::laravel::{PulseStream, RestartKey};
use super::{
    Artisan, Config, Error, Server, Tls, credentials, json, laravel_events, largest, tls, values,
    variables,
};

/// The configuration file without `--config`, if it exists.
pub const CONFIG_FILE: &str = "reverb.json";
/// The environment file without `--env`, if it exists.
pub const ENV_FILE: &str = ".env";

/// The sources of the configuration: files and flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; it must exist. Without it, [`CONFIG_FILE`] if it exists.
    pub config_file: Option<PathBuf>,
    /// Whether the hand-over of a Laravel app counts as well, if there is no other configuration
    /// file. A server reads it only if `config_file` names it, as artisan does, because an old one
    /// may be left.
    pub finds_hand_over: bool,
    /// `--env`; it must exist. Without it, that of the hand-over, or [`ENV_FILE`], if it exists.
    pub env_file: Option<PathBuf>,
    /// The directory to which paths are relative; empty for the working directory.
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
    /// The configuration; it has at least one app.
    pub config: Config,
    /// Whether no app is configured, so one was generated. The caller must print its credentials.
    pub generated_app: bool,
    /// The files that were read, in order.
    pub files_read: Vec<PathBuf>,
    /// What a Laravel app has handed over.
    pub artisan: Option<Artisan>,
    /// The key by which `php artisan reverb:restart` requests a restart.
    pub restart_key: RestartKey,
    /// The stream for the messages card of Laravel Pulse, if it is enabled.
    pub pulse: Option<PulseStream>,
    /// All variables, including those that the server does not use.
    pub environment: Environment,
    /// Likely mistakes, one line each.
    pub warnings: Vec<String>,
}

/// Reads all sources. `process_env` is the environment of the process
/// ([`std::env::vars_os`]).
///
/// If no app is configured, one with random credentials is generated, and the default host is
/// 127.0.0.1.
///
/// # Errors
///
/// A file cannot be read, or a file named by a flag does not exist; the first invalid value; no app
/// is configured although other machines can reach the host.
pub fn load(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let Layered { mut config, files_read, artisan, restart_key, pulse, environment, warnings } =
        layered(sources, process_env)?;
    let generated_app = config.apps.is_empty();
    default_host(&mut config);
    if generated_app {
        if !config.server.hosts().all(is_local) {
            return Err(Error::whole("configuration", no_app(&config.server.host)));
        }
        let app = credentials::generate()
            .map_err(|error| Error::whole(credentials::RANDOM_DEVICE, error))?;
        config.apps.push(app);
    }
    largest::check(&config)?;
    Ok(Loaded {
        config,
        generated_app,
        files_read,
        artisan,
        restart_key,
        pulse,
        environment,
        warnings,
    })
}

/// The settings of a server with the same sources, for commands that connect to it, and what a
/// Laravel app has handed over.
///
/// # Errors
///
/// Those of [`load`], except that no app is needed.
pub fn server(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Server, Option<Artisan>), Error> {
    let Layered { mut config, artisan, .. } = layered(sources, process_env)?;
    default_host(&mut config);
    Ok((config.server, artisan))
}

/// The configuration from the environment alone, with its app, if there is one.
///
/// # Errors
///
/// A variable is invalid, or some of the credentials are missing.
pub fn from_environment(environment: &Environment) -> Result<Config, Error> {
    let mut config = Config::default();
    let about_redis = variables::apply(environment, &mut config, &mut Vec::new())?;
    if let Some(error) = about_redis.filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    config.apps.extend(variables::app(environment)?);
    Ok(config)
}

/// The merged sources, before defaults: the host may be empty, and there may be no app.
struct Layered {
    config: Config,
    files_read: Vec<PathBuf>,
    artisan: Option<Artisan>,
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
    let process_env: Vec<_> = process_env.into_iter().collect();
    let config_file = config_file(sources, &process_env)?;
    let artisan = match &config_file {
        Some((file, text)) if cfg!(feature = "laravel") => Artisan::read(file, text)?,
        _ => None,
    };
    // Variables of the process come last, because they have precedence.
    let handed_over = artisan.iter().flat_map(Artisan::variables);
    let mut environment = Environment::new(handed_over.chain(process_env))?;
    let home = environment.get("HOME").map(PathBuf::from);
    let env_file = artisan.as_ref().map_or(Path::new(ENV_FILE), |a| &a.environment_file);
    if let Some((file, text)) = find(sources, sources.env_file.as_deref(), env_file)? {
        environment.add_file(&file, &text)?;
        files_read.push(file);
    }
    let mut config = Config::default();
    config.server.host.clear();
    let mut warnings = variables::misspelt(&environment);
    let about_redis = variables::apply(&environment, &mut config, &mut warnings)?;

    if let Some((file, text)) = config_file {
        let name = file.display().to_string();
        let app = artisan.as_ref().map(|_| variables::draft(&environment)).transpose()?;
        config.apps = json::read_over(&name, &text, app.as_ref(), &mut config, &mut warnings)?;
        files_read.push(file);
    }
    if let Some(artisan) = &artisan {
        warnings.extend(artisan.version_warning());
        warnings.extend(artisan.stale());
    }
    apply_flags(sources, &mut config)?;
    secure_by_name(&mut config.server, home.as_deref(), &mut warnings)?;

    // Errors in the variables of Redis matter only with scaling, which the file may have enabled.
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
            .push("pulse_sample_rate: PULSE_INGEST_DRIVER is not redis, so Pulse does not read the stream".into());
    }
    let storage = match &artisan {
        Some(artisan) => artisan.storage.clone(),
        None => storage(sources, environment.get("LARAVEL_STORAGE_PATH")),
    };
    let redis = RestartKey::of(&environment, &config.server.scaling, about_redis);
    let redis = redis.unwrap_or_else(|why| {
        let consequence = "`php artisan reverb:restart` has no effect; use `reverb restart`";
        // The provider in the app requests a restart through a file as well.
        if artisan.is_none() {
            warnings.push(format!("{why}; {consequence}"));
        }
        None
    });
    let restart_key = RestartKey { storage, redis };
    if config.apps.is_empty() {
        config.apps.extend(variables::app(&environment)?);
    }
    laravel_events::add(&mut config, artisan.as_ref(), &mut warnings)?;
    Ok(Layered { config, files_read, artisan, restart_key, pulse, environment, warnings })
}

/// The path and text of the configuration file, if there is one.
fn config_file(
    sources: &Sources,
    process_env: &[(OsString, OsString)],
) -> Result<Option<(PathBuf, String)>, Error> {
    let mut found = find(sources, sources.config_file.as_deref(), Path::new(CONFIG_FILE))?;
    if found.is_none() && sources.finds_hand_over {
        let folder = process_env.iter().find(|(name, _)| name == "LARAVEL_STORAGE_PATH");
        let folder = folder.and_then(|(_, value)| value.to_str());
        found = find(sources, None, &storage(sources, folder).join(HAND_OVER))?;
    }
    let Some((file, text)) = found else { return Ok(None) };
    let text = String::from_utf8(text);
    let text = text.map_err(|_| Error::whole(file.display(), "is not UTF-8"))?;
    Ok(Some((file, text)))
}

/// The storage folder of the Laravel app: `named`, or the one next to the environment file.
fn storage(sources: &Sources, named: Option<&str>) -> PathBuf {
    let env_file = sources.env_file.as_deref().unwrap_or(Path::new(ENV_FILE));
    sources.working_dir.join(env_file).with_file_name(named.unwrap_or("storage"))
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

/// Uses the certificate of Herd or Valet for the hostname, unless another is configured.
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
        let reason = "needs local_cert, or a hostname with a certificate of Herd or Valet";
        return Err(Error::new("configuration", "servers.reverb.options.tls", reason));
    }
    Ok(())
}

/// Sets the default host: all addresses, or loopback if the app will be generated.
fn default_host(config: &mut Config) {
    if config.server.host.is_empty() {
        let host = if config.apps.is_empty() { "127.0.0.1" } else { "0.0.0.0" };
        config.server.host = host.to_owned();
    }
}

fn is_local(host: &str) -> bool {
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

/// The path and contents of the file `named`, or of the `default` one if it exists.
fn find(
    sources: &Sources,
    named: Option<&Path>,
    default: &Path,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let path = sources.working_dir.join(named.unwrap_or(default));
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Error::whole(path.display(), format_args!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests;
