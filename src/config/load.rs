//! Loads the configuration. Precedence, highest first: flags, `reverb.json`, environment, defaults.
//! The sources are applied in reverse order, each over the previous one.
//!
//! The sources are parsed in `json` and `variables`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::cached::Cached;
use super::env::Environment;
pub use super::env_file::ENV_FILE;
use super::laravel::{PulseStream, RestartKey};
use super::{
    Config, Error, Findings, Server, Tls, cache_store, credentials, env_file, json, largest,
    overridden, tls, values, variables,
};

/// The configuration file without `--config`, if it exists.
pub const CONFIG_FILE: &str = "reverb.json";

/// The sources of the configuration: files and flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; it must exist. Without it, [`CONFIG_FILE`] if it exists.
    pub config_file: Option<PathBuf>,
    /// `--env`: a file, which must exist, or the name of an environment. Without it, [`ENV_FILE`] or
    /// that of `APP_ENV` if it exists.
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
    /// The `reverb.json` that was read, if any.
    pub config_file: Option<PathBuf>,
    /// The folder of the Laravel app: that of the environment file.
    pub app_folder: PathBuf,
    /// The key by which `php artisan reverb:restart` requests a restart.
    pub restart_key: RestartKey,
    /// The stream for the messages card of Laravel Pulse, if it is enabled.
    pub pulse: Option<PulseStream>,
    /// All variables, including those that the server does not use.
    pub environment: Environment,
    /// What the operator should know.
    pub findings: Findings,
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
    let mut layered = layered(sources, process_env)?;
    let config = &mut layered.config;
    let generated_app = config.apps.is_empty();
    default_host(config);
    if generated_app {
        if !config.server.hosts().all(is_local) {
            return Err(Error::whole("configuration", no_app(&config.server.host)));
        }
        let app = credentials::generate()
            .map_err(|error| Error::whole(credentials::RANDOM_DEVICE, error))?;
        config.apps.push(app);
    }
    largest::check(config)?;
    Ok(Loaded { generated_app, ..layered })
}

