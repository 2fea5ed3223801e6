//! `reverb check`: reads the configuration as `reverb start` does, connects as browsers and Laravel do,
//! and reports for each step whether it works, and if not, which variable to change.
//!
//! Each call blocks, up to a timeout. The command changes nothing and hardly disturbs a running
//! server: it sends signed requests for the numbers of connections, one for each app and address,
//! and opens one WebSocket. Each webhook gets a batch without events.

pub(super) mod answer;
pub(super) mod files;
mod health;
mod laravel;
mod probe;
mod report;
mod sentinel;
mod webhooks;

use std::io::Write;
use std::path::Path;

use super::processes::{Listening, Process};
use super::{Failure, bridge, broadcasting, hand_over, processes};
use crate::args::RestartArgs;
use crate::config::{self, App, AppsFiles, Config, Loaded, RedisTarget, Transport};
use crate::net::{self, BlockingRedis, sys};
use answer::{Kind, Problem};
pub use health::health;
use laravel::Place;
use probe::{Probe, TIMEOUT};
use report::Report;

/// Runs all checks, and prints a line to `out` for each.
///
/// # Errors
///
/// The configuration cannot be read; a check failed.
pub fn run(args: &RestartArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (sources, unread) = hand_over::sources_in_use(args.sources());
    let mut loaded = config::load(&sources, std::env::vars_os())?;
    let mut report = Report { out, failures: 0 };
    if let Some(file) = unread {
        report.note(&format!(
            "{}: not read, because `php artisan reverb:start` has not started the running server",
            file.display()
        ));
    }
    configuration(&mut report, &loaded);
    provider(&mut report, &loaded.app_folder);
    let found = processes::listening_at(&loaded.config.server).unwrap_or_default();
    open_files(&mut report, &loaded.config, found.servers().first().copied());
    test_few_apps(&mut report, &mut loaded.config);
    certificate(&mut report, &loaded.config);
    redis(&mut report, &loaded);
    webhooks::check(&mut report, &loaded.config, reload(&loaded), TIMEOUT);
    let Direct { listens, rejected } = direct(&mut report, &loaded, &found);
    let answers = public(&mut report, &loaded, &rejected);
    if !listens {
        let text = format!("no server listens at {}", places(&loaded.config));
        // If the public address works, the server may be on another machine.
        match answers {
            true => report.note(&text),
            false => report.wrong(&format!("{text}; run `{}`", start(&loaded))),
        }
    }
    match report.failures {
        0 => Ok(()),
        1 => Err(Failure::at_work("1 check failed")),
        count => Err(Failure::at_work(format!("{count} checks failed"))),
    }
}

fn configuration(report: &mut Report<'_>, loaded: &Loaded) {
    let files: Vec<String> = loaded.files_read.iter().map(|f| f.display().to_string()).collect();
    match files.is_empty() {
        true => report
            .note("no .env and no reverb.json here; only the environment and the defaults apply"),
        false => report.fine(&format!("{}: read", files.join(", "))),
    }
    if loaded.generated_app {
        report.wrong(
            "no app is configured: set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET \
             (`reverb install` does that)",
        );
    }
    loaded.findings.warnings.iter().for_each(|warning| report.wrong(warning));
    loaded.findings.notes.iter().for_each(|note| report.note(note));
    files::check(report, loaded);
    loaded.apps_files.iter().for_each(|files| apps_folder(report, files));
    let failures_before = report.failures;
    laravel::check(report, loaded);
    if report.failures == failures_before {
        report.fine("the settings of Laravel and of browsers match");
    }
}

/// The files of the folder of apps.
fn apps_folder(report: &mut Report<'_>, files: &AppsFiles) {
    let (path, folder) = (files.path().display(), files.folder());
    let plural = |count, noun| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (all, apps) = (plural(folder.files(), "file"), plural(folder.apps().count(), "app"));
    report.fine(&format!("{path}: {all} with {apps}"));
    files.bad().iter().for_each(|line| report.wrong(line));
}

/// Leaves the first apps only, for the tests that send requests.
fn test_few_apps(report: &mut Report<'_>, config: &mut Config) {
    let all = config.apps.len();
    if all > APPS_TESTED {
        config.apps.truncate(APPS_TESTED);
        report.note(&format!("only the first {APPS_TESTED} of {all} apps are tested"));
    }
}

/// The most apps whose credentials and webhooks are tested: a server for many customers has thousands,
/// and a request for each would take minutes.
const APPS_TESTED: usize = 100;

/// The provider in the Laravel app in this folder.
fn provider(report: &mut Report<'_>, folder: &Path) {
    match bridge::check(folder) {
        Some(Ok(text)) => report.fine(&text),
        Some(Err(text)) => report.wrong(&text),
        None => {}
    }
}

