//! The files of the Laravel app, as far as they affect the server: whether git would take secrets,
//! and the application provider in `config/reverb.php`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::report::Report;
use crate::config::{Loaded, json};

/// Reports what is wrong with the files.
pub(super) fn check(report: &mut Report<'_>, loaded: &Loaded) {
    if let Some(text) = loaded.config_file.as_deref().and_then(exposure) {
        report.wrong(&text);
    }
    let file = loaded.app_folder.join("config/reverb.php");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let is_known = |line: &String| line.ends_with(json::CUSTOM_PROVIDER);
    // Artisan hands over the apps of any provider.
    if loaded.artisan.is_none()
        && let Some(name) = provider(&text).filter(|name| *name != "config")
        && !loaded.findings.warnings.iter().any(is_known)
    {
        report.wrong(&format!(
            "{}: the provider is {}: {}",
            file.display(),
            name.escape_debug(),
            json::CUSTOM_PROVIDER
        ));
    }
}

/// A finding if the file has secrets and git would commit it. None without git.
pub(in crate::commands) fn exposure(file: &Path) -> Option<String> {
    let tree: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    let name = file.file_name()?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    (has_secret(&tree) && is_taken_by_git(folder.unwrap_or(Path::new(".")), name.as_ref())).then(
        || {
            let (file, name) = (file.display(), name.display());
            format!(
                "{file}: has secrets, and git would commit it: add {name} to .gitignore; if it was \
                 committed before, `git rm --cached {name}` and change the secrets"
            )
        },
    )
}

/// Whether a file is in the working tree of a repository that does not ignore it.
fn is_taken_by_git(folder: &Path, name: &Path) -> bool {
    let mut git = Command::new("git");
    git.args(["check-ignore", "--quiet", "--"]).arg(name).current_dir(folder);
    let status = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // 0 is ignored, 1 is not ignored, and 128 is no repository.
    status.is_ok_and(|status| status.code() == Some(1))
}

fn has_secret(value: &Value) -> bool {
    const SECRETS: [&str; 5] = ["secret", "password", "passphrase", "url", "console_token"];
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| {
            let is_secret = SECRETS.contains(&key.as_str());
            is_secret && value.as_str().is_some_and(|text| !text.is_empty()) || has_secret(value)
        }),
        Value::Array(list) => list.iter().any(has_secret),
        _ => false,
    }
}

/// The value of `'provider'` in a PHP file, if it is a plain text.
fn provider(php: &str) -> Option<&str> {
    let (_, rest) = php.split_once("'provider'").or_else(|| php.split_once("\"provider\""))?;
    let rest = rest.trim_start().strip_prefix("=>")?.trim_start();
    let quote = rest.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    rest[1..].split_once(quote).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_found_if_it_is_a_text() {
        for (text, name) in [
            ("'apps' => ['provider' => 'config',", Some("config")),
            ("\"provider\"=>\"database\"", Some("database")),
            ("'provider' => env('X', 'config')", None),
            ("", None),
        ] {
            assert_eq!(provider(text), name, "{text}");
        }
    }
}
