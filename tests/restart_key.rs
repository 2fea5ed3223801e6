//! `php artisan reverb:restart` and `php artisan reload`: the server stops when their key appears
//! in Laravel's file cache or in Redis.

#[cfg(feature = "redis")]
use crate::redis::{daemon::Redis, resp::Reply, sentinels::Sentinels, shards::Shards};
use crate::support::{Client, Server, Setup};
#[cfg(feature = "redis")]
use crate::support::{logged, until};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// The folder of a Laravel app, removed when it is dropped.
struct LaravelApp(PathBuf);

impl LaravelApp {
    fn new() -> LaravelApp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("reverb-laravel-{}-{number}", process::id()));
        fs::create_dir_all(folder.join("storage/framework/cache/data")).unwrap();
        fs::write(folder.join(".env"), "APP_NAME=Laravel\n").unwrap();
        LaravelApp(folder)
    }

    /// `Cache::forever('laravel:reverb:restart', time())`: the expiry time 9999999999, followed by
    /// the serialized time.
    fn restart(&self, time: u32) {
        let file =
            self.0.join("storage/framework/cache/data").join(place("laravel:reverb:restart"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("9999999999i:{time};")).unwrap();
    }

    fn serve(&self) -> Server {
        let env_file = self.0.join(".env");
        Setup::new()
            .arg("--env")
            .arg(env_file.to_str().unwrap())
            .env("REVERB_LIMIT_RESTART_CHECK_MS", 100)
            .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 100)
            .env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
            .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 100)
            .start()
    }
}

