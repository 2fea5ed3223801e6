//! The metrics of webhooks, by app.

use super::super::metrics::OTHER_APPS;
use super::{AppHooks, WebhookCounters, Webhooks};
use crate::proto::prometheus::{Exposition, Kind};

impl Webhooks {
    pub(in crate::hub) fn metrics(&self, out: &mut Exposition) {
        for (n, (name, help, _)) in WebhookCounters::default().metrics().into_iter().enumerate() {
            if !name.is_empty() {
                self.family(out, name, Kind::Counter, help, &|app| {
                    app.counters.metrics()[n].2 as f64
                });
            }
        }
        let help = "Duration of all requests to webhooks.";
        self.family(out, "reverb_webhook_request_seconds_total", Kind::Counter, help, &|app| {
            app.counters.request_ms as f64 / 1e3
        });
        let help = "Events that wait for a webhook.";
        self.family(out, "reverb_webhook_events_waiting", Kind::Gauge, help, &|app| {
            app.waiting as f64
        });
        let help = "URLs of webhooks whose last request has failed.";
        let failing = self.endpoints.iter().filter(|endpoint| endpoint.failures > 0).count();
        out.single("reverb_webhook_urls_failing", Kind::Gauge, help, failing);
        let help = "Channels and members whose change no webhook has acknowledged yet.";
        out.single("reverb_webhook_changes", Kind::Gauge, help, self.changes.len());
        let help = "Changes that were not sent, because of limits.webhook_changes.";
        let rejected = self.changes.rejected;
        out.single("reverb_webhook_changes_rejected_total", Kind::Counter, help, rejected);
    }

    fn family(
        &self,
        out: &mut Exposition,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: &dyn Fn(&AppHooks) -> f64,
    ) {
        out.family(name, kind, help);
        let mut apps = self.apps.iter().filter(|app| !app.hooks.is_empty());
        for app in apps.by_ref().take(self.limits.metrics_apps as usize) {
            out.sample(&[("app", &app.id)], value(app));
        }
        let others: Vec<f64> = apps.map(value).collect();
        if !others.is_empty() {
            out.sample(&[("app", &OTHER_APPS)], others.into_iter().sum::<f64>());
        }
    }
}
