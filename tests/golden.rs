//! Recorded responses of Laravel Reverb, compared with those of this server, with a reason for each
//! difference.

mod fixture;
mod replay;

use fixture::{scenarios, table};

/// One test for each scenario.
macro_rules! replayed {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                replay::play($name, &scenarios()[$name]);
            }
        )*

        const REPLAYED: &[&str] = &[$($name),*];
    };
}

replayed! {
    http_up "http.up"
    http_methods "http.methods"
    http_malformed "http.malformed"
    http_size "http.size"
    http_framing "http.framing"
    http_sign "http.sign"
    http_events "http.events"
    http_events_errors "http.events.errors"
    http_batch "http.batch"
    http_channels "http.channels"
    http_users_odd "http.users.odd"
    http_terminate "http.terminate"
    http_terminate_plain "http.terminate.plain"
    http_terminate_order "http.terminate.order"
    http_terminate_multi "http.terminate.multi"
    http_terminate_public "http.terminate.public"
    http_prefix "http.prefix"
    http_prefix_ws "http.prefix.ws"
    http_prefix_slash_ws_slash "http.prefix._ws_"
    http_prefix_slash_a_slash_b "http.prefix._a_b"
    http_prefix_arg "http.prefix.arg"
    http_upgrade "http.upgrade"
    ws_handshake "ws.handshake"
    ws_activity_timeout "ws.activity_timeout"
    ws_quota "ws.quota"
    ws_quota_0 "ws.quota.0"
    ws_quota_empty "ws.quota.empty"
    ws_origin "ws.origin"
    ws_ping "ws.ping"
    ws_subscribe "ws.subscribe"
    ws_subscribe_json "ws.subscribe.json"
    ws_subscribe_errors "ws.subscribe.errors"
    ws_subscribe_twice "ws.subscribe.twice"
    ws_presence "ws.presence"
    ws_presence_order "ws.presence.order"
    ws_cache "ws.cache"
    ws_client_events_members "ws.client_events.members"
    ws_client_events_all "ws.client_events.all"
    ws_client_events_none "ws.client_events.none"
    ws_events_other "ws.events.other"
    ws_frames "ws.frames"
    ws_close "ws.close"
    ws_size_big "ws.size.big"
    ws_size_zero "ws.size.zero"
    ws_rate_false "ws.rate.false"
    ws_rate_true "ws.rate.true"
    ws_rate_subscribed "ws.rate.subscribed"
    ws_rate_http "ws.rate.http"
    ws_two_apps "ws.two_apps"
    ws_presence_loose "ws.presence.loose"
    http_channels_numeric "http.channels.numeric"
    ws_rst "ws.rst"
    ws_origin_http "ws.origin.http"
    http_cors "http.cors"
    http_php_client "http.php-client"
    ws_sizes_out "ws.sizes.out"
}

#[test]
fn every_recorded_scenario_is_replayed_or_has_a_reason() {
    let (table, scenarios) = (table(), scenarios());
    assert_eq!(table.len(), 75);
    for (name, (verdict, why)) in &table {
        let is_replayed = scenarios.contains_key(name);
        match verdict.as_str() {
            "keep" | "fix" => assert!(is_replayed, "{name} has no steps"),
            "not replayed" => assert!(why.is_some() && !is_replayed, "{name} needs a reason"),
            other => panic!("{name}: {other}"),
        }
    }
    let mut replayed: Vec<&str> = REPLAYED.to_vec();
    replayed.sort_unstable();
    assert_eq!(replayed, scenarios.keys().collect::<Vec<_>>());
}

#[test]
fn only_responses_that_differ_have_a_reason() {
    let table = table();
    for (name, scenario) in scenarios() {
        let fixed = scenario.steps.iter().any(|step| step.get("why").is_some());
        let (verdict, _) = &table[&name];
        assert_eq!(verdict == "fix", fixed, "{name}");
        assert!(!scenario.steps.is_empty(), "{name}");
    }
}
