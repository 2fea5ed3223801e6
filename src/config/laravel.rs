//! Locates the key of `reverb:restart` and the stream of Laravel Pulse, as the configuration files
//! of Laravel 10 and later do: by variables and their defaults.
//!
//! Reads variables only; connections are made in `net`.

use std::path::PathBuf;

use super::env::Environment;
use super::{Error, RedisTarget, Scaling, values};

/// Where `php artisan reverb:restart` writes its key.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartKey {
    /// The app's storage folder, below which the cache in files is. The provider that `reverb
    /// install` writes uses it with every cache.
    pub storage: PathBuf,
    /// Where the key is in Redis, if the app's cache is there.
    pub redis: Option<RedisKey>,
}

/// A key of Laravel's cache in Redis.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisKey {
    /// The Redis server.
    pub target: Box<RedisTarget>,
    /// The possible names, depending on the Laravel version that created the app.
    pub names: Vec<String>,
}

/// The stream from which Laravel Pulse reads entries.
#[derive(Debug, Clone, PartialEq)]
pub struct PulseStream {
    /// The Redis server.
    pub target: RedisTarget,
    /// The possible names, depending on the Laravel version that created the app.
    pub names: Vec<String>,
}

impl PulseStream {
    /// The stream of the app with this environment. `redis_error` is the error in the `REDIS_`
    /// variables, if any.
    ///
    /// # Errors
    ///
    /// The Redis server or the name of the stream cannot be determined; the text says why.
    pub fn of(
        environment: &Environment,
        scaling: &Scaling,
        redis_error: Option<Error>,
    ) -> Result<Self, String> {
        let connection = environment.get("PULSE_REDIS_CONNECTION").unwrap_or("default");
        let database = database("PULSE_REDIS_CONNECTION", connection, environment, scaling)?;
        let target = target(scaling, database, redis_error)?;
        Ok(PulseStream {
            target,
            names: names(|separator| {
                Ok(prefix(environment, "REDIS_PREFIX", "database", separator)?
                    + "laravel:pulse:ingest")
            })?,
        })
    }
}

impl RestartKey {
    /// The key in Redis of the app with this environment; `None` if its cache is not in Redis.
    /// `redis_error` is the error in the `REDIS_` variables, if any.
    ///
    /// # Errors
    ///
    /// The cache is in Redis, but the Redis server or the name of the key cannot be determined; the
    /// text says why.
    pub fn of(
        environment: &Environment,
        scaling: &Scaling,
        redis_error: Option<Error>,
    ) -> Result<Option<RedisKey>, String> {
        // Laravel 10 and earlier use the second name.
        let store = environment.get("CACHE_STORE").or_else(|| environment.get("CACHE_DRIVER"));
        if store != Some("redis") {
            return Ok(None);
        }
        let connection = environment.get("REDIS_CACHE_CONNECTION").unwrap_or("cache");
        let database = database("REDIS_CACHE_CONNECTION", connection, environment, scaling)?;
        let target = target(scaling, database, redis_error)?;
        let names = names(|separator| {
            let redis = prefix(environment, "REDIS_PREFIX", "database", separator)?;
            let cache = prefix(environment, "CACHE_PREFIX", "cache", separator)?;
            Ok(format!("{redis}{cache}laravel:reverb:restart"))
        })?;
        Ok(Some(RedisKey { target: Box::new(target), names }))
    }
}

/// The database of one of the two connections in Laravel's `config/database.php`.
fn database(
    variable: &str,
    connection: &str,
    environment: &Environment,
    scaling: &Scaling,
) -> Result<u32, String> {
    match (connection, environment.get("REDIS_CACHE_DB")) {
        ("default", _) => Ok(scaling.database),
        ("cache", None) => Ok(1),
        ("cache", Some(text)) => values::whole(text, &(0..=super::redis::DATABASE_MAX.into()))
            .map(|number| number as u32)
            .map_err(|why| format!("REDIS_CACHE_DB: {why}")),
        _ => Err(format!("{variable} names a connection other than default and cache")),
    }
}

/// The Redis server of the app, with this database.
fn target(
    scaling: &Scaling,
    database: u32,
    redis_error: Option<Error>,
) -> Result<RedisTarget, String> {
    // A Redis Cluster has one database, whatever the numbers in `config/database.php`.
    let database = if scaling.cluster { 0 } else { database };
    let target = match redis_error {
        Some(error) => Err(error),
        None => RedisTarget::of(&Scaling { database, ..scaling.clone() }),
    };
    target.map_err(|error| error.to_string())
}

