//! What `reverb top` knows about an app: the subscribers of each channel, by the HTTP API, and the
//! messages since the last look, by the feed. How it is shown is in `table`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;

use crate::args::terminal::Sort;

/// The state of an app as it is known so far.
#[derive(Default)]
pub(super) struct Board {
    /// The subscribers of each channel; `None` before the first list.
    subscribers: Option<HashMap<String, u64>>,
    /// The messages of each channel since [`Board::take_view`].
    traffic: HashMap<String, Traffic>,
    /// The other nodes; `None` before the feed has begun.
    other_nodes: Option<BTreeSet<String>>,
    /// The lines that the server has dropped, and the messages over [`CHANNELS_MAX`], since the start.
    dropped: u64,
    /// Why messages may be missing.
    feed_problem: Option<String>,
    /// Why the subscribers may be old.
    list_problem: Option<String>,
}

#[derive(Default, Clone, Copy)]
struct Traffic {
    messages: u64,
    bytes: u64,
}

/// The figures at one moment.
#[derive(Default)]
pub(super) struct View {
    pub rows: Vec<Row>,
    pub nodes: usize,
    pub dropped: u64,
    pub problem: Option<String>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub channel: String,
    pub subscribers: u64,
    pub messages_per_s: f64,
    pub bytes_per_s: f64,
}

impl Board {
    /// Whether both the list and the feed have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.subscribers.is_some() && self.other_nodes.is_some()
    }

    /// Takes a list of channels, as the API returns it.
    pub(super) fn take_list(&mut self, body: &[u8]) {
        let list = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let channels = list["channels"].as_object().into_iter().flatten();
        let count = |info: &Value| {
            let counts = [&info["subscription_count"], &info["user_count"]];
            counts.into_iter().find_map(Value::as_u64).unwrap_or_default()
        };
        let channels = channels.map(|(name, info)| (name.clone(), count(info)));
        self.subscribers = Some(channels.collect());
        self.list_problem = None;
    }

    /// Takes a line of the feed.
    pub(super) fn take_line(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        self.feed_problem = None;
        match line["kind"].as_str().unwrap_or_default() {
            "hello" => {
                let nodes = line["nodes"].as_array().into_iter().flatten();
                let nodes = nodes.filter_map(|node| node.as_str().map(str::to_owned));
                self.other_nodes = Some(nodes.collect());
            }
            "node_joined" => {
                let node = line["node"].as_str().unwrap_or_default().to_owned();
                self.other_nodes.get_or_insert_default().insert(node);
            }
            "node_left" => {
                let node = line["node"].as_str().unwrap_or_default();
                self.other_nodes.get_or_insert_default().remove(node);
            }
            "dropped" => self.dropped += line["count"].as_u64().unwrap_or_default(),
            "client_event" => self.count(&line["channel"], &line),
            "api_event" => {
                let channels = line["channels"].as_array().into_iter().flatten();
                channels.for_each(|channel| self.count(channel, &line));
            }
            _ => {}
        }
    }

    /// Records why messages may be missing, until the next line.
    pub(super) fn take_feed_problem(&mut self, why: String) {
        self.feed_problem = Some(why);
    }

    /// Records why the subscribers may be old, until the next list.
    pub(super) fn take_list_problem(&mut self, why: String) {
        self.list_problem = Some(why);
    }

    fn count(&mut self, channel: &Value, line: &Value) {
        let Some(channel) = channel.as_str() else { return };
        if self.traffic.len() >= CHANNELS_MAX && !self.traffic.contains_key(channel) {
            self.dropped += 1;
            return;
        }
        let traffic = self.traffic.entry(channel.to_owned()).or_default();
        traffic.messages += 1;
        traffic.bytes += line["bytes"].as_u64().unwrap_or_default();
    }

    /// Forgets the messages so far, so that the next view begins now.
    pub(super) fn begin(&mut self) {
        self.traffic.clear();
    }

    /// The figures, with rates since the last call, which was this long ago.
    pub(super) fn take_view(&mut self, since: Duration) -> View {
        let seconds = since.as_secs_f64().max(0.001);
        let mut traffic = std::mem::take(&mut self.traffic);
        let mut row = |channel: &String, subscribers: u64| {
            let traffic = traffic.remove(channel).unwrap_or_default();
            Row {
                channel: channel.clone(),
                subscribers,
                messages_per_s: traffic.messages as f64 / seconds,
                bytes_per_s: traffic.bytes as f64 / seconds,
            }
        };
        let listed = self.subscribers.iter().flatten();
        let mut rows: Vec<Row> = listed.map(|(channel, count)| row(channel, *count)).collect();
        // Channels without subscribers get messages, too.
        let vacant: Vec<String> = traffic.keys().cloned().collect();
        rows.extend(vacant.iter().map(|channel| {
            let Traffic { messages, bytes } = traffic[channel];
            Row {
                channel: channel.clone(),
                subscribers: 0,
                messages_per_s: messages as f64 / seconds,
                bytes_per_s: bytes as f64 / seconds,
            }
        }));
        View {
            rows,
            nodes: self.other_nodes.as_ref().map_or(1, |others| others.len() + 1),
            dropped: self.dropped,
            problem: self.feed_problem.clone().or_else(|| self.list_problem.clone()),
        }
    }
}

impl View {
    /// Sorts the channels: by this key, the greatest first, and then by name.
    pub(super) fn sort(&mut self, sort: Sort) {
        let key = |row: &Row| match sort {
            Sort::Subscribers => row.subscribers as f64,
            Sort::Messages => row.messages_per_s,
            Sort::Bytes => row.bytes_per_s,
            Sort::Name => 0.0,
        };
        self.rows.sort_unstable_by(|a, b| {
            key(b).total_cmp(&key(a)).then_with(|| a.channel.cmp(&b.channel))
        });
    }
}

/// The most channels whose messages are counted at once: 200,000 entries take about 30 MB.
const CHANNELS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(view: &View) -> Vec<&str> {
        view.rows.iter().map(|row| row.channel.as_str()).collect()
    }

    #[test]
    fn the_list_and_the_feed_become_rows() {
        let mut board = Board::default();
        assert!(!board.is_complete());
        board.take_list(
            br#"{"channels":{"a":{"subscription_count":2},"presence-b":{"user_count":3}}}"#,
        );
        board.take_line(r#"{"kind":"hello","node":"x","nodes":["y"]}"#);
        assert!(board.is_complete());
        board.take_line(r#"{"kind":"api_event","channels":["a","c"],"bytes":10}"#);
        board.take_line(r#"{"kind":"client_event","channel":"a","bytes":5}"#);
        board.take_line(r#"{"kind":"dropped","count":7}"#);
        board.take_line(r#"{"kind":"node_joined","node":"z"}"#);
        let mut view = board.take_view(Duration::from_secs(2));
        assert_eq!((view.nodes, view.dropped), (3, 7));
        view.sort(Sort::Subscribers);
        assert_eq!(names(&view), ["presence-b", "a", "c"]);
        view.sort(Sort::Bytes);
        assert_eq!(names(&view), ["a", "c", "presence-b"]);
        let a = Row { channel: "a".into(), subscribers: 2, messages_per_s: 1.0, bytes_per_s: 7.5 };
        assert_eq!(view.rows[0], a);
        view.sort(Sort::Name);
        assert_eq!(names(&view), ["a", "c", "presence-b"]);
        let view = board.take_view(Duration::from_secs(1));
        assert!(view.rows.iter().all(|row| row.messages_per_s == 0.0));
        assert_eq!(view.rows.len(), 2);
    }
}