/// The open-file limit of the running server, or of one that would be started here.
fn open_files(report: &mut Report<'_>, config: &Config, process: Option<i32>) {
    let running = process.and_then(processes::open_files);
    let Some(most) = running.or_else(|| sys::raise_open_files().ok()) else { return };
    let which = if running.is_some() { "the running server" } else { "a server started here" };
    let room: u64 = net::connections_within(most.saturating_sub(net::webhook_descriptors(config)));
    let apps = config.apps.iter().map(|app| app.max_connections.map(u64::from));
    let wanted = match config.limits.connections {
        0 => apps.sum::<Option<u64>>().unwrap_or_default(),
        connections => connections.into(),
    };
    let text = format!("{which} may open {most} files, which is enough for {room} connections");
    match wanted > room {
        true => report.wrong(&format!(
            "{text}, but the configuration allows {wanted}: raise LimitNOFILE (systemd), minfds \
             (Supervisor) or `ulimit -n`"
        )),
        false => report.fine(&text),
    }
}

fn certificate(report: &mut Report<'_>, config: &Config) {
    let tls = &config.server.tls;
    let Some(file) = &tls.local_cert else { return };
    let name = config.server.hostname.as_deref();
    match net::check_certificate(tls, name) {
        Ok(text) => report.fine(&format!("{}: {text}", file.display())),
        Err(text) => report.wrong(&text),
    }
}

fn redis(report: &mut Report<'_>, loaded: &Loaded) {
    let scaling = &loaded.config.server.scaling;
    let nodes = scaling.enabled.then(|| RedisTarget::of(scaling));
    let cache = loaded.restart_key.redis.as_ref().map(|key| Ok((*key.target).clone()));
    if let Some(Ok(target)) = nodes.as_ref().or(cache.as_ref())
        && let Transport::Sentinel(sentinels) = &target.transport
    {
        let lease_ms = scaling.enabled.then_some(loaded.config.limits.node_lease_ms.into());
        sentinel::check(report, sentinels, target, lease_ms, TIMEOUT);
    }
    for (what, target) in [("nodes", nodes), ("Laravel's cache", cache)] {
        match target {
            None => {}
            Some(Err(error)) => report.wrong(&error.to_string()),
            Some(Ok(target)) => match BlockingRedis::open(&target, TIMEOUT).and_then(|mut redis| {
                redis.request(&[b"PING"]).map_err(|why| format!("Redis {target}: {why}"))
            }) {
                Ok(_) => report.fine(&format!("Redis {target} answers, for {what}")),
                Err(why) => report.wrong(&format!("{why} (for {what})")),
            },
        }
    }
}

/// What the server itself has answered, without a proxy.
#[derive(Default)]
struct Direct {
    /// Whether a server listens.
    listens: bool,
    /// The ids of the apps whose credentials it rejects.
    rejected: Vec<String>,
}

/// Sends a request as a publisher would, directly to the server.
fn direct(report: &mut Report<'_>, loaded: &Loaded, found: &Listening) -> Direct {
    let Config { server, apps, .. } = &loaded.config;
    // systemd keeps a socket that it has opened for the server, so it may be one of the processes.
    if let [Process { id, name, .. }, ..] = &found.processes[..]
        && found.servers().is_empty()
    {
        report.wrong(&format!(
            "{name} (process {id}) listens at {}, not reverb",
            places(&loaded.config)
        ));
        return Direct { listens: true, ..Direct::default() };
    }
    let mut direct = Direct::default();
    for host in server.local_hosts() {
        let place = Place::local(host, server);
        let probe = Probe::local(&place);
        if probe.connect().is_err_and(|error| error.no_listener) {
            continue;
        }
        direct.listens = true;
        if loaded.generated_app || server.tls.verify_peer {
            report.note(&format!(
                "{place} accepts connections; requests are not tested, because no app is \
                 configured or the server requires client certificates"
            ));
            continue;
        }
        let failures = apps.iter().filter_map(|app| {
            let problem = probe.request_as_publisher(app, "").err()?;
            if problem.kind == Kind::Credentials {
                direct.rejected.push(app.id.clone());
            }
            Some(rejection(&place, app, &problem, reload(loaded)))
        });
        let failures: Vec<String> = failures.collect();
        match failures.first() {
            Some(text) => report.wrong(text),
            None => {
                report.fine(&format!("{place} answers, and accepts the {} configured", count(apps)))
            }
        }
    }
    direct
}

