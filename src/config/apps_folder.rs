//! The folder of apps (`apps_dir`): what its files say, and what is served as they change.
//!
//! Each file is applied as a whole. A file is *bad* while its content cannot be served: then the apps
//! of its last good content stay. Reads no file: that is up to `apps_files`.

mod claims;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{App, Error, Findings, json, json_text};
use claims::{Claim, Claims, Conflict};

/// The longest file in bytes. An app has 300 bytes to 2 KB, so one file may have 10,000 of them; at
/// most so much is read for each change of a file.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// The most files. To look at 100,000 files takes 0.2 s, on a thread that does so every five seconds.
pub const FILES_MAX: usize = 100_000;

/// The apps of a file: one app, or a list of apps, each as in `apps.apps` of a `reverb.json`. `name`
/// is the name of the file in errors and findings.
///
/// # Errors
///
/// The first error, with the name and the key: invalid syntax, a repeated key, an invalid value, an
/// app without credentials, or two apps with the same id or key.
pub fn parse_file(name: &str, text: &str) -> Result<(Vec<App>, Findings), Error> {
    let mut findings = Findings::default();
    let apps = json::read_apps(name, text, &mut findings)?;
    Ok((apps, findings))
}

/// Reads what [`super::render::kept_apps`] has written.
///
/// # Errors
///
/// The text is another.
pub fn parse_kept(text: &str) -> Result<Vec<(String, Vec<App>)>, Error> {
    let source = "the apps that were handed over";
    let files = json_text::parse(source, text)?;
    let files = files.as_object().ok_or_else(|| Error::whole(source, "must be an object"))?;
    let apps = |text: String| parse_file(source, &text).map(|(apps, _)| apps);
    files.iter().map(|(name, list)| Ok((name.clone(), apps(list.to_string())?))).collect()
}

/// The error for a file with more than [`FILE_BYTES_MAX`].
pub fn too_long(source: impl fmt::Display) -> Error {
    let reason = format!("is longer than {FILE_BYTES_MAX} bytes: divide it into several files");
    Error::whole(source, reason)
}

/// Whether a file with this name has apps. Tools write to a file with another name, and rename it
/// when it is complete.
pub fn is_app_file(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(".json")
}

/// The text of a file, or why it cannot be read.
pub type Content = Result<String, Error>;

/// All files of the folder by name, with the content of those that have changed.
pub type Scan = BTreeMap<String, Option<Content>>;

/// What a scan has changed.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// The ids of apps that are gone. They come first, as another app may have the key of one.
    pub removed: Vec<String>,
    /// New and changed apps.
    pub put: Vec<App>,
    /// How many of these are new.
    pub added: usize,
    /// The errors of files that are bad, and were not, or for another reason; each with the number of
    /// apps that stay.
    pub bad: Vec<(Error, usize)>,
    /// The names of files that are good again.
    pub good: Vec<String>,
    /// What is odd in the files that have changed.
    pub findings: Findings,
}

/// The files of the folder, and the apps that are served.
#[derive(Debug, Default)]
pub struct AppsFolder {
    files: BTreeMap<String, File>,
    claims: Claims,
    /// The ids and keys of the apps in the configuration itself.
    own: Vec<(String, String)>,
    /// Those that count from the next scan on.
    next_own: Option<Vec<(String, String)>>,
    /// The files that were bad in an earlier process; empty after the first scan.
    were_bad: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct File {
    /// The apps that are served: those of the content, or, if the file is bad, those of its last good
    /// content.
    served: Vec<App>,
    /// The apps of the content, if it is valid but conflicts with another file.
    waiting: Option<Vec<App>>,
    /// Why the file is bad.
    error: Option<Error>,
}

/// What a scan in progress has touched, as it was before.
#[derive(Default)]
struct Before {
    apps: BTreeMap<String, App>,
    own: BTreeSet<String>,
    errors: BTreeMap<String, Option<Error>>,
    /// The files whose apps may be others than before.
    withdrawn: BTreeSet<String>,
}

impl AppsFolder {
    /// An empty folder beside the apps of the configuration itself.
    pub fn new(own: &[App]) -> Self {
        let mut folder = AppsFolder::default();
        folder.set_own(own);
        folder
    }

    /// Sets the apps of the configuration itself, from the next scan on. They win over any file.
    pub fn set_own(&mut self, own: &[App]) {
        self.next_own = Some(own.iter().map(|app| (app.id.clone(), app.key.clone())).collect());
    }

    /// Sets the last good apps of a file that was bad, before the first scan. In that scan all files
    /// are new, and the others win over this one.
    pub fn keep(&mut self, name: &str, apps: Vec<App>) {
        self.were_bad.insert(name.to_owned());
        self.serve_rest(name, apps);
    }

    /// The apps that are served.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.files.values().flat_map(|file| &file.served)
    }

    /// The number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Why files are bad, with the apps of each that are still served. By name.
    pub fn bad(&self) -> impl Iterator<Item = (&str, &Error, &[App])> {
        let files = self.files.iter();
        files.filter_map(|(name, file)| Some((&**name, file.error.as_ref()?, &*file.served)))
    }

