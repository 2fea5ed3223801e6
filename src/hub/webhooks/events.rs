//! From a happening to an event in the open batches of the webhooks that cover it.

use std::rc::Rc;

use super::super::ids::SocketId;
use super::super::peer::Source;
use super::changes::{Role, Step, Subject};
use super::hook::{EventState, Tag};
use super::shared::Report;
use super::{AppHooks, Webhooks};
use crate::config::WebhookEvent;
use crate::proto::spool::{SpoolRecord, SpooledState};
use crate::proto::webhook::{self, ClientEvent};

impl Webhooks {
    /// A channel, or a user of it, has become present or absent.
    pub(in crate::hub) fn changed(
        &mut self,
        app: u32,
        channel: &Rc<str>,
        user: Option<&Rc<str>>,
        is_present: bool,
    ) {
        if !self.tracks(app, channel, user.is_some()) {
            return;
        }
        let (channel, user) = (Rc::clone(channel), user.cloned());
        let subject = Subject { app, channel, user };
        let role = self.role(&subject);
        self.units += CHANGE_UNITS;
        let step = self.changes.set(subject.clone(), is_present, role, self.now.ms);
        self.perform(subject, step);
    }

    /// A full sync of another node contains this channel, or this user of it. If this node has just
    /// started, the other one has reported it to the app already, or will.
    pub(in crate::hub) fn synced(&mut self, app: u32, channel: &Rc<str>, user: Option<&Rc<str>>) {
        if self.owners.is_fresh {
            let (channel, user) = (Rc::clone(channel), user.cloned());
            self.changes.defer(&Subject { app, channel, user });
        }
    }

    /// Whether a webhook covers the presence of a channel, or of its users.
    pub(super) fn tracks(&self, app: u32, channel: &str, is_user: bool) -> bool {
        let Some(hooks) = self.apps.get(app as usize) else { return false };
        let events = match is_user {
            true => [WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved],
            false => [WebhookEvent::ChannelOccupied, WebhookEvent::ChannelVacated],
        };
        events.iter().any(|event| hooks.events.has(*event))
            && self.hooks[hooks.hooks.start as usize..hooks.hooks.end as usize]
                .iter()
                .any(|hook| events.iter().any(|event| hook.covers(*event, Some(channel))))
    }

    /// The part of this node in the events of a subject.
    pub(super) fn role(&self, subject: &Subject) -> Role {
        let app = self.apps.get(subject.app as usize);
        let is_owner = app.is_some_and(|app| self.owners.is_owner(&app.id, &subject.channel));
        Role { is_owner, is_shared: self.is_shared }
    }

