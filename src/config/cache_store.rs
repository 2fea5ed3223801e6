//! Whether `php artisan reverb:restart` reaches the server: it writes to the default cache store of
//! the app, and the server watches two kinds of store. With the provider in the app it writes to the
//! files as well, which the server always watches. The places of the stores are in `laravel`.

use std::fs;
use std::path::Path;

use super::artisan::PROVIDER;
use super::env::Environment;
use super::values::shown;

/// A finding if the default store of the app is not watched, and the file of the provider is not in
/// the app. `cached` is the store of the cached configuration, which Laravel uses instead of the
/// variables.
pub fn unwatched(app: &Path, environment: &Environment, cached: Option<&str>) -> Option<String> {
    if app.join(PROVIDER).is_file() {
        return None;
    }
    let variables = ["CACHE_STORE", "CACHE_DRIVER"];
    let variable = variables.into_iter().find_map(|name| Some((name, environment.get(name)?)));
    let text = fs::read_to_string(app.join(FILE)).unwrap_or_default();
    let default = || default(&text).map(|store| ("the default store of config/cache.php", store));
    let given = cached.map(|store| ("cache.default", store)).or(variable);
    let (name, store) = given.or_else(default)?;
    (!["redis", "file"].contains(&store)).then(|| {
        format!(
            "{name} is {}, a cache that the server does not watch, so `php artisan reverb:restart` \
             and `php artisan reload` do not reach it without the provider of `reverb install`: \
             install it, use `reverb restart`, or set CACHE_STORE to file or redis",
            shown(store)
        )
    })
}

/// The configuration of the caches, relative to the folder of the app.
const FILE: &str = "config/cache.php";

/// The store in `'default' => env('CACHE_STORE', 'database')`.
fn default(php: &str) -> Option<&str> {
    let (_, rest) = php.split_once("'default'")?;
    let rest = rest.trim_start().strip_prefix("=>")?.trim_start().strip_prefix("env('CACHE_")?;
    let (_, rest) = rest.split_once("',")?;
    rest.trim_start().strip_prefix('\'')?.split_once('\'').map(|(store, _)| store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_are_not_watched_are_findings() {
        let finding = |file: &str, cached| {
            let environment = Environment::of_file(file);
            unwatched(Path::new("/nonexistent"), &environment, cached)
        };
        for watched in ["", "CACHE_STORE=redis", "CACHE_STORE=file", "CACHE_DRIVER=file"] {
            assert_eq!(finding(watched, None), None, "{watched}");
        }
        for store in ["database", "failover", "memcached"] {
            let text = finding(&format!("CACHE_STORE={store}"), None).unwrap();
            assert!(text.starts_with(&format!("CACHE_STORE is \"{store}\"")), "{text}");
        }
        assert_eq!(finding("CACHE_STORE=database", Some("redis")), None);
        let text = finding("CACHE_STORE=redis", Some("database")).unwrap();
        assert!(text.starts_with("cache.default is \"database\""), "{text}");
    }

    #[test]
    fn the_default_of_laravel_is_found() {
        for (php, store) in [
            ("return [\n    'default' => env('CACHE_STORE', 'database'),", Some("database")),
            ("'default'=>env('CACHE_DRIVER','file')", Some("file")),
            ("'default' => 'redis'", None),
            ("'default' => env('OTHER', 'database')", None),
            ("", None),
        ] {
            assert_eq!(default(php), store, "{php}");
        }
    }
}
