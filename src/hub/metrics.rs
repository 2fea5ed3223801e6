//! The metrics port: metrics in Prometheus' text format, and health checks. The counters are in
//! `counters`.

use super::Hub;
use super::counters::AppCounters;
use super::ids::Now;
use super::peer::Peer;
use super::routes;
use crate::config::{LimitKind, VERSION};
use crate::proto::http::{Head, Response};
use crate::proto::prometheus::{CONTENT_TYPE, Exposition, Kind};

impl<T> Hub<T> {
    /// Answers a request on a connection of the metrics port.
    pub(super) fn answer_metrics_port(&self, head: &Head<'_>, now: Now) -> Response {
        let is = |name: &str| head.method.eq_ignore_ascii_case(name);
        match head.path {
            "/metrics" | "/up" | "/ready" if !is("GET") && !is("HEAD") => {
                Response::text(405, "Method not allowed.").with_header("Allow", "GET, HEAD")
            }
            "/metrics" => {
                let mut response = Response::text(200, self.metrics(now));
                response.content_type = CONTENT_TYPE;
                response
            }
            "/up" => routes::health(),
            "/ready" => routes::readiness(self.connections.is_draining()),
            _ => Response::text(404, "Not found. Metrics are at /metrics."),
        }
    }

    /// All metrics. Some need a visit of every connection, which takes about 3 ms for 100,000 of
    /// them.
    pub(super) fn metrics(&self, now: Now) -> String {
        let mut out = Exposition::default();
        self.process_metrics(&mut out, now);
        self.app_count_metrics(&mut out);
        self.connection_metrics(&mut out);
        self.app_metrics(&mut out);
        self.request_metrics(&mut out);
        self.turn_metrics(&mut out);
        self.bus_metrics(&mut out);
        self.connections.happenings.webhooks().iter().for_each(|it| it.metrics(&mut out));
        out.finish()
    }

    fn process_metrics(&self, out: &mut Exposition, now: Now) {
        out.family("reverb_build_info", Kind::Gauge, "The version of the server.");
        out.sample(&[("version", &VERSION)], 1);
        let started_s = now.unix_s.saturating_sub(now.ms / 1_000);
        let help = "When the process started, in seconds since 1970.";
        out.single("process_start_time_seconds", Kind::Gauge, help, started_s);
        let help = "Whether new clients are accepted; 0 while the server stops.";
        out.single("reverb_ready", Kind::Gauge, help, u8::from(!self.connections.is_draining()));
    }

    fn app_count_metrics(&self, out: &mut Exposition) {
        out.single("reverb_apps", Kind::Gauge, "Apps that are served.", self.pubsub.by_id.len());
        let help = "Files of apps that are not served as they are.";
        out.single("reverb_apps_folder_bad_files", Kind::Gauge, help, self.bad_app_files);
    }

    fn connection_metrics(&self, out: &mut Exposition) {
        let help = "Connections of any kind.";
        out.single("reverb_sockets", Kind::Gauge, help, self.connections());
        let help = "The most connections of any kind; 0 is no limit.";
        out.single("reverb_sockets_max", Kind::Gauge, help, self.connections.limits.connections);
        let waiting = self.connections.iter().map(|peer| peer.outbox.bytes()).sum::<usize>();
        let help = "Bytes queued for clients.";
        out.single("reverb_outbox_bytes", Kind::Gauge, help, waiting);

        let counters = self.counters();
        for (name, help, value) in counters.process.metrics() {
            out.single(name, Kind::Counter, help, value);
        }
        out.family("reverb_close_frames_total", Kind::Counter, "Close frames sent, by code.");
        for (code, times) in counters.closes.iter() {
            out.sample(&[("code", &code)], times);
        }
        out.sample(&[("code", &"other")], counters.closes.others);
        let help = "Times a limit was exceeded, by setting.";
        out.family("reverb_limits_exceeded_total", Kind::Counter, help);
        for (kind, times) in LimitKind::ALL.into_iter().zip(counters.limits_exceeded) {
            out.sample(&[("setting", &kind.setting())], times);
        }
    }

