//! The items between nodes that are about webhooks. Nodes of earlier releases ignore them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::proto::message::{self, push_json_string};

/// An item about webhooks. `user` is `None` if it is about the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum WebhookItem<'a> {
    /// The sender sends webhooks. Part of its heartbeat.
    Sends,
    /// All webhooks have acknowledged that the channel is occupied or the user in it, or is not.
    Acknowledged {
        app: Cow<'a, str>,
        channel: Cow<'a, str>,
        user: Option<Cow<'a, str>>,
        is_present: bool,
    },
    /// The sender sends the events of the channel, and has nothing to send about this state.
    Unchanged {
        app: Cow<'a, str>,
        channel: Cow<'a, str>,
        user: Option<Cow<'a, str>>,
        is_present: bool,
    },
    /// The last state that was reported, as far as the sender knows; `None` if it is unsure.
    Query {
        app: Cow<'a, str>,
        channel: Cow<'a, str>,
        user: Option<Cow<'a, str>>,
        reported: Option<bool>,
    },
}

impl WebhookItem<'_> {
    /// Appends the item as a JSON array without its closing bracket.
    pub(super) fn write(&self, out: &mut String) {
        let (kind, app, channel, user, state) = match self {
            WebhookItem::Sends => return out.push_str(r#"["webhooks""#),
            WebhookItem::Acknowledged { app, channel, user, is_present } => {
                ("webhook_acknowledged", app, channel, user, u8::from(*is_present))
            }
            WebhookItem::Unchanged { app, channel, user, is_present } => {
                ("webhook_unchanged", app, channel, user, u8::from(*is_present))
            }
            WebhookItem::Query { app, channel, user, reported } => {
                ("webhook_query", app, channel, user, reported.map_or(2, u8::from))
            }
        };
        out.push_str(r#"[""#);
        out.push_str(kind);
        out.push_str(r#"","#);
        push_json_string(out, app);
        out.push(',');
        push_json_string(out, channel);
        out.push(',');
        match user {
            Some(user) => push_json_string(out, user),
            None => out.push_str("null"),
        }
        out.push(',');
        out.push(char::from(b'0' + state));
    }

    /// Parses an item of this kind; `None` if the kind is another one or a value is invalid.
    pub(super) fn read<'a>(kind: &str, values: &[&'a RawValue]) -> Option<WebhookItem<'a>> {
        if kind == "webhooks" {
            return Some(WebhookItem::Sends);
        }
        let text = |at: usize| values.get(at).and_then(|raw| message::string(raw.get()));
        let (app, channel) = (text(1)?, text(2)?);
        let user = match values.get(3)?.get() {
            "null" => None,
            _ => Some(text(3)?),
        };
        let state = match values.get(4)?.get() {
            "0" => Some(false),
            "1" => Some(true),
            "2" => None,
            _ => return None,
        };
        match kind {
            "webhook_acknowledged" => {
                Some(WebhookItem::Acknowledged { app, channel, user, is_present: state? })
            }
            "webhook_unchanged" => {
                Some(WebhookItem::Unchanged { app, channel, user, is_present: state? })
            }
            "webhook_query" => Some(WebhookItem::Query { app, channel, user, reported: state }),
            _ => None,
        }
    }
}
