//! Loads the configuration. Precedence, highest first: flags, `reverb.json`, environment, defaults.
//! The sources are applied in reverse order, each over the previous one.
//!
//! The sources are parsed in `json` and `variables`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::apps_files::AppsFiles;
use super::cached::Cached;
use super::env::Environment;
use super::env_file::ENV_FILE;
use super::laravel::{PulseStream, RestartKey};
pub use super::sources::Sources;
use super::sources::read;
use super::{
    App, Artisan, Config, Error, Findings, Server, Tls, address, cache_store, console, credentials,
    env_file, json, laravel_events, largest, overridden, tls, values, variables,
};

/// A configuration ready for use.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; it has at least one app, unless apps can be added to a folder.
    pub config: Config,
    /// Whether no app is configured, so one was generated. The caller must print its credentials.
    pub generated_app: bool,
    /// The files that were read, in order.
    pub files_read: Vec<PathBuf>,
    /// The `reverb.json` that was read, if any.
    pub config_file: Option<PathBuf>,
    /// The folder of the Laravel app: that of the environment file.
    pub app_folder: PathBuf,
    /// What the Laravel app has handed over.
    pub artisan: Option<Artisan>,
    /// The key by which `php artisan reverb:restart` requests a restart.
    pub restart_key: RestartKey,
    /// The stream for the messages card of Laravel Pulse, if it is enabled.
    pub pulse: Option<PulseStream>,
    /// All variables, including those that the server does not use.
    pub environment: Environment,
    /// The folder of apps, if there is one and it was read. Its apps are part of `config`.
    pub apps_files: Option<AppsFiles>,
    /// What the operator should know.
    pub findings: Findings,
}

/// What a configuration is read for.
#[derive(Debug)]
pub enum Purpose {
    /// For a start, or for a command.
    Start,
    /// For a process that takes over from another, which hands over the last good apps of files.
    /// Clients are connected, so it serves even without an app.
    Successor(Vec<(String, Vec<App>)>),
    /// For a server that reads the folder of apps by itself.
    Reload,
}

/// Reads all sources. `process_env` is the environment of the process
/// ([`std::env::vars_os`]).
///
/// If no app is configured, nothing is handed over and there is no folder of apps, one app with random
/// credentials is generated, and the default host is 127.0.0.1.
///
/// # Errors
///
/// A file cannot be read, or a file named by a flag does not exist; the first invalid value; no app
/// is configured although other machines can reach the host; a hand-over has no app.
pub fn load(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    load_for(sources, process_env, Purpose::Start)
}

/// As [`load`], for this purpose.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_for(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
    purpose: Purpose,
) -> Result<Loaded, Error> {
    let mut layered = layered(sources, process_env)?;
    let config = &mut layered.config;
    let (may_be_without_app, kept) = match purpose {
        Purpose::Start => (false, Some(Vec::new())),
        Purpose::Successor(kept) => (config.server.apps_dir.is_some(), Some(kept)),
        Purpose::Reload => (true, None),
    };
    if let Some((folder, kept)) = config.server.apps_dir.as_ref().zip(kept) {
        let folder = sources.working_dir.join(folder);
        let files = read_apps(folder, config, kept, &mut layered.findings)?;
        if config.apps.is_empty() && !may_be_without_app {
            default_host(config);
            let reason = format!("{}; {}", no_app(&config.server.host), files.no_app());
            return Err(Error::whole("configuration", reason));
        }
        layered.apps_files = Some(files);
    }
    let generated_app = config.apps.is_empty() && !may_be_without_app;
    if let Some(artisan) = layered.artisan.as_ref().filter(|_| generated_app) {
        return Err(artisan.no_app());
    }
    default_host(config);
    if generated_app {
        if !config.server.hosts().all(address::is_local) {
            return Err(Error::whole("configuration", no_app(&config.server.host)));
        }
        config.apps.push(credentials::generate()?);
    }
    largest::check(config)?;
    Ok(Loaded { generated_app, ..layered })
}

