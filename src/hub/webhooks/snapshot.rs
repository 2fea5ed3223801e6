//! Saves and restores webhooks for a reload: the batches that wait, the changes that were not
//! reported, the pauses of failed URLs, and the counters. Apps and URLs have their names in the
//! state, as the configuration may be another one.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Webhooks;
use super::changes::{Change, Reported, Subject};
use super::endpoint::{Batch, Endpoint};
use super::hook::{EventState, Tag};
use crate::proto::snapshot::{Codec, DecodeError, DecodeResult};
use crate::proto::spool::{DeliveryId, SpoolRecord, SpooledState, SpooledSubject};

/// A batch as it is saved.
#[derive(Default)]
struct SavedBatch {
    app: String,
    delivery: DeliveryId,
    expires_ms: u64,
    body: Vec<u8>,
    events: u32,
    has_failed: bool,
    /// The indexes of its tags in the list of all tags.
    tags: Vec<u32>,
}

/// An endpoint as it is saved.
#[derive(Default)]
struct SavedEndpoint {
    url: String,
    id: u32,
    failures: u32,
    retry_ms: Option<u64>,
    batches: Vec<SavedBatch>,
}

/// All tags of the batches: several batches may share one.
#[derive(Default)]
struct SavedTags {
    list: Vec<SpooledState>,
    /// The index of each in the list, by address.
    indexes: BTreeMap<usize, u64>,
}

fn snapshot_change(
    c: &mut Codec,
    (subject, change): &mut (SpooledSubject, Change),
) -> DecodeResult {
    subject.snapshot(c)?;
    change.snapshot(c)
}

impl Webhooks {
    /// Encodes the webhooks. Open batches are completed before, so that their left-out messages are
    /// counted in a body.
    pub(in crate::hub) fn save(&mut self, c: &mut Codec) -> DecodeResult {
        for at in 0..self.hooks.len() as u32 {
            self.complete_batch(at);
        }
        DeliveryId(self.next_delivery).snapshot(c)?;
        c.int(&mut self.next_endpoint)?;
        c.number(&mut self.changes.rejected)?;
        c.count(self.apps.len())?;
        for app in &mut self.apps {
            c.text(&mut app.id)?;
            app.counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
        }
        let mut tags = SavedTags::default();
        let endpoints = self.endpoints.iter();
        let mut endpoints: Vec<SavedEndpoint> =
            endpoints.map(|endpoint| self.saved_endpoint(endpoint, &mut tags)).collect();
        c.list(&mut tags.list, |c, state| state.snapshot(c))?;
        c.list(&mut endpoints, |c, endpoint| endpoint.snapshot(c))?;
        let changes = self.changes.by_check();
        let mut changes: Vec<(SpooledSubject, Change)> = changes
            .filter_map(|(subject, change)| Some((self.saved_subject(subject)?, *change)))
            .collect();
        c.list(&mut changes, snapshot_change)
    }

    /// Decodes webhooks of a hub with the same or another configuration. Requests that were under
    /// way are sent again, with the same delivery id.
    pub(in crate::hub) fn restore(&mut self, c: &mut Codec) -> DecodeResult {
        let mut next_delivery = DeliveryId::default();
        next_delivery.snapshot(c)?;
        self.next_delivery = next_delivery.0;
        let mut next_endpoint = 0;
        c.int(&mut next_endpoint)?;
        c.number(&mut self.changes.rejected)?;
        for _ in 0..c.count(0)? {
            let (mut id, mut counters) = (String::new(), super::WebhookCounters::default());
            c.text(&mut id)?;
            counters.numbers().into_iter().try_for_each(|number| c.number(number))?;
            if let Some(app) = self.app_of(&id) {
                self.apps[app as usize].counters = counters;
            }
        }
        let mut tags: Vec<SpooledState> = Vec::new();
        c.list(&mut tags, |c, state| state.snapshot(c))?;
        let mut endpoints: Vec<SavedEndpoint> = Vec::new();
        c.list(&mut endpoints, |c, endpoint| endpoint.snapshot(c))?;
        self.rename_endpoints(&endpoints, next_endpoint);
        let mut changes: Vec<(SpooledSubject, Change)> = Vec::new();
        c.list(&mut changes, snapshot_change)?;
        for (saved, change) in changes {
            if let Some(subject) = self.subject_of(saved) {
                self.changes.restore(subject, change);
            }
        }
        let tag = |SpooledState { subject, is_present }| {
            Some(Tag::new(EventState::new(self.subject_of(subject)?, is_present)))
        };
        let tags: Vec<Option<Tag>> = tags.into_iter().map(tag).collect();
        endpoints.into_iter().for_each(|endpoint| self.restore_endpoint(endpoint, &tags));
        tags.into_iter().flatten().for_each(|tag| self.end_tag(tag));
        Ok(())
    }

