//! Variables without effect, because `reverb.json` has another value. Precedence is in `load`.

use super::app_draft::AppDraft;
use super::env::Environment;
use super::settings::{APP, SERVER};
use super::variables::limit_variable;
use super::{App, Config, Limits, values};

/// One line for each variable of the server that the file overrides with another value. `config` is
/// the result of both; `file` is the name of the file.
pub fn of_server(environment: &Environment, file: &str, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for setting in SERVER.iter().filter(|setting| !setting.key.is_empty()) {
        let Some(text) = environment.get(setting.variable) else { continue };
        let mut as_variable = config.clone();
        // An invalid value is reported elsewhere.
        if setting.set_text(&mut as_variable, text).is_ok() && as_variable != *config {
            lines.push(line(environment, setting.variable, file, setting.key));
        }
    }
    for limit in Limits::NAMES {
        let variable = limit_variable(limit);
        let Some(text) = environment.get(&variable) else { continue };
        let value = values::whole(text, &(0..=u64::MAX)).ok();
        if value.is_some() && value != config.limits.value(limit) {
            lines.push(line(environment, &variable, file, &format!("limits.{limit}")));
        }
    }
    lines
}

/// One line for each variable of the app that has no effect, because the file has apps. A variable
/// is compared with the app of the same id, or with the only app.
pub fn of_app(environment: &Environment, file: &str, apps: &[App]) -> Vec<String> {
    let id = environment.get("REVERB_APP_ID");
    let app = match (id, apps) {
        (None, [app]) => Some(app),
        _ => apps.iter().find(|app| Some(app.id.as_str()) == id),
    };
    let mut lines = Vec::new();
    for setting in APP.iter().filter(|setting| !setting.variable.is_empty()) {
        let Some(text) = environment.get(setting.variable) else { continue };
        let has_effect = app.is_some_and(|app| {
            let mut draft = AppDraft::of(app);
            setting.set_text(&mut draft, text).is_ok() && draft.finish() == *app
        });
        if has_effect {
            continue;
        }
        let source = environment.source(setting.variable);
        let why = match app {
            Some(app) if !setting.key.is_empty() => {
                format!("another {} for the app {}", setting.key, app.id)
            }
            None if setting.variable == "REVERB_APP_ID" => "no app with this id".to_owned(),
            _ => "apps, and their settings are never read from variables".to_owned(),
        };
        lines.push(format!(
            "{source}: {}: has no effect, because {file} has {why}",
            setting.variable
        ));
    }
    lines
}

fn line(environment: &Environment, variable: &str, file: &str, key: &str) -> String {
    let source = environment.source(variable);
    format!(
        "{source}: {variable}: has no effect, because {file} has another value ({key}) and takes \
         precedence; change {file}, or remove the key"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_in_another_spelling_are_no_finding() {
        let mut config = Config::default();
        config.server.path = "/ws".into();
        config.limits.set("connections", 5).unwrap();
        let lines = |text: &str| of_server(&Environment::of_file(text), "f", &config);
        let same = "REVERB_SERVER_PATH=ws/\nREVERB_SERVER_PORT=\"8080\"\nREDIS_HOST=127.0.0.1\n\
                    REVERB_LIMIT_CONNECTIONS=5\nREVERB_PORT=443\nSSL_CERT_FILE=/ca\nREDIS_PORT=x";
        assert_eq!(lines(same), [""; 0]);
        assert_eq!(
            lines("REVERB_SERVER_PORT=9000\nREVERB_LIMIT_CONNECTIONS=6"),
            [
                ".env:1: REVERB_SERVER_PORT: has no effect, because f has another value (port) and \
                 takes precedence; change f, or remove the key",
                ".env:2: REVERB_LIMIT_CONNECTIONS: has no effect, because f has another value \
                 (limits.connections) and takes precedence; change f, or remove the key",
            ]
        );
    }

    #[test]
    fn the_app_of_the_environment_is_compared_with_the_app_of_its_id() {
        let apps = [App::new("1", "k", "hush"), App::new("2", "l", "hush")];
        let lines = |text: &str| of_app(&Environment::of_file(text), "f", &apps);
        let same = "REVERB_APP_ID=2\nREVERB_APP_KEY=l\nREVERB_APP_SECRET=hush\n\
                    REVERB_APP_PING_INTERVAL=60\nREVERB_APP_RATE_LIMIT_MAX_ATTEMPTS=5\n";
        assert_eq!(lines(same), [""; 0]);
        assert_eq!(
            lines("REVERB_APP_ID=2\nREVERB_APP_SECRET=pst\nREVERB_APP_MAX_CONNECTIONS=5"),
            [
                ".env:2: REVERB_APP_SECRET: has no effect, because f has another secret for the app 2",
                ".env:3: REVERB_APP_MAX_CONNECTIONS: has no effect, because f has another \
                 max_connections for the app 2",
            ]
        );
        assert_eq!(
            lines("REVERB_APP_ID=3\nREVERB_APP_PING_INTERVAL=60"),
            [
                ".env:1: REVERB_APP_ID: has no effect, because f has no app with this id",
                ".env:2: REVERB_APP_PING_INTERVAL: has no effect, because f has apps, and their \
                 settings are never read from variables",
            ]
        );
        assert_eq!(of_app(&Environment::of_file("REVERB_APP_KEY=k"), "f", &apps[..1]), [""; 0]);
    }
}
