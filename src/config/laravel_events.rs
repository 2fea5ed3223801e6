//! The events of Laravel Reverb that a Laravel app gets: `REVERB_EVENTS` names them, and a webhook of
//! each app carries them to the provider in the app. The same webhook carries the number of messages
//! for Laravel Pulse.

use super::{Artisan, Config, Error, Findings, Url, Webhook, WebhookEvent, WebhookEvents, values};

/// The classes in `Laravel\Reverb\Events`, with the events of webhooks that stand for them.
const CLASSES: [(&str, WebhookEvent); 5] = [
    ("ChannelCreated", WebhookEvent::ChannelOccupied),
    ("ChannelRemoved", WebhookEvent::ChannelVacated),
    ("ConnectionPruned", WebhookEvent::ConnectionPruned),
    ("MessageReceived", WebhookEvent::MessageReceived),
    ("MessageSent", WebhookEvent::MessageSent),
];

/// The events of a list of classes, separated by commas.
///
/// # Errors
///
/// A name is unknown.
pub fn parse(list: &str) -> Result<WebhookEvents, String> {
    if !cfg!(feature = "webhooks") {
        return Err(Webhook::MISSING.into());
    }
    let mut events = WebhookEvents::default();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        // The full name of the class is as good.
        let class = name.rsplit('\\').next().unwrap_or(name);
        let Some((_, event)) = CLASSES.iter().find(|(known, _)| *known == class) else {
            let known = CLASSES.map(|(known, _)| known).join(", ");
            return Err(format!("{} is not one of {known}", values::shown(name)));
        };
        events = events.with(*event);
    }
    Ok(events)
}

/// Adds the webhook to every app, if the Laravel app wants events, or counts for Pulse.
///
/// # Errors
///
/// Events are wanted, and the URL of the Laravel app is invalid.
pub fn add(
    config: &mut Config,
    artisan: Option<&Artisan>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut events = config.server.laravel_events;
    let wants_events = events != WebhookEvents::default();
    if !cfg!(feature = "webhooks") {
        return Ok(());
    }
    // Pulse with Redis gets the messages from this server in another way, if that is configured.
    let counts =
        artisan.is_some_and(|a| a.records_messages) && config.server.pulse_sample_ppm.is_none();
    if counts {
        events = events.with(WebhookEvent::MessageCounts);
    }
    if events == WebhookEvents::default() {
        return Ok(());
    }
    let url = match (&config.server.laravel_events_url, artisan) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(artisan)) => {
            Url::parse(&artisan.events_url).map_err(|why| format!("{}: {why}", artisan.events_url))
        }
        (None, None) => {
            findings.warn(
                "REVERB_EVENTS: no event is dispatched, because the server was not started by \
                 `php artisan reverb:start` (`reverb install` connects artisan)",
            );
            return Ok(());
        }
    };
    match url {
        Ok(url) => {
            let laravel_cause = Some(match (wants_events, counts) {
                (true, true) => "REVERB_EVENTS and the messages recorder of Laravel Pulse",
                (true, false) => "REVERB_EVENTS",
                (false, _) => "the messages recorder of Laravel Pulse",
            });
            let batch_ms = BATCH_MS;
            let webhook = Webhook { events, batch_ms, laravel_cause, ..Webhook::new(url) };
            config.apps.iter_mut().for_each(|app| app.webhooks.push(webhook.clone()));
        }
        Err(why) if wants_events => {
            let reason = format!("{why}; set REVERB_EVENTS_URL, or APP_URL");
            return Err(Error::new("configuration", "REVERB_EVENTS", reason));
        }
        Err(why) => findings.warn(format!(
            "the messages card of Laravel Pulse gets no data: {why}; set REVERB_EVENTS_URL, or \
             APP_URL"
        )),
    }
    Ok(())
}

/// At most two requests a second, each of which occupies a worker of PHP.
const BATCH_MS: u32 = 500;

#[cfg(feature = "webhooks")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::App;
    use std::path::Path;

    #[test]
    fn classes_of_laravel_stand_for_events() {
        let names = |list: &str| {
            parse(list).map(|events| events.iter().map(WebhookEvent::name).collect::<Vec<_>>())
        };
        assert_eq!(
            names("MessageSent, Laravel\\Reverb\\Events\\ChannelCreated,"),
            Ok(vec!["channel_occupied", "message_sent"])
        );
        assert_eq!(names(""), Ok(vec![]));
        let refused = names("channel_occupied").unwrap_err();
        assert!(refused.contains("is not one of ChannelCreated, ChannelRemoved"), "{refused}");
    }

    fn artisan(url: &str, records_messages: bool) -> Artisan {
        let text = format!(
            r#"{{"artisan":{{"version":1,"provider":"","environment_file":"","config_folder":"",
            "config_cache":"","is_cached":false,"storage":"","events_url":"{url}",
            "records_messages":{records_messages},"environment":[]}}}}"#
        );
        Artisan::read(Path::new("h.json"), &text).unwrap().unwrap()
    }

    fn added(events: &str, artisan: Option<Artisan>) -> (Result<(), String>, Config, Vec<String>) {
        let mut config = Config::default();
        config.server.laravel_events = parse(events).unwrap();
        config.apps.extend([App::new("1", "a", "s"), App::new("2", "b", "s")]);
        let mut findings = Findings::default();
        let done = add(&mut config, artisan.as_ref(), &mut findings);
        (done.map_err(|error| error.to_string()), config, findings.warnings)
    }

    #[test]
    fn every_app_gets_one_webhook() {
        let url = "http://app.example/reverb/events";
        let (done, config, warnings) = added("ChannelCreated", Some(artisan(url, true)));
        assert_eq!((done, warnings), (Ok(()), vec![]));
        for app in &config.apps {
            let [webhook] = &app.webhooks[..] else { panic!("{:?}", app.webhooks) };
            let names: Vec<_> = webhook.events.iter().map(WebhookEvent::name).collect();
            assert_eq!(names, ["channel_occupied", "message_counts"]);
            assert_eq!(webhook.url.text(), url);
        }
        for (events, counts, cause) in [
            ("ChannelCreated", false, "REVERB_EVENTS"),
            ("", true, "the messages recorder of Laravel Pulse"),
            ("MessageSent", true, "REVERB_EVENTS and the messages recorder of Laravel Pulse"),
        ] {
            let (_, config, _) = added(events, Some(artisan(url, counts)));
            assert_eq!(config.apps[0].webhooks[0].laravel_cause, Some(cause));
        }
        let (_, config, _) = added("", Some(artisan(url, false)));
        assert!(config.apps.iter().all(|app| app.webhooks.is_empty()));
    }

    #[test]
    fn an_invalid_url_is_an_error_only_if_events_are_wanted() {
        let (done, _, _) = added("MessageSent", Some(artisan("localhost", true)));
        let refused = done.unwrap_err();
        assert!(refused.starts_with("configuration: REVERB_EVENTS: "), "{refused}");
        let (done, config, warnings) = added("", Some(artisan("localhost", true)));
        assert_eq!(done, Ok(()));
        assert!(config.apps[0].webhooks.is_empty());
        assert!(warnings[0].contains("the messages card of Laravel Pulse"), "{warnings:?}");
        let (_, _, warnings) = added("MessageSent", None);
        assert!(warnings[0].contains("`php artisan reverb:start`"), "{warnings:?}");
    }
}
