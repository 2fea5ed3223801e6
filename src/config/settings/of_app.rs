//! The table of the settings of an app: an entry of `apps.apps`, and the variables of the one app.

use super::{Kind, Setting, U32_MAX, YEAR_S, boolean_value, ignored, text, whole_number};
use crate::config::app_draft::AppDraft;
use crate::config::values::{client_events, url_safe};
use crate::config::{Url, Webhook, WebhookEvents};

/// The settings of an entry of `apps.apps`.
pub const APP: &[Setting<AppDraft>] = &[
    Setting {
        key: "app_id",
        variable: "REVERB_APP_ID",
        kind: Kind::Id(|draft, id| {
            // The label of apps that have no metrics of their own.
            if id == "(other)" {
                return Err("is a name that the metrics use".into());
            }
            draft.app.id = url_safe(id)?;
            Ok(())
        }),
    },
    text("key", "REVERB_APP_KEY", |draft, key| {
        draft.app.key = url_safe(key)?;
        Ok(())
    }),
    text("secret", "REVERB_APP_SECRET", |draft, secret| {
        draft.app.secret = secret.to_owned();
        Ok(())
    }),
    Setting {
        key: "secrets",
        variable: "",
        kind: Kind::List(|draft, secrets| {
            let mut secrets = secrets.into_iter();
            draft.app.secret = secrets.next().unwrap_or_default();
            draft.app.previous_secret = secrets.next();
        }),
    },
    boolean_value("enabled", "", |draft, on| draft.app.enabled = on),
    ignored("options", ""),
    Setting {
        key: "allowed_origins",
        variable: "REVERB_APP_ALLOWED_ORIGINS",
        kind: Kind::List(|draft, origins| draft.app.allowed_origins = origins),
    },
    whole_number("ping_interval", "REVERB_APP_PING_INTERVAL", 1..=YEAR_S, |draft, seconds| {
        draft.app.ping_interval_s = seconds as u32;
    }),
    // With 0, clients would ping without a pause.
    whole_number("activity_timeout", "REVERB_APP_ACTIVITY_TIMEOUT", 1..=YEAR_S, |draft, s| {
        draft.app.activity_timeout_s = s as u32;
    }),
    whole_number("max_connections", "REVERB_APP_MAX_CONNECTIONS", 0..=U32_MAX, |draft, n| {
        draft.app.max_connections = Some(n as u32);
    }),
    whole_number(
        "max_message_size",
        "REVERB_APP_MAX_MESSAGE_SIZE",
        0..=1_073_741_824,
        |draft, bytes| draft.app.max_message_size = bytes as usize,
    ),
    boolean_value(
        "client_events_on_public_channels",
        "REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS",
        |draft, on| draft.app.client_events_on_public_channels = on,
    ),
    text("accept_client_events_from", "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", |draft, from| {
        draft.app.accept_client_events_from = client_events(from)?;
        Ok(())
    }),
    boolean_value("rate_limiting.enabled", "REVERB_APP_RATE_LIMITING_ENABLED", |draft, on| {
        draft.is_rate_limited = on
    }),
    whole_number(
        "rate_limiting.max_attempts",
        "REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS",
        1..=U32_MAX,
        |draft, n| draft.rate_limit.max_attempts = n as u32,
    ),
    whole_number(
        "rate_limiting.decay_seconds",
        "REVERB_APP_RATE_LIMIT_DECAY_SECONDS",
        1..=YEAR_S,
        |draft, s| draft.rate_limit.decay_seconds = s as u32,
    ),
    boolean_value(
        "rate_limiting.terminate_on_limit",
        "REVERB_APP_RATE_LIMIT_TERMINATE",
        |draft, on| draft.rate_limit.terminate_on_limit = on,
    ),
    boolean_value("subscription_count", "REVERB_APP_SUBSCRIPTION_COUNT", |draft, on| {
        draft.app.subscription_count = on;
    }),
    boolean_value("strict_channel_names", "REVERB_APP_STRICT_CHANNEL_NAMES", |draft, on| {
        draft.app.strict_channel_names = on;
    }),
    boolean_value("empty_users_ok", "REVERB_APP_EMPTY_USERS_OK", |draft, on| {
        draft.app.empty_users_ok = on;
    }),
    whole_number(
        "max_backend_events_per_second",
        "REVERB_APP_MAX_BACKEND_EVENTS_PER_SECOND",
        1..=1_000_000_000,
        |draft, n| draft.app.limits.max_backend_events_per_second = Some(n as u32),
    ),
    whole_number(
        "max_read_requests_per_second",
        "REVERB_APP_MAX_READ_REQUESTS_PER_SECOND",
        1..=1_000_000_000,
        |draft, n| draft.app.limits.max_read_requests_per_second = Some(n as u32),
    ),
    whole_number(
        "max_client_events_per_second",
        "REVERB_APP_MAX_CLIENT_EVENTS_PER_SECOND",
        1..=65_535,
        |draft, n| draft.app.limits.max_client_events_per_second = Some(n as u32),
    ),
    whole_number(
        "max_presence_members",
        "REVERB_APP_MAX_PRESENCE_MEMBERS",
        1..=1_000_000,
        |draft, n| draft.app.limits.max_presence_members = Some(n as u32),
    ),
    whole_number("max_channels", "REVERB_APP_MAX_CHANNELS", 1..=100_000_000, |draft, n| {
        draft.app.limits.max_channels = Some(n as u32)
    }),
    whole_number(
        "max_event_payload_size",
        "REVERB_APP_MAX_EVENT_PAYLOAD_SIZE",
        1..=1_073_741_824,
        |draft, n| draft.app.limits.max_event_payload_bytes = Some(n as u32),
    ),
    whole_number(
        "max_event_name_length",
        "REVERB_APP_MAX_EVENT_NAME_LENGTH",
        1..=10_000,
        |draft, n| draft.app.limits.max_event_name_length = Some(n as u32),
    ),
    whole_number(
        "max_channel_name_length",
        "REVERB_APP_MAX_CHANNEL_NAME_LENGTH",
        1..=10_000,
        |draft, n| draft.app.limits.max_channel_name_length = Some(n as u32),
    ),
    whole_number(
        "max_event_channels_at_once",
        "REVERB_APP_MAX_EVENT_CHANNELS_AT_ONCE",
        1..=100_000,
        |draft, n| draft.app.limits.max_event_channels_at_once = Some(n as u32),
    ),
    whole_number(
        "max_event_batch_size",
        "REVERB_APP_MAX_EVENT_BATCH_SIZE",
        1..=100_000,
        |draft, n| draft.app.limits.max_event_batch_size = Some(n as u32),
    ),
    whole_number(
        "authorization_timeout",
        "REVERB_APP_AUTHORIZATION_TIMEOUT",
        0..=86_400,
        |draft, s| draft.app.limits.authorization_timeout_s = Some(s as u32).filter(|s| *s > 0),
    ),
    // Further webhooks of the app, and their other settings, are in the file only.
    text("", "REVERB_APP_WEBHOOK_URL", |draft, url| {
        if !cfg!(feature = "webhooks") {
            return Err(Webhook::MISSING.into());
        }
        draft.webhook_url = Some(Url::parse(url)?);
        Ok(())
    }),
    text("", "REVERB_APP_WEBHOOK_EVENTS", |draft, names| {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        draft.webhook_events = Some(WebhookEvents::parse(names)?);
        Ok(())
    }),
];