impl Drop for LaravelApp {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The file of a key in the file store: `sha1($key)`, two bytes of it as folders.
fn place(key: &str) -> PathBuf {
    let mut sha1sum = Command::new("sha1sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha1sum is part of coreutils");
    sha1sum.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let sum = String::from_utf8(sha1sum.wait_with_output().unwrap().stdout).unwrap();
    Path::new(&sum[..2]).join(&sum[2..4]).join(&sum[..40])
}

#[test]
fn a_restart_request_after_the_start_stops_the_server() {
    let app = LaravelApp::new();
    // The first server sees no earlier request; for the second, that of the first is old.
    for time in [1_718_000_000, 1_718_000_060] {
        let mut server = app.serve();
        let mut client = Client::connect(&server);
        client.subscribe("c");
        app.restart(time);
        assert_eq!(client.event()["event"], "pusher:error");
        client.closed(4200);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn the_storage_folder_can_be_configured() {
    let app = LaravelApp::new();
    let mut server = Setup::new()
        .env("LARAVEL_STORAGE_PATH", app.0.join("storage").display())
        .env("REVERB_LIMIT_RESTART_CHECK_MS", 100)
        .start();
    app.restart(1_718_000_000);
    assert_eq!(server.wait().code(), Some(0));
}

/// A server whose app has its cache in this Redis server.
#[cfg(feature = "redis")]
fn with_cache_in(redis: &Redis, variables: &[(&str, &str)]) -> Server {
    let setup = Setup::new()
        .arg("--debug")
        .env("CACHE_STORE", "redis")
        .env("REDIS_PORT", redis.port())
        .env("REVERB_LIMIT_RESTART_CHECK_MS", 100)
        .env("REVERB_LIMIT_DRAIN_WINDOW_MS", 100)
        .env("REVERB_LIMIT_DRAIN_LINGER_MS", 0)
        .env("REVERB_LIMIT_CLOSE_TIMEOUT_MS", 100);
    variables.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start()
}

/// The log line after the first read of the key.
#[cfg(feature = "redis")]
const WATCHES: &[&str] = &["for `php artisan reverb:restart`"];

/// `Cache::forever('laravel:reverb:restart', time())`: phpredis and predis both write digits.
#[cfg(feature = "redis")]
fn restart(redis: &Redis, database: &str, name: &str, time: &str) {
    let mut session = redis.session();
    session.call(&["SELECT", database]);
    session.call(&["SET", name, time]);
}

#[cfg(feature = "redis")]
#[test]
fn a_restart_request_in_redis_stops_the_server() {
    let redis = Redis::with_password("hush");
    let login = ("REDIS_PASSWORD", "hush");
    // The default names, those of Laravel 10, and custom names.
    let name = "laravel-database-laravel-cache-laravel:reverb:restart";
    let shop = [login, ("APP_NAME", "My Shop")];
    let own = [("REDIS_PREFIX", "p:"), ("CACHE_PREFIX", "c:"), ("REDIS_CACHE_DB", "4"), login];
    for (variables, database, name) in [
        (&[login][..], "1", name),
        (&shop, "1", "my_shop_database_my_shop_cache_laravel:reverb:restart"),
        (&own, "4", "p:c:laravel:reverb:restart"),
    ] {
        // For the second server, the request to the first is old.
        for time in ["1718000000", "1718000060"] {
            let mut server = with_cache_in(&redis, variables);
            let mut client = Client::connect(&server);
            client.subscribe("c");
            logged(&server, WATCHES);
            restart(&redis, database, name, time);
            client.event();
            client.closed(4200);
            assert_eq!(server.wait().code(), Some(0));
            assert!(!server.stderr().contains("hush"));
        }
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_lost_or_empty_cache_does_not_restart_the_server() {
    let redis = Redis::start();
    let name = "laravel-database-laravel-cache-laravel:reverb:restart";
    restart(&redis, "1", name, "1718000000");
    let mut server = with_cache_in(&redis, &[]);
    logged(&server, WATCHES);
    redis.kill();
    let lost = "may have no effect until the key can be read";
    logged(&server, &[lost]);
    // Redis restarts without data; then the key has its old value again.
    redis.restart();
    let found = || server.stderr().matches(WATCHES[0]).count();
    until("the server reads the key again", || found() == 2);
    restart(&redis, "1", name, "1718000000");
    server.is_up();
    assert_eq!(server.stderr().matches(lost).count(), 1, "{}", server.stderr());
    redis.stand_still();
    server.is_up();
    redis.go_on();
    restart(&redis, "1", name, "1718000060");
    assert_eq!(server.wait().code(), Some(0));
}

#[cfg(feature = "redis")]
#[test]
fn unknown_names_in_redis_cause_a_warning() {
    let redis = Redis::start();
    let server = with_cache_in(&redis, &[("APP_NAME", "Öl")]);
    logged(&server, &["APP_NAME has letters", "set REDIS_PREFIX", "has no effect"]);
}

#[cfg(feature = "redis")]
#[test]
fn a_restart_request_is_found_by_sentinel_and_in_a_redis_cluster() {
    let name = "laravel-database-laravel-cache-laravel:reverb:restart";
    let sentinels = Sentinels::start(1_000);
    let addresses = sentinels.addresses();
    let variables = [("REVERB_SCALING_SENTINELS", addresses.as_str()), ("REDIS_HOST", "x.invalid")];
    let mut server = with_cache_in(&sentinels.redis[0], &variables);
    logged(&server, WATCHES);
    sentinels.redis[0].kill();
    until("the replica is the master", || {
        sentinels.redis[1].has_info("replication", "role:master")
    });
    restart(&sentinels.redis[1], "1", name, "1718000000");
    assert_eq!(server.wait().code(), Some(0));

    // The servers of the key and of the seed differ for at least two of three seeds.
    let shards = Shards::start();
    let seeds = &shards.servers[..3];
    let cluster = [("REVERB_SCALING_CLUSTER", "true")];
    let mut servers: Vec<_> = seeds.iter().map(|seed| with_cache_in(seed, &cluster)).collect();
    servers.iter().for_each(|server| _ = logged(server, WATCHES));
    let is_set = |seed: &Redis| {
        let words: [&[u8]; 3] = [b"SET", name.as_bytes(), b"1718000000"];
        matches!(seed.session().send_and_receive(&words), Reply::Text(_))
    };
    assert_eq!(seeds.iter().filter(|seed| is_set(seed)).count(), 1);
    servers.iter_mut().for_each(|server| assert_eq!(server.wait().code(), Some(0)));
}
