//! The key `php artisan reverb:restart` writes into Laravel's cache, which `php artisan reload`
//! does as well: looked at in the file store, as Reverb looks at it, every few seconds.
//!
//! It is a thread that does so and not the loop: the file may lie on a network's disk, and whatever
//! holds that up must not hold up clients. Other stores are not looked at.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::stop::Stopper;

/// Has the server stop in order, once, when the key of the app with this storage folder changes.
/// A folder without a file store is not watched.
///
/// What is there at the start counts as known. A key that has gone asks for nothing, unlike in
/// Reverb: `php artisan cache:clear` is no restart.
///
/// # Errors
///
/// The system's, when it has no thread to give.
pub fn watch(storage: &Path, every: Duration, stopper: Stopper) -> io::Result<()> {
    // Deployment tools put a link in each release's folder, and remove the folder some day.
    let Ok(cache) = fs::canonicalize(storage.join("framework/cache")) else { return Ok(()) };
    let key = cache.join(KEY);
    let known = read(&key).unwrap_or_else(|error| {
        log::warn!("{}: {error}; `php artisan reverb:restart` will not be heard of", key.display());
        NOTHING
    });
    let name = "restart-key".to_owned();
    thread::Builder::new().name(name).spawn(move || {
        loop {
            thread::sleep(every);
            match read(&key) {
                Ok(value) if asks_to_restart(&known, &value) => break,
                _ => {}
            }
        }
        log::info!("php artisan reverb:restart asked for a restart");
        stopper.stop();
    })?;
    Ok(())
}

/// The file of `laravel:reverb:restart` below the cache folder: the SHA-1 of the key, which this
/// store gives no prefix, below a folder for each of its first two bytes.
const KEY: &str = "data/4f/e4/4fe44729b03e0a0a2586ebe0d445f50c083d0ff3";

/// What such a file holds, `9999999999i:1718000000;`, as far as it matters; all zeroes if there is
/// none. It is compared and never understood.
type Value = [u8; 64];

const NOTHING: Value = [0; 64];

fn asks_to_restart(known: &Value, value: &Value) -> bool {
    // A file that is just being written may be empty.
    *value != NOTHING && value != known
}

fn read(key: &Path) -> io::Result<Value> {
    let mut value = NOTHING;
    match File::open(key).and_then(|mut file| file.read(&mut value)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_value_asks_for_a_restart() {
        let (one, two) = ([b'1'; 64], [b'2'; 64]);
        assert!(asks_to_restart(&NOTHING, &one) && asks_to_restart(&one, &two));
        assert!(!asks_to_restart(&one, &one) && !asks_to_restart(&one, &NOTHING));
    }
}
