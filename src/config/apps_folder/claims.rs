//! Which file has the app with an id, or with a key. No two apps have the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{App, Error, values};

/// An id or a key, which only one app can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    Id(String),
    Key(String),
}

/// The name of the file of an app; `None` for an app of the configuration itself.
type Holder = Option<Arc<str>>;

/// The ids and keys of all apps that are served.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<Claim, Holder>);

/// An app that cannot be served, because another has its id or key.
pub(super) struct Taken<'a> {
    app: &'a App,
    claim: Claim,
    by: &'a Holder,
}

/// Why a file is bad, and what must become free before it can be served.
pub(super) struct Conflict {
    pub claim: Claim,
    pub error: Error,
}

impl Claims {
    /// The id and the key of an app.
    pub(super) fn of(app: &App) -> [Claim; 2] {
        [Claim::Id(app.id.clone()), Claim::Key(app.key.clone())]
    }

    /// Whether no app has this id or key.
    pub(super) fn is_free(&self, claim: &Claim) -> bool {
        !self.0.contains_key(claim)
    }

    /// What keeps this app from being served.
    pub(super) fn conflict<'a>(&'a self, app: &'a App) -> Option<Taken<'a>> {
        Claims::of(app).into_iter().find_map(|claim| {
            let by = self.0.get(&claim)?;
            Some(Taken { app, claim, by })
        })
    }

    /// Enters the apps of a file. None of them is in conflict.
    pub(super) fn claim(&mut self, name: &str, apps: &[App]) {
        let holder = Some(Arc::from(name));
        for claim in apps.iter().flat_map(Claims::of) {
            self.0.insert(claim, holder.clone());
        }
    }

    /// Enters an app of the configuration itself.
    pub(super) fn claim_own(&mut self, id: &str, key: &str) {
        self.0.insert(Claim::Id(id.to_owned()), None);
        self.0.insert(Claim::Key(key.to_owned()), None);
    }

    /// Takes out an app of a file.
    pub(super) fn release(&mut self, app: &App) {
        self.release_own(&app.id, &app.key);
    }

    /// Takes out an app of the configuration itself.
    pub(super) fn release_own(&mut self, id: &str, key: &str) {
        self.0.remove(&Claim::Id(id.to_owned()));
        self.0.remove(&Claim::Key(key.to_owned()));
    }

    /// The files that have an app with this id or this key.
    pub(super) fn holders(&self, id: &str, key: &str) -> impl Iterator<Item = Arc<str>> {
        let claims = [Claim::Id(id.to_owned()), Claim::Key(key.to_owned())];
        claims.into_iter().filter_map(|claim| self.0.get(&claim).cloned().flatten())
    }
}

impl Taken<'_> {
    /// The conflict, if the app is one of the file with this name.
    pub(super) fn of_file(self, name: &str) -> Conflict {
        let by = self.by.as_deref().map(|name| name.escape_debug().to_string());
        let by = by.unwrap_or_else(|| "the configuration of the server".to_owned());
        let id = values::shown(&self.app.id);
        let (key, reason) = match &self.claim {
            Claim::Id(_) => ("app_id", format!("{id} is the same as in {by}")),
            Claim::Key(_) => ("key", format!("that of the app {id} is the same as in {by}")),
        };
        Conflict { claim: self.claim, error: Error::new(name.escape_debug(), key, reason) }
    }
}
