//! The webhooks of an app: where they are sent, which events and channels they cover, and when.

use super::Url;

/// One entry of `webhooks` of an app.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// Where its requests are sent.
    pub url: Url,
    /// The events that it covers.
    pub events: WebhookEvents,
    /// The channels that it covers, with `*` as wildcard; empty is all. Events without a channel are
    /// covered only if it is empty.
    pub channels: Vec<String>,
    /// Headers that its requests have in addition, in this order.
    pub headers: Vec<(String, String)>,
    /// Milliseconds from the first event of a request to the request; 0 is at the end of the turn.
    pub batch_ms: u32,
    /// Milliseconds for a request.
    pub timeout_ms: u32,
}

impl Webhook {
    /// A webhook with the defaults.
    pub fn new(url: Url) -> Self {
        Webhook {
            url,
            events: WebhookEvents::PUSHER,
            channels: Vec::new(),
            headers: Vec::new(),
            batch_ms: 50,
            timeout_ms: 10_000,
        }
    }
}

/// Omits the headers, which may contain a secret.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Webhook");
        shown.field("url", &self.url).field("events", &self.events);
        shown.field("channels", &self.channels).finish_non_exhaustive()
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// An event that a webhook may cover.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum WebhookEvent {
            $($(#[$doc])* $name,)*
        }

        impl WebhookEvent {
            /// All events, in the order of the manual.
            pub const ALL: [WebhookEvent; [$($text),*].len()] = [$(WebhookEvent::$name),*];

            /// Its `name` in a request and in the configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $(WebhookEvent::$name => $text,)*
                }
            }
        }
    };
}

events! {
    /// A channel has its first subscriber.
    ChannelOccupied = "channel_occupied";
    /// A channel has lost its last subscriber.
    ChannelVacated = "channel_vacated";
    /// A user has joined a presence channel.
    MemberAdded = "member_added";
    /// A user has left a presence channel.
    MemberRemoved = "member_removed";
    /// A client has sent an event to a channel.
    ClientEvent = "client_event";
    /// A client has subscribed to a cache channel without a cached event.
    CacheMiss = "cache_miss";
    /// The number of subscribers of a channel has changed.
    SubscriptionCount = "subscription_count";
    /// A connection was closed because its client answered no ping.
    ConnectionPruned = "connection_pruned";
    /// A message of a client was handled.
    MessageReceived = "message_received";
    /// A message was queued for a client.
    MessageSent = "message_sent";
}

/// A set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookEvents(u16);

impl WebhookEvents {
    /// The events of Pusher, which a webhook covers unless it names others.
    pub const PUSHER: WebhookEvents = WebhookEvents(0x7F);

    /// Parses the names of events.
    ///
    /// # Errors
    ///
    /// A name is unknown, or there is none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut events = WebhookEvents::default();
        for name in names {
            let event = WebhookEvent::ALL.into_iter().find(|event| event.name() == name);
            let known = || WebhookEvent::ALL.map(WebhookEvent::name).join(", ");
            let event = event.ok_or_else(|| {
                format!("{} is not one of {}", super::values::shown(name), known())
            })?;
            events = events.with(event);
        }
        if events == WebhookEvents::default() { Err("is an empty list".into()) } else { Ok(events) }
    }

    /// Whether it has this event.
    pub fn has(self, event: WebhookEvent) -> bool {
        self.0 & (1 << event as u16) != 0
    }

    /// The set with this event in addition.
    #[must_use]
    pub fn with(self, event: WebhookEvent) -> Self {
        WebhookEvents(self.0 | 1 << event as u16)
    }

    /// The events of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        WebhookEvents(self.0 | other.0)
    }

    /// Its events, in the order of the manual.
    pub fn iter(self) -> impl Iterator<Item = WebhookEvent> {
        WebhookEvent::ALL.into_iter().filter(move |event| self.has(*event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_events_that_were_named() {
        let events = WebhookEvents::parse(["message_sent", "channel_occupied"]).unwrap();
        let names: Vec<_> = events.iter().map(WebhookEvent::name).collect();
        assert_eq!(names, ["channel_occupied", "message_sent"]);
        assert_eq!(WebhookEvents::PUSHER.iter().count(), 7);
        assert!(!WebhookEvents::PUSHER.has(WebhookEvent::ConnectionPruned));
        assert_eq!(WebhookEvents::parse([]).unwrap_err(), "is an empty list");
        let unknown = WebhookEvents::parse(["channel_ocupied"]).unwrap_err();
        assert!(unknown.starts_with("\"channel_ocupied\" is not one of channel_occupied, "));
    }
}