/// The name for each separator, without duplicates.
fn names(name: impl Fn(char) -> Result<String, String>) -> Result<Vec<String>, String> {
    let mut names = SEPARATORS.into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
    names.dedup();
    Ok(names)
}

/// The separators in default prefixes: `-` in new apps, `_` in older ones.
const SEPARATORS: [char; 2] = ['-', '_'];

/// A prefix of names in Redis: the value of `variable`, by default the name of the app and `word`.
fn prefix(
    environment: &Environment,
    variable: &str,
    word: &str,
    separator: char,
) -> Result<String, String> {
    if let Some(prefix) = environment.text(variable) {
        return Ok(prefix.to_owned());
    }
    let name = environment.text("APP_NAME").unwrap_or("laravel");
    let name = slug(name, separator).ok_or_else(|| {
        format!("APP_NAME has letters that Laravel transliterates; set {variable}")
    })?;
    Ok(format!("{name}{separator}{word}{separator}"))
}

/// Laravel's `Str::slug()`; `None` for text that it would transliterate.
fn slug(text: &str, separator: char) -> Option<String> {
    if !text.is_ascii() {
        return None;
    }
    let mut slug = String::new();
    for c in text.replace('@', "-at-").chars() {
        match c {
            '-' | '_' | ' ' | '\t'..='\r' if !slug.ends_with(separator) => slug.push(separator),
            _ if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    Some(slug.trim_matches(separator).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart_key(file: &str) -> Result<Option<(String, u32, Vec<String>)>, String> {
        let environment = Environment::of_file(file);
        let scaling = Scaling { database: 3, ..Scaling::default() };
        let key = RestartKey::of(&environment, &scaling, None)?;
        Ok(key.map(|key| (key.target.to_string(), key.target.database, key.names)))
    }

    fn names(file: &str) -> Vec<String> {
        restart_key(file).unwrap().unwrap().2
    }

    #[test]
    fn names_follow_laravels_configuration_files() {
        assert_eq!(
            names("CACHE_STORE=redis"),
            [
                "laravel-database-laravel-cache-laravel:reverb:restart",
                "laravel_database_laravel_cache_laravel:reverb:restart",
            ]
        );
        assert_eq!(
            names("CACHE_DRIVER=redis\nAPP_NAME=\" My_App - @ home! \"\nREDIS_PREFIX=x:"),
            [
                "x:my-app-at-home-cache-laravel:reverb:restart",
                "x:my_app_at_home_cache_laravel:reverb:restart",
            ]
        );
        let given = "CACHE_STORE=redis\nREDIS_PREFIX=\nCACHE_PREFIX=c_\nAPP_NAME=Öl";
        assert_eq!(names(given), ["c_laravel:reverb:restart"]);
    }

    #[test]
    fn the_cache_has_its_own_database() {
        let place = |file: &str| {
            let (at, database, _) = restart_key(&format!("CACHE_STORE=redis\n{file}")).unwrap()?;
            Some((at, database))
        };
        let here = "127.0.0.1:6379".to_owned();
        assert_eq!(place(""), Some((here.clone(), 1)));
        assert_eq!(place("REDIS_CACHE_DB=5"), Some((here.clone(), 5)));
        assert_eq!(place("REDIS_CACHE_CONNECTION=default"), Some((here, 3)));
    }

    #[test]
    fn other_caches_are_not_in_redis() {
        assert_eq!(restart_key(""), Ok(None));
        assert_eq!(restart_key("CACHE_STORE=file\nCACHE_DRIVER=redis"), Ok(None));
    }

    #[test]
    fn an_unknown_location_is_explained_by_its_variable() {
        for (file, variable) in [
            ("APP_NAME=Öl", "set REDIS_PREFIX"),
            ("APP_NAME=Öl\nREDIS_PREFIX=o", "set CACHE_PREFIX"),
            ("REDIS_CACHE_CONNECTION=other", "REDIS_CACHE_CONNECTION"),
            ("REDIS_CACHE_DB=x", "REDIS_CACHE_DB"),
        ] {
            let refused = restart_key(&format!("CACHE_STORE=redis\n{file}")).unwrap_err();
            assert!(refused.contains(variable), "{refused}");
        }
    }
}