/// The settings of a server with the same sources, for commands that connect to it.
///
/// # Errors
///
/// Those of [`load`], except that no app is needed.
pub fn server(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Server, Error> {
    let mut config = layered(sources, process_env)?.config;
    default_host(&mut config);
    Ok(config.server)
}

/// The configuration from the environment alone, with its app, if there is one.
///
/// # Errors
///
/// A variable is invalid, or some of the credentials are missing.
pub fn from_environment(environment: &Environment) -> Result<Config, Error> {
    let mut config = Config::default();
    let about_redis = variables::apply(environment, &mut config, &mut Findings::default())?;
    if let Some(error) = about_redis.filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    config.apps.extend(variables::app(environment)?);
    Ok(config)
}

/// The merged sources, before defaults: the host may be empty, and there may be no app.
fn layered(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let mut files_read = Vec::new();
    let mut findings = Findings::default();
    let mut environment = Environment::new(process_env)?;
    let home = environment.get("HOME").map(PathBuf::from);
    let env_file = read_env_file(sources, &mut environment, &mut files_read, &mut findings)?;
    let mut config = Config::default();
    config.server.host.clear();
    findings.warnings.extend(variables::misspelt(&environment));
    let about_redis = variables::apply(&environment, &mut config, &mut findings)?;

    let named = sources.config_file.as_deref();
    let file = sources.working_dir.join(named.unwrap_or(Path::new(CONFIG_FILE)));
    let config_file = match read(file, named.is_some())? {
        None => None,
        Some((file, text)) => {
            apply_file(&file, text, &mut config, &environment, &mut findings)?;
            files_read.push(file.clone());
            Some(file)
        }
    };
    let app_folder = env_file.parent().unwrap_or(Path::new("")).to_owned();
    let cached = Cached::of_app(&app_folder, &environment);
    if config.apps.is_empty() {
        config.apps.extend(variables::app(&environment)?);
    }
    if let Some(cached) = &cached {
        let env_file = Some(&*env_file).filter(|file| files_read.iter().any(|read| read == file));
        cached.compare(&environment, env_file, &config, &mut findings);
    }
    apply_flags(sources, &mut config)?;
    secure_by_name(&mut config.server, home.as_deref(), &mut findings)?;

    // Errors in the variables of Redis matter only with scaling, which the file may have enabled.
    if let Some(error) = about_redis.clone().filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    let pulse = pulse(&environment, &config.server, about_redis.clone(), &mut findings)?;
    let restart_key = match RestartKey::of(&environment, &config.server.scaling, about_redis) {
        Ok(Some(key)) => key,
        other => {
            let consequence = "`php artisan reverb:restart` has no effect; use `reverb restart`";
            findings.warnings.extend(other.err().map(|why| format!("{why}; {consequence}")));
            let storage = environment.get("LARAVEL_STORAGE_PATH").unwrap_or("storage");
            RestartKey::Files(env_file.with_file_name(storage))
        }
    };
    let store = cached.and_then(|cached| cached.cache_store());
    findings.notes.extend(cache_store::unwatched(&app_folder, &environment, store.as_deref()));
    Ok(Loaded {
        config,
        generated_app: false,
        files_read,
        config_file,
        app_folder,
        restart_key,
        pulse,
        environment,
        findings,
    })
}

/// Adds the environment file, if there is one. Returns its path in any case.
fn read_env_file(
    sources: &Sources,
    environment: &mut Environment,
    files_read: &mut Vec<PathBuf>,
    findings: &mut Findings,
) -> Result<PathBuf, Error> {
    let named = sources.env_file.as_deref();
    let chosen = env_file::choose(&sources.working_dir, named, environment.get("APP_ENV"));
    if let Some((file, text)) = read(chosen.path.clone(), chosen.must_exist)? {
        environment.add_file(&file, &text)?;
        files_read.push(file);
    }
    if let Some(name) = chosen.missing {
        findings.warn(format!(
            "--env {name}: there is no {ENV_FILE}.{name}, so {} was read, as Laravel does",
            chosen.path.display()
        ));
    }
    Ok(chosen.path)
}

/// Applies a `reverb.json`.
fn apply_file(
    file: &Path,
    text: Vec<u8>,
    config: &mut Config,
    environment: &Environment,
    findings: &mut Findings,
) -> Result<(), Error> {
    let name = file.display().to_string();
    let text = String::from_utf8(text).map_err(|_| Error::whole(&name, "is not UTF-8"))?;
    config.apps = json::read(&name, &text, config, findings)?;
    findings.warnings.extend(overridden::of_server(environment, &name, config));
    if !config.apps.is_empty() {
        findings.warnings.extend(overridden::of_app(environment, &name, &config.apps));
    }
    Ok(())
}

/// The stream of Laravel Pulse, if the server feeds it.
fn pulse(
    environment: &Environment,
    server: &Server,
    about_redis: Option<Error>,
    findings: &mut Findings,
) -> Result<Option<PulseStream>, Error> {
    let reads_stream = environment.get("PULSE_INGEST_DRIVER") == Some("redis");
    if server.pulse_sample_ppm.is_none() {
        if reads_stream {
            findings.note(
                "PULSE_INGEST_DRIVER is redis, but no sample rate is set, so the messages card of \
                 Pulse stays empty: set REVERB_SERVER_PULSE_SAMPLE_RATE=1",
            );
        }
        return Ok(None);
    }
    if !reads_stream {
        findings.warn(
            "pulse_sample_rate: PULSE_INGEST_DRIVER is not redis, so Pulse does not read the stream",
        );
    }
    PulseStream::of(environment, &server.scaling, about_redis)
        .map(Some)
        .map_err(|why| Error::new("configuration", "pulse_sample_rate", why))
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

/// The key of the TLS options, in findings.
const TLS_OPTIONS: &str = "servers.reverb.options.tls";

/// Uses the certificate of Herd or Valet for the hostname, unless another is configured.
fn secure_by_name(
    server: &mut Server,
    home: Option<&Path>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let named = server.hostname.as_deref().filter(|_| server.tls.local_cert.is_none());
    if let Some((certificate, key)) = named.zip(home).and_then(|(n, home)| tls::of_host(home, n)) {
        if cfg!(feature = "tls") {
            (server.tls.local_cert, server.tls.local_pk) = (Some(certificate), Some(key));
        } else {
            findings.warn(format!("{}: is not used: {}", certificate.display(), Tls::MISSING));
        }
    }
    if server.tls.needs_certificate() {
        let reason = "needs local_cert, or a hostname with a certificate of Herd or Valet";
        return Err(Error::new("configuration", TLS_OPTIONS, reason));
    }
    if server.tls.is_without_certificate() {
        let reason = "has no effect without local_cert, or a hostname with a certificate of Herd or \
                      Valet: the server does not speak TLS";
        findings.warn(Error::new("configuration", TLS_OPTIONS, reason).to_string());
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

/// The path and contents of a file; `None` if it does not exist and need not.
fn read(path: PathBuf, must_exist: bool) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(Error::whole(path.display(), format_args!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests;
