//! The changes of the folder of apps that wait for a turn of the event loop, and what is needed to
//! apply them. That is done in `control/change_apps`.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::config::App;
use crate::net::apps_folder::{AppsThread, Update};

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
    pub queue: VecDeque<Change>,
    /// The bad files, each with the ids of its apps that stay.
    pub bad: Vec<(String, Vec<String>)>,
}

/// A step of an update.
pub(super) enum Change {
    Remove(String),
    /// An app, and how often it was refused because another one has its key.
    Put(Box<App>, u8),
    /// All changes of an update are made: the numbers of added, changed and removed apps.
    Done([usize; 3]),
}

impl Apps {
    /// Whether changes wait for the next turn.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
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

    pub(super) fn add(&mut self, update: Update) {
        let Update { removed, put, added, bad } = update;
        self.bad = bad;
        if removed.is_empty() && put.is_empty() {
            return;
        }
        let numbers = [added, put.len() - added, removed.len()];
        self.queue.extend(removed.into_iter().map(Change::Remove));
        self.queue.extend(put.into_iter().map(|app| Change::Put(Box::new(app), 0)));
        self.queue.push_back(Change::Done(numbers));
    }
}
