//! Sends the requests of the hub's webhooks. Each endpoint has a connection of its own, which is
//! kept between requests. The hub decides what is sent, when, and what an outcome means; the HTTP
//! client is in `http_client`, the file that survives a crash in `spool`.

mod slots;
mod spool;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::slice;
use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Waker};

use super::error::BindError;
use super::http_client::{Context, Names, Request, RequestError};
use super::socket::Socket;
use super::tls::WebConnector;
use super::token::{self, RESOLVED};
use crate::config::{App, Config, Error};
use crate::hub::{Hub, Now, WebhookOutcome, WebhookRequest};
use crate::proto::http::ResponseReader;
use crate::proto::spool::SpoolRecord;
use slots::Slots;
use spool::Spool;

/// The connections to webhooks, and the spool.
pub(super) struct Webhooks {
    names: Names,
    /// Begins TLS sessions; `None` until a URL needs it.
    tls: Option<WebConnector>,
    /// Whether the authorities could not be loaded when an app was added.
    has_no_authorities: bool,
    refuses_private: bool,
    /// The most requests under way and idle connections together.
    connections_max: usize,
    slots: Slots,
    /// The connections to continue, each at most once.
    ready: VecDeque<usize>,
    /// Whether the hub may have more requests than the last turn began.
    has_more: bool,
    spool: Option<Spool>,
}

impl Webhooks {
    /// Loads the trusted authorities, if a URL needs them. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// The authorities cannot be loaded, or the spool cannot be used.
    pub(super) fn load(config: &Config, waker: &Arc<Waker>, now: Now) -> Result<Self, BindError> {
        let tls = load_tls(&config.apps, config, now).map_err(BindError::Webhooks)?;
        if let Some(folder) = &config.server.webhook_spool {
            spool::check(folder).map_err(|error| unusable(folder, &error))?;
        }
        Ok(Webhooks {
            names: Names::new(waker),
            tls,
            has_no_authorities: false,
            refuses_private: !config.server.webhook_private_addresses,
            connections_max: config.limits.webhook_connections as usize,
            slots: Slots::default(),
            ready: VecDeque::new(),
            has_more: false,
            spool: None,
        })
    }

    /// Opens the spool, if one is configured, and returns the records of an earlier process.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or another process uses it.
    pub(super) fn open_spool(&mut self, config: &Config) -> Result<Vec<SpoolRecord>, BindError> {
        let Some(folder) = &config.server.webhook_spool else { return Ok(Vec::new()) };
        let (spool, records) = Spool::open(folder).map_err(|error| unusable(folder, &error))?;
        self.spool = Some(spool);
        Ok(records)
    }

    /// Records what the poller reported.
    pub(super) fn on_event(&mut self, event: &Event) {
        if event.token() == RESOLVED {
            // A wake does not say for which connection. Few wait at a time.
            self.slots.queue_resolving(&mut self.ready);
        } else if let Some(key) = token::webhook_key(event.token())
            && self.slots.on_event(key, event)
        {
            self.ready.push_back(key);
        }
    }

    /// Continues the requests under way and begins those that the hub has, within the limits of one
    /// turn; then hands the hub's records to the spool.
    pub(super) fn turn(
        &mut self,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        registry: &Registry,
        now: Now,
    ) {
        self.slots.queue_due(&mut self.ready, now);
        for _ in 0..STEPS_PER_TURN {
            let Some(key) = self.ready.pop_front() else { break };
            self.advance(key, hub, buffer, registry, now);
        }
        self.has_more = false;
        let mut begun = 0;
        while self.slots.requests() < self.connections_max {
            if begun == STEPS_PER_TURN {
                self.has_more = true;
                break;
            }
            let Some(request) = hub.next_webhook(now) else { break };
            begun += 1;
            let key = self.begin(request, now);
            self.advance(key, hub, buffer, registry, now);
        }
        self.spool_records(hub);
    }

    /// Writes the hub's records to the file, and waits until that is done. For the end of the
    /// process: it is as short as the disk allows, and at most a second.
    pub(super) fn finish_spool(&mut self, hub: &mut Hub<Socket>) {
        self.spool_records(hub);
        self.spool.iter_mut().for_each(Spool::finish);
    }

