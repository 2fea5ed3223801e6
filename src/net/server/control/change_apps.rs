//! Applies changes of the folder of apps to the running hub, a few in each turn. The thread that reads
//! the folder is `net/apps_folder`.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::config::{App, AppsFiles, Config};
use crate::hub::Now;
use crate::net::apps_folder::{AppsThread, bad_files};
use crate::net::server::Server;
use crate::net::server::apps::Change;

impl Server {
    /// Makes this server follow the folder of apps. Its apps are already part of the configuration.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn follow_apps(&mut self, files: AppsFiles) -> io::Result<()> {
        let apps = &self.configuration.current.apps;
        let of_files: HashSet<&str> = files.folder().apps().map(|app| &*app.id).collect();
        let own: Vec<App> =
            apps.iter().filter(|app| !of_files.contains(&*app.id)).cloned().collect();
        self.apps.set_own(&own);
        self.apps.set_places(apps);
        self.apps.bad = bad_files(&files);
        self.hub.set_bad_app_files(self.apps.bad.len());
        self.apps.thread = Some(AppsThread::start(files, &self.waker)?);
        Ok(())
    }

    /// Applies changes of the folder.
    pub(in crate::net::server) fn change_apps(&mut self, now: Now) {
        while let Some(update) = self.apps.thread.as_ref().and_then(AppsThread::next_update) {
            self.hub.set_bad_app_files(update.bad.len());
            self.apps.add(update);
        }
        if self.apps.queue.is_empty() {
            return;
        }
        for _ in 0..CHANGES_PER_TURN {
            match self.apps.queue.pop_front() {
                None => break,
                Some(Change::Remove(id)) => self.remove_app(&id, now),
                Some(Change::Put(app, refused)) => self.put_app(*app, refused, now),
                Some(Change::Done([added, changed, removed])) => log::info!(
                    "apps_dir: {added} added, {changed} changed, {removed} removed; {} in all",
                    self.configuration.current.apps.len()
                ),
            }
        }
        if self.apps.queue.is_empty() {
            self.free_places(now);
        }
    }

    fn remove_app(&mut self, id: &str, now: Now) {
        if self.apps.own_ids.contains(id) {
            return;
        }
        let apps = &mut self.configuration.current.apps;
        if let Some(at) = self.apps.places.remove(id) {
            apps.swap_remove(at);
            if let Some(moved) = apps.get(at) {
                self.apps.places.insert(moved.id.clone(), at);
            }
        }
        self.hub.remove_app(id, now);
    }

    fn put_app(&mut self, app: App, refused: u8, now: Now) {
        // The configuration was read again since.
        if self.apps.is_own(&app) {
            return;
        }
        if !self.hub.put_app(app.clone(), now) {
            return self.put_later(app, refused, now);
        }
        self.webhooks.app_added(&app, &self.configuration.current, now);
        let apps = &mut self.configuration.current.apps;
        match self.apps.places.get(&app.id).and_then(|at| apps.get_mut(*at)) {
            Some(place) => *place = app,
            None => {
                self.apps.places.insert(app.id.clone(), apps.len());
                apps.push(app);
            }
        }
    }

    /// Puts an app after the others, because another still has its key. Apps that exchange their keys
    /// wait for each other, so the second time this one is taken away in between.
    fn put_later(&mut self, app: App, refused: u8, now: Now) {
        match refused {
            0 => {}
            1 => self.remove_app(&app.id, now),
            _ => {
                return log::error!(
                    "apps_dir: the app {} was not added, because another has its key; please report \
                     this bug",
                    app.id
                );
            }
        }
        self.apps.queue.push_back(Change::Put(Box::new(app), refused + 1));
    }

    /// Frees the places of removed apps and webhooks, once there are many.
    fn free_places(&mut self, now: Now) {
        let unused_max = UNUSED_PLACES + self.configuration.current.apps.len();
        // Pulse knows the apps by their places.
        let is_busy = self.hub.is_draining() || self.integrations.pulse.is_some();
        if self.hub.unused_places() > unused_max && !is_busy {
            let config = self.configuration.current.clone();
            self.apply(config, now);
        }
    }

    /// Adds the apps of the folder to a configuration that was read again. Returns the apps of the
    /// configuration itself.
    ///
    /// An app that is no longer part of the configuration stays until the thread has looked for it in
    /// the folder, where it may have moved: its clients stay connected.
    pub(in crate::net::server) fn add_apps_of_folder(
        &self,
        config: &mut Config,
    ) -> Option<Vec<App>> {
        self.apps.thread.as_ref()?;
        let own = std::mem::take(&mut config.apps);
        let keys: HashSet<&str> = own.iter().map(|app| &*app.key).collect();
        let mut left: HashMap<&str, &App> = own.iter().map(|app| (&*app.id, app)).collect();
        for app in &self.configuration.current.apps {
            match left.remove(&*app.id) {
                Some(own) => config.apps.push(own.clone()),
                None if keys.contains(&*app.key) => {}
                None => config.apps.push(app.clone()),
            }
        }
        config.apps.extend(own.iter().filter(|app| left.contains_key(&*app.id)).cloned());
        Some(own)
    }

    /// Makes the thread read the folder at once. `own` are the apps of the configuration itself, if
    /// they have been applied.
    pub(in crate::net::server) fn scan_apps(&mut self, own: Option<Vec<App>>) {
        if let Some(own) = own.as_ref().filter(|_| self.apps.thread.is_some()) {
            self.apps.set_own(own);
        }
        self.apps.thread.iter().for_each(|thread| thread.scan(own.clone()));
    }

    /// Notes that the list of apps was replaced.
    pub(in crate::net::server) fn apps_replaced(&mut self) {
        if self.apps.thread.is_some() {
            self.apps.set_places(&self.configuration.current.apps);
            self.hub.set_bad_app_files(self.apps.bad.len());
        }
    }

    /// The apps of each bad file, for the process that takes over: it cannot read them.
    pub(in crate::net::server) fn apps_of_bad_files(&self) -> Vec<(String, Vec<App>)> {
        let apps = &self.configuration.current.apps;
        let app = |id: &String| apps.get(*self.apps.places.get(id)?).cloned();
        let of_file = |ids: &[String]| ids.iter().filter_map(app).collect();
        self.apps.bad.iter().map(|(name, ids)| (name.clone(), of_file(ids))).collect()
    }
}

/// The most changes applied in one turn. Each takes some ten microseconds, so a turn gets less than a
/// millisecond longer.
const CHANGES_PER_TURN: usize = 64;
/// Places of removed apps and webhooks that are kept in any case, so that a small server, whose apps
/// change all the time, does not free them all the time. Each takes about 2 KB.
const UNUSED_PLACES: usize = 1_000;
