//! Watches the key that `php artisan reverb:restart` and `php artisan reload` write into Laravel's
//! cache. Like Laravel Reverb, the server reads it every few seconds: from the file store, to which
//! the provider of `reverb install` writes with every store, and from Redis.
//!
//! A thread of its own reads the key, because a network file system or Redis may block for long.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::control::Stopper;
use super::redis::BlockingRedis;
use super::threads;
use crate::config::laravel::{RedisKey, RestartKey};
use crate::config::{Limits, RedisTarget};

/// The server's handle to the thread that watches the key. Dropping it ends the thread.
pub(super) struct Watch(Sender<Times>);

impl Watch {
    /// Applies new limits, starting with the next check of the key.
    pub(super) fn set_limits(&self, limits: &Limits) {
        // This fails if the thread has ended, which it does after the key has changed.
        let _ = self.0.send(Times::of(limits));
    }
}

/// The limits that the thread observes.
#[derive(Clone, Copy)]
struct Times {
    interval: Duration,
    timeout: Duration,
}

impl Times {
    fn of(limits: &Limits) -> Self {
        let [interval, timeout] = [limits.restart_check_ms, limits.redis_reply_timeout_ms]
            .map(|ms| Duration::from_millis(ms.into()));
        Times { interval, timeout }
    }
}

/// Starts a thread that stops the server gracefully when the key changes. Returns `None` if the
/// app has no store to watch.
///
/// A value that is present at the first check is ignored. Unlike Laravel Reverb, the server ignores
/// a deleted key as well, so `php artisan cache:clear` does not restart it.
///
/// # Errors
///
/// The thread cannot be started.
pub(super) fn watch(
    key: RestartKey,
    limits: &Limits,
    stopper: Stopper,
) -> io::Result<Option<Watch>> {
    let times = Times::of(limits);
    // Deployment tools put a link into the folder of each release, and later remove that folder.
    let cache = fs::canonicalize(key.storage.join("framework/cache"));
    let file = cache.ok().map(|cache| Store::File(cache.join(KEY)));
    let redis = key.redis.map(|RedisKey { target, names }| {
        let timeout = times.timeout;
        Store::Redis(Box::new(Cache { target, names, timeout, connection: None }))
    });
    let stores = file.into_iter().chain(redis);
    let mut watchers: Vec<Watcher> = stores.map(Watcher::new).collect();
    if watchers.is_empty() {
        return Ok(None);
    }
    // The first check of a file belongs to the start; Redis may be slow.
    for watcher in watchers.iter_mut().filter(|w| matches!(w.store, Store::File(_))) {
        watcher.check();
    }
    let (sender, new_times) = channel();
    let run = move || {
        if wait(&mut watchers, times, &new_times) {
            log::info!("stopping: `php artisan reverb:restart` was run");
            stopper.stop_once();
        }
    };
    threads::start("restart-key", Box::new(run))?;
    Ok(Some(Watch(sender)))
}

/// The file of the key `laravel:reverb:restart` below the cache folder: the SHA-1 of the key, in a
/// folder for each of its first two bytes. This store adds no prefix to keys.
const KEY: &str = "data/4f/e4/4fe44729b03e0a0a2586ebe0d445f50c083d0ff3";

/// The most bytes read of a value. A file contains `9999999999i:1718000000;`.
const VALUE_BYTES: u64 = 64;

struct Watcher {
    store: Store,
    /// The values at the first check.
    initial: Option<Values>,
    /// Whether the last read failed; only the first of several failures is logged.
    is_failing: bool,
}

enum Store {
    File(PathBuf),
    Redis(Box<Cache>),
}

/// Laravel's cache in Redis.
struct Cache {
    target: Box<RedisTarget>,
    /// The possible names of the key.
    names: Vec<String>,
    timeout: Duration,
    connection: Option<BlockingRedis>,
}

/// The value under each name. Values are compared, not interpreted.
type Values = Vec<Option<Vec<u8>>>;

/// Checks the key in each store until one requests a restart. Returns false if the server ends
/// first.
fn wait(watchers: &mut [Watcher], mut times: Times, new_times: &Receiver<Times>) -> bool {
    while !watchers.iter_mut().any(Watcher::check) {
        match new_times.recv_timeout(times.interval) {
            Ok(new) => {
                times = new;
                watchers.iter_mut().for_each(|watcher| watcher.store.set_timeout(times.timeout));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

impl Watcher {
    fn new(store: Store) -> Self {
        Watcher { store, initial: None, is_failing: false }
    }

    /// Reads the key. Returns whether it requests a restart.
    fn check(&mut self) -> bool {
        let was_failing = self.is_failing;
        let values = self.store.read();
        self.is_failing = values.is_err();
        let values = match values {
            Ok(values) => values,
            Err(why) => {
                if !was_failing {
                    log::warn!(
                        "{why}; `php artisan reverb:restart` may have no effect until the key \
                         can be read"
                    );
                }
                return false;
            }
        };
        if let Store::Redis(redis) = &self.store
            && (was_failing || self.initial.is_none())
        {
            log::info!("watching Redis {} for `php artisan reverb:restart`", redis.target);
        }
        let initial = self.initial.get_or_insert_with(|| values.clone());
        values.iter().zip(initial).any(|(value, initial)| value.is_some() && value != initial)
    }
}

impl Store {
    fn set_timeout(&mut self, timeout: Duration) {
        if let Store::Redis(redis) = self
            && redis.timeout != timeout
        {
            (redis.timeout, redis.connection) = (timeout, None);
        }
    }

    fn read(&mut self) -> Result<Values, String> {
        match self {
            Store::File(key) => {
                read(key).map(|v| vec![v]).map_err(|e| format!("{}: {e}", key.display()))
            }
            Store::Redis(redis) => redis.read(),
        }
    }
}

impl Cache {
    fn read(&mut self) -> Result<Values, String> {
        let mut redis = match self.connection.take() {
            Some(redis) => redis,
            None => BlockingRedis::open(&self.target, self.timeout)?,
        };
        let values = self.names.iter().map(|name| redis.request(&[b"GET", name.as_bytes()]));
        let values = values.collect::<Result<Values, String>>();
        let values = values.map_err(|why| format!("Redis {}: {why}", self.target))?;
        self.connection = Some(redis);
        Ok(values)
    }
}

/// Reads the first [`VALUE_BYTES`] of the file. `None` if the file does not exist, or is still
/// empty because its writer has not finished.
fn read(key: &PathBuf) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    match File::open(key).and_then(|file| file.take(VALUE_BYTES).read_to_end(&mut value)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(Some(value).filter(|value| !value.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_value_requests_a_restart() {
        let file = std::env::temp_dir().join(format!("reverb-restart-key-{}", std::process::id()));
        let mut watcher = Watcher::new(Store::File(file.clone()));
        let mut check = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => _ = fs::remove_file(&file),
            }
            watcher.check()
        };
        assert!(!check(Some("1")) && !check(Some("1")) && !check(Some("")) && !check(None));
        assert!(check(Some("2")));
        check(None);
    }
}
