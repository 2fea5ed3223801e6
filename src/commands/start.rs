//! `reverb start`: reads the configuration, binds the addresses, prints them, and serves until a stop is
//! requested.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;

use super::Failure;
use super::console_file::{self, ConsoleFile};
use super::install::env_block;
use super::processes::PidFile;
use super::runtime_folder;
use crate::args::{StartArgs, VERSION};
use crate::config::{self, AppsFiles, Artisan, Config, Loaded, Purpose};
use crate::hub::state_version;
use crate::logging;
use crate::net::successor::{HandedOver, READS, Successor};
use crate::net::sys::{self, Inherited};
use crate::net::systemd::{self, SdNotify};
use crate::net::{BindError, Server, Stopper};

/// Serves until a stop is requested and complete.
///
/// # Errors
///
/// The configuration is invalid; an address cannot be bound.
pub fn run(args: &StartArgs) -> Result<(), Failure> {
    // Must run before the log starts, which creates a thread.
    sys::keep_tables_apart();
    logging::start(args.debug);
    let mut inherited = Inherited::of_process().map_err(Failure::at_work)?;
    let handed = HandedOver::from_environment();
    let is_successor = handed.is_some();
    let purpose = match &handed {
        Some(handed) => Purpose::Successor(handed.read_apps(&mut inherited)),
        None => Purpose::Start,
    };
    let mut loaded = config::load_for(&args.sources(), std::env::vars_os(), purpose)?;
    let apps_files = loaded.apps_files.take();
    loaded.findings.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    loaded.findings.notes.iter().for_each(|note| log::info!("{note}"));
    for text in apps_files.iter().flat_map(AppsFiles::bad) {
        log::error!("{text}");
    }
    let config = &loaded.config;
    let seed = sys::random_seed().map_err(Failure::at_work)?;
    let mut server = match handed {
        Some(handed) => Server::take_over(&handed, &mut inherited, config, seed),
        None => {
            let sockets = systemd::sockets(&mut inherited).map_err(|error| {
                Failure::at_work(format!("cannot use the sockets of LISTEN_FDS: {error}"))
            })?;
            Server::on(sockets, config, seed)
        }
    }
    .map_err(unbound)?;
    if loaded.artisan.is_some() {
        // PHP leaves its files and connections open to the program that it executes.
        inherited.close_others();
    }
    drop(inherited);
    server.succeed_by(Successor::of_this_process());
    // Reading the configuration again would generate other credentials.
    if !loaded.generated_app {
        let sources = args.sources();
        let follows_apps = apps_files.is_some();
        server.configure_by(move || {
            let purpose = if follows_apps { Purpose::Reload } else { Purpose::Start };
            let loaded = config::load_for(&sources, std::env::vars_os(), purpose);
            let loaded = loaded.map_err(|error| error.to_string())?;
            for warning in loaded.artisan.iter().flat_map(Artisan::stale) {
                log::warn!("reload: {warning}");
            }
            Ok(loaded.config)
        });
    }
    let systemd = SdNotify::from_environment();
    let systemd =
        systemd.map_err(|e| Failure::at_work(format!("cannot use NOTIFY_SOCKET: {e}")))?;
    // In a terminal, SIGHUP means that the terminal was closed, so it must end the server.
    let is_service = systemd.is_some() || !io::stderr().is_terminal();
    let reloads = server.has_certificates() || is_service;
    if let Some(systemd) = systemd {
        server.notify(systemd);
    }
    // The threads started below inherit the mask, so only the event loop receives signals, and can
    // block them while it executes another binary. `on_signals` unblocks them.
    sys::hold_signals(true).map_err(Failure::at_work)?;
    if let Some(files) = apps_files {
        server.follow_apps(files).map_err(Failure::at_work)?;
    }
    if let Some(stream) = loaded.pulse.clone() {
        server.feed_pulse(stream, config).map_err(Failure::at_work)?;
    }
    let stopper = server.stopper().map_err(Failure::at_work)?;
    server.watch_restarts(loaded.restart_key.clone()).map_err(Failure::at_work)?;
    if args.stop_with_stdin {
        server.stopper().and_then(Stopper::stop_with_stdin).map_err(Failure::at_work)?;
    }
    stopper.on_signals(reloads).map_err(Failure::at_work)?;
    let _console_file = open_console(&mut server, config, is_successor)?;
    let _pid_file = if sys::HAS_PROC { None } else { write_pid_file(&mut server, args) };
    announce(&loaded, &server);
    server.run().map_err(Failure::at_work)
}

