//! The URLs of all webhooks, by id.

use super::endpoint::Endpoint;

/// The endpoints in the order of their ids. They change only with the configuration.
#[derive(Default)]
pub(super) struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// Adds an endpoint, whose id must be a new one.
    pub(super) fn insert(&mut self, endpoint: Endpoint) {
        if let Err(at) = self.find(endpoint.id) {
            self.0.insert(at, endpoint);
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Endpoint> {
        self.0.get(self.find(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Endpoint> {
        let at = self.find(id).ok()?;
        self.0.get_mut(at)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.0.iter()
    }

    /// All endpoints, for other ids.
    pub(super) fn take(&mut self) -> Vec<Endpoint> {
        std::mem::take(&mut self.0)
    }

    fn find(&self, id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |endpoint| endpoint.id)
    }
}
