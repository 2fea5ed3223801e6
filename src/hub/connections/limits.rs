//! Counts and logs exceeded limits. Each limit has its own throttle (`Policy::ONE_AN_EPISODE`): a
//! thousand clients that exceed a limit together cause one log line, and so does a single client
//! that exceeds it again and again. The limits are checked elsewhere.

use std::fmt::Display;
use std::net::IpAddr;

use super::Connections;
use crate::config::{Exceeded, LimitKind, Limits};
use crate::hub::ids::{ConnId, Now};

impl<T> Connections<T> {
    /// Counts, reports and logs that a client at this address, which belongs to no app yet, has
    /// exceeded a limit of this value.
    pub(in crate::hub) fn limit_exceeded_from(
        &mut self,
        kind: LimitKind,
        value: u64,
        address: Option<IpAddr>,
        now: Now,
    ) {
        self.happenings.limit(kind, None, address);
        self.count_exceeded(kind, value, address, None, now);
    }

    /// `app` is that of a limit of an app.
    fn count_exceeded(
        &mut self,
        kind: LimitKind,
        value: u64,
        address: Option<IpAddr>,
        app: Option<u32>,
        now: Now,
    ) {
        self.counters.limits_exceeded[kind as usize] += 1;
        let address: &dyn Display = match &address {
            Some(address) => address,
            None => &"a client",
        };
        let (description, setting) = (kind.description(), kind.setting());
        let place = app.map(|app| format!(" in app {}", self.happenings.app_id(app)));
        let place = place.unwrap_or_default();
        let text = format_args!("{address} {description} ({setting} is {value}){place}");
        self.limit_log[kind as usize].warn(now.ms, text);
    }

    /// Counts, reports and logs that a connection has exceeded a limit of the server, whose value is
    /// known here, or one of an app.
    pub(in crate::hub) fn limit_exceeded(
        &mut self,
        id: ConnId,
        limit: impl Into<Exceeded>,
        now: Now,
    ) {
        let Exceeded { kind, of_app } = limit.into();
        let value = match (of_app, kind) {
            (Some((_, value)), _) => value.get().into(),
            (None, LimitKind::RequestSize) => self.request_bytes_max as u64,
            (None, LimitKind::ConnectionsPerAddress) => self.connections_per_address().into(),
            (None, _) => value_of(&self.limits, kind),
        };
        self.limit_exceeded_in(of_app.map(|(app, _)| app), id, kind, value, now);
    }

    /// Counts, reports and logs that a connection has exceeded a limit of this value, such as an
    /// app's.
    pub(in crate::hub) fn limit_exceeded_by(
        &mut self,
        id: ConnId,
        kind: LimitKind,
        value: u64,
        now: Now,
    ) {
        self.limit_exceeded_in(None, id, kind, value, now);
    }

    /// Counts, reports and logs that a connection has exceeded a limit. `app` is the app of a
    /// handshake or an API request; that of a WebSocket is known.
    pub(in crate::hub) fn limit_exceeded_in(
        &mut self,
        app: Option<u32>,
        id: ConnId,
        kind: LimitKind,
        value: u64,
        now: Now,
    ) {
        let address = self.get(id).and_then(|peer| peer.address);
        let subscriber = self.subscriber(id);
        let client = subscriber.map(|one| (one.app, Some(one.socket_id)));
        self.happenings.limit(kind, client.or(app.map(|app| (app, None))), address);
        self.count_exceeded(kind, value, address, app, now);
    }
}

/// The value of a limit whose setting is in the `limits` section; 0 for other limits.
fn value_of(limits: &Limits, kind: LimitKind) -> u64 {
    let name = kind.setting().strip_prefix("limits.");
    name.and_then(|name| limits.value(name)).unwrap_or_default()
}
