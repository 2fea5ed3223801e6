//! Events of clients for the other subscribers of a channel (protocol section 10).

use super::Hub;
use super::api::Sent;
use super::channel::Kind;
use super::peer::{ConnId, Now};
use super::subscriber::Refusal;
use crate::config::{Bound, ClientEvents};
use crate::proto::envelope::{self, Item};
use crate::proto::message::{ClientEvent, KeyOrder};

impl<T> Hub<T> {
    /// Passes a client's event on, its data as it was. Who sent it is told on presence channels,
    /// from the subscription: what a client says of itself is not passed on.
    pub(super) fn client_event(
        &mut self,
        id: ConnId,
        event: &ClientEvent<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return Ok(());
        };
        let index = subscriber.app;
        let app = &self.apps[index as usize];
        let place = app.place(&event.channel);
        let seat = place.and_then(|place| subscriber.seat(place));
        match app.settings.accept_client_events_from {
            ClientEvents::All => {}
            ClientEvents::Members if seat.is_some() => {}
            ClientEvents::Members => {
                return Err(Refusal::new(4009, NOT_A_MEMBER, "not subscribed"));
            }
            ClientEvents::None => {
                let text = "The app does not have client messaging enabled.";
                return Err(Refusal::new(4301, text, "accept_client_events_from is none"));
            }
        }
        // Only the app sends to a user. The channel need not exist here: it may at another node.
        if Kind::of(&event.channel).is_reserved() {
            return Err(Refusal::new(4009, NOT_A_MEMBER, "a reserved channel"));
        }
        let limit = self.limits.channel_name_length as usize;
        if event.channel.len() > limit && event.channel.chars().count() > limit {
            let refusal = Refusal::malformed("the channel's name is too long");
            return Err(refusal.at(Bound::ChannelNameLength));
        }
        let user = seat.and_then(|seat| seat.user.clone());
        let (app, sender) = (index, subscriber.socket_id);
        let ClientEvent { event: name, ref channel, data } = *event;
        let channel = &**channel;
        let (user, order) = (user.as_deref(), KeyOrder::ChannelFirst);
        self.peers.counters.apps[app as usize].client_events += 1;
        self.deliver(
            app,
            &Sent { name, channel, data, user, order, version: None },
            Some(sender),
            now,
        );
        let Some(bus) = &mut self.bus else { return Ok(()) };
        bus.say(&Item::Event(envelope::Event {
            app: self.apps[app as usize].settings.id.as_str().into(),
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

const NOT_A_MEMBER: &str = "The client is not a member of the specified channel.";