/// Reads the folder of apps, and adds its apps to those of the configuration.
fn read_apps(
    folder: PathBuf,
    config: &mut Config,
    kept: Vec<(String, Vec<App>)>,
    findings: &mut Findings,
) -> Result<AppsFiles, Error> {
    let mut files = AppsFiles::new(folder, &config.apps, kept);
    let changes = files.scan()?;
    let in_folder = |text| format!("{}/{text}", files.path().display());
    findings.warnings.extend(changes.findings.warnings.into_iter().map(in_folder));
    findings.notes.extend(changes.findings.notes.into_iter().map(in_folder));
    config.apps.extend(files.folder().apps().cloned());
    Ok(files)
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
    let Loaded { config, artisan, .. } = written(sources, process_env)?;
    Ok((config.server, artisan))
}

/// The configuration as it is written: there may be no app, and the apps of the folder are not in it.
///
/// # Errors
///
/// Those of [`server`].
pub fn written(
    sources: &Sources,
    process_env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let mut loaded = layered(sources, process_env)?;
    default_host(&mut loaded.config);
    Ok(loaded)
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
    let process_env: Vec<_> = process_env.into_iter().collect();
    let config_file = sources.config_file(&process_env)?;
    let artisan = match &config_file {
        Some((file, text)) if cfg!(feature = "laravel") => Artisan::read(file, text)?,
        _ => None,
    };
    // Variables of the process come last, because they have precedence.
    let handed_over = artisan.iter().flat_map(Artisan::variables);
    let mut environment = Environment::new(handed_over.chain(process_env))?;
    let home = environment.get("HOME").map(PathBuf::from);
    let env_file =
        read_env_file(sources, artisan.as_ref(), &mut environment, &mut files_read, &mut findings)?;
    let mut config = Config::default();
    config.server.host.clear();
    findings.warnings.extend(variables::misspelt(&environment));
    let about_redis = variables::apply(&environment, &mut config, &mut findings)?;

    let config_file = match config_file {
        None => None,
        Some((file, text)) => {
            apply_file(&file, &text, &mut config, &environment, artisan.as_ref(), &mut findings)?;
            files_read.push(file.clone());
            Some(file)
        }
    };
    let app_folder = env_file.parent().unwrap_or(Path::new("")).to_owned();
    // Artisan hands over all apps that Laravel knows.
    if config.apps.is_empty() && artisan.is_none() {
        config.apps.extend(variables::app(&environment)?);
    }
    let restart_key = match &artisan {
        // The hand-over is what Laravel uses, and reaches the server with every cache store.
        Some(artisan) => {
            findings.warnings.extend(artisan.version_warning());
            findings.warnings.extend(artisan.stale());
            let redis = RestartKey::of(&environment, &config.server.scaling, about_redis.clone());
            RestartKey { storage: artisan.storage.clone(), redis: redis.ok().flatten() }
        }
        None => {
            let read = Some(&*env_file).filter(|file| files_read.iter().any(|read| read == file));
            let cached = Cached::of_app(&app_folder, &environment);
            if let Some(cached) = &cached {
                cached.compare(&environment, read, &config, &mut findings);
            }
            let store = cached.and_then(|cached| cached.cache_store());
            let unwatched = cache_store::unwatched(&app_folder, &environment, store.as_deref());
            findings.notes.extend(unwatched);
            own_restart_key(&environment, &config, &env_file, about_redis.clone(), &mut findings)
        }
    };
    apply_flags(sources, &mut config)?;
    let checked = config.server.console.check();
    checked.map_err(|reason| Error::new("configuration", "console", reason))?;
    secure_by_name(&mut config.server, home.as_deref(), &mut findings)?;

    // Errors in the variables of Redis matter only with scaling, which the file may have enabled.
    if let Some(error) = about_redis.clone().filter(|_| config.server.scaling.enabled) {
        return Err(error);
    }
    let gets_counts =
        cfg!(feature = "webhooks") && artisan.as_ref().is_some_and(|it| it.records_messages);
    let pulse = pulse(&environment, &config.server, about_redis, gets_counts, &mut findings)?;
    laravel_events::add(&mut config, artisan.as_ref(), &mut findings)?;
    Ok(Loaded {
        config,
        generated_app: false,
        files_read,
        config_file,
        app_folder,
        artisan,
        restart_key,
        pulse,
        environment,
        apps_files: None,
        findings,
    })
}