    /// Continues the requests that are under way, after a change of the configuration.
    pub(in crate::hub) fn keep_requests(&mut self, before: &mut Webhooks) {
        for endpoint in before.endpoints.iter() {
            if let Some(began_ms) = endpoint.under_way_ms
                && let Some(same) = self.endpoints.get_mut(endpoint.id)
                && same.queue.front().map(|batch| batch.delivery)
                    == endpoint.queue.front().map(|batch| batch.delivery)
            {
                same.under_way_ms = Some(began_ms);
            }
        }
        if let (Some(spool), Some(before)) = (&mut self.spool, &mut before.spool) {
            before.append(spool);
            std::mem::swap(spool, before);
        }
    }

    /// Gives endpoints the ids of the saved ones with the same URL, and the others new ids.
    fn rename_endpoints(&mut self, saved: &[SavedEndpoint], next_endpoint: u32) {
        self.next_endpoint = next_endpoint;
        let saved: BTreeMap<&str, u32> = saved.iter().map(|it| (&*it.url, it.id)).collect();
        let mut names = BTreeMap::new();
        for mut endpoint in self.endpoints.take() {
            let known = saved.get(&*endpoint.url.text()).copied();
            let id = known.unwrap_or_else(|| {
                self.next_endpoint += 1;
                self.next_endpoint - 1
            });
            names.insert(endpoint.id, id);
            endpoint.id = id;
            self.endpoints.insert(endpoint);
        }
        for hook in &mut self.hooks {
            hook.endpoint = names.get(&hook.endpoint).copied().unwrap_or(hook.endpoint);
        }
    }

    fn restore_endpoint(&mut self, saved: SavedEndpoint, tags: &[Option<Tag>]) {
        if let Some(endpoint) = self.endpoints.get_mut(saved.id) {
            (endpoint.failures, endpoint.retry_ms) = (saved.failures, saved.retry_ms);
            if let Some(retry_ms) = saved.retry_ms {
                self.retries.insert(retry_ms, saved.id as usize);
            }
        }
        for batch in saved.batches {
            self.restore_saved_batch(saved.id, &saved.url, batch, tags);
        }
    }

    fn restore_saved_batch(&mut self, id: u32, url: &str, saved: SavedBatch, tags: &[Option<Tag>]) {
        let hook = self.hook_of(&saved.app, id);
        let Some((hook, app)) = hook.map(|at| (at, self.hooks[at as usize].app)) else {
            log::warn!(
                "webhooks: {} events for {} are dropped, because app {:?} has no webhook with this \
                 URL any more",
                saved.events,
                url.split('?').next().unwrap_or_default(),
                saved.app
            );
            if let Some(spool) = &mut self.spool {
                spool.push_back(SpoolRecord::Ended(saved.delivery));
            }
            return;
        };
        let tags = saved.tags.iter().filter_map(|at| tags.get(*at as usize)?.clone());
        let batch = Batch {
            hook,
            delivery: saved.delivery,
            expires_ms: saved.expires_ms,
            body: saved.body.into(),
            events: saved.events,
            tags: tags.collect(),
            has_failed: saved.has_failed,
        };
        self.apps[app as usize].waiting += u64::from(batch.events);
        self.queue(id, batch);
    }

