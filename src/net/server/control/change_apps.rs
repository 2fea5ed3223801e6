//! Applies changes of the folder of apps to the running hub, a few in each turn. The thread that reads
//! the folder is `net/apps_folder`.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::config::{App, AppsFiles, Config, apps_requests};
use crate::hub::{AppRequest, Now};
use crate::net::apps_folder::{AppsThread, CHANGES_MAX, Change, bad_files};
use crate::net::server::Server;

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
        self.apps.thread = Some(AppsThread::start(files, own, &self.waker)?);
        Ok(())
    }

    /// Applies changes of the folder.
    pub(in crate::net::server) fn change_apps(&mut self, now: Now) {
        self.ask_about_apps();
        self.apps.take_changes();
        for _ in 0..CHANGES_MAX {
            match self.apps.queue.pop_front() {
                None => break,
                Some(Change::Remove(id)) => self.remove_app(&id, now),
                Some(Change::Put(app, refused)) => self.put_app(*app, refused, now),
                Some(Change::Bad(bad)) => {
                    self.hub.set_bad_app_files(bad.len());
                    self.apps.bad = bad;
                }
                Some(Change::Answer(number, status, body)) => {
                    self.hub.answer_app_request(number, status, body);
                }
                // `Done` is the last change of a scan, so the queue is empty.
                Some(done @ Change::Done(_)) if !self.apps.late.is_empty() => {
                    self.apps.queue.extend(self.apps.late.drain(..));
                    self.apps.queue.push_back(done);
                }
                Some(Change::Done([added, changed, removed])) => {
                    log::info!(
                        "apps_dir: {added} added, {changed} changed, {removed} removed; {} in all",
                        self.configuration.current.apps.len()
                    );
                    self.free_places(now);
                    self.name_apps_to_pulse();
                }
            }
        }
    }

    /// Passes the requests about apps on to the thread that has the files.
    fn ask_about_apps(&mut self) {
        while let Some(AppRequest { number, action }) = self.hub.next_app_request() {
            match &self.apps.thread {
                Some(thread) => thread.ask(AppRequest { number, action }),
                None => {
                    let own = &self.configuration.current.apps;
                    let (status, body) = apps_requests::answer(action, own, None);
                    self.hub.answer_app_request(number, status, body);
                }
            }
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

    /// Puts an app after all others of the scan, because another still has its key. Apps that exchange
    /// their keys wait for each other, so the second time this one is taken away in between.
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
        self.apps.late.push(Change::Put(Box::new(app), refused + 1));
    }

    /// Frees the places of removed apps and webhooks, once there are many.
    fn free_places(&mut self, now: Now) {
        let unused_max = UNUSED_PLACES + self.configuration.current.apps.len();
        if self.hub.unused_places() > unused_max && !self.hub.is_draining() {
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
        let Some(thread) = &self.apps.thread else { return };
        thread.scan(own.clone());
        own.iter().for_each(|own| self.apps.set_own(own));
    }

    /// Tells Pulse which apps the counters belong to.
    fn name_apps_to_pulse(&mut self) {
        if let Some(pulse) = &mut self.integrations.pulse {
            pulse.set_apps(self.hub.app_ids());
        }
    }

    /// Notes that the list of apps was replaced.
    pub(in crate::net::server) fn apps_replaced(&mut self) {
        if self.apps.thread.is_some() {
            self.apps.set_places(&self.configuration.current.apps);
            self.hub.set_bad_app_files(self.apps.bad.len());
            self.name_apps_to_pulse();
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

/// Places of removed apps and webhooks that are kept in any case, so that a small server, whose apps
/// change all the time, does not free them all the time. Each takes about 2 KB.
const UNUSED_PLACES: usize = 1_000;
