//! What the nodes exchange about webhooks: which nodes send them, and which states the app was told. The
//! rules are in `webhooks`.

use std::rc::Rc;

use super::super::Hub;
use super::super::ids::Now;
use super::super::node_set::PLACES;
use super::super::pubsub::PubSub;
use super::super::webhooks::{Cluster, Report, Subject, Told};
use crate::proto::envelope::{Item, NodeId, WebhookItem};

impl<T> Hub<T> {
    /// Updates which nodes share the channels. Cheap, as there are few nodes: called whenever one may
    /// have come or gone.
    pub(in crate::hub) fn refresh_webhook_nodes(&mut self, now: Now) {
        let Some(webhooks) = self.connections.happenings.webhooks_mut() else { return };
        webhooks.set_now(now);
        if let Some(cluster) = self.pubsub.webhook_cluster(now) {
            webhooks.set_cluster(cluster);
        }
    }

    /// Publishes the states that the app was told since the last call.
    pub(in crate::hub) fn publish_webhook_reports(&mut self) {
        let Some(webhooks) = self.connections.happenings.webhooks_mut() else { return };
        let full_sync = self.pubsub.bus.as_ref().and_then(|bus| bus.full_sync.as_ref());
        if full_sync.is_some_and(|full_sync| !full_sync.has_begun) {
            webhooks.report_changes();
        }
        let reports = webhooks.take_reports();
        let Some(bus) = &mut self.pubsub.bus else { return };
        for report in &reports {
            let (Report::Told(subject, _) | Report::Known(subject, _) | Report::Ask(subject, _)) =
                report;
            let Some(app) = self.pubsub.apps.get(subject.app) else { continue };
            let app = app.settings.id.as_str().into();
            let channel = (&*subject.channel).into();
            let user = subject.user.as_deref().map(Into::into);
            let item = match *report {
                Report::Told(_, is_present) => WebhookItem::Told { app, channel, user, is_present },
                Report::Known(_, is_present) => {
                    WebhookItem::Known { app, channel, user, is_present }
                }
                Report::Ask(_, told) => {
                    let told = match told {
                        Told::Absent => Some(false),
                        Told::Present => Some(true),
                        Told::Unknown | Told::Returned => None,
                    };
                    WebhookItem::Ask { app, channel, user, told }
                }
            };
            bus.publish(&Item::Webhook(item));
        }
    }

    /// Handles a report of another node.
    pub(in crate::hub) fn receive_webhook_item(&mut self, item: &WebhookItem<'_>) {
        let (WebhookItem::Told { app, channel, user, .. }
        | WebhookItem::Known { app, channel, user, .. }
        | WebhookItem::Ask { app, channel, user, .. }) = item
        else {
            return;
        };
        let Some(&app) = self.pubsub.by_id.get(&**app) else { return };
        if !self.pubsub.is_name(channel) {
            return;
        }
        let user = user.as_deref().map(Rc::from);
        let subject = Subject { app, channel: (&**channel).into(), user };
        let is_present = self.is_present(&subject);
        let Some(webhooks) = self.connections.happenings.webhooks_mut() else { return };
        match *item {
            WebhookItem::Told { is_present: is_told, .. } => {
                webhooks.receive_told(subject, is_told, is_present);
            }
            WebhookItem::Known { is_present, .. } => webhooks.receive_known(&subject, is_present),
            WebhookItem::Ask { told, .. } => {
                webhooks.receive_ask(subject, told.map_or(Told::Unknown, Told::from), is_present);
            }
            WebhookItem::Sends => {}
        }
        self.count_webhook_work();
    }
}

impl PubSub {
    /// What this node knows of the others; `None` for a single node.
    fn webhook_cluster(&self, now: Now) -> Option<Cluster> {
        let bus = self.bus.as_ref()?;
        let live = || bus.nodes.iter().filter(|(_, node)| node.is_live);
        let others = live().filter(|(_, node)| node.sends_webhooks).map(|(_, node)| node.id);
        Some(Cluster {
            me: bus.id.0,
            others: others.map(|NodeId(id)| id).collect(),
            up_ms: now.ms.saturating_sub(bus.started_ms),
            lease_ms: bus.lease_ms,
            is_up: bus.session.is_up(),
            is_synced: live().all(|(at, node)| node.is_synced || at >= PLACES),
        })
    }
}
