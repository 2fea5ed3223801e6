//! `reverb check`: reads what `reverb start` would read, tries what browsers and Laravel will try,
//! and says of each thing whether it is in order, and if not, which variable to change.
//!
//! It waits for answers, within bounds, which the server itself never does. It changes nothing, and
//! what it asks of a running server disturbs nobody: a signed question for a number, and one
//! connection that comes and goes.

mod ask;
mod laravel;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::{Failure, restart};
use crate::args::RestartArgs;
use crate::config::laravel::RestartKey;
use crate::config::{self, App, Config, Loaded, RedisTarget};
use crate::net::{self, BlockingRedis, sys};
use ask::Visit;
use laravel::Place;

/// Checks, and says what it finds on `out`, a line each.
///
/// # Errors
///
/// A configuration that cannot be read; something that is not in order.
pub fn run(args: &RestartArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let loaded = config::load(&args.sources(), std::env::vars_os())?;
    let mut report = Report { out, wrong: 0 };
    configuration(&mut report, &loaded);
    let processes = restart::processes(&loaded.config.server);
    files(&mut report, &loaded.config, processes.first().map(|(id, _)| *id));
    certificate(&mut report, &loaded.config);
    redis(&mut report, &loaded);
    let listens = here(&mut report, &loaded, &processes);
    let answers = public(&mut report, &loaded);
    if !listens {
        let text = format!("nothing listens here at {}", places(&loaded.config));
        // Behind a working public side it may be on another machine.
        match answers {
            true => report.note(&text),
            false => report.wrong(&format!("{text}: `reverb start`")),
        }
    }
    match report.wrong {
        0 => Ok(()),
        1 => Err(Failure::at_work("1 thing is not in order")),
        count => Err(Failure::at_work(format!("{count} things are not in order"))),
    }
}

/// What is found, as it is found.
struct Report<'a> {
    out: &'a mut dyn Write,
    wrong: u32,
}

impl Report<'_> {
    fn fine(&mut self, text: &str) {
        self.line("ok     ", text);
    }

    /// It may be meant.
    fn note(&mut self, text: &str) {
        self.line("note   ", text);
    }

    fn wrong(&mut self, text: &str) {
        self.wrong += 1;
        self.line("WRONG  ", text);
    }

    /// Whoever closes the pipe early has read enough; the exit code still tells.
    fn line(&mut self, mark: &str, text: &str) {
        let _ = writeln!(self.out, "{mark}{text}");
    }
}

fn configuration(report: &mut Report<'_>, loaded: &Loaded) {
    let files: Vec<String> = loaded.files_read.iter().map(|f| f.display().to_string()).collect();
    match files.is_empty() {
        true => report.note("no .env and no reverb.json here: the environment and defaults count"),
        false => report.fine(&format!("{}: can be read", files.join(", "))),
    }
    if loaded.generated_app {
        report.wrong(
            "there is no app: set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET \
             (`reverb install` does)",
        );
    }
    for warning in &loaded.warnings {
        report.wrong(warning);
    }
    let wrong_before = report.wrong;
    laravel::look(report, loaded);
    if report.wrong == wrong_before {
        report.fine("what Laravel and browsers are told goes together");
    }
}

/// The descriptors of the running server, or those one would have that was started here.
fn files(report: &mut Report<'_>, config: &Config, process: Option<i32>) {
    let running = process.and_then(|id| fs::read_to_string(format!("/proc/{id}/limits")).ok());
    let running = running.as_deref().and_then(|limits| {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    });
    let Some(most) = running.or_else(|| sys::raise_open_files().ok()) else { return };
    let whose = if running.is_some() { "the running server" } else { "a server started here" };
    let room: u64 = net::connections_within(most);
    let apps = config.apps.iter().map(|app| app.max_connections.map(u64::from));
    let wanted = match config.limits.connections {
        0 => apps.sum::<Option<u64>>().unwrap_or_default(),
        connections => connections.into(),
    };
    let text = format!("{whose} may have {most} files open: {room} connections");
    match wanted > room {
        true => report.wrong(&format!(
            "{text}, and the configuration allows {wanted}: raise LimitNOFILE (systemd), minfds \
             (Supervisor) or `ulimit -n`"
        )),
        false => report.fine(&text),
    }
}

fn certificate(report: &mut Report<'_>, config: &Config) {
    let tls = &config.server.tls;
    let Some(file) = &tls.local_cert else { return };
    let name = config.server.hostname.as_deref();
    match net::look_at_certificate(tls, name) {
        Ok(text) => report.fine(&format!("{}: {text}", file.display())),
        Err(text) => report.wrong(&text),
    }
}

