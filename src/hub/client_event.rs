//! Client events: checks them and delivers them to the other subscribers of a channel (protocol
//! section 10).

use super::app_limits::Bound;
use super::channel::{Access, Kind};
use super::client_error::ClientError;
use super::connections::Connections;
use super::feed::ClientEventReport;
use super::ids::{ConnId, Now};
use super::publish::ChannelEvent;
use super::pubsub::PubSub;
use crate::config::ClientEvents;
use crate::proto::envelope::{self, Item};
use crate::proto::message::{self, ClientEvent, KeyOrder};
use crate::proto::webhook;

const ON_PUBLIC_CHANNEL: &str = "Client events are only accepted on private and presence channels.";
const NOT_A_MEMBER: &str = "The client is not a member of the specified channel.";

impl PubSub {
    /// Delivers a client's event, with its data unchanged. On presence channels the event gets the
    /// `user_id` of the subscription; a `user_id` that the client sends is ignored.
    pub(super) fn client_event<T>(
        &mut self,
        connections: &mut Connections<T>,
        id: ConnId,
        event: &ClientEvent<'_>,
        now: Now,
    ) -> Result<(), ClientError> {
        let Some(subscriber) = connections.subscriber(id) else {
            return Ok(());
        };
        let index = subscriber.app;
        let rate = self.client_event_rate(index);
        if connections.is_over_event_rate(id, rate.max, now) {
            return Err(over_event_rate(&rate));
        }
        connections.count_event(id, now);
        let Some(subscriber) = connections.subscriber(id) else {
            return Ok(());
        };
        let app = &self.apps[index];
        let place = app.place(&event.channel);
        let membership = place.and_then(|place| subscriber.membership(place));
        match app.settings.accept_client_events_from {
            ClientEvents::All => {}
            ClientEvents::Members if membership.is_some() => {}
            ClientEvents::Members => {
                return Err(ClientError::new(4009, NOT_A_MEMBER, "not subscribed"));
            }
            ClientEvents::None => {
                let text = "The app does not have client messaging enabled.";
                return Err(ClientError::new(4301, text, "accept_client_events_from is none"));
            }
        }
        let access = Kind::of(&event.channel).access;
        if access == Access::Public && !app.settings.client_events_on_public_channels {
            let detail = "a public channel (client_events_on_public_channels is false)";
            return Err(ClientError::new(4009, ON_PUBLIC_CHANNEL, detail));
        }
        // Only the app may send to a reserved channel. The name decides, as the channel may exist
        // at another node only.
        if Kind::of(&event.channel).is_reserved() {
            return Err(ClientError::new(4009, NOT_A_MEMBER, "a reserved channel"));
        }
        let bound = self.event_name_length(index);
        let limit = bound.max as usize;
        if event.event.len() > limit
            && message::string(event.event).is_some_and(|name| name.chars().count() > limit)
        {
            let refusal = ClientError::malformed("the event's name is too long");
            return Err(refusal.at(bound.exceeded));
        }
        let bound = self.channel_name_length(index);
        let limit = bound.max as usize;
        if event.channel.len() > limit && event.channel.chars().count() > limit {
            let refusal = ClientError::malformed("the channel's name is too long");
            return Err(refusal.at(bound.exceeded));
        }
        self.check_payload(index, event.data)?;
        let user = membership.and_then(|membership| membership.user.clone());
        let (app, sender) = (index, subscriber.socket_id);
        let ClientEvent { event: name, ref channel, data } = *event;
        let channel = &**channel;
        let (user, order) = (user.as_deref(), KeyOrder::ChannelFirst);
        connections.counters.apps[app as usize].client_events += 1;
        let recipients = self.deliver(
            connections,
            app,
            &ChannelEvent { name, channel, data, user, order, version: None },
            Some(sender),
            now,
        );
        let reported = webhook::ClientEvent { channel, event: name, data, user };
        let report = ClientEventReport { event: &reported, from: sender, recipients };
        connections.happenings.client_event(app, &report);
        let Some(bus) = &mut self.bus else { return Ok(()) };
        bus.publish(&Item::Event(envelope::Event {
            app: self.apps[app].settings.id.as_str().into(),
            name,
            data,
            channels: vec![channel.into()],
            order,
            except: Some(sender.to_string().into()),
            user: user.map(Into::into),
            clock: 0,
        }));
        Ok(())
    }
}

/// The error for a client event over the rate limit.
pub(super) fn over_event_rate(rate: &Bound) -> ClientError {
    let (max, setting) = (rate.max, rate.setting());
    let text = format!("Client event rejected: more than {max} in a second ({setting})");
    ClientError::new(4301, text, "too many client events").at(rate.exceeded)
}
