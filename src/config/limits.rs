//! Every limit of the server, with its default and the reason for it. The limits of an app are in
//! `app_limits`; those that Laravel Reverb has as well are settings (`App`, `Server::max_request_size`).

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $range:expr;)*) => {
        /// The limits of the server. In `reverb.json` they are the keys of `servers.reverb.limits`; as
        /// variables, their names are `REVERB_LIMIT_` and the name in capitals.
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
            /// The value is out of range, or the limit does not exist. The text is for the user.
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
    /// Concurrent connections; 0 is as many as the open-file limit allows. Beyond the limit, new
    /// WebSocket clients get close code 4100, which makes them reconnect a second later, and API
    /// requests are served on connections that are then closed.
    connections: u32 = 0, 0..=10_000_000;
    /// Concurrent connections of one address, or for IPv6 of one /64 network, which is what one
    /// machine has; 0 is half of `connections`, so that one address cannot use all of them. Beyond the
    /// limit, new clients get close code 4100. Loopback and private addresses do not count, because
    /// all clients of a proxy have its address. Raise it for a proxy with a public address.
    connections_per_address: u32 = 0, 0..=10_000_000;
    /// Units of work that the event loop begins in one turn before it polls its sockets again; the
    /// next turns continue with the rest, one connection after the other. A unit is about a tenth
    /// of a microsecond: a frame that is put in an outbox, or 64 bytes of JSON. A message is 10
    /// units, a signature 20, a request 60. 65,536 are about 6 ms.
    work_per_turn: u32 = 65_536, 1_024..=1_000_000_000;
    /// Connections accepted in one turn of the event loop, so that a burst of new connections does
    /// not delay existing ones. 256 take about 3 ms.
    accepts_per_turn: u32 = 256, 1..=65_536;
    /// TLS handshakes processed in one turn, so that a burst of new connections does not delay
    /// existing ones. One takes 0.1 to 0.3 ms of processor time, so 32 take at most 10 ms.
    tls_handshakes_per_turn: u32 = 32, 1..=65_536;
    /// Milliseconds between two checks whether a certificate file has changed.
    certificate_check_ms: u32 = 10_000, 100..=86_400_000;
    /// Concurrent connections to the metrics port. Each Prometheus server uses one.
    metrics_connections: u32 = 16, 1..=1_024;
    /// Concurrent connections to the console. A browser opens at most six, one of them for the feed.
    console_connections: u32 = 16, 1..=1_024;
    /// Milliseconds between two checks for `php artisan reverb:restart`. The default is that of Laravel
    /// Reverb.
    restart_check_ms: u32 = 5_000, 100..=86_400_000;
    /// Milliseconds that a new binary has to check whether it can serve; then the reload is
    /// cancelled. It reads the configuration and the certificates, which takes a few milliseconds.
    reload_check_timeout_ms: u32 = 10_000, 100..=600_000;
    /// Milliseconds for a request to arrive completely, from the start of the connection or, on a
    /// reused connection, from the first byte. In ten seconds a slow line transfers 1 MiB.
    request_timeout_ms: u32 = 10_000, 100..=3_600_000;
    /// Milliseconds that a connection stays open without a request. PHP workers keep theirs for
    /// minutes at most; nginx closes its upstream connections after 60 s.
    keep_alive_timeout_ms: u32 = 75_000, 100..=3_600_000;
    /// Bytes of the first line and headers of a request. 16 KiB are enough for any cookie.
    request_head_bytes: u32 = 16_384, 1_024..=1_048_576;
    /// Headers of a request. Browsers send about twenty.
    request_headers: u32 = 64, 1..=256;
    /// Responses that may wait for a connection: to pipelined requests, pings and subscriptions.
    /// Beyond the limit the server reads no more from it until all of them are written. Published
    /// events do not count. 128 responses take about 25 KB.
    pipelined_requests: u32 = 128, 1..=250;
    /// Concurrent incomplete requests of publishers. Each may take `max_request_size` of memory.
    /// Beyond the limit a request gets status 503.
    api_requests: u32 = 1_024, 1..=1_000_000;
    /// Bytes of one message of a client, even if the app allows more. The largest message of the
    /// Autobahn suite has 16 MiB.
    message_bytes: u32 = 16_777_216, 1_024..=1_073_741_824;
    /// Frames of one message. Known clients send only a few.
    message_fragments: u32 = 4_096, 1..=1_048_576;
    /// Bytes that may wait for a connection before it is closed as too slow. 4 MiB are four hundred
    /// events of 10 KB; frames that are shared with other connections count in full.
    outbox_bytes: u32 = 4_194_304, 16_384..=1_073_741_824;
    /// Bytes written to one connection in one turn, so that a fast reader does not starve the others.
    /// A loopback socket accepts about as much at once.
    write_bytes_per_turn: u32 = 262_144, 4_096..=16_777_216;
    /// Connections written to in one turn, before the event loop polls its sockets again: about 0.3 ms
    /// of writes. An event that arrives by then shares the writes to the connections that still wait.
    /// A turn writes to one more for every 64 units of its other work, two more for each connection that
    /// it accepts, and 32 more for each TLS handshake.
    flushes_per_turn: u32 = 64, 16..=1_048_576;
    /// Bytes written in one turn, over all connections, before the event loop polls its sockets
    /// again. The kernel takes 8 MiB in 3 to 5 ms.
    flush_bytes_per_turn: u32 = 8_388_608, 65_536..=1_073_741_824;
    /// Client events of one connection in a second; the server rejects more with 4301. 0 is no
    /// limit. Pusher allows 10. An app that sends pointer positions at a screen's 60 Hz, in
    /// addition to typing notices, stays below 100.
    client_events_per_second: u32 = 100, 0..=65_535;
    /// Channels of one connection. Apps with Echo use a few; 1,000 take about 200 KB.
    channels_per_connection: u32 = 1_000, 1..=1_000_000;
    /// Characters of a channel name. The official libraries accept no more.
    channel_name_length: u32 = 200, 1..=10_000;
    /// Characters of an event name. The default is that of Pusher.
    event_name_length: u32 = 200, 1..=10_000;
    /// Channels of one published event. The default is that of Pusher; Laravel splits longer lists.
    channels_per_event: u32 = 100, 1..=100_000;
    /// Events of one batch. The default is that of Pusher.
    events_per_batch: u32 = 10, 1..=100_000;
    /// Members of one presence channel, each of which receives the list of all. Pusher allows 100,
    /// Laravel Reverb has no limit.
    presence_members: u32 = 10_000, 1..=1_000_000;
    /// Bytes of the user list of one presence channel, as the server sends it to a new member in
    /// one message. Three quarters of `outbox_bytes`, so that events fit after it.
    presence_bytes: u32 = 3_145_728, 1_024..=1_073_741_824;
    /// Bytes of the `channel_data` of one presence subscription. Pusher allows 1 KB, Laravel Reverb
    /// its message size.
    presence_data_bytes: u32 = 10_000, 64..=1_048_576;
    /// Seconds that a cache channel stores its last event. The default is that of Pusher.
    cache_ttl_s: u32 = 1_800, 1..=604_800;
    /// Bytes of all cached events of one app. Beyond the limit the oldest are dropped.
    cache_bytes: u32 = 16_777_216, 0..=1_073_741_824;
    /// Seconds by which the `auth_timestamp` of an API request may differ from the server's clock. The
    /// default is that of Pusher. 0 disables the check, for machines without a clock.
    api_timestamp_window_s: u32 = 600, 0..=31_536_000;
    /// Milliseconds after a ping within which the server must receive any message of the
    /// connection. The default is that of Pusher.
    pong_timeout_ms: u32 = 30_000, 100..=3_600_000;
    /// Milliseconds within which a connection that is being closed must take its last bytes.
    close_timeout_ms: u32 = 3_000, 100..=60_000;
    /// Milliseconds without a message after which another node counts as gone, with its connections
    /// and users. Nodes send five heartbeats in this time.
    node_lease_ms: u32 = 15_000, 500..=600_000;
    /// Channels and members of presence channels stored for one other node. A million take about
    /// 300 MB.
    node_facts: u32 = 1_000_000, 1_000..=100_000_000;
    /// Bytes of messages published to other nodes, kept until these acknowledge them, and of
    /// messages received from other nodes ahead of missing ones. Redis disconnects a node for which
    /// 32 MiB wait (`client-output-buffer-limit`): 48 MiB outlast that. Beyond the limit the oldest
    /// published messages are dropped; received ones are not held, and are requested again.
    bus_queue_bytes: u32 = 50_331_648, 65_536..=2_147_483_648;
    /// Bytes of one message from Redis. The limit must exceed what a client or publisher may send,
    /// as the server forwards that to other nodes. A node skips a longer message and counts it as
    /// missing. Redis itself disconnects a subscriber for which 32 MiB wait.
    redis_reply_bytes: u32 = 33_554_432, 65_536..=2_147_483_648;
    /// Milliseconds for connecting to Redis and logging in. If another server may take over, as with
    /// Sentinel, the login has less time at first.
    redis_connect_timeout_ms: u32 = 5_000, 100..=60_000;
    /// Milliseconds for a reply of Redis. Then the node reconnects, and publishes the messages without
    /// a reply again.
    redis_reply_timeout_ms: u32 = 5_000, 100..=60_000;
    /// The most milliseconds between two attempts to connect to Redis. The delay starts at a quarter of
    /// a second and doubles; it is half a second at most if another server may take over.
    redis_retry_max_ms: u32 = 5_000, 100..=600_000;
    /// Requests to webhooks under way at once, and connections to them that are kept. A URL has one
    /// at most, so URLs that do not respond hold up others only when there are so many. Each takes
    /// a descriptor.
    webhook_connections: u32 = 512, 1..=65_536;
    /// Bytes of events that wait for one URL of webhooks. At 80 bytes an event, 16 MiB are 700 events a
    /// second for the 290 seconds that each is tried. Beyond the limit the oldest are dropped. The
    /// least is twice a full request.
    webhook_queue_bytes: u32 = 16_777_216, 131_072..=1_073_741_824;
    /// Bytes of events that wait for all URLs of webhooks. Beyond the limit the oldest of the URL for
    /// which most wait are dropped.
    webhook_bytes: u32 = 134_217_728, 131_072..=2_147_483_648;
    /// Channels and members of presence channels whose change a webhook has not acknowledged yet, or
    /// that have been gone for less than three seconds. A million take about 150 MB. Changes beyond
    /// the limit are not sent.
    webhook_changes: u32 = 1_000_000, 1_000..=100_000_000;
    /// Messages of one app that webhooks report in a second, received and sent ones each. The body
    /// of a request says how many were left out. An application on PHP handles about a hundred
    /// requests a second.
    webhook_messages_per_second: u32 = 10, 1..=1_000_000;
    /// Viewers of the feed of one app. Each takes up to twice `feed_queue_bytes` of memory.
    feed_viewers: u32 = 4, 0..=1_024;
    /// Bytes of the lines that wait for one viewer of a feed; beyond the limit lines are dropped and
    /// counted. As many may be in its outbox: 768 KiB in all, or three thousand lines.
    feed_queue_bytes: u32 = 393_216, 16_384..=67_108_864;
    /// Events of which one viewer of a feed gets lines in a second; further ones are counted as
    /// dropped. A line takes 0.8 µs, and up to 6 µs to be sent, so a viewer takes at most 1.4 % of a
    /// processor. Lines about anything else are not limited.
    feed_events_per_second: u32 = 2_000, 10..=10_000_000;
    /// Apps that have metrics of their own, and rows in the console; further ones are summed up. An
    /// app has 20 samples, so 200 make a page of 300 KB.
    metrics_apps: u32 = 200, 1..=1_000_000;
    /// Milliseconds over which a stopping server distributes the disconnects of its clients.
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
    fn every_limit_can_be_read_and_set_to_its_default() {
        let mut limits = Limits::default();
        for name in Limits::NAMES {
            let value = limits.value(name).unwrap();
            assert_eq!(limits.set(name, value), Ok(()), "{name}");
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn the_error_for_a_value_out_of_range_has_the_range() {
        let refused = Limits::default().set("accepts_per_turn", 0);
        assert_eq!(refused, Err("must be between 1 and 65536".into()));
    }
}
