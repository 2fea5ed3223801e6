//! The registration of a provider in `bootstrap/providers.php`, a PHP file that returns a list of
//! class names. Edits only what is certain to stay valid PHP; otherwise it says which line to change.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::commands::file::replace;
use crate::config::Error;

/// The list of providers in apps of Laravel 11 and later.
const LIST: &str = "bootstrap/providers.php";
/// The file with the list in older apps.
const OLDER_LIST: &str = "config/app.php";

/// Adds a class to the list. Returns what was done, or what is left to do; nothing if the class is
/// registered already.
///
/// # Errors
///
/// The file cannot be read or written.
pub(super) fn add(folder: &Path, class: &str) -> Result<String, Error> {
    let name = class.rsplit('\\').next().unwrap_or(class);
    let by_hand = |file| format!("{file}: add {class}::class to the list of providers\n");
    let Some(text) = read(folder, LIST)? else {
        let older = read(folder, OLDER_LIST)?.unwrap_or_default();
        let is_registered = older.contains(&format!("{name}::class"));
        return Ok(if is_registered { String::new() } else { by_hand(OLDER_LIST) });
    };
    if text.contains(&format!("{name}::class")) {
        return Ok(String::new());
    }
    match with_entry(&text, class) {
        None => Ok(by_hand(LIST)),
        Some(new) => {
            write(folder, &new)?;
            Ok(format!("{LIST}: added {class}\n"))
        }
    }
}

/// Removes a class from the list. Returns what was done, or what is left to do.
///
/// # Errors
///
/// The file cannot be read or written.
pub(super) fn remove(folder: &Path, class: &str) -> Result<String, Error> {
    let name = class.rsplit('\\').next().unwrap_or(class);
    for file in [LIST, OLDER_LIST] {
        let Some(text) = read(folder, file)? else { continue };
        if !text.contains(&format!("{name}::class")) {
            continue;
        }
        let lines = text.split_inclusive('\n');
        let is_entry = |line: &&str| line.trim() == format!("{class}::class,");
        let new: String = lines.filter(|line| !is_entry(line)).collect();
        if file == OLDER_LIST || new.contains(&format!("{name}::class")) {
            let file_and_class = format!("{file}: remove {class}::class");
            return Err(Error::whole(file_and_class, "then run this command again"));
        }
        write(folder, &new)?;
        return Ok(format!("{LIST}: removed {class}\n"));
    }
    Ok(String::new())
}

/// The text with another entry at the end of its list; `None` if its form is not known.
fn with_entry(text: &str, class: &str) -> Option<String> {
    let end = text.trim_end().strip_suffix("];")?.len();
    let before = text[..end].trim_end();
    let last_line = before.lines().last()?;
    // A comma after a comment would belong to the comment.
    let has_comment = ["//", "#", "*/"].iter().any(|sign| last_line.contains(sign));
    if has_comment || text.matches("return").count() != 1 || !text.contains("return [") {
        return None;
    }
    let comma = if before.ends_with([',', '[']) { "" } else { "," };
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    Some(format!("{before}{comma}{line_end}    {class}::class,{line_end}{}", &text[end..]))
}

fn read(folder: &Path, file: &str) -> Result<Option<String>, Error> {
    match fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::whole(folder.join(file).display(), error)),
    }
}

fn write(folder: &Path, text: &str) -> Result<(), Error> {
    let file = folder.join(LIST);
    replace(&file, true, text.as_bytes(), 0o644).map_err(|e| Error::whole(file.display(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_added_at_the_end_of_the_list() {
        for (old, new) in [
            (
                "<?php\n\nreturn [\n    A::class,\n];\n",
                "<?php\n\nreturn [\n    A::class,\n    P\\B::class,\n];\n",
            ),
            (
                "<?php\nreturn [\n    A::class\n];",
                "<?php\nreturn [\n    A::class,\n    P\\B::class,\n];",
            ),
            ("<?php return [A::class];\n", "<?php return [A::class,\n    P\\B::class,\n];\n"),
            ("<?php\nreturn [\n];\n", "<?php\nreturn [\n    P\\B::class,\n];\n"),
            ("<?php\r\nreturn [\r\n];\r\n", "<?php\r\nreturn [\r\n    P\\B::class,\r\n];\r\n"),
        ] {
            assert_eq!(with_entry(old, "P\\B").as_deref(), Some(new));
        }
    }

    #[test]
    fn a_file_of_another_form_is_not_edited() {
        for text in [
            "<?php\nreturn array(A::class);\n",
            "<?php\nreturn [\n    A::class // the first\n];\n",
            "<?php\nif (X) { return []; }\nreturn [\n];\n",
            "<?php\nreturn array_merge([A::class], $more);\n",
            "",
        ] {
            assert_eq!(with_entry(text, "P\\B"), None, "{text}");
        }
    }
}