    /// When to call [`Webhooks::turn`] next at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.slots.next_ms()
    }

    /// Whether there is work that the poller will not report.
    pub(super) fn has_work(&self) -> bool {
        self.has_more || !self.ready.is_empty()
    }

    /// The descriptors that the connections and the spool may use, for an open-file limit.
    pub(super) fn descriptors(config: &Config) -> u64 {
        let urls = config.apps.iter().map(|app| app.webhooks.len() as u64).sum::<u64>();
        let may_be_added = if config.server.apps_dir.is_some() { URLS_OF_FOLDER } else { 0 };
        let urls = urls.max(may_be_added);
        if urls == 0 {
            return 0;
        }
        urls.min(config.limits.webhook_connections.into()) + OTHER_FILES
    }

    /// Applies a new configuration: its limits, and for new connections the authorities and whether
    /// private addresses are refused. If the authorities cannot be loaded, the old ones stay.
    pub(super) fn reconfigure(&mut self, config: &Config, now: Now) {
        self.connections_max = config.limits.webhook_connections as usize;
        self.refuses_private = !config.server.webhook_private_addresses;
        if self.refuses_private {
            // The kept connections may be to private addresses.
            while self.slots.len() > self.slots.requests() {
                self.slots.close_oldest_idle();
            }
        }
        let has_none = config.apps.iter().all(|app| app.webhooks.is_empty());
        if has_none && config.server.apps_dir.is_none() {
            // The ids of endpoints begin again.
            self.slots = Slots::default();
            self.ready.clear();
        }
        self.has_no_authorities = false;
        match load_tls(&config.apps, config, now) {
            Ok(Some(tls)) => self.tls = Some(tls),
            Ok(None) => {}
            Err(error) => log::error!(
                "cannot load the trusted certificates for webhooks: {error}; the old ones stay in \
                 use"
            ),
        }
    }

    /// Loads the trusted authorities, if the app that was added is the first that needs them.
    pub(super) fn app_added(&mut self, app: &App, config: &Config, now: Now) {
        if self.tls.is_some() || self.has_no_authorities {
            return;
        }
        match load_tls(slice::from_ref(app), config, now) {
            Ok(tls) => self.tls = tls,
            Err(error) => {
                self.has_no_authorities = true;
                log::error!(
                    "cannot load the trusted certificates for webhooks: {error}; webhooks to https \
                     fail until they can be loaded: send SIGHUP then"
                );
            }
        }
    }

    /// Begins a request. Returns the key of its connection.
    fn begin(&mut self, request: WebhookRequest, now: Now) -> usize {
        let WebhookRequest { endpoint, url, head, body, timeout_ms } = request;
        let lines = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n{head}Content-Length: {}\r\n\r\n",
            url.path,
            url.authority(),
            body.len()
        );
        let request = Request {
            head: lines.into_bytes(),
            body,
            kept_max: 0,
            is_enough: |_| false,
            timeout_ms,
        };
        if !self.slots.has(endpoint) && self.slots.len() >= self.connections_max {
            self.slots.close_oldest_idle();
        }
        self.slots.send(endpoint, &url, request, now)
    }

    /// Continues a request as far as possible, and reports its outcome to the hub.
    fn advance(
        &mut self,
        key: usize,
        hub: &mut Hub<Socket>,
        buffer: &mut [u8],
        registry: &Registry,
        now: Now,
    ) {
        let mut context = Context {
            registry,
            names: &mut self.names,
            tls: self.tls.as_ref(),
            refuses_private: self.refuses_private,
            buffer,
            now,
        };
        let (done, has_work) = self.slots.advance(key, &mut context);
        if has_work {
            self.slots.queue(key);
            self.ready.push_back(key);
        }
        if let Some((endpoint, result)) = done {
            hub.webhook_done(endpoint, outcome(result), now);
        }
    }

    fn spool_records(&mut self, hub: &mut Hub<Socket>) {
        while let Some(record) = hub.next_spool_record() {
            if let Some(spool) = &mut self.spool {
                spool.push(record);
            }
        }
        self.spool.iter_mut().for_each(Spool::write);
    }
}

fn outcome(result: Result<ResponseReader, RequestError>) -> WebhookOutcome {
    match result {
        Ok(response) => match response.status() {
            Some(status) => WebhookOutcome::Status(status),
            None => WebhookOutcome::Failed("it sent no response".to_owned()),
        },
        Err(error) => WebhookOutcome::Failed(error.to_string()),
    }
}

/// The error for a folder of a spool.
fn unusable(folder: &Path, error: &io::Error) -> BindError {
    BindError::Webhooks(Error::new(folder.display(), spool::SETTING, error.to_string()))
}

/// Loads the trusted authorities, if a URL of these apps needs them.
fn load_tls(apps: &[App], config: &Config, now: Now) -> Result<Option<WebConnector>, Error> {
    if !apps.iter().flat_map(|app| &app.webhooks).any(|webhook| webhook.url.is_tls) {
        return Ok(None);
    }
    let authorities = config.server.webhook_authorities.as_deref();
    WebConnector::load(authorities, true, now).map(Some)
}

/// The most requests continued, and the most begun, in one turn of the event loop. A step may be a
/// TLS handshake of 0.3 ms, so 16 take at most 5 ms.
const STEPS_PER_TURN: usize = 16;
/// The URLs for which descriptors are reserved if apps may be added: as many connections as are in use
/// at a time for some hundred apps. More take descriptors that clients would get.
const URLS_OF_FOLDER: u64 = 64;
/// Descriptors for the usual number of lookups of host names at once (`names` allows more), and three of the spool: its file, the lock, and the new
/// file while it is compacted.
const OTHER_FILES: u64 = 16;
