//! `GET /api/overview`: the samples since the last request, and the present state of apps, nodes,
//! limits and webhooks.

use serde_json::{Value, json};

use super::samples::COLUMNS;
use crate::config::{LimitKind, VERSION};
use crate::hub::Hub;
use crate::hub::ids::Now;
use crate::hub::webhooks::Webhooks;
use crate::proto::http::Response;
use crate::proto::query::Query;

impl<T> Hub<T> {
    /// The overview; `since` is the time of the last sample that the page has.
    pub(super) fn overview(&mut self, query: &Query<'_>, now: Now) -> Result<Response, Response> {
        let since = query.value("since").and_then(|time| time.parse().ok()).unwrap_or(0);
        let console = self.console()?;
        let samples: Vec<_> = console.samples.since(since).collect();
        let units = samples.len() as u64 / 8;
        let body = json!({
            "version": VERSION,
            "time_s": now.unix_s,
            "started_s": now.unix_s.saturating_sub(now.ms / 1_000),
            "stopping": self.connections.is_draining(),
            "write": console.may_write,
            "payload": self.connections.happenings.feed_payload,
            "columns": COLUMNS,
            "samples": samples,
            "connections": self.connections.len(),
            "connections_max": self.connections.limits.connections,
            "apps": self.apps_of_overview(),
            "nodes": self.nodes_of_overview(),
            "limits": self.limits_of_overview(),
            "webhooks": self.webhooks_of_overview(),
        });
        self.connections.work.add(units);
        Ok(Response::json(200, body.to_string()))
    }

    fn apps_of_overview(&self) -> Value {
        let served = self.pubsub.apps.indexes().filter(|at| self.pubsub.is_served(*at));
        let apps = served.map(|at| {
            let (app, counters) = (&self.pubsub.apps[at], &self.connections.counters);
            let counters = &counters.apps[at as usize];
            json!({
                "id": app.settings.id,
                "clients": app.connections,
                "all_clients": app.all_connections(),
                "channels": app.listed,
                "messages_in": counters.messages_in,
                "messages_out": counters.messages_out,
            })
        });
        apps.collect()
    }

    /// This node and the others; `null` for a single node.
    fn nodes_of_overview(&self) -> Value {
        let Some(bus) = &self.pubsub.bus else { return Value::Null };
        let others = bus.nodes.iter().map(|(_, node)| {
            json!({ "id": node.id.to_string(), "live": node.is_live, "synced": node.is_synced })
        });
        json!({
            "id": bus.id.to_string(),
            "redis": self.is_bus_up(),
            "others": others.collect::<Vec<_>>(),
        })
    }

    /// The URLs of webhooks.
    fn webhooks_of_overview(&self) -> Value {
        let webhooks = self.connections.happenings.webhooks();
        let states = webhooks.into_iter().flat_map(Webhooks::states).map(|state| {
            json!({
                "url": state.url,
                "batches_waiting": state.batches_waiting,
                "bytes_waiting": state.bytes_waiting,
                "failures": state.failures,
                "retry_in_ms": state.retry_in_ms,
            })
        });
        states.collect()
    }

    /// The limits that were exceeded since the start.
    fn limits_of_overview(&self) -> Value {
        let limits = LimitKind::ALL.into_iter().zip(self.connections.counters.limits_exceeded);
        let exceeded = limits.filter(|(_, times)| *times > 0).map(|(kind, times)| {
            let (setting, what) = (kind.setting(), kind.description());
            json!({ "setting": setting, "times": times, "what": format!("A client {what}.") })
        });
        exceeded.collect()
    }
}
