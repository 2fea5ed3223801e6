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
    /// The app was told that the channel is occupied, or that the user is in it.
    Told { app: Cow<'a, str>, channel: Cow<'a, str>, user: Option<Cow<'a, str>>, is_present: bool },
    /// The sender sends the events of the channel, and has nothing to send about this state.
    Known { app: Cow<'a, str>, channel: Cow<'a, str>, user: Option<Cow<'a, str>>, is_present: bool },
    /// The sender knows nothing later than this state that the app was told; `None` if it is unsure.
    Ask { app: Cow<'a, str>, channel: Cow<'a, str>, user: Option<Cow<'a, str>>, told: Option<bool> },
}

impl WebhookItem<'_> {
    /// Appends the item as a JSON array without its closing bracket.
    pub(super) fn write(&self, out: &mut String) {
        let (kind, app, channel, user, state) = match self {
            WebhookItem::Sends => return out.push_str(r#"["webhooks""#),
            WebhookItem::Told { app, channel, user, is_present } => {
                ("webhook_told", app, channel, user, u8::from(*is_present))
            }
            WebhookItem::Known { app, channel, user, is_present } => {
                ("webhook_known", app, channel, user, u8::from(*is_present))
            }
            WebhookItem::Ask { app, channel, user, told } => {
                ("webhook_ask", app, channel, user, told.map_or(2, u8::from))
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
            "webhook_told" => Some(WebhookItem::Told { app, channel, user, is_present: state? }),
            "webhook_known" => Some(WebhookItem::Known { app, channel, user, is_present: state? }),
            "webhook_ask" => Some(WebhookItem::Ask { app, channel, user, told: state }),
            _ => None,
        }
    }
}
