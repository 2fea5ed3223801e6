//! Whether the broadcasting of a Laravel app knows Laravel Reverb: `config/broadcasting.php` of an app
//! that began with Laravel 10 or older has no such connection.

use std::fs;
use std::path::Path;

/// A finding if the app in this folder has no connection `reverb`. An app without the file has the
/// connections of the framework.
pub(super) fn missing_connection(folder: &Path) -> Option<String> {
    let file = folder.join(FILE);
    let text = fs::read_to_string(&file).ok()?;
    // Laravel 11 and later add the connections of the framework to those of the app.
    let framework = fs::read_to_string(folder.join(FRAMEWORK_FILE)).unwrap_or_default();
    // A file that includes another may have any connection.
    let is_known = text.contains("connections") && !text.contains("require");
    (is_known && !has_connection(&text) && !has_connection(&framework)).then(|| {
        format!(
            "{}: has no connection reverb, so Laravel cannot broadcast with BROADCAST_CONNECTION or \
             BROADCAST_DRIVER=reverb: run `php artisan reverb:install`, which adds it, or add it to \
             the connections: {CONNECTION}",
            file.display()
        )
    })
}

/// The configuration of broadcasting, relative to the folder of the app.
const FILE: &str = "config/broadcasting.php";
/// The same file of the framework.
const FRAMEWORK_FILE: &str = "vendor/laravel/framework/config/broadcasting.php";

/// What Laravel's own file has.
const CONNECTION: &str = "'reverb' => ['driver' => 'reverb', 'key' => env('REVERB_APP_KEY'), 'secret' => \
     env('REVERB_APP_SECRET'), 'app_id' => env('REVERB_APP_ID'), 'options' => ['host' => \
     env('REVERB_HOST'), 'port' => env('REVERB_PORT', 443), 'scheme' => env('REVERB_SCHEME', \
     'https'), 'useTLS' => env('REVERB_SCHEME', 'https') === 'https']]";

/// Whether a line of PHP that is no comment begins an entry `reverb`.
fn has_connection(php: &str) -> bool {
    let is_comment = |line: &&str| ["//", "#", "*", "/*"].iter().any(|sign| line.starts_with(sign));
    php.lines().map(str::trim_start).filter(|line| !is_comment(line)).any(|line| {
        ["'reverb'", "\"reverb\""].iter().any(|name| {
            let mut rest = line.split(name).skip(1);
            rest.any(|rest| rest.trim_start().starts_with("=>"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_unless_it_is_a_comment() {
        for (php, has) in [
            ("'connections' => [\n    'reverb' => [", true),
            ("'connections'=>[\"reverb\"=>['driver'", true),
            ("'default' => env('BROADCAST_CONNECTION', 'reverb'),", false),
            ("    // 'reverb' => [", false),
            ("    | Supported: \"reverb\", \"pusher\"", false),
            ("", false),
        ] {
            assert_eq!(has_connection(php), has, "{php}");
        }
    }
}
