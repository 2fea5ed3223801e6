//! Values of PHP, as in a cached configuration: a value that is read, written and read again is
//! unchanged.

use serde_json::Value;

use crate::config::php::returned;

/// A PHP file that returns a value.
pub fn php(data: &[u8]) {
    let Some(value) = returned(&String::from_utf8_lossy(data)) else { return };
    let mut written = "<?php return ".to_owned();
    write(&value, &mut written);
    written.push(';');
    assert_eq!(returned(&written), Some(value), "{written:?}");
}

/// Writes a value as `var_export` does, with all keys as texts.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_text(text, out),
        Value::Object(entries) => {
            out.push_str("array (\n");
            for (key, value) in entries {
                write_text(key, out);
                out.push_str(" => ");
                write(value, out);
                out.push_str(",\n");
            }
            out.push(')');
        }
        // The parser returns no list; the others are written as in JSON.
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&text.replace('\\', "\\\\").replace('\'', "\\'"));
    out.push('\'');
}