    /// Does what follows from a change.
    pub(super) fn perform(&mut self, subject: Subject, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Send(is_present) => self.send_state(subject, is_present),
            Step::Confirm(is_present) => {
                self.to_publish.push(Report::Unchanged(subject, is_present))
            }
            Step::Query(reported) => self.to_publish.push(Report::Query(subject, reported)),
        }
    }

    fn send_state(&mut self, subject: Subject, is_present: bool) {
        let (app, channel) = (subject.app, Rc::clone(&subject.channel));
        let event = match (&subject.user, is_present) {
            (None, true) => WebhookEvent::ChannelOccupied,
            (None, false) => WebhookEvent::ChannelVacated,
            (Some(_), true) => WebhookEvent::MemberAdded,
            (Some(_), false) => WebhookEvent::MemberRemoved,
        };
        if self.spool.is_some() {
            let hooks = self.apps.get(app as usize).map_or(0..0, |app| app.hooks.clone());
            hooks.for_each(|at| self.hooks[at as usize].open.outdate(&subject));
        }
        let user = subject.user.clone();
        let is_kept = self.is_shared || self.spool.is_some();
        let tag = is_kept.then(|| Tag::new(EventState::new(subject, is_present)));
        self.send(app, event, Some(&channel), tag.clone(), &|out| match &user {
            Some(user) => webhook::member_event(out, event.name(), &channel, user),
            None => webhook::channel_event(out, event.name(), &channel),
        });
        if let Some(tag) = tag {
            if Rc::strong_count(&tag) == 1 {
                // No webhook covers the event, so there is nothing to wait for.
                self.record_state(&tag.subject, is_present);
            }
            self.end_tag(tag);
        }
    }

    /// Records for the spool what is reported to the app: with the batch that reports it, so that
    /// after a crash the spool has both or neither.
    pub(super) fn record_state(&mut self, subject: &Subject, is_present: bool) {
        if self.spool.is_none() {
            return;
        }
        let subject = self.saved_subject(subject);
        if let (Some(spool), Some(subject)) = (&mut self.spool, subject) {
            spool.push_back(SpoolRecord::Told(SpooledState { subject, is_present }));
        }
    }

    /// The number of subscribers of a channel has changed.
    pub(in crate::hub) fn subscription_count(&mut self, app: u32, channel: &Rc<str>, count: u64) {
        let is_owner = |hooks: &AppHooks| self.owners.is_owner(&hooks.id, channel);
        if self.apps.get(app as usize).is_some_and(is_owner) {
            self.send(app, WebhookEvent::SubscriptionCount, Some(channel), None, &|out| {
                webhook::subscription_count(out, channel, count);
            });
        }
    }

    /// A client has sent an event.
    pub(in crate::hub) fn client_event(
        &mut self,
        app: u32,
        event: &ClientEvent<'_>,
        from: SocketId,
    ) {
        self.send(app, WebhookEvent::ClientEvent, Some(event.channel), None, &|out| {
            webhook::client_event(out, event, &from);
        });
    }

    /// A client has found no cached event.
    pub(in crate::hub) fn cache_miss(&mut self, app: u32, channel: &str) {
        let event = WebhookEvent::CacheMiss;
        if self.wants(app, event) && self.misses.is_first(app, channel, self.now.ms) {
            self.send(app, event, Some(channel), None, &|out| {
                webhook::channel_event(out, event.name(), channel);
            });
        }
    }

    /// A connection was closed because its client answered no ping.
    pub(in crate::hub) fn connection_pruned(&mut self, app: u32, connection: Source<'_>) {
        let event = WebhookEvent::ConnectionPruned;
        self.send(app, event, None, None, &|out| {
            let Source { socket_id, origin } = connection;
            webhook::connection_event(out, event.name(), &socket_id, origin, None);
        });
    }

    /// A message was received or sent. A few of each second are reported, the others are counted.
    pub(in crate::hub) fn message(
        &mut self,
        app: u32,
        event: WebhookEvent,
        connection: Source<'_>,
        text: &str,
    ) {
        let kind = usize::from(event == WebhookEvent::MessageSent);
        let max = self.limits.webhook_messages_per_second;
        let Some(hooks) = self.apps.get_mut(app as usize).filter(|app| app.events.has(event))
        else {
            return;
        };
        if hooks.samples[kind].takes(max, self.now.ms) {
            return self.send(app, event, None, None, &|out| {
                let Source { socket_id, origin } = connection;
                webhook::connection_event(out, event.name(), &socket_id, origin, Some(text));
            });
        }
        let (due_ms, hooks) = (hooks.samples[kind].end_ms(), hooks.hooks.clone());
        for at in hooks {
            let hook = &mut self.hooks[at as usize];
            if hook.covers(event, None)
                && let Some(due_ms) = hook.open.leave_out(kind, due_ms)
            {
                self.complete.insert(due_ms, at as usize);
            }
        }
    }

    /// Adds an event to the open batch of each webhook that covers it.
    pub(super) fn send(
        &mut self,
        app: u32,
        event: WebhookEvent,
        channel: Option<&str>,
        tag: Option<Tag>,
        write: &dyn Fn(&mut String),
    ) {
        let Some(hooks) = self.apps.get(app as usize).filter(|app| app.events.has(event)) else {
            return;
        };
        let hooks = hooks.hooks.clone();
        let covers = |at: &u32| self.hooks[*at as usize].covers(event, channel);
        let Some(first) = hooks.clone().find(covers) else { return };
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        write(&mut text);
        self.units += EVENT_UNITS + text.len() as u64 / 64;
        for at in first..hooks.end {
            let hook = &mut self.hooks[at as usize];
            if !hook.covers(event, channel) {
                continue;
            }
            let due_ms = self.now.ms + hook.batch_ms;
            if let Some(due_ms) = hook.open.add(&text, tag.clone(), due_ms) {
                self.complete.insert(due_ms, at as usize);
            }
            self.apps[app as usize].waiting += 1;
        }
        // Only now the state of the event knows the number of open batches with it.
        for at in first..hooks.end {
            if self.hooks[at as usize].open.is_full() {
                self.complete_batch(at);
            }
        }
        text.shrink_to(SCRATCH_BYTES);
        self.scratch = text;
    }
}

/// Units of work of a change, and of an event.
const CHANGE_UNITS: u64 = 10;
const EVENT_UNITS: u64 = 10;
/// The buffer for one event keeps at most this capacity.
const SCRATCH_BYTES: usize = 16_384;
