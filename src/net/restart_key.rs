//! The key `php artisan reverb:restart` writes into Laravel's cache, which `php artisan reload`
//! does as well: looked at every few seconds, in the file store or in Redis, as Reverb looks at it.
//!
//! It is a thread that does so and not the loop: the file may lie on a network's disk and Redis
//! behind a network, and whatever holds those up must not hold up clients. Other stores are not
//! looked at.

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
    every: Duration,
    timeout: Duration,
}

impl Times {
    fn of(limits: &Limits) -> Self {
        let [every, timeout] = [limits.restart_check_ms, limits.redis_reply_timeout_ms]
            .map(|ms| Duration::from_millis(ms.into()));
        Times { every, timeout }
    }
}

/// Has the server stop in order, once, when the key changes. A folder without a file store is not
/// watched.
///
/// What is there at the first look counts as known. A key that has gone asks for nothing, unlike in
/// Reverb: `php artisan cache:clear` is no restart.
///
/// # Errors
///
/// The system's, when it has no thread to give.
pub(super) fn watch(
    key: RestartKey,
    limits: &Limits,
    stopper: Stopper,
) -> io::Result<Option<Watch>> {
    let times = Times::of(limits);
    let place = match key {
        RestartKey::Files(storage) => {
            // Deployment tools put a link in each release's folder, and remove the folder some day.
            match fs::canonicalize(storage.join("framework/cache")) {
                Ok(cache) => Place::File(cache.join(KEY)),
                Err(_) => return Ok(None),
            }
        }
        RestartKey::Redis(target, names) => {
            let timeout = times.timeout;
            Place::Redis(Box::new(Shared { target, names, timeout, line: None }))
        }
    };
    let mut watched = Watched { place, known: None, is_lost: false };
    if let Place::File(_) = watched.place {
        watched.asks();
    }
    let (sender, others) = channel();
    let thread = thread::Builder::new().name("restart-key".to_owned());
    thread.spawn(move || {
        if watched.waits(times, &others) {
            log::info!("php artisan reverb:restart asked for a restart");
            stopper.stop();
        }
    })?;
    Ok(Some(Watch(sender)))
}

/// The file of `laravel:reverb:restart` below the cache folder: the SHA-1 of the key, which this
/// store gives no prefix, below a folder for each of its first two bytes.
const KEY: &str = "data/4f/e4/4fe44729b03e0a0a2586ebe0d445f50c083d0ff3";

/// The longest value that is looked at. A file holds `9999999999i:1718000000;`.
const VALUE_BYTES: u64 = 64;

struct Watched {
    place: Place,
    /// What was there at the first look.
    known: Option<Values>,
    /// Whether the last look failed.
    is_lost: bool,
}

enum Place {
    File(PathBuf),
    Redis(Box<Shared>),
}

/// The app's Redis.
struct Shared {
    target: Box<RedisTarget>,
    names: Vec<String>,
    timeout: Duration,
    line: Option<BlockingRedis>,
}

/// What stands under each name. It is compared and never understood.
type Values = Vec<Option<Vec<u8>>>;

impl Watched {
    /// Checks the key until it asks for a restart. Returns false if the server ends first.
    fn waits(&mut self, mut times: Times, others: &Receiver<Times>) -> bool {
        while !self.asks() {
            match others.recv_timeout(times.every) {
                Ok(other) => {
                    times = other;
                    self.place.set_timeout(times.timeout);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Whether it asks for a restart.
    fn asks(&mut self) -> bool {
        let was_lost = self.is_lost;
        let values = self.place.read();
        self.is_lost = values.is_err();
        let values = match values {
            Ok(values) => values,
            Err(why) => {
                if !was_lost {
                    log::warn!("{why}; `php artisan reverb:restart` is not heard of meanwhile");
                }
                return false;
            }
        };
        if let Place::Redis(redis) = &self.place
            && (was_lost || self.known.is_none())
        {
            log::info!("`php artisan reverb:restart` is heard of by Redis {}", redis.target);
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
            (redis.timeout, redis.line) = (timeout, None);
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

impl Shared {
    fn read(&mut self) -> Result<Values, String> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => BlockingRedis::open(&self.target, self.timeout)?,
        };
        let values = self.names.iter().map(|name| line.ask(&[b"GET", name.as_bytes()]));
        let values = values.collect::<Result<Values, String>>();
        let values = values.map_err(|why| format!("Redis {}: {why}", self.target))?;
        self.line = Some(line);
        Ok(values)
    }
}

/// The beginning of a file; `None` if there is none, or if it is just being written.
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
    fn only_a_new_value_asks_for_a_restart() {
        let file = std::env::temp_dir().join(format!("reverb-restart-key-{}", std::process::id()));
        let mut watched = Watched { place: Place::File(file.clone()), known: None, is_lost: false };
        let mut asks = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => _ = fs::remove_file(&file),
            }
            watched.asks()
        };
        assert!(!asks(Some("1")) && !asks(Some("1")) && !asks(Some("")) && !asks(None));
        assert!(asks(Some("2")));
        asks(None);
    }
}
