//! One webhook of an app: which events it covers, and the batch that it collects. A full batch goes
//! to the queue of its URL (`endpoint`).

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;

use super::super::wildcard;
use super::changes::Subject;
use crate::config::{Webhook, WebhookEvent, WebhookEvents};
use crate::proto::webhook;

/// A webhook.
pub(super) struct Hook {
    /// The index of its app.
    pub app: u32,
    /// The id of its endpoint.
    pub endpoint: u32,
    events: WebhookEvents,
    channels: Vec<String>,
    /// Its custom headers as lines of a request.
    pub head: String,
    pub batch_ms: u64,
    pub timeout_ms: u64,
    /// As in [`Webhook`].
    pub laravel_cause: Option<&'static str>,
    pub open: OpenBatch,
}

/// A state that an event reports: when the last batch with the event has ended, no other reference
/// is left.
pub(super) type Tag = Rc<EventState>;

/// What an event says about a channel or a user of it.
#[derive(Debug)]
pub(super) struct EventState {
    pub subject: Subject,
    pub is_present: bool,
    /// The open batches with the event.
    open: Cell<u32>,
    /// Whether a later event reports another state of the subject.
    is_outdated: Cell<bool>,
}

impl EventState {
    pub(super) fn new(subject: Subject, is_present: bool) -> Self {
        EventState { subject, is_present, open: Cell::new(0), is_outdated: Cell::new(false) }
    }

    /// A batch with the event is complete. Returns whether no open batch is left, and the state is
    /// the last that was reported.
    pub(super) fn completed(&self) -> bool {
        self.open.set(self.open.get().saturating_sub(1));
        self.open.get() == 0 && !self.is_outdated.get()
    }
}

/// The events that a webhook has collected.
#[derive(Default)]
pub(super) struct OpenBatch {
    /// The events as JSON, separated by commas.
    pub text: String,
    pub events: u32,
    pub tags: Vec<Tag>,
    /// How many messages were left out, received and sent.
    pub left_out: [u64; 2],
    /// When the batch is complete; `None` if it is empty.
    pub due_ms: Option<u64>,
}

/// The settings to check, in log lines. A webhook of the Laravel app has its cause.
pub(super) struct Settings(Option<&'static str>);

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("check the URL in webhooks of the app (REVERB_APP_WEBHOOK_URL)"),
            Some(cause) => write!(
                f,
                "it posts them because of {cause}; set APP_URL, or REVERB_EVENTS_URL, to a URL by \
                 which this server reaches the Laravel app"
            ),
        }
    }
}

impl Hook {
    pub(super) fn new(app: u32, endpoint: u32, webhook: &Webhook) -> Self {
        Hook {
            app,
            endpoint,
            events: webhook.events,
            channels: webhook.channels.clone(),
            head: webhook.header_lines(),
            batch_ms: webhook.batch_ms.into(),
            timeout_ms: webhook.timeout_ms.into(),
            laravel_cause: webhook.laravel_cause,
            open: OpenBatch::default(),
        }
    }

    /// What log lines call it, before its URL.
    pub(super) fn noun(&self) -> &'static str {
        if self.laravel_cause.is_some() { "Laravel app" } else { "webhook" }
    }

    /// The settings to check if its requests fail.
    pub(super) fn settings(&self) -> Settings {
        Settings(self.laravel_cause)
    }

    /// Whether the webhook covers an event of a channel, or one without a channel.
    pub(super) fn covers(&self, event: WebhookEvent, channel: Option<&str>) -> bool {
        self.events.has(event) && self.covers_channel(channel)
    }

    fn covers_channel(&self, channel: Option<&str>) -> bool {
        self.channels.is_empty()
            || channel.is_some_and(|channel| {
                self.channels.iter().any(|pattern| wildcard::matches(pattern, channel))
            })
    }
}

impl OpenBatch {
    /// Adds an event, as JSON. Returns when the batch is complete if that is earlier than before.
    pub(super) fn add(&mut self, event: &str, tag: Option<Tag>, due_ms: u64) -> Option<u64> {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(event);
        self.events += 1;
        self.tags.extend(tag.inspect(|state| state.open.set(state.open.get() + 1)));
        self.set_due(due_ms)
    }

    /// The open batch may report an earlier state of this subject: the spool must not get that state
    /// after the next one.
    pub(super) fn outdate(&self, subject: &Subject) {
        for state in self.tags.iter().filter(|state| state.subject == *subject) {
            state.is_outdated.set(true);
        }
    }

    /// Counts a message that was left out; `kind` is 0 for a received and 1 for a sent one.
    pub(super) fn leave_out(&mut self, kind: usize, due_ms: u64) -> Option<u64> {
        self.left_out[kind] += 1;
        self.set_due(due_ms)
    }

    fn set_due(&mut self, due_ms: u64) -> Option<u64> {
        if self.due_ms.is_some_and(|before_ms| before_ms <= due_ms) {
            return None;
        }
        self.due_ms = Some(due_ms);
        Some(due_ms)
    }

    /// Whether the batch has as many events or bytes as one may have.
    pub(super) fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS || self.text.len() >= BATCH_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due_ms.is_none()
    }

    /// The body of a request with these events.
    pub(super) fn body(&self, time_ms: u64) -> String {
        let [received, sent] = self.left_out;
        let received = (WebhookEvent::MessageReceived.name(), received);
        let sent = (WebhookEvent::MessageSent.name(), sent);
        webhook::body(time_ms, &self.text, &[received, sent])
    }
}

/// The most events of one request. Pusher has no published number; its peers use 50 or 100.
const BATCH_EVENTS: u32 = 100;
/// A batch with this many bytes is complete; the last event may exceed it. 64 KiB are signed in a
/// third of a millisecond.
const BATCH_BYTES: usize = 65_536;
