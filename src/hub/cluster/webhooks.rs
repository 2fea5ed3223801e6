//! What the nodes exchange about webhooks: which nodes send them, and which states were reported.
//! The rules are in `webhooks`.

use std::rc::Rc;

use super::super::Hub;
use super::super::ids::Now;
use super::super::node_set::PLACES;
use super::super::pubsub::PubSub;
use super::super::webhooks::{Cluster, Report, Reported, Subject};
use crate::proto::envelope::{Item, NodeId, WebhookItem};

impl<T> Hub<T> {
    /// Updates which nodes share the channels. Cheap, as there are few nodes: called whenever a
    /// node may have joined or left.
    pub(in crate::hub) fn refresh_webhook_nodes(&mut self, now: Now) {
        let Some(webhooks) = self.connections.happenings.webhooks_mut() else { return };
        webhooks.set_now(now);
        if let Some(cluster) = self.pubsub.webhook_cluster(now) {
            webhooks.set_cluster(cluster);
        }
    }

    /// Publishes the reports since the last call.
    pub(in crate::hub) fn publish_webhook_reports(&mut self) {
        let Some(webhooks) = self.connections.happenings.webhooks_mut() else { return };
        let full_sync = self.pubsub.bus.as_ref().and_then(|bus| bus.full_sync.as_ref());
        if full_sync.is_some_and(|full_sync| !full_sync.has_begun) {
            webhooks.report_changes();
        }
        let reports = webhooks.take_reports();
        let Some(bus) = &mut self.pubsub.bus else { return };
        for report in &reports {
            let (Report::Acknowledged(subject, _)
            | Report::Unchanged(subject, _)
            | Report::Query(subject, _)) = report;
            let Some(app) = self.pubsub.apps.get(subject.app) else { continue };
            let app = app.settings.id.as_str().into();
            let channel = (&*subject.channel).into();
            let user = subject.user.as_deref().map(Into::into);
            let item = match *report {
                Report::Acknowledged(_, is_present) => {
                    WebhookItem::Acknowledged { app, channel, user, is_present }
                }
                Report::Unchanged(_, is_present) => {
                    WebhookItem::Unchanged { app, channel, user, is_present }
                }
                Report::Query(_, reported) => {
                    let reported = match reported {
                        Reported::Absent => Some(false),
                        Reported::Present => Some(true),
                        Reported::Unknown | Reported::Returned => None,
                    };
                    WebhookItem::Query { app, channel, user, reported }
                }
            };
            bus.publish(&Item::Webhook(item));
        }
    }

    /// Handles a report of another node.
    pub(in crate::hub) fn receive_webhook_item(&mut self, item: &WebhookItem<'_>) {
        let (WebhookItem::Acknowledged { app, channel, user, .. }
        | WebhookItem::Unchanged { app, channel, user, .. }
        | WebhookItem::Query { app, channel, user, .. }) = item
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
            WebhookItem::Acknowledged { is_present: is_reported, .. } => {
                webhooks.receive_acknowledged(subject, is_reported, is_present);
            }
            WebhookItem::Unchanged { is_present, .. } => {
                webhooks.receive_unchanged(&subject, is_present)
            }
            WebhookItem::Query { reported, .. } => {
                webhooks.receive_query(
                    subject,
                    reported.map_or(Reported::Unknown, Reported::from),
                    is_present,
                );
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
