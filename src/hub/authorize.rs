//! Whether a connection may subscribe to a channel, and as which member of a presence channel
//! (protocol sections 6, 7 and 9). These methods change nothing; `subscribe` does.

use std::rc::Rc;

use super::channel::{Access, Kind, USER_PREFIX, is_strict};
use super::client_error::ClientError;
use super::connections::Connections;
use super::ids::ConnId;
use super::presence::Member;
use super::pubsub::PubSub;
use crate::config::{Exceeded, LimitKind};
use crate::proto::message::{self, Subscribe};

impl PubSub {
    /// Checks the length and the characters of a channel name.
    pub(super) fn check_name(
        &self,
        app: u32,
        channel: &str,
        kind: Kind,
    ) -> Result<(), ClientError> {
        let bound = self.channel_name_length(app);
        let (limit, setting) = (bound.max as usize, bound.setting());
        if channel.is_empty() {
            return Err(ClientError::malformed("the channel has no name"));
        }
        if channel.chars().count() > limit {
            let error = format!("The channel name is longer than {limit} characters ({setting}).");
            let refusal = ClientError::malformed("the channel's name is too long");
            return Err(refusal.at(bound.exceeded).about(channel, "LimitReached", error, 413));
        }
        if kind.is_signed() && ends_with_data(channel) {
            let error = "The channel name ends with a colon and a JSON object: its signature would \
                         also be one of another channel.";
            let refusal = ClientError::malformed("the channel's name ends with data");
            return Err(refusal.about(channel, "InvalidName", error, 400));
        }
        if self.apps[app].settings.strict_channel_names
            && !channel.starts_with(USER_PREFIX)
            && !is_strict(channel)
        {
            let error = "The channel name has characters that are not allowed.";
            return Err(ClientError::malformed("the channel's name has a forbidden character")
                .about(channel, "InvalidName", error, 400));
        }
        Ok(())
    }

    /// Checks the subscription's signature. Returns the member, for a presence channel.
    pub(super) fn authorize<T>(
        &self,
        connections: &Connections<T>,
        id: ConnId,
        kind: Kind,
        request: &Subscribe,
    ) -> Result<Option<Member>, ClientError> {
        let channel = &request.channel;
        let refuse = |refusal: ClientError| {
            Err(refusal.about(channel, "AuthError", "The connection is unauthorized.", 401))
        };
        let unauthorized = |detail| refuse(ClientError::unauthorized(detail));
        let Some(subscriber) = connections.subscriber(id) else {
            return unauthorized("the connection is closed");
        };
        match kind.access {
            Access::Public => return Ok(None),
            Access::Internal => return unauthorized("the name is reserved"),
            Access::User => {
                let owner = channel.strip_prefix(USER_PREFIX);
                return match subscriber.user.as_ref().map(|user| &*user.id) == owner {
                    true => Ok(None),
                    false => unauthorized("not signed in as this user"),
                };
            }
            Access::Private | Access::Presence => {}
        }
        let data = channel_data(request)?;
        let app = &self.apps[subscriber.app];
        let auth = request.auth.as_deref().unwrap_or_default();
        let socket_id = subscriber.socket_id.to_string();
        let signed = [&*socket_id, ":", channel, data.map_or("", |_| ":"), data.unwrap_or("")];
        let unsigned = |detail| {
            let is_wanted = connections.happenings.wants_errors(subscriber.app);
            let expected = is_wanted.then(|| signed.concat());
            refuse(ClientError::unsigned(detail).expecting(expected))
        };
        let signature = match auth.split_once(':') {
            Some((key, signature)) if key == app.settings.key => signature,
            Some(_) => return unsigned("signed with the key of another app"),
            None => return unsigned("auth is not KEY:SIGNATURE"),
        };
        if !app.verify(&signed, signature) {
            log::debug!("{socket_id}: wrong signature; the signed text is {:?}", signed.concat());
            return unsigned("wrong signature");
        }
        match kind.access {
            Access::Presence => self.member(connections, id, channel, data).map(Some),
            _ => Ok(None),
        }
    }

