//! The webhooks of one app change while the hub runs.

use std::rc::Rc;

use super::{AppHooks, Hook, Interval, WebhookCounters, Webhooks};
use crate::config::{App, WebhookEvent, WebhookEvents};
use crate::proto::auth::Signer;

impl AppHooks {
    /// An app without webhooks.
    fn new(app: &App) -> Self {
        AppHooks {
            id: app.id.as_str().into(),
            key: app.key.clone(),
            signer: Signer::new(&app.secret),
            events: WebhookEvents::default(),
            hooks: 0..0,
            samples: Default::default(),
            counted: [0; 2],
            waiting: 0,
            counters: WebhookCounters::default(),
        }
    }
}

impl Webhooks {
    /// Sets the webhooks, the key and the secret of an app, which may be a new one. What its previous
    /// webhooks have collected is still sent to their URLs.
    pub(in crate::hub) fn set_app(&mut self, index: u32, app: &App) {
        let at = index as usize;
        // An app that was removed before this state was restored has none.
        while self.apps.len() < at {
            self.apps.push(AppHooks::new(&App::new("", "", "")));
        }
        if at == self.apps.len() {
            self.apps.push(AppHooks::new(app));
        } else {
            self.remove_app(index);
            let of_app = &mut self.apps[at];
            (of_app.id, of_app.key) = (app.id.as_str().into(), app.key.clone());
            of_app.signer = Signer::new(&app.secret);
        }
        let first = self.hooks.len() as u32;
        let mut events = WebhookEvents::default();
        for webhook in &app.webhooks {
            events = events.union(webhook.events);
            let endpoint = self.endpoint_of(&webhook.url);
            self.hooks.push(Hook::new(index, endpoint, webhook));
        }
        let hooks = first..self.hooks.len() as u32;
        let of_app = &mut self.apps[at];
        (of_app.events, of_app.hooks) = (events, hooks);
        self.by_app.insert(Rc::clone(&of_app.id), index);
        if events.has(WebhookEvent::MessageCounts) && self.counts.is_none() {
            self.counts = Some(Interval::new(self.counts_interval_s, self.now));
        }
    }

    /// How many webhooks were replaced or removed.
    pub(in crate::hub) fn unused_hooks(&self) -> u32 {
        self.unused_hooks
    }

    /// Removes the webhooks of an app. What they have collected is still sent.
    pub(in crate::hub) fn remove_app(&mut self, index: u32) {
        let Some(app) = self.apps.get_mut(index as usize) else { return };
        app.events = WebhookEvents::default();
        let hooks = std::mem::replace(&mut app.hooks, 0..0);
        self.unused_hooks += hooks.end - hooks.start;
        hooks.for_each(|at| self.complete_batch(at));
    }
}
