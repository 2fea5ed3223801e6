//! Watches the key that `php artisan reverb:restart` and `php artisan reload` write into Laravel's
//! cache. Like Laravel Reverb, the server reads it every few seconds, from the file store or from
//! Redis. Other stores are not supported.
//!
//! A thread reads it, as a network file system or Redis may block for long.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::control::Stopper;
use super::redis::BlockingRedis;
use crate::config::laravel::RestartKey;
use crate::config::{Limits, RedisTarget};

/// The server's handle of the thread that watches the key. Dropping it ends the thread.
pub(super) struct Watch(Sender<Times>);

impl Watch {
    /// Applies new limits from the next check of the key on.
    pub(super) fn set_limits(&self, limits: &Limits) {
        // This fails if the thread has ended, which it does after the key has changed.
        let _ = self.0.send(Times::of(limits));
    }
}

/// The limits that apply to the thread.
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

/// Makes the server stop in order, once, when the key changes. Returns `None` if the app has no
/// file store to watch.
///
/// A value that is present at the first check is ignored. Unlike in Laravel Reverb, a deleted key
/// is no request, so that `php artisan cache:clear` does not restart the server.
///
/// # Errors
///
/// The system's, when it cannot start a thread.
pub(super) fn watch(
    key: RestartKey,
    limits: &Limits,
    stopper: Stopper,
) -> io::Result<Option<Watch>> {
    let times = Times::of(limits);
    let place = match key {
        RestartKey::Files(storage) => {
            // Deployment tools put a link into the folder of each release, and later remove that folder.
            match fs::canonicalize(storage.join("framework/cache")) {
                Ok(cache) => Place::File(cache.join(KEY)),
                Err(_) => return Ok(None),
            }
        }
        RestartKey::Redis(target, names) => {
            let timeout = times.timeout;
            Place::Redis(Box::new(Cache { target, names, timeout, connection: None }))
        }
    };
    let mut watched = Watched { place, known: None, is_lost: false };
    if let Place::File(_) = watched.place {
        watched.check();
    }
    let (sender, new_times) = channel();
    let thread = thread::Builder::new().name("restart-key".to_owned());
    thread.spawn(move || {
        if watched.wait(times, &new_times) {
            log::info!("stopping, as php artisan reverb:restart requested");
            stopper.stop();
        }
    })?;
    Ok(Some(Watch(sender)))
}

/// The file of the key `laravel:reverb:restart` below the cache folder: the SHA-1 of the key, in a
/// folder for each of its first two bytes. This store adds no prefix to keys.
const KEY: &str = "data/4f/e4/4fe44729b03e0a0a2586ebe0d445f50c083d0ff3";

/// How much of a value is read. A file holds `9999999999i:1718000000;`.
const VALUE_BYTES: u64 = 64;

struct Watched {
    place: Place,
    /// The values at the first check.
    known: Option<Values>,
    /// Whether the last check failed.
    is_lost: bool,
}

enum Place {
    File(PathBuf),
    Redis(Box<Cache>),
}

/// Laravel's cache in Redis.
struct Cache {
    target: Box<RedisTarget>,
    names: Vec<String>,
    timeout: Duration,
    connection: Option<BlockingRedis>,
}

/// The value under each name. Values are compared, not interpreted.
type Values = Vec<Option<Vec<u8>>>;

impl Watched {
    /// Checks the key until it requests a restart. Returns false if the server ends first.
    fn wait(&mut self, mut times: Times, new_times: &Receiver<Times>) -> bool {
        while !self.check() {
            match new_times.recv_timeout(times.interval) {
                Ok(new) => {
                    times = new;
                    self.place.set_timeout(times.timeout);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Reads the key. Returns whether it requests a restart.
    fn check(&mut self) -> bool {
        let was_lost = self.is_lost;
        let values = self.place.read();
        self.is_lost = values.is_err();
        let values = match values {
            Ok(values) => values,
            Err(why) => {
                if !was_lost {
                    log::warn!(
                        "{why}; `php artisan reverb:restart` has no effect until it can be read"
                    );
                }
                return false;
            }
        };
        if let Place::Redis(redis) = &self.place
            && (was_lost || self.known.is_none())
        {
            log::info!("watching Redis {} for `php artisan reverb:restart`", redis.target);
        }
        let known = self.known.get_or_insert_with(|| values.clone());
        values.iter().zip(known).any(|(value, known)| value.is_some() && value != known)
    }
}

impl Place {
    fn set_timeout(&mut self, timeout: Duration) {
        if let Place::Redis(redis) = self
            && redis.timeout != timeout
        {
            (redis.timeout, redis.connection) = (timeout, None);
        }
    }

    fn read(&mut self) -> Result<Values, String> {
        match self {
            Place::File(key) => {
                read(key).map(|v| vec![v]).map_err(|e| format!("{}: {e}", key.display()))
            }
            Place::Redis(redis) => redis.read(),
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

/// The beginning of a file; `None` if it does not exist, or is empty as it is being written.
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
        let mut watched = Watched { place: Place::File(file.clone()), known: None, is_lost: false };
        let mut check = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => _ = fs::remove_file(&file),
            }
            watched.check()
        };
        assert!(!check(Some("1")) && !check(Some("1")) && !check(Some("")) && !check(None));
        assert!(check(Some("2")));
        check(None);
    }
}
