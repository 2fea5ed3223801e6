//! The lines: which members each kind has. One method a kind; `happenings` calls them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use super::filter::{About, Channels};
use super::kind::Kind;
use super::line::Line;
use super::{EVERY_APP, Feed};
use crate::config::{LimitKind, Url};
use crate::hub::ids::SocketId;
use crate::proto::envelope::NodeId;
use crate::proto::http::Response;
use crate::proto::message;
use crate::proto::webhook::ClientEvent;

/// A client event that was delivered.
pub(in crate::hub) struct ClientEventReport<'a> {
    pub event: &'a ClientEvent<'a>,
    pub from: SocketId,
    /// The subscribers of this node that receive it.
    pub recipients: u64,
}

/// An event that was published through the API; `name` and `data` are JSON texts.
pub(in crate::hub) struct ApiEventReport<'a> {
    pub name: &'a str,
    pub data: &'a str,
    pub channels: &'a [Cow<'a, str>],
    pub except: Option<SocketId>,
    /// The subscribers of this node that receive it, over all channels.
    pub recipients: u64,
}

/// How a connection has ended: a close code of RFC 6455 or of Pusher, and its text.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct End<'a> {
    pub code: u16,
    pub reason: &'a str,
}

/// A handshake or a message of a client that was rejected.
pub(in crate::hub) struct Refusal<'a> {
    /// `None` if the handshake was rejected.
    pub socket_id: Option<SocketId>,
    pub address: Option<IpAddr>,
    pub channel: Option<&'a str>,
    pub code: u16,
    pub reason: &'a str,
    /// The text that should have been signed, if the signature is wrong or missing.
    pub expected: Option<&'a str>,
}

/// An API request that was rejected.
pub(in crate::hub) struct ApiError<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub response: &'a Response,
    pub expected: Option<&'a str>,
    pub address: Option<IpAddr>,
}

/// The outcome of a request to a webhook.
pub(in crate::hub) struct WebhookReport {
    pub app: u32,
    /// Shown without the query, which may contain a secret.
    pub url: Rc<Url>,
    pub events: u32,
    pub ms: u64,
    pub outcome: WebhookReportOutcome,
}

/// Whether the webhook has acknowledged the events.
pub(in crate::hub) enum WebhookReportOutcome {
    Sent { status: u16 },
    Failed { reason: String, retry: bool },
}

impl Feed {
    pub(in crate::hub) fn connected(
        &mut self,
        app: u32,
        socket_id: SocketId,
        address: Option<IpAddr>,
        origin: Option<&str>,
    ) {
        self.report(app, About::new(Kind::Connected).socket(socket_id), &|line| {
            line.head.printed("socket_id", &socket_id).nullable_printed("address", address);
            line.head.nullable("origin", origin);
        });
    }

    pub(in crate::hub) fn disconnected(
        &mut self,
        app: u32,
        socket_id: SocketId,
        user: Option<&str>,
        end: End<'_>,
    ) {
        let about = About::new(Kind::Disconnected).socket(socket_id).user(user);
        self.report(app, about, &|line| {
            line.head.printed("socket_id", &socket_id).number("code", end.code.into());
            line.head.text("reason", end.reason).optional("user_id", user);
        });
    }

    /// `kind` is [`Kind::Subscribed`] or [`Kind::Unsubscribed`].
    pub(in crate::hub) fn subscription(
        &mut self,
        app: u32,
        kind: Kind,
        socket_id: SocketId,
        channel: &str,
        user: Option<&str>,
    ) {
        let about = About::new(kind).channel(channel).socket(socket_id).user(user);
        self.report(app, about, &|line| {
            line.head.printed("socket_id", &socket_id).text("channel", channel);
            line.head.optional("user_id", user);
        });
    }

    /// `app` is [`EVERY_APP`] if the client has named none that exists.
    pub(in crate::hub) fn refused(&mut self, app: u32, refusal: &Refusal<'_>) {
        let mut about = About::new(Kind::Refused).socket(refusal.socket_id);
        if let Some(channel) = refusal.channel {
            about = about.channel(channel);
        }
        self.report(app, about, &|line| {
            line.head
                .nullable_printed("socket_id", refusal.socket_id)
                .nullable_printed("address", refusal.address);
            line.head.optional("channel", refusal.channel).number("code", refusal.code.into());
            line.head.text("reason", refusal.reason).optional("expected", refusal.expected);
        });
    }

