//! Events of clients for the other subscribers of a channel (protocol section 10).

use super::Hub;
use super::channel::Access;
use super::peer::ConnId;
use super::subscriber::Refusal;
use crate::config::ClientEvents;
use crate::proto::message::{self, ClientEvent, KeyOrder};

impl<T> Hub<T> {
    /// Passes a client's event on, its data as it was. Who sent it is told on presence channels,
    /// from the subscription: what a client says of itself is not passed on.
    pub(super) fn client_event(&mut self, id: ConnId, event: &ClientEvent) -> Result<(), Refusal> {
        let Some(subscriber) = self.peers.get(id).and_then(|peer| peer.subscriber()) else {
            return Ok(());
        };
        let app = &self.apps[subscriber.app as usize];
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
        let channel = place.and_then(|place| app.channels.get(place as usize));
        let Some(channel) = channel else { return Ok(()) };
        // The channel to a user is the app's alone, whoever is in it.
        if matches!(channel.kind.access, Access::User | Access::Internal) {
            return Err(Refusal::new(4009, NOT_A_MEMBER, "a reserved channel"));
        }
        let user = seat.and_then(|seat| seat.user.as_deref());
        let (name, data) = (&channel.name, &event.data);
        let frame = message::event(&event.event, name, data, user, KeyOrder::ChannelFirst);
        let sender = subscriber.socket_id;
        self.peers.broadcast(&channel.members, &frame, Some(sender));
        Ok(())
    }
}

const NOT_A_MEMBER: &str = "The client is not a member of the specified channel.";
