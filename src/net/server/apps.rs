//! The changes of the folder of apps that wait for a turn of the event loop, and what is needed to
//! apply them. That is done in `control/change_apps`.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::config::App;
use crate::net::apps_folder::{AppsThread, Change};

/// The apps that come from the folder, and the changes that are not applied yet.
#[derive(Default)]
pub(super) struct Apps {
    /// Reads the folder; `None` if there is none.
    pub thread: Option<AppsThread>,
    /// The ids and keys of the apps of the configuration itself, which no file can change.
    pub own_ids: HashSet<String>,
    own_keys: HashSet<String>,
    /// The index of each app in the configuration in use, by id.
    pub places: HashMap<String, usize>,
    /// The changes that are taken from the thread and not applied yet.
    pub queue: VecDeque<Change>,
    /// Apps whose key another app still had, for the end of the scan.
    pub late: Vec<Change>,
    /// Whether the thread may have sent more.
    pub has_more: bool,
    /// The bad files, each with the ids of its apps that stay.
    pub bad: Vec<(String, Vec<String>)>,
}

impl Apps {
    /// Whether changes wait for the next turn.
    pub(super) fn has_work(&self) -> bool {
        self.has_more || !self.queue.is_empty()
    }

    /// Sets which apps are those of the configuration itself.
    pub(super) fn set_own(&mut self, own: &[App]) {
        self.own_ids = own.iter().map(|app| app.id.clone()).collect();
        self.own_keys = own.iter().map(|app| app.key.clone()).collect();
    }

    pub(super) fn set_places(&mut self, apps: &[App]) {
        self.places = (0..).zip(apps).map(|(at, app)| (app.id.clone(), at)).collect();
    }

    pub(super) fn is_own(&self, app: &App) -> bool {
        self.own_ids.contains(&app.id) || self.own_keys.contains(&app.key)
    }

    /// Takes the next changes of the thread, once the previous ones are applied.
    pub(super) fn take_changes(&mut self) {
        if self.queue.is_empty()
            && let Some(thread) = &self.thread
        {
            let changes = thread.next_changes();
            self.has_more = changes.is_some();
            self.queue.extend(changes.into_iter().flatten());
        }
    }
}
