//! What `reverb top` knows about an app: the subscribers of each channel, by the HTTP API, and the
//! messages since the last look, by the feed. How it is shown is in `table`.

use std::collections::HashMap;
use std::time::Duration;

use crate::args::terminal::Sort;
use crate::proto::message::{self, Object};

/// The state of an app as it is known so far.
#[derive(Default)]
pub(super) struct Board {
    /// The channels of the list, and those with messages since [`Board::take_view`].
    channels: HashMap<String, Channel>,
    /// Whether the first list has arrived.
    has_list: bool,
    /// The other nodes; `None` before the feed has begun.
    other_nodes: Option<Vec<String>>,
    /// The lines that the server has dropped, and the messages over [`CHANNELS_MAX`], since the start.
    dropped: u64,
    /// Why messages may be missing.
    feed_problem: Option<String>,
    /// Why the subscribers may be old.
    list_problem: Option<String>,
}

#[derive(Default)]
struct Channel {
    /// `None` if the list does not have the channel.
    subscribers: Option<u64>,
    /// Since [`Board::take_view`], as `bytes`.
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
        self.has_list && self.other_nodes.is_some()
    }

    /// Takes a list of channels, as the API returns it.
    pub(super) fn take_list(&mut self, body: &str) {
        for channel in self.channels.values_mut() {
            channel.subscribers = None;
        }
        let list = message::object(body).unwrap_or_default();
        let channels = list.get("channels").and_then(|channels| message::object(channels.get()));
        for (name, info) in channels.unwrap_or_default().members() {
            let info = message::object(info).unwrap_or_default();
            let count = info.number("subscription_count").or(info.number("user_count"));
            let channel = self.channels.entry(name.to_owned()).or_default();
            channel.subscribers = Some(count.unwrap_or_default());
        }
        self.has_list = true;
        self.list_problem = None;
        self.forget_unused();
    }

    /// Takes a line of the feed.
    pub(super) fn take_line(&mut self, line: &str) {
        let Some(line) = message::object(line) else { return };
        self.feed_problem = None;
        let node = || line.text("node").unwrap_or_default().into_owned();
        match line.text("kind").as_deref().unwrap_or_default() {
            "hello" => self.other_nodes = Some(texts(&line, "nodes")),
            "node_joined" => {
                let (nodes, node) = (self.other_nodes.get_or_insert_default(), node());
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
            "node_left" => {
                let (nodes, node) = (self.other_nodes.get_or_insert_default(), node());
                nodes.retain(|other| *other != node);
            }
            "dropped" => self.dropped += line.number("count").unwrap_or_default(),
            "client_event" => self.count(line.text("channel").unwrap_or_default().into(), &line),
            "api_event" => {
                texts(&line, "channels").into_iter().for_each(|channel| self.count(channel, &line));
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

    fn count(&mut self, channel: String, line: &Object<'_>) {
        if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&channel) {
            self.dropped += 1;
            return;
        }
        let channel = self.channels.entry(channel).or_default();
        channel.messages += 1;
        channel.bytes += line.number("bytes").unwrap_or_default();
    }

    /// Forgets the messages so far, so that the next view begins now.
    pub(super) fn begin(&mut self) {
        for channel in self.channels.values_mut() {
            (channel.messages, channel.bytes) = (0, 0);
        }
        self.forget_unused();
    }

    /// Forgets the channels without subscribers and messages.
    fn forget_unused(&mut self) {
        self.channels.retain(|_, channel| channel.subscribers.is_some() || channel.messages > 0);
    }

    /// The figures, with rates since the last call, which was this long ago.
    pub(super) fn take_view(&mut self, since: Duration) -> View {
        let seconds = since.as_secs_f64().max(0.001);
        let rows = self.channels.iter().map(|(name, channel)| Row {
            channel: name.clone(),
            subscribers: channel.subscribers.unwrap_or_default(),
            messages_per_s: channel.messages as f64 / seconds,
            bytes_per_s: channel.bytes as f64 / seconds,
        });
        let rows = rows.collect();
        self.begin();
        View {
            rows,
            nodes: self.other_nodes.as_ref().map_or(1, |others| others.len() + 1),
            dropped: self.dropped,
            problem: self.feed_problem.clone().or_else(|| self.list_problem.clone()),
        }
    }
}

/// The texts of a list that is a member of this line.
fn texts(line: &Object<'_>, name: &str) -> Vec<String> {
    let list = line.get(name).and_then(|list| message::array(list.get())).unwrap_or_default();
    list.iter().filter_map(|text| message::string(text.get()).map(Into::into)).collect()
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

/// With this many channels, messages to further ones are not counted: 200,000 entries take about 30 MB.
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
            r#"{"channels":{"a":{"subscription_count":2},"presence-b":{"user_count":3}}}"#,
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