    pub(in crate::hub) fn client_event(&mut self, app: u32, report: &ClientEventReport<'_>) {
        let &ClientEventReport { event, from, recipients } = report;
        let about = About::new(Kind::ClientEvent).channel(event.channel).socket(from);
        let about = About { event: Some(event.event), ..about.user(event.user) };
        self.report(app, about, &|line| {
            line.head.printed("socket_id", &from).text("channel", event.channel);
            line.event(event.event).head.optional("user_id", event.user);
            event_end(line, event.data, recipients);
        });
    }

    pub(in crate::hub) fn api_event(&mut self, app: u32, event: &ApiEventReport<'_>) {
        let channels = Channels::Many(event.channels);
        let about = About { channels, event: Some(event.name), ..About::new(Kind::ApiEvent) };
        self.report(app, about, &|line| {
            line.head.texts("channels", &mut event.channels.iter().map(Cow::as_ref));
            line.event(event.name);
            if let Some(except) = event.except {
                line.head.printed("except", &except);
            }
            event_end(line, event.data, event.recipients);
        });
    }

    pub(in crate::hub) fn api_error(&mut self, app: u32, error: &ApiError<'_>) {
        let reason = error.response.body_text().trim_end();
        self.report(app, About::new(Kind::ApiError), &|line| {
            line.head.text("method", error.method).text("path", error.path);
            line.head.number("status", error.response.status.into()).text("reason", reason);
            line.head.optional("expected", error.expected);
            if let Some(address) = error.address {
                line.head.printed("address", &address);
            }
        });
    }

    /// `kind` is [`Kind::Occupied`] or [`Kind::Vacated`].
    pub(in crate::hub) fn channel(&mut self, app: u32, kind: Kind, channel: &str) {
        self.report(app, About::new(kind).channel(channel), &|line| {
            line.head.text("channel", channel);
        });
    }

    /// `kind` is [`Kind::MemberAdded`] or [`Kind::MemberRemoved`].
    pub(in crate::hub) fn member(&mut self, app: u32, kind: Kind, channel: &str, user: &str) {
        self.report(app, About::new(kind).channel(channel).user(Some(user)), &|line| {
            line.head.text("channel", channel).text("user_id", user);
        });
    }

    pub(in crate::hub) fn webhook(&mut self, report: &WebhookReport) {
        let kind = match report.outcome {
            WebhookReportOutcome::Sent { .. } => Kind::WebhookSent,
            WebhookReportOutcome::Failed { .. } => Kind::WebhookFailed,
        };
        self.report(report.app, About::new(kind), &|line| {
            line.head.text("url", &report.url.to_string()).number("events", report.events.into());
            match &report.outcome {
                WebhookReportOutcome::Sent { status } => {
                    line.head.number("status", (*status).into()).number("ms", report.ms);
                }
                WebhookReportOutcome::Failed { reason, retry } => {
                    line.head.text("reason", reason).flag("retry", *retry);
                }
            }
        });
    }

    /// `kind` is [`Kind::NodeJoined`] or [`Kind::NodeLeft`]. The viewers of all apps get it.
    pub(in crate::hub) fn node(&mut self, kind: Kind, node: NodeId) {
        for app in self.every_index() {
            self.write(app, app == EVERY_APP, About::new(kind), &|line| {
                line.head.printed("node", &node);
            });
        }
    }

    /// A client of an app has exceeded a limit.
    pub(in crate::hub) fn limit(
        &mut self,
        app: u32,
        limit: LimitKind,
        socket_id: Option<SocketId>,
        address: Option<IpAddr>,
    ) {
        self.report(app, About::new(Kind::Limit).socket(socket_id), &|line| {
            line.head.text("limit", limit.setting()).text("reason", limit.description());
            if let Some(socket_id) = socket_id {
                line.head.printed("socket_id", &socket_id);
            }
            if let Some(address) = address {
                line.head.printed("address", &address);
            }
        });
    }

    /// A limit was exceeded by a client that is no WebSocket, or by an API request. The viewers of
    /// all apps get it, without the address: the client may be one of another app.
    pub(in crate::hub) fn server_limit(&mut self, limit: LimitKind) {
        for app in self.every_index() {
            self.write(app, app == EVERY_APP, About::new(Kind::Limit), &|line| {
                line.head.text("limit", limit.setting()).text("reason", limit.description());
            });
        }
    }

    /// The indexes for a line that is about no app.
    fn every_index(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.viewers.apps.len() as u32).chain([EVERY_APP])
    }
}

fn event_end(line: &mut Line, data: &str, recipients: u64) {
    let bytes = message::text_len(data);
    line.head.number("bytes", bytes).number("recipients", recipients);
    line.data(data, bytes);
}
