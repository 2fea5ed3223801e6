//! An app while its settings are read from the environment or a file. The settings are in `settings`.

use super::{App, RateLimit, Url, Webhook, WebhookEvents};

/// An app while its settings are read; credentials may be missing.
#[derive(Clone)]
pub struct AppDraft {
    /// The app; missing credentials are empty.
    pub app: App,
    /// Whether the rate limit is enabled.
    pub is_rate_limited: bool,
    /// The rate limit, if it is enabled.
    pub rate_limit: RateLimit,
    /// The URL of the webhook in the environment.
    pub webhook_url: Option<Url>,
    /// The events of this webhook.
    pub webhook_events: Option<WebhookEvents>,
}

impl AppDraft {
    /// An app without credentials and with the defaults of Laravel Reverb.
    pub fn new() -> Self {
        AppDraft {
            app: App::new("", "", ""),
            is_rate_limited: false,
            rate_limit: DEFAULT_RATE_LIMIT,
            webhook_url: None,
            webhook_events: None,
        }
    }

    /// A draft of an app whose settings are known.
    pub fn of(app: &App) -> Self {
        AppDraft {
            app: app.clone(),
            is_rate_limited: app.rate_limit.is_some(),
            rate_limit: app.rate_limit.unwrap_or(DEFAULT_RATE_LIMIT),
            ..AppDraft::new()
        }
    }

    /// The credentials, with their keys in `reverb.json`.
    pub fn credentials(&self) -> [(&'static str, &str); 3] {
        let App { id, key, secret, .. } = &self.app;
        [("app_id", id), ("key", key), ("secret", secret)]
    }

    /// The finished app.
    pub fn finish(mut self) -> App {
        self.app.rate_limit = self.is_rate_limited.then_some(self.rate_limit);
        if let Some(url) = self.webhook_url {
            let mut webhook = Webhook::new(url);
            webhook.events = self.webhook_events.unwrap_or(webhook.events);
            self.app.webhooks.push(webhook);
        }
        self.app
    }
}

impl Default for AppDraft {
    fn default() -> Self {
        AppDraft::new()
    }
}

/// The rate limit that applies when it is enabled without further settings.
pub const DEFAULT_RATE_LIMIT: RateLimit =
    RateLimit { max_attempts: 60, decay_seconds: 60, terminate_on_limit: false };