    fn saved_endpoint(&self, endpoint: &Endpoint, tags: &mut SavedTags) -> SavedEndpoint {
        let batch = |(n, batch): (usize, &Batch)| SavedBatch {
            app: self.apps[self.hooks[batch.hook as usize].app as usize].id.to_string(),
            delivery: batch.delivery,
            expires_ms: batch.expires_ms,
            body: batch.body.to_vec(),
            events: batch.events,
            // Only the first is under way, and is sent again.
            has_failed: batch.has_failed || (n == 0 && endpoint.under_way_ms.is_some()),
            tags: batch.tags.iter().filter_map(|tag| self.saved_tag(tag, tags)).collect(),
        };
        SavedEndpoint {
            url: endpoint.url.text(),
            id: endpoint.id,
            failures: endpoint.failures,
            retry_ms: endpoint.retry_ms,
            batches: endpoint.queue.iter().enumerate().map(batch).collect(),
        }
    }

    fn saved_tag(&self, tag: &Tag, tags: &mut SavedTags) -> Option<u32> {
        let address = Rc::as_ptr(tag) as usize;
        if let Some(index) = tags.indexes.get(&address) {
            return Some(*index as u32);
        }
        let EventState { subject, is_present, .. } = &**tag;
        let index = tags.list.len() as u64;
        let (subject, is_present) = (self.saved_subject(subject)?, *is_present);
        tags.list.push(SpooledState { subject, is_present });
        tags.indexes.insert(address, index);
        Some(index as u32)
    }

    /// `None` for a subject of an app that was removed before.
    pub(super) fn saved_subject(&self, subject: &Subject) -> Option<SpooledSubject> {
        Some(SpooledSubject {
            app: self.apps.get(subject.app as usize)?.id.to_string(),
            channel: subject.channel.to_string(),
            user: subject.user.as_ref().map(ToString::to_string),
        })
    }

    pub(super) fn subject_of(&self, saved: SpooledSubject) -> Option<Subject> {
        let app = self.app_of(&saved.app)?;
        Some(Subject { app, channel: saved.channel.into(), user: saved.user.map(Rc::from) })
    }

    fn app_of(&self, id: &str) -> Option<u32> {
        self.by_app.get(id).copied()
    }

    /// The webhook of an app that has an endpoint.
    pub(super) fn hook_of(&self, app: &str, endpoint: u32) -> Option<u32> {
        let app = self.apps.get(self.app_of(app)? as usize)?;
        app.hooks.clone().find(|at| self.hooks[*at as usize].endpoint == endpoint)
    }
}

impl SavedEndpoint {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.url)?;
        c.int(&mut self.id)?;
        c.int(&mut self.failures)?;
        c.option(&mut self.retry_ms, Codec::number)?;
        c.list(&mut self.batches, |c, batch| batch.snapshot(c))
    }
}

impl SavedBatch {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        c.text(&mut self.app)?;
        self.delivery.snapshot(c)?;
        c.number(&mut self.expires_ms)?;
        c.bytes(&mut self.body)?;
        c.int(&mut self.events)?;
        c.flag(&mut self.has_failed)?;
        c.list(&mut self.tags, Codec::int)
    }
}

impl Default for Change {
    fn default() -> Self {
        Change::new(Reported::Absent, false)
    }
}

impl Change {
    fn snapshot(&mut self, c: &mut Codec) -> DecodeResult {
        const REPORTED: [Reported; 4] =
            [Reported::Absent, Reported::Present, Reported::Unknown, Reported::Returned];
        let mut reported = self.reported as u8;
        c.int(&mut reported)?;
        self.reported = *REPORTED.get(usize::from(reported)).ok_or(DecodeError)?;
        c.flag(&mut self.is_present)?;
        c.int(&mut self.queued)?;
        c.flag(&mut self.queued_state)?;
        c.number(&mut self.due_ms)?;
        c.number(&mut self.check_ms)?;
        c.flag(&mut self.is_foreign)?;
        c.int(&mut self.checks)
    }
}
