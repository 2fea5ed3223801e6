//! The URLs of all webhooks, by id.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::endpoint::Endpoint;
use crate::config::Url;

/// The endpoints. They change only with the configuration.
#[derive(Default)]
pub(super) struct Endpoints {
    /// In the order of their ids.
    by_id: Vec<Endpoint>,
    ids: BTreeMap<Rc<Url>, u32>,
}

impl Endpoints {
    /// Adds an endpoint, whose id must be a new one.
    pub(super) fn insert(&mut self, endpoint: Endpoint) {
        if let Err(at) = self.find(endpoint.id) {
            self.ids.insert(Rc::clone(&endpoint.url), endpoint.id);
            self.by_id.insert(at, endpoint);
        }
    }

    /// The id of the endpoint of a URL.
    pub(super) fn of_url(&self, url: &Url) -> Option<u32> {
        self.ids.get(url).copied()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Endpoint> {
        self.by_id.get(self.find(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Endpoint> {
        let at = self.find(id).ok()?;
        self.by_id.get_mut(at)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.by_id.iter()
    }

    /// All endpoints, for other ids.
    pub(super) fn take(&mut self) -> Vec<Endpoint> {
        std::mem::take(self).by_id
    }

    fn find(&self, id: u32) -> Result<usize, usize> {
        self.by_id.binary_search_by_key(&id, |endpoint| endpoint.id)
    }
}
