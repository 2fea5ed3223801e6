//! Chooses the environment file as Laravel does: `.env.NAME` for the name in `--env` or in the
//! `APP_ENV` of the process, otherwise `.env`. The file is parsed in `dotenv`.

use std::path::{Path, PathBuf};

/// The environment file without `--env` and `APP_ENV`, if it exists.
pub const ENV_FILE: &str = ".env";

/// The chosen file.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// The path; the file may be missing unless `must_exist`.
    pub path: PathBuf,
    /// Whether a flag names this file, so that its absence is an error.
    pub must_exist: bool,
    /// The name in `--env`, if there is no file of that name, so that another file was chosen.
    pub missing: Option<String>,
}

/// Chooses the file in `dir`. `named` is `--env`: a path, or the name of an environment. `app_env` is
/// `APP_ENV` of the process; that of a file does not count, because the file is not read yet.
pub fn choose(dir: &Path, named: Option<&Path>, app_env: Option<&str>) -> Choice {
    let by_app_env = || {
        let of_environment = app_env.map(|name| dir.join(format!("{ENV_FILE}.{name}")));
        of_environment.filter(|path| path.is_file()).unwrap_or(dir.join(ENV_FILE))
    };
    let Some(named) = named else {
        return Choice { path: by_app_env(), must_exist: false, missing: None };
    };
    let path = dir.join(named);
    let name = named.to_str().filter(|name| is_name(name));
    let Some(name) = name else { return Choice { path, must_exist: true, missing: None } };
    let of_name = dir.join(format!("{ENV_FILE}.{name}"));
    match of_name.is_file() {
        true => Choice { path: of_name, must_exist: true, missing: None },
        false if path.is_file() => Choice { path, must_exist: true, missing: None },
        // Artisan accepts any name: without a file of its own an environment uses `.env`.
        false => Choice { path: by_app_env(), must_exist: true, missing: Some(name.to_owned()) },
    }
}

/// Chooses the file to write to in `dir`: as [`choose`], except that a name without a file stands for
/// a new file of this environment.
pub fn choose_to_write(dir: &Path, named: Option<&Path>, app_env: Option<&str>) -> PathBuf {
    let Choice { path, missing, .. } = choose(dir, named, app_env);
    missing.map_or(path, |name| dir.join(format!("{ENV_FILE}.{name}")))
}

/// Whether a text can be the name of an environment and is not a path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_that_of_laravel() {
        let dir = std::env::temp_dir().join(format!("reverb-env-file-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for name in [".env.staging", "other", ".env.a.b"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        for (named, app_env, chosen, must_exist, missing) in [
            (None, None, ".env", false, None),
            (None, Some("staging"), ".env.staging", false, None),
            (None, Some("production"), ".env", false, None),
            (None, Some("a.b"), ".env.a.b", false, None),
            (Some("staging"), Some("production"), ".env.staging", true, None),
            (Some("production"), Some("staging"), ".env.staging", true, Some("production")),
            (Some("production"), None, ".env", true, Some("production")),
            (Some("other"), None, "other", true, None),
            (Some(".env.staging"), None, ".env.staging", true, None),
            (Some("no.env"), Some("staging"), "no.env", true, None),
        ] {
            let expected =
                Choice { path: dir.join(chosen), must_exist, missing: missing.map(str::to_owned) };
            assert_eq!(choose(&dir, named.map(Path::new), app_env), expected, "{named:?}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
