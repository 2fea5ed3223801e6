//! What the server tells of itself to those who watch over it: figures in Prometheus' format, on
//! connections of a port of their own, and whether it takes new clients, on every port.

use super::Hub;
use super::ids::Now;
use super::peer::Peer;
use super::routes;
use crate::config::{LimitKind, VERSION};
use crate::proto::http::{Head, Response};
use crate::proto::prometheus::{CONTENT_TYPE, Exposition, Kind};

impl<T> Hub<T> {
    /// Answers a request on such a connection.
    pub(super) fn answer_watcher(&self, head: &Head<'_>, now: Now) -> Response {
        let is = |name: &str| head.method.eq_ignore_ascii_case(name);
        match head.path {
            "/metrics" | "/up" | "/ready" if !is("GET") && !is("HEAD") => {
                Response::text(405, "Method not allowed.").with_header("Allow", "GET, HEAD")
            }
            "/metrics" => {
                let mut response = Response::text(200, self.figures(now));
                response.content_type = CONTENT_TYPE;
                response
            }
            "/up" => routes::health(),
            "/ready" => routes::readiness(self.connections.is_draining()),
            _ => Response::text(404, "Not found. Figures are at /metrics."),
        }
    }

    /// All figures. Some are found by a look at every connection, which takes about 3 ms for
    /// 100,000 of them.
    fn figures(&self, now: Now) -> String {
        let mut out = Exposition::default();
        self.process_figures(&mut out, now);
        self.connection_figures(&mut out);
        self.app_figures(&mut out);
        self.request_figures(&mut out);
        self.turn_figures(&mut out);
        self.bus_figures(&mut out);
        out.finish()
    }

    fn process_figures(&self, out: &mut Exposition, now: Now) {
        out.family("reverb_build_info", Kind::Gauge, "The version that runs.");
        out.sample(&[("version", &VERSION)], 1);
        let started_s = now.unix_s.saturating_sub(now.ms / 1_000);
        let help = "When the process started, in seconds since 1970.";
        out.single("process_start_time_seconds", Kind::Gauge, help, started_s);
        let help = "Whether new clients may come; 0 while the server stops.";
        out.single("reverb_ready", Kind::Gauge, help, u8::from(!self.connections.is_draining()));
    }

    fn connection_figures(&self, out: &mut Exposition) {
        let help = "Connections of any kind.";
        out.single("reverb_sockets", Kind::Gauge, help, self.connections());
        let help = "The most connections of any kind; 0 is no limit.";
        out.single("reverb_sockets_max", Kind::Gauge, help, self.connections.limits.connections);
        let waiting = self.connections.iter().map(|peer| peer.outbox.bytes()).sum::<usize>();
        let help = "Bytes that wait for clients to read them.";
        out.single("reverb_outbox_bytes", Kind::Gauge, help, waiting);

        let counters = self.counters();
        let help = "Messages and answers left out because a client reads too slowly.";
        out.single("reverb_frames_left_out_total", Kind::Counter, help, counters.frames_left_out);
        let help = "Handshakes and sessions of TLS that failed.";
        out.single("reverb_tls_failures_total", Kind::Counter, help, counters.tls_failures);
        let help = "Attempts to accept a connection without a descriptor or memory left.";
        out.single("reverb_accept_failures_total", Kind::Counter, help, counters.accept_failures);
        out.family("reverb_close_frames_total", Kind::Counter, "Close frames sent, by code.");
        for (code, times) in counters.closes.iter() {
            out.sample(&[("code", &code)], times);
        }
        out.sample(&[("code", &"other")], counters.closes.others);
        out.family("reverb_refused_total", Kind::Counter, "Times a limit was hit, by setting.");
        for (bound, times) in LimitKind::ALL.into_iter().zip(counters.refused) {
            out.sample(&[("setting", &bound.setting())], times);
        }
    }