    /// Applies what has changed in the folder.
    ///
    /// If two files have an app with the same id or key, files that have not changed win over changed
    /// ones, and then the first one by name. The others are bad until the conflict is over.
    pub fn scan(&mut self, scan: Scan) -> Changes {
        let mut changes = Changes::default();
        let mut before = Before::default();
        let gone: Vec<String> =
            self.files.keys().filter(|name| !scan.contains_key(*name)).cloned().collect();
        for name in gone {
            self.withdraw(&name, &mut before);
            self.files.remove(&name);
        }
        let mut new = Vec::new();
        for (name, content) in scan {
            let Some(content) = content else {
                self.files.entry(name).or_default();
                continue;
            };
            let file = self.files.entry(name.clone()).or_default();
            before.errors.entry(name.clone()).or_insert_with(|| file.error.clone());
            file.waiting = None;
            let shown = name.escape_debug().to_string();
            match content.and_then(|text| parse_file(&shown, &text)) {
                Ok((apps, findings)) => {
                    changes.findings.extend(findings);
                    let old = self.withdraw(&name, &mut before);
                    new.push((name, apps, old));
                }
                Err(error) => file.error = Some(error),
            }
        }
        self.apply_own(&mut before);
        let were_bad = std::mem::take(&mut self.were_bad);
        new.sort_by_key(|(name, ..)| were_bad.contains(name));
        let mut losers = Vec::new();
        for (name, apps, old) in new {
            if let Err((apps, _)) = self.serve_all(&name, apps) {
                losers.push((name, apps, old));
            }
        }
        for (name, apps, old) in losers {
            self.serve_rest(&name, old);
            self.files.entry(name).or_default().waiting = Some(apps);
        }
        self.try_waiting(&mut before);
        self.compare(before, &mut changes);
        changes
    }

    /// Takes away what a file serves.
    fn withdraw(&mut self, name: &str, before: &mut Before) -> Vec<App> {
        let Some(file) = self.files.get_mut(name) else { return Vec::new() };
        before.errors.entry(name.to_owned()).or_insert_with(|| file.error.clone());
        before.withdrawn.insert(name.to_owned());
        let served = std::mem::take(&mut file.served);
        for app in &served {
            self.claims.release(app);
            before.apps.entry(app.id.clone()).or_insert_with(|| app.clone());
        }
        served
    }

    /// Applies [`AppsFolder::set_own`].
    fn apply_own(&mut self, before: &mut Before) {
        let Some(own) = self.next_own.take() else { return };
        for (id, key) in std::mem::replace(&mut self.own, own.clone()) {
            self.claims.release_own(&id, &key);
            before.own.insert(id);
        }
        let holders = own.iter().flat_map(|(id, key)| self.claims.holders(id, key));
        let holders: BTreeSet<String> = holders.map(|name| name.to_string()).collect();
        let displaced: Vec<_> =
            holders.into_iter().map(|name| (self.withdraw(&name, before), name)).collect();
        own.iter().for_each(|(id, key)| self.claims.claim_own(id, key));
        for (apps, name) in displaced {
            self.serve_rest(&name, apps.clone());
            let file = self.files.entry(name).or_default();
            if file.error.is_none() {
                file.waiting = Some(apps);
            }
        }
    }

    /// Serves the content of a file, if nothing is in conflict with it.
    fn serve_all(&mut self, name: &str, apps: Vec<App>) -> Result<(), (Vec<App>, Claim)> {
        let file = self.files.entry(name.to_owned()).or_default();
        if let Some(conflict) = apps.iter().find_map(|app| self.claims.conflict(app)) {
            let Conflict { claim, error } = conflict.of_file(name);
            file.error = Some(error);
            return Err((apps, claim));
        }
        self.claims.claim(name, &apps);
        *file = File { served: apps, waiting: None, error: None };
        Ok(())
    }

    /// Serves the apps that are not in conflict with others.
    fn serve_rest(&mut self, name: &str, mut apps: Vec<App>) {
        apps.retain(|app| self.claims.conflict(app).is_none());
        self.claims.claim(name, &apps);
        self.files.entry(name.to_owned()).or_default().served = apps;
    }

    /// Serves the content of files whose conflict is over.
    fn try_waiting(&mut self, before: &mut Before) {
        let is_waiting = |(_, file): &(&String, &File)| file.waiting.is_some();
        let waiting = self.files.iter().filter(is_waiting);
        let mut to_try: BTreeSet<String> = waiting.map(|(name, _)| name.clone()).collect();
        // Which files each id or key keeps waiting. A file is tried again when that one is free.
        let mut blocked: BTreeMap<Claim, BTreeSet<String>> = BTreeMap::new();
        while let Some(name) = to_try.pop_first() {
            let old = self.withdraw(&name, before);
            let waiting = self.files.get_mut(&name).and_then(|file| file.waiting.take());
            match self.serve_all(&name, waiting.unwrap_or_default()) {
                Ok(()) => {
                    let freed =
                        old.iter().flat_map(Claims::of).filter(|it| self.claims.is_free(it));
                    to_try.extend(freed.filter_map(|claim| blocked.remove(&claim)).flatten());
                }
                Err((apps, claim)) => {
                    self.serve_rest(&name, old);
                    self.files.entry(name.clone()).or_default().waiting = Some(apps);
                    blocked.entry(claim).or_default().insert(name);
                }
            }
        }
    }

    /// Finds out what has changed.
    fn compare(&self, before: Before, changes: &mut Changes) {
        let old = before.apps.keys().chain(&before.own);
        let gone: BTreeSet<&String> =
            old.filter(|id| self.claims.is_free(&Claim::Id((*id).clone()))).collect();
        changes.removed.extend(gone.into_iter().cloned());
        for (name, error) in before.errors {
            let Some(file) = self.files.get(&name) else { continue };
            let served = file.served.iter().filter(|_| before.withdrawn.contains(&name));
            for app in served {
                let old = before.apps.get(&app.id);
                if old != Some(app) {
                    changes.added += usize::from(old.is_none() && !before.own.contains(&app.id));
                    changes.put.push(app.clone());
                }
            }
            match &file.error {
                Some(now) if error.as_ref() != Some(now) => {
                    changes.bad.push((now.clone(), file.served.len()));
                }
                None if error.is_some() => changes.good.push(name),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
