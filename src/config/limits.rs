//! Every bound of the server, with its default and the reason for it. Nothing else decides how
//! much is too much, but for the settings Reverb itself has (`App`, `Server::max_request_size`).

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $range:expr;)*) => {
        /// What the server refuses to do more of. In `reverb.json` these are the keys of
        /// `servers.reverb.limits`; as variables, `REVERB_LIMIT_` and the name in capitals.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The names of all limits, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Sets the limit of this name.
            ///
            /// # Errors
            ///
            /// A sentence that says what is allowed, when the value is not, or there is no such
            /// limit.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        let range: std::ops::RangeInclusive<u64> = $range;
                        if !range.contains(&value) {
                            return Err(format!(
                                "must be between {} and {}", range.start(), range.end()
                            ));
                        }
                        self.$name = value as $type;
                    })*
                    _ => return Err("is not a limit".into()),
                }
                Ok(())
            }

            /// The value of the limit of this name.
            pub fn value(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name as u64),)*
                    _ => None,
                }
            }
        }
    };
}

limits! {
    /// Connections at a time; 0 takes what the open-file limit allows. Past it new WebSocket
    /// clients are told 4100, which makes them come back a second later, and API requests are
    /// answered on connections that are not kept.
    connections: u32 = 0, 0..=10_000_000;
    /// Connections at a time from one address, or for IPv6 from one network of 64 bits, which is what
    /// one machine has; 0 takes half of `connections`, so that no one address can have all. Past it
    /// newcomers are told 4100. Addresses of loopback and of private networks do not count: a proxy
    /// has one of them, and all clients come from it. For a proxy with a public address raise it.
    connections_per_address: u32 = 0, 0..=10_000_000;
    /// Units of work that the event loop begins in one turn before it polls its sockets again; the
    /// next turns continue with the rest, one connection after the other. A unit is about a tenth
    /// of a microsecond: a frame that is put in an outbox, or 64 bytes of JSON. A message is 10
    /// units, a signature 20, a request 60. 65,536 are about 6 ms.
    work_per_turn: u32 = 65_536, 1_024..=1_000_000_000;
    /// Connections accepted in one turn of the loop, so that a storm of newcomers does not hold
    /// up those who are in. 256 take about 3 ms.
    accepts_per_turn: u32 = 256, 1..=65_536;
    /// TLS handshakes worked on in one turn, so that a storm of newcomers does not hold up those
    /// who are in. One takes 0.1 to 0.3 ms of computing, 32 take 10 ms at the most.
    tls_handshakes_per_turn: u32 = 32, 1..=65_536;
    /// Milliseconds between two looks at whether a certificate's file has changed.
    certificate_check_ms: u32 = 10_000, 100..=86_400_000;
    /// Connections at a time to the port for metrics. One or two Prometheus servers keep one each.
    metrics_connections: u32 = 16, 1..=1_024;
    /// Milliseconds between two looks at whether `php artisan reverb:restart` was called: Reverb's
    /// number.
    restart_check_ms: u32 = 5_000, 100..=86_400_000;
    /// Milliseconds a new binary has to say whether it would serve, before a reload is given up. It
    /// reads the configuration and the certificates, which takes a few.
    reload_check_timeout_ms: u32 = 10_000, 100..=600_000;
    /// Milliseconds for a request to arrive whole, counted from the connection or, on a
    /// connection that is kept, from the first byte. Ten seconds carry 1 MiB over a slow line.
    request_timeout_ms: u32 = 10_000, 100..=3_600_000;
    /// Milliseconds a connection is kept without a request. PHP workers keep theirs for minutes
    /// at most; nginx closes its upstream connections after 60 s.
    keep_alive_timeout_ms: u32 = 75_000, 100..=3_600_000;
    /// Bytes of a request's first line and headers. 16 KiB hold any cookie a browser sends.
    request_head_bytes: u32 = 16_384, 1_024..=1_048_576;
    /// Headers of a request. Browsers send about twenty.
    request_headers: u32 = 64, 1..=256;
    /// Answers that may wait for a connection before it is read no further, until it has taken all
    /// of them: to requests sent one after the other, to pings and to subscriptions. What is
    /// published to it does not count. 128 answers take about 25 KB.
    pipelined_requests: u32 = 128, 1..=250;
    /// Requests of publishers that may be on their way at a time: signed, and not there whole. Each
    /// may take `max_request_size` of memory. Past it a request is answered with 503.
    api_requests: u32 = 1_024, 1..=1_000_000;
    /// Bytes of one message of a client, whatever the app allows; Autobahn's largest is 16 MiB.
    message_bytes: u32 = 16_777_216, 1_024..=1_073_741_824;
    /// Frames of one message. No client known sends more than a few.
    message_fragments: u32 = 4_096, 1..=1_048_576;
    /// Bytes that may wait for a connection before it is closed as too slow. 4 MiB are four
    /// hundred events of 10 KB; what is shared with other connections counts in full.
    outbox_bytes: u32 = 4_194_304, 16_384..=1_073_741_824;
    /// Bytes written to one connection in one turn, so that one fast reader does not starve the
    /// others. A loopback socket takes about this much at once.
    write_bytes_per_turn: u32 = 262_144, 4_096..=16_777_216;
    /// Connections written to in one turn before the sockets are looked at again: about 4 ms of
    /// writes.
    flushes_per_turn: u32 = 1_024, 16..=1_048_576;
    /// Bytes written in one turn, over all connections, before the event loop polls its sockets
    /// again. The kernel takes 8 MiB in 3 to 5 ms.
    flush_bytes_per_turn: u32 = 8_388_608, 65_536..=1_073_741_824;
    /// Client events of one connection in a second; the server rejects more with 4301. 0 is no
    /// limit. Pusher allows 10. An app that sends pointer positions at a screen's 60 Hz, in
    /// addition to typing notices, stays below 100.
    client_events_per_second: u32 = 100, 0..=65_535;
    /// Channels one connection may be subscribed to. Echo apps use a handful; 1,000 cost the
    /// server about 200 KB.
    channels_per_connection: u32 = 1_000, 1..=1_000_000;
    /// Characters of a channel name: what the official libraries accept at most.
    channel_name_length: u32 = 200, 1..=10_000;
    /// Characters of an event name: Pusher's number.
    event_name_length: u32 = 200, 1..=10_000;
    /// Channels of one publish: Pusher's number, and what Laravel splits at.
    channels_per_event: u32 = 100, 1..=100_000;
    /// Events of one batch: Pusher's number.
    events_per_batch: u32 = 10, 1..=100_000;
    /// Users of one presence channel. Pusher stops at 100 and Reverb nowhere; each of them receives
    /// the list of all.
    presence_members: u32 = 10_000, 1..=1_000_000;
    /// Bytes of the user list of one presence channel, as the server sends it to a new member in
    /// one message. Three quarters of `outbox_bytes`, so that events fit after it.
    presence_bytes: u32 = 3_145_728, 1_024..=1_073_741_824;
    /// Bytes of the `channel_data` of one presence subscription. Pusher stops at 1 KB, Reverb at
    /// its message size.
    presence_data_bytes: u32 = 10_000, 64..=1_048_576;
    /// Seconds a cache channel keeps its last event: Pusher's number.
    cache_ttl_s: u32 = 1_800, 1..=604_800;
    /// Bytes of all kept events of one app; past it the oldest go first.
    cache_bytes: u32 = 16_777_216, 0..=1_073_741_824;
    /// Seconds the `auth_timestamp` of an API request may be off: Pusher's number. 0 does not
    /// look at it, for machines without a clock.
    api_timestamp_window_s: u32 = 600, 0..=31_536_000;
    /// Milliseconds a pinged connection has for any sign of life: Pusher's number.
    pong_timeout_ms: u32 = 30_000, 100..=3_600_000;
    /// Milliseconds a closing connection has to take its last bytes.
    close_timeout_ms: u32 = 3_000, 100..=60_000;
    /// Milliseconds without a word after which another node counts as gone, with its connections
    /// and users. Nodes say a word five times in it.
    node_lease_ms: u32 = 15_000, 500..=600_000;
    /// Channels, and users of presence channels, that are known of one other node. A million take
    /// about 300 MB.
    node_facts: u32 = 1_000_000, 1_000..=100_000_000;
    /// Bytes of messages published to other nodes, kept until these acknowledge them, and of
    /// messages received from other nodes ahead of missing ones. Redis disconnects a node for which
    /// 32 MiB wait (`client-output-buffer-limit`): 48 MiB outlast that. Beyond the limit the oldest
    /// are dropped.
    bus_queue_bytes: u32 = 50_331_648, 65_536..=2_147_483_648;
    /// Bytes of one message from Redis. The limit must exceed what a client or publisher may send,
    /// as the server forwards that to other nodes. A node skips a longer message and counts it as
    /// missing. Redis itself disconnects a subscriber for which 32 MiB wait.
    redis_reply_bytes: u32 = 33_554_432, 65_536..=2_147_483_648;
    /// Milliseconds until Redis is connected and has answered the login.
    redis_connect_timeout_ms: u32 = 5_000, 100..=60_000;
    /// Milliseconds until Redis has answered. What was not answered then is said again on the next
    /// connection.
    redis_reply_timeout_ms: u32 = 5_000, 100..=60_000;
    /// Milliseconds between two attempts to connect to Redis, at the most: they begin with a
    /// quarter of a second and double.
    redis_retry_max_ms: u32 = 5_000, 100..=600_000;
    /// Milliseconds over which a stopping server tells its clients to reconnect.
    drain_window_ms: u32 = 2_000, 0..=600_000;
    /// Milliseconds at the end of a stop in which the server closes connections with 4100, which
    /// makes clients reconnect a second later. The rest of that second is for the next server to
    /// start; a client that finds the port closed waits fifteen seconds. Clients closed earlier
    /// (4200) reconnect at once, and wait for the end if it is within five seconds.
    drain_linger_ms: u32 = 250, 0..=60_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_read_and_set_to_its_default() {
        let mut limits = Limits::default();
        for name in Limits::NAMES {
            let value = limits.value(name).unwrap();
            assert_eq!(limits.set(name, value), Ok(()), "{name}");
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let refused = Limits::default().set("accepts_per_turn", 0);
        assert_eq!(refused, Err("must be between 1 and 65536".into()));
    }
}
