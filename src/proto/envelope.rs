//! The messages between nodes: JSON texts on the Redis channel they share.
//!
//! ```json
//! {"type":"reverb.1","payload":{"node":"00c0ffee00c0ffee","seq":7,"say":[["channel","1","news",2]]}}
//! ```
//!
//! `type` names the version. Receivers ignore unknown kinds of items and values after the known
//! ones, so nodes of two releases work together. Laravel Reverb ignores every envelope. An envelope
//! without `seq` is not part of its node's sequence. What a node does with an item is in the hub.

mod webhooks;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::message::{self, KeyOrder, push_json_string};
pub use webhooks::WebhookItem;

/// The `type` of every envelope.
pub const TYPE: &str = "reverb.1";

/// An envelope with this many bytes of items is full; the last item may exceed it by any length.
pub const ITEMS_BYTES: usize = 65_536;

/// A node sends this many bytes of envelopes to an inbox, and then waits for the next request. The
/// receiver so sets the pace, and a slow network holds no more than this at a time.
pub const CHUNK_BYTES: usize = 524_288;

/// The id of a node for the lifetime of its process; prints as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Parses 16 hexadecimal digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok().map(NodeId)).flatten()
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A parsed envelope; its items are not parsed yet.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The sender.
    pub node: NodeId,
    /// The sequence number; `None` if the envelope is not part of the sequence.
    pub seq: Option<u64>,
    /// The items as JSON texts; [`Item::read`] parses one.
    pub items: Vec<&'a RawValue>,
}

/// Why a message on the channel is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// It is not an envelope.
    NotAnEnvelope,
    /// It is an envelope of a version that this release does not know.
    UnknownVersion,
}

/// Parses an envelope.
///
/// # Errors
///
/// The text is not an envelope of this version.
pub fn parse(text: &[u8]) -> Result<Envelope<'_>, ParseError> {
    let text = std::str::from_utf8(text).map_err(|_| ParseError::NotAnEnvelope)?;
    let outer = message::object(text).ok_or(ParseError::NotAnEnvelope)?;
    let kind = outer.get("type").and_then(|raw| self::text(raw.get()));
    match kind.as_deref() {
        Some(TYPE) => {}
        Some(kind) if kind.starts_with("reverb.") => return Err(ParseError::UnknownVersion),
        _ => return Err(ParseError::NotAnEnvelope),
    }
    let payload = outer.get("payload").and_then(|raw| message::object(raw.get()));
    let payload = payload.ok_or(ParseError::NotAnEnvelope)?;
    let field = |name| payload.get(name).map(|raw| raw.get());
    let node = field("node").and_then(self::text).and_then(|text| NodeId::parse(&text));
    let items = field("say").and_then(message::array);
    let (Some(node), Some(items)) = (node, items) else { return Err(ParseError::NotAnEnvelope) };
    let seq = field("seq").map(|raw| number(raw).ok_or(ParseError::NotAnEnvelope)).transpose()?;
    Ok(Envelope { node, seq, items })
}