/// The key by which artisan requests a restart, without a hand-over.
fn own_restart_key(
    environment: &Environment,
    config: &Config,
    env_file: &Path,
    about_redis: Option<Error>,
    findings: &mut Findings,
) -> RestartKey {
    let redis = RestartKey::of(environment, &config.server.scaling, about_redis);
    let redis = redis.unwrap_or_else(|why| {
        let consequence = "`php artisan reverb:restart` has no effect; use `reverb restart`";
        findings.warn(format!("{why}; {consequence}"));
        None
    });
    let storage = environment.get("LARAVEL_STORAGE_PATH").unwrap_or("storage");
    RestartKey { storage: env_file.with_file_name(storage), redis }
}

/// Adds the environment file, if there is one. Returns its path in any case.
fn read_env_file(
    sources: &Sources,
    artisan: Option<&Artisan>,
    environment: &mut Environment,
    files_read: &mut Vec<PathBuf>,
    findings: &mut Findings,
) -> Result<PathBuf, Error> {
    if let (None, Some(artisan)) = (&sources.env_file, artisan) {
        // Laravel has chosen it.
        let path = sources.working_dir.join(&artisan.environment_file);
        if let Some((file, text)) = read(path.clone(), false)? {
            environment.add_file(&file, &text)?;
            files_read.push(file);
        }
        return Ok(path);
    }
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
    text: &str,
    config: &mut Config,
    environment: &Environment,
    artisan: Option<&Artisan>,
    findings: &mut Findings,
) -> Result<(), Error> {
    if let Some(artisan) = artisan {
        // Laravel has resolved the variables.
        let app = variables::draft(environment)?;
        let read = json::read_over(&artisan.source(), text, Some(&app), config, findings);
        config.apps = read.map_err(|error| artisan.explained(error))?;
        return Ok(());
    }
    let name = file.display().to_string();
    config.apps = json::read_over(&name, text, None, config, findings)?;
    findings.warnings.extend(overridden::of_server(environment, &name, config));
    if !config.apps.is_empty() {
        findings.warnings.extend(overridden::of_app(environment, &name, &config.apps));
    }
    Ok(())
}

/// The stream of Laravel Pulse, if the server feeds it. With `gets_counts`, Pulse gets the numbers of
/// messages by webhooks.
fn pulse(
    environment: &Environment,
    server: &Server,
    about_redis: Option<Error>,
    gets_counts: bool,
    findings: &mut Findings,
) -> Result<Option<PulseStream>, Error> {
    let reads_stream = environment.get("PULSE_INGEST_DRIVER") == Some("redis");
    if server.pulse_sample_ppm.is_none() {
        if reads_stream && !gets_counts {
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
    if let Some(address) = &sources.console {
        let address = console::address(address);
        server.console.address = Some(address.map_err(|reason| refused("--console", reason))?);
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
        let is_generated = config.apps.is_empty() && config.server.apps_dir.is_none();
        let host = if is_generated { "127.0.0.1" } else { "0.0.0.0" };
        config.server.host = host.to_owned();
    }
}

fn no_app(host: &str) -> String {
    format!(
        "no app for {host}: set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET \
         (`reverb install` does); without them the server listens on 127.0.0.1 only"
    )
}

#[cfg(test)]
mod tests;