    /// The member that joins a presence channel: from `channel_data`, or the signed-in user.
    fn member<T>(
        &self,
        connections: &Connections<T>,
        id: ConnId,
        channel: &str,
        data: Option<&str>,
    ) -> Result<Member, ClientError> {
        let limit = self.limits.presence_data_bytes as usize;
        if data.is_some_and(|data| data.len() > limit) {
            let error =
                format!("channel_data is longer than {limit} bytes (limits.presence_data_bytes).");
            let refusal = ClientError::malformed("channel_data is too long");
            return Err(refusal.at(LimitKind::PresenceDataBytes).about(
                channel,
                "LimitReached",
                error,
                413,
            ));
        }
        let user = connections.subscriber(id).and_then(|subscriber| subscriber.user.as_ref());
        let member = match (data, user) {
            (Some(data), _) => Member::parse(data),
            (None, Some(user)) => Some(Member { id: Rc::clone(&user.id), info: user.info.clone() }),
            (None, None) => None,
        };
        let error = "channel_data is not an object with a user_id.";
        member.ok_or_else(|| {
            ClientError::malformed("channel_data has no user_id").about(
                channel,
                "InvalidData",
                error,
                400,
            )
        })
    }

    /// Checks the limits of the connection and of the presence channel.
    pub(super) fn check_room<T>(
        &self,
        connections: &Connections<T>,
        id: ConnId,
        app: u32,
        place: Option<u32>,
        member: Option<&Member>,
        channel: &str,
    ) -> Result<(), ClientError> {
        let limit_reached = |limit: Exceeded, error: String, detail| {
            Err(ClientError::new(4200, error.clone(), detail).at(limit).about(
                channel,
                "LimitReached",
                error,
                429,
            ))
        };
        let limit = self.limits.channels_per_connection as usize;
        let subscriber = connections.subscriber(id);
        let is_in = place.is_some_and(|place| connections.membership(id, place).is_some());
        if !is_in && subscriber.is_some_and(|subscriber| subscriber.channels() >= limit) {
            let error = format!(
                "The connection has {limit} channels already (limits.channels_per_connection)."
            );
            let limit = LimitKind::ChannelsPerConnection.into();
            return limit_reached(limit, error, "too many channels");
        }
        if let Some(bound) = self.channels_exceeded(app, channel) {
            let (max, setting) = (bound.max, bound.setting());
            let error = format!("The app has {max} channels already ({setting}).");
            return limit_reached(bound.exceeded, error, "too many channels of the app");
        }
        let bound = self.presence_members(app);
        let (limit, setting) = (bound.max as usize, bound.setting());
        let app = &self.apps[app];
        let presence = place.and_then(|at| app.channels.get(at as usize)?.presence.as_deref());
        if let (Some(presence), Some(member)) = (presence, member)
            && presence.len() >= limit
            && !presence.contains(&member.id)
        {
            let error = format!("The channel has {limit} members already ({setting}).");
            return limit_reached(bound.exceeded, error, "too many members");
        }
        let limit = self.limits.presence_bytes as usize;
        if let (Some(presence), Some(member)) = (presence, member)
            && presence.bytes_with(member) > limit
        {
            let error = format!(
                "The members of the channel would take more than {limit} bytes \
                 (limits.presence_bytes)."
            );
            return limit_reached(
                LimitKind::PresenceBytes.into(),
                error,
                "the channel is too large",
            );
        }
        Ok(())
    }
}

/// The `channel_data` of a signed subscription; it must be a JSON object. The signed text is
/// `SOCKET:CHANNEL:DATA`, and a channel name may contain colons: if any text were valid data, a
/// signature for `private-chat:42` would also be valid for `private-chat` with the data `42`.
fn channel_data(request: &Subscribe) -> Result<Option<&str>, ClientError> {
    let data = request.channel_data.as_deref().filter(|data| !data.is_empty());
    if data.is_some_and(|data| !message::is_object(data)) {
        let refusal = ClientError::malformed("channel_data is no object");
        let error = "channel_data is not a JSON object.";
        return Err(refusal.about(&request.channel, "InvalidData", error, 400));
    }
    Ok(data)
}

/// Whether the part of a name after a colon could be the data of a shorter name.
fn ends_with_data(name: &str) -> bool {
    let mut ends = name.match_indices(':').map(|(at, _)| &name[at + 1..]);
    name.trim_ascii_end().ends_with('}') && ends.any(message::is_object)
}