/// Encodes an envelope; `items` is the output of [`Item::write`], separated by commas.
pub fn envelope(node: NodeId, seq: Option<u64>, items: &str) -> String {
    let seq = seq.map_or(String::new(), |seq| format!(r#""seq":{seq},"#));
    format!(r#"{{"type":"{TYPE}","payload":{{"node":"{node}",{seq}"say":[{items}]}}}}"#)
}

/// Encodes items, separated by commas.
pub fn list(items: &[Item<'_>]) -> String {
    let mut list = String::new();
    items.iter().for_each(|item| push_item(&mut list, item));
    list
}

/// Appends an item to a list of items.
pub fn push_item(list: &mut String, item: &Item<'_>) {
    if !list.is_empty() {
        list.push(',');
    }
    item.write(list);
}

/// The sender and the sequence number, if there is one, from the beginning of an [`envelope`] that
/// was cut off.
pub fn parse_head(head: &[u8]) -> Option<(NodeId, Option<u64>)> {
    let head =
        head.strip_prefix(format!(r#"{{"type":"{TYPE}","payload":{{"node":""#).as_bytes())?;
    let (node, rest) = head.split_at_checked(16)?;
    let node = NodeId::parse(std::str::from_utf8(node).ok()?)?;
    let Some(rest) = rest.strip_prefix(br#"","seq":"#) else {
        return rest.starts_with(br#"","say":"#).then_some((node, None));
    };
    let end = rest.iter().position(|byte| *byte == b',')?;
    Some((node, Some(number(std::str::from_utf8(&rest[..end]).ok()?)?)))
}

/// An item of an envelope: a fact about its sender, or a part of the protocol between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Item<'a> {
    /// An event for subscribers.
    Event(Event<'a>),
    /// Disconnect all connections of this user.
    Terminate { app: Text<'a>, user: Text<'a> },
    /// Disconnect the connection with this socket id.
    TerminateOne { app: Text<'a>, socket_id: Text<'a> },
    /// The sender's number of connections of an app.
    Connections { app: Text<'a>, count: u32 },
    /// The sender's number of subscribers of a channel.
    Channel { app: Text<'a>, channel: Text<'a>, count: u32 },
    /// A user has joined a presence channel at the sender; `info` is JSON text.
    Joined { app: Text<'a>, channel: Text<'a>, user: Text<'a>, info: Option<&'a str> },
    /// A user has left a presence channel at the sender.
    Left { app: Text<'a>, channel: Text<'a>, user: Text<'a> },
    /// The cached message of a channel, as JSON text. The message with the greater version wins.
    Cached { app: Text<'a>, channel: Text<'a>, message: &'a str, ttl_ms: u64, version: Version },
    /// The sender publishes its state again, up to [`Item::SyncEnd`]; with cached messages or not.
    SyncBegin { with_cache: bool },
    /// The full sync is complete.
    SyncEnd,
    /// The sender stops.
    Goodbye,
    /// Asks each receiver for a heartbeat, [`Item::Alive`].
    Hello,
    /// A heartbeat. `first` is the oldest envelope that can be retransmitted, `next` the next one to
    /// be sent, `end` the one after all that wait; the sender has been running for `up_ms`. `inbox`
    /// says that it has an inbox, `sharded` that it receives sharded messages of a Redis Cluster.
    Alive { first: u64, next: u64, up_ms: u64, end: u64, inbox: bool, sharded: bool },
    /// The sender has received all envelopes of this node before `next`.
    Ack { node: NodeId, next: u64 },
    /// The sender has received nothing from this node for `silent_ms`.
    Suspect { node: NodeId, silent_ms: u64 },
    /// This node should retransmit its envelopes from `next` on. With `inbox`, it should send those
    /// before that number to the inbox of the sender, and at most [`CHUNK_BYTES`] of them.
    Nack { node: NodeId, next: u64, inbox: Option<u64> },
    /// The sender has retransmitted the envelopes before `next` to this inbox.
    RetransmissionEnd { next: u64 },
    /// This node should start a full sync; `with_cache` asks for cached messages too. With a
    /// `transfer`, it goes to the inbox of the sender.
    SyncRequest { node: NodeId, with_cache: bool, transfer: Option<Transfer> },
    /// The other items of this envelope are facts: a part of a full sync to an inbox.
    SyncPart { transfer: Transfer, then: AfterPart },
    /// About webhooks.
    Webhook(WebhookItem<'a>),
}

/// A full sync to one node, and a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The number that the receiver has given to this full sync; never 0.
    pub id: u64,
    /// The number of the part, from 0.
    pub part: u64,
}

/// What follows a part of a full sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPart {
    /// The next part.
    More,
    /// The next part, once the receiver has requested it.
    Pause,
    /// Nothing: the full sync is complete.
    End,
}

/// An event for the subscribers of some channels; `name` and `data` are JSON texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The app's id.
    pub app: Text<'a>,
    /// The event's name.
    pub name: &'a str,
    /// The payload.
    pub data: &'a str,
    /// The channels whose subscribers receive it.
    pub channels: Vec<Text<'a>>,
    /// The key order of the message.
    pub order: KeyOrder,
    /// The socket id that does not receive it.
    pub except: Option<Text<'a>>,
    /// The user id of the client that sent it on a presence channel.
    pub user: Option<Text<'a>>,
    /// Greater than the clock of any event that the sender knew; 0 if no cache channel stores it.
    pub clock: u64,
}

/// The clock of an event and the id of its node; all nodes order two versions the same way.
pub type Version = (u64, u64);

/// A text; copied only if it contained escapes.
pub type Text<'a> = Cow<'a, str>;

impl Item<'_> {
    /// Appends the item as a JSON array.
    pub fn write(&self, out: &mut String) {
        if let Item::Webhook(item) = self {
            item.write(out);
            return out.push(']');
        }
        let mut row = Row::new(out);
        match self {
            Item::Event(event) => {
                row.text("event").text(&event.app).raw(event.name).raw(event.data);
                row.list(&event.channels);
                row.number(u64::from(event.order == KeyOrder::ChannelFirst));
                row.optional(event.except.as_deref()).optional(event.user.as_deref());
                row.number(event.clock)
            }
            Item::Terminate { app, user } => row.text("terminate").text(app).text(user),
            Item::TerminateOne { app, socket_id } => {
                row.text("terminate_one").text(app).text(socket_id)
            }
            Item::Connections { app, count } => {
                row.text("connections").text(app).number((*count).into())
            }
            Item::Channel { app, channel, count } => {
                row.text("channel").text(app).text(channel).number((*count).into())
            }
            Item::Joined { app, channel, user, info } => {
                row.text("joined").text(app).text(channel).text(user);
                row.raw(info.unwrap_or("null"))
            }
            Item::Left { app, channel, user } => {
                row.text("left").text(app).text(channel).text(user)
            }
            Item::Cached { app, channel, message, ttl_ms, version: (clock, node) } => {
                row.text("kept").text(app).text(channel).raw(message);
                row.number(*ttl_ms).number(*clock).number(*node)
            }
            Item::SyncBegin { with_cache } => row.text("begin").number((*with_cache).into()),
            Item::SyncEnd => row.text("whole"),
            Item::Goodbye => row.text("goodbye"),
            Item::Hello => row.text("hello"),
            Item::Alive { first, next, up_ms, end, inbox, sharded } => {
                row.text("alive").number(*first).number(*next).number(*up_ms).number(*end);
                row.number((*inbox).into()).number((*sharded).into())
            }
            Item::Ack { node, next } => row.text("heard").node(*node).number(*next),
            Item::Suspect { node, silent_ms } => row.text("silent").node(*node).number(*silent_ms),
            Item::Nack { node, next, inbox } => {
                row.text("again").node(*node).number(*next).number(inbox.unwrap_or(0))
            }
            Item::RetransmissionEnd { next } => row.text("until").number(*next),
            Item::SyncRequest { node, with_cache, transfer } => {
                row.text("tell").node(*node).number((*with_cache).into());
                let Transfer { id, part } = transfer.unwrap_or(Transfer { id: 0, part: 0 });
                row.number(id).number(part)
            }
            Item::SyncPart { transfer: Transfer { id, part }, then } => {
                row.text("part").number(*id).number(*part).number(*then as u64)
            }
            Item::Webhook(_) => &mut row,
        };
        row.out.push(']');
    }

    /// Parses an item; `None` if its kind is unknown or a value is invalid.
    pub fn read(raw: &str) -> Option<Item<'_>> {
        let values = message::array(raw)?;
        let raw = |at: usize| values.get(at).map(|raw| raw.get());
        let text = |at| raw(at).and_then(text);
        let count = |at| raw(at).and_then(number);
        let small = |at| count(at).and_then(|count| u32::try_from(count).ok());
        let node = |at| text(at).and_then(|text| NodeId::parse(&text));
        Some(match &*text(0)? {
            "event" => Item::Event(event(&values)?),
            "terminate" => Item::Terminate { app: text(1)?, user: text(2)? },
            "terminate_one" => Item::TerminateOne { app: text(1)?, socket_id: text(2)? },
            "connections" => Item::Connections { app: text(1)?, count: small(2)? },
            "channel" => Item::Channel { app: text(1)?, channel: text(2)?, count: small(3)? },
            "joined" => {
                let info = raw(4).filter(|info| *info != "null");
                Item::Joined { app: text(1)?, channel: text(2)?, user: text(3)?, info }
            }
            "left" => Item::Left { app: text(1)?, channel: text(2)?, user: text(3)? },
            "kept" => {
                let message = raw(3).filter(|message| message.starts_with('{'))?;
                let (ttl_ms, version) = (count(4)?, (count(5)?, count(6)?));
                Item::Cached { app: text(1)?, channel: text(2)?, message, ttl_ms, version }
            }
            "begin" => Item::SyncBegin { with_cache: count(1)? != 0 },
            "whole" => Item::SyncEnd,
            "goodbye" => Item::Goodbye,
            "hello" => Item::Hello,
            "alive" => {
                let (first, next, up_ms) = (count(1)?, count(2)?, count(3)?);
                let flag = |at| count(at).is_some_and(|flag| flag != 0);
                let (end, inbox, sharded) = (count(4).unwrap_or(next), flag(5), flag(6));
                Item::Alive { first, next, up_ms, end, inbox, sharded }
            }
            "heard" => Item::Ack { node: node(1)?, next: count(2)? },
            "silent" => Item::Suspect { node: node(1)?, silent_ms: count(2)? },
            "again" => {
                let inbox = count(3).filter(|end| *end != 0);
                Item::Nack { node: node(1)?, next: count(2)?, inbox }
            }
            "until" => Item::RetransmissionEnd { next: count(1)? },
            "tell" => {
                let id = count(3).filter(|id| *id != 0);
                let transfer = id.map(|id| Transfer { id, part: count(4).unwrap_or(0) });
                Item::SyncRequest { node: node(1)?, with_cache: count(2)? != 0, transfer }
            }
            "part" => {
                let then = match count(3)? {
                    0 => AfterPart::More,
                    1 => AfterPart::Pause,
                    _ => AfterPart::End,
                };
                Item::SyncPart { transfer: Transfer { id: count(1)?, part: count(2)? }, then }
            }
            kind => Item::Webhook(WebhookItem::read(kind, &values)?),
        })
    }
}

fn event<'a>(values: &[&'a RawValue]) -> Option<Event<'a>> {
    let raw = |at: usize| values.get(at).map(|raw| raw.get());
    let channels = raw(4).and_then(message::array)?;
    let order = match raw(5)? {
        "0" => KeyOrder::DataFirst,
        _ => KeyOrder::ChannelFirst,
    };
    Some(Event {
        app: raw(1).and_then(text)?,
        name: raw(2).filter(|name| name.starts_with('"'))?,
        data: raw(3)?,
        channels: channels.into_iter().map(|raw| text(raw.get())).collect::<Option<_>>()?,
        order,
        except: raw(6).and_then(text),
        user: raw(7).and_then(text),
        clock: raw(8).and_then(number)?,
    })
}

fn text(raw: &str) -> Option<Text<'_>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        true => message::string(raw),
        // It was parsed before and has no escapes, so the text between the quotes is the value.
        false => Some(Cow::Borrowed(inner)),
    }
}

fn number(raw: &str) -> Option<u64> {
    raw.parse().ok()
}

/// Writes a JSON array.
struct Row<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> Row<'o> {
    fn new(out: &'o mut String) -> Self {
        out.push('[');
        Row { out, is_empty: true }
    }

    fn text(&mut self, text: &str) -> &mut Self {
        push_json_string(self.next(), text);
        self
    }

    fn raw(&mut self, json: &str) -> &mut Self {
        self.next().push_str(json);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_string())
    }

    fn node(&mut self, node: NodeId) -> &mut Self {
        self.text(&node.to_string())
    }

    fn list(&mut self, texts: &[Text<'_>]) -> &mut Self {
        let out = self.next();
        out.push('[');
        for (n, text) in texts.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            push_json_string(out, text);
        }
        out.push(']');
        self
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    fn next(&mut self) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(',');
        }
        self.out
    }
}

#[cfg(test)]
mod tests;