/// Why the server itself rejects an app, with what to do.
fn rejection(place: &Place, app: &App, problem: &Problem, reload: &str) -> String {
    let advice = match problem.kind {
        Kind::Credentials => format!(
            "; the running server has other credentials, perhaps older ones: run `{reload}`"
        ),
        Kind::Address => "; set REVERB_SERVER_PORT to a port of reverb".to_owned(),
        Kind::Certificate | Kind::Origin | Kind::Other => String::new(),
    };
    format!("{place} rejects the app {}: {}{advice}", app.id, problem.text)
}

/// The command that applies a change of the configuration: artisan must hand its own over again.
fn reload(loaded: &Loaded) -> &'static str {
    if loaded.artisan.is_some() { "php artisan reverb:reload" } else { "reverb reload" }
}

/// The command that starts a server with this configuration.
fn start(loaded: &Loaded) -> &'static str {
    if loaded.artisan.is_some() { "php artisan reverb:start" } else { "reverb start" }
}

fn count(apps: &[App]) -> String {
    if apps.len() == 1 { "app".to_owned() } else { format!("{} apps", apps.len()) }
}

/// Connects as a publisher and as a browser, to the public address. `rejected` are the apps that the
/// server itself has rejected, which is reported already. Returns whether both work.
fn public(report: &mut Report<'_>, loaded: &Loaded, rejected: &[String]) -> bool {
    let environment = &loaded.environment;
    let path = &loaded.config.server.path;
    let id = environment.get("REVERB_APP_ID");
    let apps = &loaded.config.apps;
    let app = apps.iter().find(|app| Some(app.id.as_str()) == id).or(apps.first());
    let Some(app) = app.filter(|_| !loaded.generated_app) else { return false };
    let (Some(publishers), Some(browsers)) =
        (laravel::publishers(environment), laravel::browsers(environment))
    else {
        report.note(
            "REVERB_HOST is not set to a host, so connections of browsers and Laravel are not tested",
        );
        return false;
    };
    let authorities = environment.get("SSL_CERT_FILE").map(Path::new);
    let is_known = rejected.contains(&app.id);
    let key = laravel::browsers_key(environment).unwrap_or(&app.key);
    let mut answers = true;
    let mut reported = |what: &str, place: &Place, prefix: &str, result: Result<(), Problem>| {
        match result {
            Ok(()) => report.fine(&format!("{what} {place}")),
            Err(Problem { kind: Kind::Credentials, .. }) if is_known => answers = false,
            Err(problem) => {
                answers = false;
                let advice = match problem.kind {
                    Kind::Address => laravel::hint(place, prefix, &loaded.config.server),
                    Kind::Credentials
                        if what.starts_with("browsers")
                            && !apps.iter().any(|app| app.key == key) =>
                    {
                        "no app has the key in VITE_REVERB_APP_KEY".to_owned()
                    }
                    Kind::Credentials => format!(
                        "another server, or one with other apps, answers there: see \
                         {prefix}REVERB_HOST and {prefix}REVERB_PORT"
                    ),
                    Kind::Certificate => format!(
                        "browsers and Laravel need a certificate for {}, from an authority that they \
                         trust (for this command: SSL_CERT_FILE)",
                        place.host
                    ),
                    Kind::Origin => origins(loaded),
                    Kind::Other => "this is no mistake in the variables".to_owned(),
                };
                report.wrong(&format!("{what} {place}: {}; {advice}", problem.text));
            }
        }
    };
    let probe = Probe { place: &publishers, verifies: true, authorities, timeout: TIMEOUT };
    // Without a connection Laravel publishes nowhere, which is reported already.
    let publishes = match broadcasting::missing_connection(&loaded.app_folder) {
        None => "Laravel publishes to",
        Some(_) => "publishers reach",
    };
    reported(publishes, &publishers, "", probe.request_as_publisher(app, path));
    let probe = Probe { place: &browsers, verifies: true, authorities, timeout: TIMEOUT };
    let prefix = if browsers == publishers { "" } else { "VITE_" };
    let connected = probe.connect_as_browser(key, path, environment.get("APP_URL"));
    reported("browsers connect to", &browsers, prefix, connected);
    answers
}

/// What to do about an origin that is not allowed.
fn origins(loaded: &Loaded) -> String {
    let place = match loaded.artisan {
        Some(_) => "allowed_origins of the app in config/reverb.php",
        None => "REVERB_APP_ALLOWED_ORIGINS, or to allowed_origins of the app in reverb.json",
    };
    format!("add the host of APP_URL to {place}, and run `{}`", reload(loaded))
}

fn places(config: &Config) -> String {
    format!("{}:{}", config.server.host, config.server.port)
}