fn redis(report: &mut Report<'_>, loaded: &Loaded) {
    let scaling = &loaded.config.server.scaling;
    let nodes = scaling.enabled.then(|| RedisTarget::of(scaling));
    let cache = match &loaded.restart_key {
        RestartKey::Redis(target, _) => Some(Ok((**target).clone())),
        RestartKey::Files(_) => None,
    };
    for (what, target) in [("nodes", nodes), ("Laravel's cache", cache)] {
        match target {
            None => {}
            Some(Err(error)) => report.wrong(&error.to_string()),
            Some(Ok(target)) => match BlockingRedis::open(&target, TIMEOUT).and_then(|mut line| {
                line.ask(&[b"PING"]).map_err(|why| format!("Redis {target}: {why}"))
            }) {
                Ok(_) => report.fine(&format!("Redis {target} answers, for {what}")),
                Err(why) => report.wrong(&format!("{why} (for {what})")),
            },
        }
    }
}

/// Asks what listens here as a publisher would, past any proxy. Says whether anything listens.
fn here(report: &mut Report<'_>, loaded: &Loaded, processes: &[(i32, String)]) -> bool {
    let Config { server, apps, .. } = &loaded.config;
    // Where systemd opens the port, it is the one that has it as well.
    if let [(id, name), ..] = processes
        && !processes.iter().any(|(_, name)| name == "reverb")
    {
        report
            .wrong(&format!("what listens at {} is {name} (process {id})", places(&loaded.config)));
        return true;
    }
    let is_secure = server.tls.local_cert.is_some();
    let mut listens = false;
    for host in server.hosts() {
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        let place = Place { host: host.to_owned(), port: server.port, is_secure };
        // Its name here is no name on a certificate.
        let visit = Visit { place: &place, verifies: false, authorities: None, timeout: TIMEOUT };
        if visit.connect().is_err_and(|refused| refused.nobody_listens) {
            continue;
        }
        listens = true;
        if loaded.generated_app || server.tls.verify_peer {
            report.note(&format!(
                "{place} listens; without an app, or a certificate to show, it is not asked"
            ));
            continue;
        }
        let mut refused = apps.iter().filter_map(|app| {
            let why = visit.ask_like_a_publisher(app, "").err()?;
            Some(format!(
                "{place} refuses the app {}: {why}; if it runs with an older configuration: \
                 `reverb restart`",
                app.id
            ))
        });
        match refused.next() {
            Some(text) => report.wrong(&text),
            None => {
                report.fine(&format!("{place} answers, and knows the {} configured", count(apps)))
            }
        }
    }
    listens
}

fn count(apps: &[App]) -> String {
    if apps.len() == 1 { "app".to_owned() } else { format!("{} apps", apps.len()) }
}

/// Goes the ways of a publisher and of a browser. Says whether both lead here.
fn public(report: &mut Report<'_>, loaded: &Loaded) -> bool {
    let environment = &loaded.environment;
    let path = &loaded.config.server.path;
    let id = environment.get("REVERB_APP_ID");
    let apps = &loaded.config.apps;
    let app = apps.iter().find(|app| Some(app.id.as_str()) == id).or(apps.first());
    let Some(app) = app.filter(|_| !loaded.generated_app) else { return false };
    let (Some(publishers), Some(browsers)) =
        (laravel::publishers(environment), laravel::browsers(environment))
    else {
        report.note("REVERB_HOST is not set: the ways of browsers and Laravel are not tried");
        return false;
    };
    let authorities = environment.get("SSL_CERT_FILE").map(Path::new);
    let mut answers = true;
    let mut told =
        |what: &str, place: &Place, prefix: &str, result: Result<(), String>| match result {
            Ok(()) => report.fine(&format!("{what} {place}")),
            Err(why) => {
                answers = false;
                let hint = laravel::hint(place, prefix, &loaded.config.server);
                report.wrong(&format!("{what} {place}: {why}; {hint}"));
            }
        };
    let visit = Visit { place: &publishers, verifies: true, authorities, timeout: TIMEOUT };
    told("Laravel publishes to", &publishers, "", visit.ask_like_a_publisher(app, path));
    let visit = Visit { place: &browsers, verifies: true, authorities, timeout: TIMEOUT };
    let prefix = if browsers == publishers { "" } else { "VITE_" };
    let connected = visit.connect_like_a_browser(app, path, environment.get("APP_URL"));
    told("browsers connect to", &browsers, prefix, connected);
    answers
}

fn places(config: &Config) -> String {
    format!("{}:{}", config.server.host, config.server.port)
}

/// What any one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