/// Loads everything that a server with these flags would load. Returns the line that names the
/// version of the state that this binary reads.
///
/// # Errors
///
/// The server could not serve; the text says why.
pub fn try_out(args: &StartArgs) -> Result<String, Failure> {
    // The last good apps of files that are bad now are not known here.
    let purpose = Purpose::Successor(Vec::new());
    let loaded = config::load_for(&args.sources(), std::env::vars_os(), purpose)?;
    Server::try_files(&loaded.config).map_err(unbound)?;
    Ok(format!("{READS}{}", state_version()))
}

/// Opens the console of a server, if it has one, and writes the file with its token.
fn open_console(
    server: &mut Server,
    config: &Config,
    is_successor: bool,
) -> Result<Option<ConsoleFile>, Failure> {
    let Some(url) = server.console_url() else {
        if is_successor {
            console_file::remove();
        }
        return Ok(None);
    };
    let token = config.server.console.token.as_deref();
    let opened = console_file::keys(token, is_successor)
        .and_then(|keys| Ok((console_file::write(&url, &keys)?, keys)));
    match opened {
        Ok((file, keys)) => {
            server.open_console(&keys);
            Ok(Some(file))
        }
        Err(error) => {
            let text = format!(
                "cannot write the token of the console to {error}; set RUNTIME_DIRECTORY or \
                 XDG_RUNTIME_DIR to a folder of this user"
            );
            if !is_successor {
                return Err(Failure::at_work(text));
            }
            // An error here must not disconnect clients, so the console stays closed.
            log::error!("{text}; the console stays closed");
            Ok(None)
        }
    }
}

/// Writes the file by which the commands find this server. Clients do not need it, so the server serves
/// without it.
fn write_pid_file(server: &mut Server, args: &StartArgs) -> Option<PidFile> {
    let folders = runtime_folder::own_candidates();
    let open_files = sys::raise_open_files().unwrap_or_default();
    match PidFile::write(&folders, server.names(), args.config.as_deref(), open_files) {
        Ok(file) => {
            server.report_reloads_in(file.folder());
            Some(file)
        }
        Err(error) => {
            log::warn!(
                "cannot write {error}: `reverb restart`, `reload` and `console` will not find this \
                 server; set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR to a folder of this user"
            );
            None
        }
    }
}

fn unbound(error: BindError) -> Failure {
    match error {
        BindError::Tls(error) | BindError::Redis(error) | BindError::Webhooks(error) => {
            Failure::from(error)
        }
        BindError::Address(error) => Failure::at_work(format!("cannot listen on {error}")),
        BindError::Metrics(..) => Failure::at_work(format!("cannot serve metrics on {error}")),
        BindError::Console(..) => Failure::at_work(format!("cannot serve the console on {error}")),
    }
}

/// Prints one line with the addresses, and the credentials of a server without a configured app. An
/// error of standard output does not stop the server.
fn announce(loaded: &Loaded, bound: &Server) {
    let (server, connections_max) = (&loaded.config.server, bound.connections_max());
    let (path, apps) = (&server.path, loaded.config.apps.len());
    let apps = if apps == 1 { "1 app".to_owned() } else { format!("{apps} apps") };
    let is_secure = server.tls.local_cert.is_some();
    let secure = if is_secure { " (secure)" } else { "" };
    let places: Vec<String> = bound.names().map(|name| format!("{name}{path}")).collect();
    let places = places.join(", ");
    let mut text = format!(
        "{VERSION} listening on {places}{secure} for {apps}, up to {connections_max} connections\n"
    );
    if let Some(address) = bound.metrics_address() {
        text.push_str(&format!("metrics at http://{address}/metrics\n"));
    }
    if let Some(url) = bound.console_url() {
        text.push_str(&format!("console at {url} (`reverb console` prints its token)\n"));
    }
    let mut out = io::stdout().lock();
    let generated = loaded.config.apps.first().filter(|_| loaded.generated_app);
    if generated.is_some() && !out.is_terminal() {
        // Output to anything but a terminal may be kept in a log, which must not hold a secret.
        text.push_str(
            "No app is configured. The generated credentials are printed to terminals only: run \
             `reverb install` to add an app to the .env, and restart the server\n",
        );
    } else if let Some((app, address)) = generated.zip(bound.local_address().ok()) {
        let host = reachable_host(address.ip());
        text.push_str(
            "No app is configured. To use the generated one, paste this into your .env:\n\n",
        );
        let block = env_block(app, &host, address.port());
        let scheme = if is_secure { "REVERB_SCHEME=https" } else { "REVERB_SCHEME=http" };
        text.push_str(&block.replace("REVERB_SCHEME=http", scheme));
        text.push('\n');
    }
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The host by which a browser on this machine reaches the server.
fn reachable_host(address: IpAddr) -> String {
    match address {
        address if address.is_unspecified() => "127.0.0.1".into(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
