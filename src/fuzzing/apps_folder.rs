//! The folder of apps: files that change, by a script. What the changes add up to is what the folder
//! serves; ids and keys are unique; and a file is bad only while it must be.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::App;
use crate::config::apps_folder::{AppsFolder, Scan, parse_file};
use crate::config::render::{app_file, apps_file};

/// Each command is two bytes: which file or app, and what happens.
pub fn apps_folder(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok((apps, _)) = parse_file("a.json", text)
    {
        assert_eq!(parse_file("a.json", &apps_file(&apps)).map(|read| read.0), Ok(apps));
    }
    let mut world = World::default();
    for command in data.chunks_exact(2).take(COMMANDS_MAX) {
        world.command(command[0], command[1]);
    }
    world.scan();
    world.resolve();
}

#[derive(Default)]
struct World {
    folder: AppsFolder,
    own: Vec<App>,
    /// The text of each file, with its apps if it is valid.
    files: BTreeMap<String, (String, Option<Vec<App>>)>,
    changed: BTreeSet<String>,
    /// What an owner that applies the changes serves.
    served: BTreeMap<String, App>,
}

impl World {
    fn command(&mut self, at: u8, what: u8) {
        let name = format!("{}.json", at % 4);
        match what {
            0..=7 => _ = self.files.remove(&name),
            8..=15 => self.write(&name, "{".to_owned(), None),
            16..=19 => {
                self.own = apps(at).into_iter().take(2).collect();
                self.folder.set_own(&self.own);
            }
            20..=23 => {
                let Some(file) = self.files.remove(&name) else { return };
                let name = format!("{}.json", what % 4);
                self.changed.insert(name.clone());
                self.files.insert(name, file);
            }
            24..=63 => self.scan(),
            what => {
                let apps = apps(what);
                let text = match &*apps {
                    [app] => app_file(app),
                    apps => apps_file(apps),
                };
                self.write(&name, text, Some(apps));
            }
        }
    }

    fn write(&mut self, name: &str, text: String, apps: Option<Vec<App>>) {
        self.files.insert(name.to_owned(), (text, apps));
        self.changed.insert(name.to_owned());
    }

    fn scan(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        let content = |name, text: &String| changed.contains(name).then(|| Ok(text.clone()));
        let files = self.files.iter();
        let scan: Scan = files.map(|(name, it)| (name.clone(), content(name, &it.0))).collect();
        let changes = self.folder.scan(scan);
        let own = |id: &str| self.own.iter().any(|app| app.id == id);
        for id in &changes.removed {
            assert!(!own(id), "an app of the configuration is removed");
            self.served.remove(id);
        }
        self.served.retain(|id, _| !own(id));
        for app in changes.put {
            let old = self.served.insert(app.id.clone(), app.clone());
            assert_ne!(old, Some(app), "a change that is none");
        }
        let served: BTreeMap<_, _> =
            self.folder.apps().map(|app| (app.id.clone(), app.clone())).collect();
        assert_eq!(served, self.served);
        self.check();
    }

    /// Checks what the folder serves against what is in its files.
    fn check(&self) {
        let all = || self.folder.apps().chain(&self.own);
        let ids: BTreeSet<_> = all().map(|app| &app.id).collect();
        let keys: BTreeSet<_> = all().map(|app| &app.key).collect();
        assert_eq!((ids.len(), keys.len()), (all().count(), all().count()));
        let bad: BTreeMap<_, _> =
            self.folder.bad().map(|(name, _, served)| (name, served)).collect();
        for (name, (_, apps)) in &self.files {
            match (bad.get(&**name), apps) {
                (None, None) => panic!("{name} is good, but is no JSON"),
                (None, Some(apps)) => {
                    let is_served = |app: &App| self.served.get(&app.id) == Some(app);
                    assert!(apps.iter().all(is_served), "{name} is good, but is not served");
                }
                (Some(_), None) => {}
                (Some(still), Some(apps)) => {
                    let others = all().filter(|app| !still.iter().any(|it| it.id == app.id));
                    let is_in_conflict = others
                        .flat_map(|other| apps.iter().map(move |app| (app, other)))
                        .any(|(app, other)| app.id == other.id || app.key == other.key);
                    assert!(is_in_conflict, "{name} is bad without a conflict");
                }
            }
        }
        assert!(bad.keys().all(|name| self.files.contains_key(*name)));
    }

    /// Without conflicts and without bad files, the folder serves exactly what the files say.
    fn resolve(&mut self) {
        self.own.clear();
        self.folder.set_own(&[]);
        let names: Vec<String> = self.files.keys().cloned().collect();
        for (at, name) in names.iter().enumerate() {
            let app = App::new(format!("only{at}"), format!("only{at}"), "s");
            self.write(name, app_file(&app), Some(vec![app]));
        }
        self.scan();
        assert_eq!(self.folder.bad().count(), 0);
        assert_eq!(self.served.len(), names.len());
    }
}

/// Some apps by their bits: few ids and keys, so that they meet often.
fn apps(bits: u8) -> Vec<App> {
    let has = |bit: u8| bits >> bit & 1 == 1;
    let mut apps: Vec<App> = Vec::new();
    for id in (0..3_u8).filter(|id| has(*id)) {
        let key = if has(3) { (id + 1) % 4 } else { id };
        let secret = if has(4) { "one" } else { "two" };
        apps.push(App::new(id.to_string(), format!("key{key}"), secret));
    }
    if has(5) {
        apps.push(App::new("3", if has(3) { "key0" } else { "key3" }, "three"));
    }
    apps
}

/// The most commands of a script.
const COMMANDS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    #[test]
    fn random_scripts_end_as_the_files_say() {
        let mut state = 1_u64;
        for _ in 0..500 {
            let script: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .take(60)
            .collect();
            super::apps_folder(&script);
        }
    }
}
