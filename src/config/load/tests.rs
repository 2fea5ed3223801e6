//! The precedence of the sources, and the behaviour without any.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

const CREDENTIALS: &str = "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s\n";
const FILE_APP: &str = r#""apps":{"apps":[{"app_id":"2","key":"f","secret":"t"}]}"#;

/// A temporary directory for one test.
struct Dir(PathBuf);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reverb-load-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            std::fs::write(dir.join(file), text).unwrap();
        }
        Dir(dir)
    }

    fn sources(&self) -> Sources {
        Sources { working_dir: self.0.clone(), ..Sources::default() }
    }

    fn load(&self, process: &[(&str, &str)]) -> Loaded {
        load(&self.sources(), variables(process)).unwrap()
    }

    fn refused(&self, sources: &Sources, process: &[(&str, &str)]) -> String {
        let message = load(sources, variables(process)).unwrap_err().to_string();
        message.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn variables(process: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    process.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn without_any_source_the_app_is_generated_and_local() {
    let loaded = Dir::new(&[]).load(&[]);
    assert!(loaded.generated_app);
    assert_eq!(loaded.config.server.host, "127.0.0.1");
    assert_eq!(loaded.config.server.max_request_size, 1 << 20);
    assert_eq!((loaded.config.apps.len(), loaded.config.apps[0].key.len()), (1, 20));
    assert!(loaded.files_read.is_empty());
    assert_eq!(loaded.findings, Findings::default());
}

#[test]
fn a_generated_app_is_served_on_loopback_only() {
    let dir = Dir::new(&[("reverb.json", r#"{"servers":{"reverb":{"host":"10.0.0.1"}}}"#)]);
    let message = "no app for 10.0.0.1: set REVERB_APP_ID, REVERB_APP_KEY and \
                REVERB_APP_SECRET (`reverb install` does); without them the server listens \
                on 127.0.0.1 only";
    assert_eq!(dir.refused(&dir.sources(), &[]), format!("configuration: {message}"));
    let dir = Dir::new(&[]);
    let message = dir.refused(&dir.sources(), &[("REVERB_SERVER_HOST", "0.0.0.0")]);
    assert!(message.starts_with("configuration: no app for 0.0.0.0: "), "{message}");
    let sources = Sources { host: Some("example.com".into()), ..dir.sources() };
    let message = dir.refused(&sources, &[]);
    assert!(message.starts_with("configuration: no app for example.com: "), "{message}");
    for host in ["127.0.0.2", "::1", "[::1]", "localhost"] {
        let sources = Sources { host: Some(host.into()), ..dir.sources() };
        assert!(load(&sources, []).unwrap().generated_app, "{host}");
    }
}

#[test]
fn with_an_app_the_server_listens_on_all_addresses() {
    let loaded = Dir::new(&[(".env", CREDENTIALS)]).load(&[]);
    assert!(!loaded.generated_app);
    assert_eq!(loaded.config.server.host, "0.0.0.0");
    assert_eq!(loaded.config.apps[0].key, "k");
}

#[test]
fn apps_of_the_folder_are_added_to_those_of_the_configuration() {
    let one = r#"{"app_id":"7","key":"seven","secret":"s","kay":1}"#;
    let dir =
        Dir::new(&[(".env", CREDENTIALS), ("a.json", one), ("b.json", "{"), ("c.json", "[]")]);
    let settings = [("REVERB_APPS_DIR", ".")];
    let loaded = dir.load(&settings);
    let ids: Vec<&str> = loaded.config.apps.iter().map(|app| &*app.id).collect();
    assert_eq!(ids, ["1", "7"]);
    assert_eq!((loaded.generated_app, &*loaded.config.server.host), (false, "0.0.0.0"));
    assert_eq!(loaded.findings.warnings.len(), 1, "{:?}", loaded.findings);
    assert!(loaded.findings.warnings[0].contains("/./a.json: kay: "), "{:?}", loaded.findings);
    let files = loaded.apps_files.unwrap();
    assert_eq!((files.folder().files(), files.bad().len()), (3, 1));
    let reload = load_for(&dir.sources(), variables(&settings), Purpose::Reload);
    let reload = reload.unwrap();
    assert_eq!((reload.config.apps.len(), reload.apps_files.is_none()), (1, true));
}

#[test]
fn a_folder_without_any_app_is_an_error_at_a_start_only() {
    let dir = Dir::new(&[("b.json", "{")]);
    let settings = [("REVERB_APPS_DIR", "."), ("REVERB_SERVER_HOST", "127.0.0.1")];
    let message = dir.refused(&dir.sources(), &settings);
    assert!(
        message.starts_with("configuration: no app for 127.0.0.1: set REVERB_APP_ID"),
        "{message}"
    );
    assert!(
        message.ends_with(
            "(REVERB_APPS_DIR) has no app either: b.json:1:1: EOF while parsing an object"
        ),
        "{message}"
    );
    let kept = vec![("b.json".to_owned(), vec![App::new("1", "k", "s")])];
    let successor = |kept| {
        let purpose = Purpose::Successor(kept);
        load_for(&dir.sources(), variables(&settings), purpose).unwrap().config.apps.len()
    };
    assert_eq!((successor(kept), successor(Vec::new())), (1, 0));
    let message = dir.refused(&dir.sources(), &[("REVERB_APPS_DIR", "missing")]);
    assert!(message.starts_with("missing: apps_dir: cannot be listed: "), "{message}");
}

#[test]
fn precedence_is_flag_file_environment_default() {
    let env = "REVERB_SERVER_HOST=1.1.1.1\nREVERB_SERVER_PORT=1\nREVERB_SERVER_PATH=env\n\
               REVERB_HOST=env\n";
    let file = r#"{"servers":{"reverb":{"port":2,"path":"file","hostname":null}}}"#;
    let env = format!("{env}{CREDENTIALS}");
    let dir = Dir::new(&[(".env", env.as_str()), ("reverb.json", file)]);
    let loaded = dir.load(&[("REVERB_SERVER_HOST", "2.2.2.2")]);
    let server = &loaded.config.server;
    assert_eq!((server.host.as_str(), server.port, server.path.as_str()), ("2.2.2.2", 2, "/file"));
    assert_eq!(server.hostname.as_deref(), Some("env"));
    assert_eq!(loaded.files_read, [dir.0.join(".env"), dir.0.join("reverb.json")]);

    let sources = Sources {
        host: Some("3.3.3.3".into()),
        port: Some(3),
        path: Some("/flag/".into()),
        hostname: Some("flag".into()),
        ..dir.sources()
    };
    let server = load(&sources, []).unwrap().config.server;
    assert_eq!((server.host.as_str(), server.port, server.path.as_str()), ("3.3.3.3", 3, "/flag"));
    assert_eq!(server.hostname.as_deref(), Some("flag"));
}

#[test]
fn the_apps_of_the_file_are_all_apps() {
    // Missing credentials and an invalid interval are no errors, because nothing uses them.
    let env = "REVERB_APP_ID=1\nREVERB_APP_PING_INTERVAL=x\nREVERB_APP_MAX_CONNECTIONS=5\n";
    let file = format!("{{{FILE_APP}}}");
    let loaded = Dir::new(&[(".env", env), ("reverb.json", file.as_str())]).load(&[]);
    assert_eq!(loaded.config.apps.len(), 1);
    assert_eq!(
        (loaded.config.apps[0].id.as_str(), loaded.config.apps[0].max_connections),
        ("2", None)
    );
}

#[test]
fn a_file_named_by_a_flag_must_exist() {
    let dir = Dir::new(&[(".env", CREDENTIALS)]);
    let sources = Sources { config_file: Some("no.json".into()), ..dir.sources() };
    let message = "no.json: cannot be read: No such file or directory (os error 2)";
    assert_eq!(dir.refused(&sources, &[]), message);
    let sources = Sources { env_file: Some("no.env".into()), ..dir.sources() };
    let message = "no.env: cannot be read: No such file or directory (os error 2)";
    assert_eq!(dir.refused(&sources, &[]), message);
}

#[test]
fn files_may_have_other_names() {
    let file = format!("{{{FILE_APP}}}");
    let dir = Dir::new(&[("a.env", "REVERB_SERVER_PORT=9"), ("b.json", file.as_str())]);
    let sources = Sources {
        config_file: Some("b.json".into()),
        env_file: Some(dir.0.join("a.env")),
        ..dir.sources()
    };
    let config = load(&sources, []).unwrap().config;
    assert_eq!((config.server.port, config.apps[0].id.as_str()), (9, "2"));
}

#[test]
fn redis_matters_only_with_scaling() {
    let env = format!("{CREDENTIALS}REDIS_PORT=x\n");
    assert!(!Dir::new(&[(".env", env.as_str())]).load(&[]).generated_app);
    let file = r#"{"servers":{"reverb":{"scaling":{"enabled":true}}}}"#;
    let dir = Dir::new(&[(".env", env.as_str()), ("reverb.json", file)]);
    let message = dir.refused(&dir.sources(), &[]);
    assert_eq!(message, ".env:4: REDIS_PORT: \"x\" is not a whole number");
}

#[test]
fn an_invalid_flag_is_named() {
    let dir = Dir::new(&[]);
    let refused = |sources: Sources| dir.refused(&sources, &[]);
    let sources = || dir.sources();
    assert_eq!(
        refused(Sources { host: Some("a b".into()), ..sources() }),
        "command line: --host: \"a b\" is not a host name"
    );
    assert_eq!(
        refused(Sources { hostname: Some("".into()), ..sources() }),
        "command line: --hostname: \"\" is not a host name"
    );
    assert_eq!(
        refused(Sources { path: Some("a?".into()), ..sources() }),
        "command line: --path: \"a?\" is not a valid URL path"
    );
}

#[test]
fn faults_of_the_files_come_through() {
    let dir = Dir::new(&[(".env", "A='b")]);
    assert_eq!(dir.refused(&dir.sources(), &[]), ".env:1: missing closing single quote");
    let dir = Dir::new(&[("reverb.json", "{")]);
    let message = dir.refused(&dir.sources(), &[]);
    assert_eq!(message, "reverb.json:1:1: EOF while parsing an object");
    let dir = Dir::new(&[]);
    std::fs::write(dir.0.join("reverb.json"), [0xff]).unwrap();
    assert_eq!(dir.refused(&dir.sources(), &[]), "reverb.json: is not UTF-8");
}

#[test]
fn misspelt_variables_cause_warnings() {
    let loaded = Dir::new(&[]).load(&[("REVERB_SERVER_PROT", "1")]);
    assert_eq!(
        loaded.findings.warnings,
        ["environment: REVERB_SERVER_PROT: is not a known variable; did you mean \
          REVERB_SERVER_PORT?"]
    );
}

#[test]
fn the_address_is_known_without_an_app() {
    let dir = Dir::new(&[]);
    let sources = Sources { host: Some("0.0.0.0".into()), port: Some(9), ..dir.sources() };
    let address = |sources| server(sources, []).map(|(server, _)| (server.host, server.port));
    assert_eq!(address(&sources), Ok(("0.0.0.0".into(), 9)));
    assert_eq!(address(&dir.sources()), Ok(("127.0.0.1".into(), 8080)));
}

#[cfg(feature = "laravel")]
/// A hand-over with this app and these further fields of `artisan`.
fn hand_over(dir: &Dir, environment: &str) -> String {
    let folder = dir.0.display();
    format!(
        r#"{{"servers":{{"reverb":{{"port":9100}}}},
        "apps":{{"apps":[{{"app_id":"1","key":"k","secret":"s","ping_interval":7}}]}},
        "artisan":{{"version":1,"provider":"P.php","environment_file":"{folder}/.env.staging",
        "config_folder":"{folder}/config","config_cache":"{folder}/c.php","is_cached":false,
        "storage":"{folder}/elsewhere","events_url":"http://app/reverb/events",
        "records_messages":false,"flags":[],"environment":{environment}}}}}"#
    )
}

#[cfg(feature = "laravel")]
#[test]
fn a_hand_over_names_the_other_sources() {
    let dir = Dir::new(&[
        (".env", "REVERB_SERVER_METRICS=1"),
        (
            ".env.staging",
            "REVERB_LIMIT_CONNECTIONS=5\nREVERB_SERVER_METRICS=9100\nREVERB_SERVER_PORT=9000\n\
             REVERB_APP_ID=1\nREVERB_APP_SUBSCRIPTION_COUNT=1\nREVERB_APP_PING_INTERVAL=8\n",
        ),
    ]);
    let environment = r#"{"REVERB_LIMIT_CONNECTIONS":"6","REVERB_MAX_REQUEST_SIZE":"2000"}"#;
    std::fs::write(dir.0.join("h.json"), hand_over(&dir, environment)).unwrap();
    let sources = Sources { config_file: Some("h.json".into()), ..dir.sources() };
    let loaded = load(&sources, variables(&[("REVERB_MAX_REQUEST_SIZE", "3000")])).unwrap();
    let Config { server, apps, limits } = &loaded.config;
    assert_eq!(server.port, 9100, "the configuration of Laravel");
    assert_eq!(server.metrics.unwrap().port(), 9100, "the environment file of Laravel");
    assert_eq!(limits.connections, 6, "the environment of artisan");
    assert_eq!(server.max_request_size, 3_000, "the environment of the process");
    assert_eq!(loaded.restart_key.storage, dir.0.join("elsewhere"));
    // `config/reverb.php` has the one setting, the environment both.
    assert_eq!((apps[0].ping_interval_s, apps[0].subscription_count), (7, true));
}

#[cfg(feature = "laravel")]
#[test]
fn commands_for_a_running_server_find_the_hand_over() {
    let dir = Dir::new(&[(".env", CREDENTIALS)]);
    std::fs::create_dir_all(dir.0.join("storage/framework/cache")).unwrap();
    let file = dir.0.join("storage/framework/cache/reverb.json");
    std::fs::write(file, hand_over(&dir, "[]")).unwrap();
    let running = Sources { finds_hand_over: true, ..dir.sources() };
    let port = |sources: &Sources| server(sources, []).unwrap().0.port;
    assert_eq!(port(&running), 9100);
    // An old one must not configure a server that artisan has not started.
    assert_eq!(port(&dir.sources()), 8080);
    std::fs::write(dir.0.join("reverb.json"), "{}").unwrap();
    assert_eq!(port(&running), 8080);
}
