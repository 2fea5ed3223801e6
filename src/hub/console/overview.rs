//! `GET /api/overview`: the samples since the last request, and the present state of apps, nodes,
//! limits and webhooks.

use super::samples::COLUMNS;
use crate::config::{LimitKind, VERSION};
use crate::hub::Hub;
use crate::hub::ids::Now;
use crate::hub::webhooks::Webhooks;
use crate::proto::http::Response;
use crate::proto::json_object::JsonObject;
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// The overview; `since` is the time of the last sample that the page has.
    pub(super) fn overview(&mut self, query: &Query<'_>, now: Now) -> Result<Response, Response> {
        let since = query.value("since").and_then(|time| time.parse().ok()).unwrap_or(0);
        let console = self.console()?;
        let samples: Vec<_> = console.samples.since(since).collect();
        let units = samples.len() as u64 / 8;
        let connections = &self.connections;
        let mut body = JsonObject::new();
        body.text("version", VERSION)
            .number("time_s", now.unix_s)
            .number("started_s", now.unix_s.saturating_sub(now.ms / 1_000))
            .flag("stopping", connections.is_draining())
            .flag("write", console.may_write)
            .flag("payload", connections.happenings.feed_payload)
            .texts("columns", &mut COLUMNS.into_iter())
            // Lists of numbers are printed by `Debug` as they are in JSON.
            .raw("samples", &format!("{samples:?}"))
            .number("connections", connections.len() as u64)
            .number("connections_max", connections.limits.connections.into())
            .list("apps", &self.apps_of_overview())
            .number("apps_total", self.pubsub.by_id.len() as u64)
            .raw("nodes", &self.nodes_of_overview())
            .list("limits", &self.limits_of_overview())
            .list("webhooks", &self.webhooks_of_overview());
        self.connections.work.add(units);
        Ok(Response::json(200, body.end()))
    }

    /// The apps; if there are too many, those with the most clients.
    fn apps_of_overview(&self) -> Vec<String> {
        let served = self.pubsub.apps.indexes().filter(|at| self.pubsub.is_served(*at));
        let mut served: Vec<u32> = served.collect();
        let shown_max = self.connections.limits.metrics_apps as usize;
        if served.len() > shown_max {
            served.sort_by_key(|at| std::cmp::Reverse(self.pubsub.apps[*at].connections));
            served.truncate(shown_max);
            served.sort_unstable();
        }
        let apps = served.into_iter().map(|at| {
            let (app, counters) = (&self.pubsub.apps[at], &self.connections.counters);
            let counters = &counters.apps[at as usize];
            JsonObject::new()
                .text("id", &app.settings.id)
                .flag("enabled", app.settings.enabled)
                .number("clients", app.connections.into())
                .number("all_clients", app.all_connections())
                .number("channels", app.listed.into())
                .number("messages_in", counters.messages_in)
                .number("messages_out", counters.messages_out)
                .end()
        });
        apps.collect()
    }

    /// This node and the others; `null` for a single node.
    fn nodes_of_overview(&self) -> String {
        let Some(bus) = &self.pubsub.bus else { return "null".to_owned() };
        let others = bus.nodes.iter().map(|(_, node)| {
            let mut other = JsonObject::new();
            other.printed("id", &node.id).flag("live", node.is_live);
            other.flag("synced", node.is_synced).end()
        });
        let others: Vec<String> = others.collect();
        let mut node = JsonObject::new();
        node.printed("id", &bus.id).flag("redis", self.is_bus_up()).list("others", &others).end()
    }

    /// The URLs of webhooks.
    fn webhooks_of_overview(&self) -> Vec<String> {
        let webhooks = self.connections.happenings.webhooks();
        let states = webhooks.into_iter().flat_map(Webhooks::states).map(|state| {
            JsonObject::new()
                .text("url", &state.url)
                .number("batches_waiting", state.batches_waiting as u64)
                .number("bytes_waiting", state.bytes_waiting as u64)
                .number("failures", state.failures.into())
                .nullable_number("retry_in_ms", state.retry_in_ms)
                .end()
        });
        states.collect()
    }

    /// The limits that were exceeded since the start.
    fn limits_of_overview(&self) -> Vec<String> {
        let limits = LimitKind::ALL.into_iter().zip(self.connections.counters.limits_exceeded);
        let exceeded = limits.filter(|(_, times)| *times > 0).map(|(kind, times)| {
            let what = format!("A client {}.", kind.description());
            let mut limit = JsonObject::new();
            limit.text("setting", kind.setting()).number("times", times).text("what", &what).end()
        });
        exceeded.collect()
    }
}
