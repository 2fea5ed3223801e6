//! What the records of a spool mean for a server that starts after a crash: the batches that wait
//! are sent, and what was reported as present is compared with the clients that come back.

use super::Webhooks;
use super::changes::{Change, Reported};
use super::delivery::EXPIRED;
use super::endpoint::{BATCH_LIFE_MS, Batch};
use crate::config::Url;
use crate::proto::spool::{self, SpoolRecord, SpooledBatch, SpooledState};

impl Webhooks {
    /// Continues from these records.
    pub(super) fn restore_records(&mut self, records: Vec<SpoolRecord>) {
        let (mut waiting, mut states) = (0_u64, 0_u64);
        for record in spool::compact(records) {
            match record {
                SpoolRecord::Queued(batch) => {
                    waiting += 1;
                    self.restore_batch(batch);
                }
                SpoolRecord::Told(state) => {
                    states += 1;
                    self.restore_state(state);
                }
                SpoolRecord::Ended(_) => {}
            }
        }
        if waiting > 0 || states > 0 {
            log::info!(
                "webhooks: {waiting} requests wait in the spool; {states} channels and users are \
                 reported as gone unless they return within {} seconds",
                RETURN_MS / 1_000
            );
        }
    }

    fn restore_batch(&mut self, spooled: SpooledBatch) {
        let SpooledBatch { delivery, app, url, at_unix_ms, body } = spooled;
        let endpoint = Url::parse(&url).ok().and_then(|url| self.endpoints.of_url(&url));
        let found = endpoint.and_then(|endpoint| Some((self.hook_of(&app, endpoint)?, endpoint)));
        let Some((hook, endpoint)) = found else {
            log::warn!(
                "webhooks: a request in the spool is dropped, because app {app:?} has no webhook \
                 with its URL any more"
            );
            return self.spool.iter_mut().for_each(|it| it.push_back(SpoolRecord::Ended(delivery)));
        };
        let age_ms = self.unix_ms().saturating_sub(at_unix_ms);
        let expires_ms = self.now.ms + BATCH_LIFE_MS.saturating_sub(age_ms);
        let events = count_events(&body);
        let app = self.hooks[hook as usize].app as usize;
        self.apps[app].waiting += u64::from(events);
        let tags = Vec::new();
        let batch = Batch { hook, delivery, expires_ms, body, events, tags, has_failed: true };
        match age_ms < BATCH_LIFE_MS {
            true => self.queue(endpoint, batch),
            false => self.drop_batch(endpoint, batch, EXPIRED),
        }
    }

    fn restore_state(&mut self, spooled: SpooledState) {
        let Some(subject) = self.subject_of(spooled.subject) else { return };
        let mut change = Change::new(Reported::Present, false);
        change.due_ms = self.now.ms + RETURN_MS;
        self.changes.insert(subject, change, self.now.ms);
    }
}

/// The number of events in a body that this server has written.
fn count_events(body: &[u8]) -> u32 {
    let body = std::str::from_utf8(body).ok().and_then(crate::proto::message::object);
    let events = body.and_then(|body| body.get("events"));
    events.and_then(|raw| crate::proto::message::array(raw.get())).map_or(0, |all| all.len() as u32)
}

/// How long the clients of a server that has crashed have to come back.
const RETURN_MS: u64 = 60_000;
