//! The configuration: `.env` and `reverb.json`. A configuration that is read, written and read again
//! is unchanged, and no text causes anything other than an error.

use std::path::Path;

use crate::config::env::Environment;
use crate::config::render::render;
use crate::config::{Artisan, Config, Findings, dotenv, json, load};

/// A `.env` file, or a `reverb.json` where the first byte is odd.
pub fn config(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    let read = if kind & 1 == 0 { of_environment(text) } else { of_json(text) };
    if let Some(config) = read {
        assert_eq!(of_json(render(&config).as_bytes()), Some(config));
    }
}

fn of_json(text: &[u8]) -> Option<Config> {
    let text = std::str::from_utf8(text).ok()?;
    // A hand-over is an object of its own in the same file.
    let _ = Artisan::read(Path::new("reverb.json"), text);
    let mut config = Config::default();
    config.apps = json::read("reverb.json", text, &mut config, &mut Findings::default()).ok()?;
    Some(config)
}

fn of_environment(text: &[u8]) -> Option<Config> {
    if let Ok(text) = std::str::from_utf8(text) {
        of_dotenv(text);
    }
    let mut environment = Environment::new([]).expect("an empty environment is valid");
    environment.add_file(Path::new(".env"), text).ok()?;
    let mut config = load::from_environment(&environment).ok()?;
    // `reverb.json` cannot contain an app without an id.
    config.apps.retain(|app| !app.id.is_empty());
    Some(config)
}

/// Both kinds of line ends mean the same, and values survive a round trip in double quotes.
fn of_dotenv(text: &str) {
    let parsed = dotenv::parse(text, |_| None);
    if !text.contains('\r') {
        let other = dotenv::parse(&text.replace('\n', "\r\n"), |_| None);
        assert_eq!(values(&other), values(&parsed));
    }
    let Some(entries) = values(&parsed) else { return };
    let lengths = || entries.iter().map(|(_, value)| value.len());
    assert!(lengths().all(|len| len <= dotenv::VALUE_BYTES_MAX));
    assert!(lengths().sum::<usize>() <= dotenv::VALUES_BYTES_MAX);
    let mut written = String::new();
    for (name, value) in &entries {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        let quoted = quoted.replace('\r', "\\r");
        written.push_str(&format!("export {name} = \"{quoted}\" # {name}\n"));
    }
    assert_eq!(values(&dotenv::parse(&written, |_| None)), Some(entries), "{written:?}");
}

type Parsed = Result<std::collections::BTreeMap<String, dotenv::Entry>, dotenv::SyntaxError>;

fn values(parsed: &Parsed) -> Option<Vec<(String, String)>> {
    let entries = parsed.as_ref().ok()?;
    Some(entries.iter().map(|(name, entry)| (name.clone(), entry.value.clone())).collect())
}