    fn app_metrics(&self, out: &mut Exposition) {
        let mut memberships = vec![0; self.pubsub.apps.len()];
        for subscriber in self.connections.iter().filter_map(Peer::subscriber) {
            memberships[subscriber.app as usize] += subscriber.channels();
        }
        let apps = &self.pubsub.apps;
        // By place, so that no app changes from one label to the other.
        let named_max = self.connections.limits.metrics_apps;
        let (named, others): (Vec<u32>, Vec<u32>) =
            apps.indexes().partition(|at| *at < named_max && self.pubsub.is_served(*at));
        let mut family = |name, kind, help: &str, value: &dyn Fn(u32) -> u64| {
            out.family(name, kind, help);
            for &at in &named {
                out.sample(&[("app", &apps[at].settings.id)], value(at));
            }
            if !others.is_empty() {
                out.sample(&[("app", &OTHER_APPS)], others.iter().copied().map(value).sum::<u64>());
            }
        };
        let app = |at: u32| &self.pubsub.apps[at];
        let help = "WebSocket connections to this node.";
        family("reverb_connections", Kind::Gauge, help, &|at| app(at).connections.into());
        let help = "Channels with a subscriber, at this node or another.";
        family("reverb_channels", Kind::Gauge, help, &|at| app(at).listed.into());
        let help = "Subscriptions of this node's connections.";
        family("reverb_subscriptions", Kind::Gauge, help, &|at| memberships[at as usize] as u64);
        let help = "Viewers of the feed.";
        family("reverb_feed_viewers", Kind::Gauge, help, &|at| {
            self.connections.happenings.viewers(at) as u64
        });
        let counters = self.counters();
        for (n, (name, help, _)) in AppCounters::default().metrics().into_iter().enumerate() {
            if !name.is_empty() {
                let value = |at: u32| counters.apps[at as usize].metrics()[n].2;
                family(name, Kind::Counter, help, &value);
            }
        }
    }

    fn request_metrics(&self, out: &mut Exposition) {
        let help = "HTTP requests answered, by route and status.";
        out.family("reverb_http_requests_total", Kind::Counter, help);
        for (route, answers) in routes::NAMES.iter().zip(&self.counters().requests) {
            let others = [("other", answers.others)].into_iter();
            for (status, times) in answers.iter().filter(|(_, times)| *times > 0) {
                out.sample(&[("route", route), ("status", &status)], times);
            }
            for (status, times) in others.filter(|(_, times)| *times > 0) {
                out.sample(&[("route", route), ("status", &status)], times);
            }
        }
    }

    fn turn_metrics(&self, out: &mut Exposition) {
        let help = "Duration of turns of the event loop, which delay every client.";
        out.family("reverb_loop_turn_seconds", Kind::Histogram, help);
        let turns = &self.counters().turns;
        for (bound, times) in turns.by_bound() {
            out.part("_bucket", &[("le", &bound)], times);
        }
        out.part("_sum", &[], turns.sum_us as f64 / 1e6);
        let count = turns.by_bound().last().map_or(0, |(_, times)| times);
        out.part("_count", &[], count);
    }

    fn bus_metrics(&self, out: &mut Exposition) {
        let Some((nodes, counters)) = self.bus_counters() else { return };
        let help = "Whether Redis is connected and delivers what this node publishes.";
        out.single("reverb_redis_up", Kind::Gauge, help, u8::from(self.is_bus_up()));
        out.single("reverb_nodes", Kind::Gauge, "Other nodes within their lease.", nodes);
        let help = "Envelopes between nodes, by result.";
        out.family("reverb_envelopes_total", Kind::Counter, help);
        for (result, _, times) in counters.metrics() {
            out.sample(&[("result", &result)], times);
        }
    }
}

/// The label of all apps beyond `limits.metrics_apps` together. No app can have this id.
pub(super) const OTHER_APPS: &str = "(other)";
