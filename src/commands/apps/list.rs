//! `reverb apps list`: all apps of the folder and of the configuration, as a table or as JSON.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::configured::Configured;

use crate::commands::Failure;
use crate::config::apps_editor::Contents;
use crate::config::{App, render};

/// An app and where it comes from.
struct Row<'a> {
    app: &'a App,
    is_in_folder: bool,
    source: String,
}

/// Prints all apps, sorted by id, and what is wrong with the files.
pub(super) fn run(
    configured: &Configured,
    secrets: bool,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let folder = configured.folder();
    let contents = match &folder {
        Some(folder) => folder.read()?,
        None => Contents::default(),
    };
    let source = configured.source();
    let own = configured.apps().iter();
    let own = own.map(|app| Row { app, is_in_folder: false, source: source.clone() });
    let in_folder = contents.files.iter().flat_map(|file| {
        let name = file.path.file_name().unwrap_or_default().display().to_string();
        file.apps.iter().map(move |app| Row { app, is_in_folder: true, source: name.clone() })
    });
    let mut rows: Vec<Row<'_>> = own.chain(in_folder).collect();
    rows.sort_by(|a, b| a.app.id.cmp(&b.app.id));
    let mut problems: Vec<String> = contents.problems.iter().map(ToString::to_string).collect();
    problems.extend(taken_by_configuration(&rows));
    let text = if as_json {
        let folder = folder.map(|folder| folder.to_string());
        let apps: Vec<Value> = rows.iter().map(|row| object(row, secrets)).collect();
        let notes = [contents.findings.warnings, contents.findings.notes].concat();
        let list = json!({"folder": folder, "apps": apps, "problems": problems, "notes": notes});
        format!("{list}\n")
    } else {
        let mut text = table(&rows, secrets);
        problems.iter().for_each(|problem| text.push_str(&format!("WRONG  {problem}\n")));
        let findings = contents.findings.warnings.iter().chain(&contents.findings.notes);
        findings.for_each(|finding| text.push_str(&format!("note   {finding}\n")));
        text
    };
    out.write_all(text.as_bytes()).map_err(Failure::at_work)?;
    match problems.len() {
        0 => Ok(()),
        1 => Err(Failure::at_work("the folder has 1 problem")),
        count => Err(Failure::at_work(format!("the folder has {count} problems"))),
    }
}

/// The apps of the folder that have the id or the key of an app of the configuration.
fn taken_by_configuration(rows: &[Row<'_>]) -> Vec<String> {
    let own: Vec<&Row<'_>> = rows.iter().filter(|row| !row.is_in_folder).collect();
    let in_folder = rows.iter().filter(|row| row.is_in_folder);
    let taken = in_folder.filter_map(|row| {
        let id = own.iter().find(|other| other.app.id == row.app.id).map(|it| ("app_id", it));
        let key = || own.iter().find(|other| other.app.key == row.app.key).map(|it| ("key", it));
        let (what, other) = id.or_else(key)?;
        let App { id, .. } = row.app;
        let (here, there) = (&row.source, &other.source);
        Some(format!("{here}: {what}: app {id} has the {what} of an app in {there}"))
    });
    taken.collect()
}

/// The settings of an app that differ from the defaults. Webhooks may have secrets in their URL and
/// their headers.
fn settings(app: &App, secrets: bool) -> Map<String, Value> {
    let defaults = render::app_object(&App::new(&app.id, &app.key, &app.secret));
    let mut settings = render::app_object(app);
    settings.retain(|key, value| defaults.get(key) != Some(value));
    for key in ["app_id", "key", "secret", "secrets", "enabled"] {
        settings.remove(key);
    }
    if !secrets {
        settings.remove("webhooks");
    }
    settings
}

fn object(row: &Row<'_>, secrets: bool) -> Value {
    let app = row.app;
    let from = if row.is_in_folder { "folder" } else { "configuration" };
    let mut object = json!({
        "id": app.id,
        "key": app.key,
        "enabled": app.enabled,
        "from": from,
        "file": row.source,
        "secret_count": 1 + u32::from(app.previous_secret.is_some()),
        "webhook_count": app.webhooks.len(),
        "settings": settings(app, secrets),
    });
    if secrets {
        object["secrets"] = all_secrets(app).into();
    }
    object
}

/// The secret, and the previous one.
fn all_secrets(app: &App) -> Vec<&str> {
    [Some(&*app.secret), app.previous_secret.as_deref()].into_iter().flatten().collect()
}

fn table(rows: &[Row<'_>], secrets: bool) -> String {
    if rows.is_empty() {
        return "There are no apps; `reverb apps add` makes one.\n".to_owned();
    }
    let mut lines = vec![vec!["ID", "KEY", "ENABLED", "FROM"]];
    if secrets {
        lines[0].push("SECRETS");
    }
    lines[0].push("SETTINGS");
    let mut lines: Vec<Vec<String>> =
        lines.into_iter().map(|line| line.into_iter().map(str::to_owned).collect()).collect();
    for Row { app, source, .. } in rows {
        let enabled = if app.enabled { "yes" } else { "no" };
        let source = source.escape_debug().to_string();
        let mut line = vec![app.id.clone(), app.key.clone(), enabled.to_owned(), source];
        if secrets {
            line.push(all_secrets(app).join(","));
        }
        line.push(summary(app));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<String> = cells.collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The settings in one line.
fn summary(app: &App) -> String {
    let mut parts = Vec::new();
    if app.previous_secret.is_some() {
        parts.push("two secrets".to_owned());
    }
    match app.webhooks.len() {
        0 => {}
        1 => parts.push("1 webhook".to_owned()),
        count => parts.push(format!("{count} webhooks")),
    }
    for (key, value) in settings(app, false) {
        match value {
            Value::String(text) => parts.push(format!("{key}={}", text.escape_debug())),
            value => parts.push(format!("{key}={value}")),
        }
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}