    fn app_figures(&self, out: &mut Exposition) {
        let mut memberships = vec![0; self.pubsub.apps.len()];
        for subscriber in self.connections.iter().filter_map(Peer::subscriber) {
            memberships[subscriber.app as usize] += subscriber.channels();
        }
        let mut family = |name, kind, help: &str, value: &dyn Fn(u32) -> u64| {
            out.family(name, kind, help);
            for at in self.pubsub.apps.indexes() {
                let id = &self.pubsub.apps[at].settings.id;
                out.sample(&[("app", id)], value(at));
            }
        };
        let of = |at: u32| &self.counters().apps[at as usize];
        let app = |at: u32| &self.pubsub.apps[at];
        let (gauge, counter) = (Kind::Gauge, Kind::Counter);
        family("reverb_connections", gauge, "WebSockets here.", &|at| app(at).connections.into());
        family("reverb_channels", gauge, "Channels somebody here is in.", &|at| {
            app(at).listed_channels().count() as u64
        });
        family("reverb_subscriptions", gauge, "Subscriptions here.", &|at| {
            memberships[at as usize] as u64
        });
        family("reverb_connections_opened_total", counter, "WebSockets taken.", &|at| {
            of(at).connections_opened
        });
        family("reverb_messages_received_total", counter, "Messages of clients.", &|at| {
            of(at).messages_in
        });
        family("reverb_messages_sent_total", counter, "Messages to clients, each once.", &|at| {
            of(at).messages_out
        });
        family("reverb_received_bytes_total", counter, "Bytes of clients' frames.", &|at| {
            of(at).bytes_in
        });
        family("reverb_sent_bytes_total", counter, "Bytes of frames to clients.", &|at| {
            of(at).bytes_out
        });
        family("reverb_client_events_total", counter, "Client events passed on.", &|at| {
            of(at).client_events
        });
        family("reverb_api_events_total", counter, "Events published, by channel.", &|at| {
            of(at).api_events
        });
    }

    fn request_figures(&self, out: &mut Exposition) {
        let help = "Requests answered, by route and status; those of no route have no route.";
        out.family("reverb_http_requests_total", Kind::Counter, help);
        for (route, tally) in routes::NAMES.iter().zip(&self.counters().requests) {
            let others = [("other", tally.others)].into_iter();
            for (status, times) in tally.iter().filter(|(_, times)| *times > 0) {
                out.sample(&[("route", route), ("status", &status)], times);
            }
            for (status, times) in others.filter(|(_, times)| *times > 0) {
                out.sample(&[("route", route), ("status", &status)], times);
            }
        }
    }

    fn turn_figures(&self, out: &mut Exposition) {
        let help = "How long turns of the loop took: what everybody waits for.";
        out.family("reverb_loop_turn_seconds", Kind::Histogram, help);
        let turns = &self.counters().turns;
        for (bound, times) in turns.by_bound() {
            out.part("_bucket", &[("le", &bound)], times);
        }
        out.part("_sum", &[], turns.sum_us as f64 / 1e6);
        let count = turns.by_bound().last().map_or(0, |(_, times)| times);
        out.part("_count", &[], count);
    }

    fn bus_figures(&self, out: &mut Exposition) {
        let Some((nodes, counters)) = self.bus_counters() else { return };
        let help = "Whether Redis is connected and delivers to the nodes.";
        out.single("reverb_redis_up", Kind::Gauge, help, u8::from(self.is_bus_up()));
        out.single("reverb_nodes", Kind::Gauge, "Other nodes that are known to live.", nodes);
        out.family("reverb_envelopes_total", Kind::Counter, "What went between nodes, by fate.");
        for (fate, times) in [
            ("said", counters.published),
            ("heard", counters.received),
            ("repeated", counters.duplicates),
            ("dropped", counters.dropped),
            ("missing", counters.missing),
            ("foreign", counters.foreign),
        ] {
            out.sample(&[("fate", &fate)], times);
        }
    }
}
