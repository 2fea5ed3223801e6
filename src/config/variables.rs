//! Applies variables to the configuration, and finds misspelt ones.
//!
//! The sources of variables are in `env`, precedence is in `load`.

use super::app_draft::AppDraft;
use super::env::Environment;
use super::settings::{APP, SERVER};
use super::values;
use super::{App, Config, Error, Findings, Limits};
use crate::nearest::did_you_mean;

/// The credentials of the app in the environment.
pub const CREDENTIALS: [&str; 3] = ["REVERB_APP_ID", "REVERB_APP_KEY", "REVERB_APP_SECRET"];

/// Prefixes that only this server uses, so an unknown variable with one of them is a mistake.
/// Others that begin with `REVERB_` may belong to the Laravel app.
const OURS: &[&str] =
    &["REVERB_APP_", "REVERB_SERVER_", "REVERB_LIMIT_", "REVERB_SCALING_", "REVERB_WEBHOOK_"];

/// Prefixes of variables that Kubernetes sets if there is a service named `reverb`.
const KUBERNETES: &[&str] = &["REVERB_SERVICE_", "REVERB_PORT_"];

/// The public address, for Laravel and the browser. If there is a service named `reverb`, Kubernetes
/// sets `REVERB_PORT` to an address, which must not prevent the start.
const PUBLIC_ADDRESS: &[&str] = &["REVERB_PORT", "REVERB_SCHEME"];

/// The path prefix. Laravel uses it as well, between the port and the path of its own URL.
const SERVER_PATH: &str = "REVERB_SERVER_PATH";

/// The names of all variables that are read, including those of the limits.
pub fn names() -> impl Iterator<Item = String> {
    let settings = SERVER.iter().map(|s| s.variable).chain(APP.iter().map(|s| s.variable));
    let settings = settings.filter(|name| !name.is_empty()).map(str::to_owned);
    settings.chain(Limits::NAMES.iter().map(|name| limit_variable(name)))
}

/// The variable that sets the limit of this name.
pub fn limit_variable(limit: &str) -> String {
    format!("REVERB_LIMIT_{}", limit.to_ascii_uppercase())
}

/// Applies the variables of the server and its limits.
///
/// An error in the variables of Redis is returned as a value, because Laravel apps use them as well
/// and they do not matter without scaling. An error in the public address is a warning, because the
/// server does not use it.
///
/// # Errors
///
/// The first invalid variable.
pub fn apply(
    environment: &Environment,
    config: &mut Config,
    findings: &mut Findings,
) -> Result<Option<Error>, Error> {
    let mut about_redis = None;
    for setting in SERVER {
        let Some(text) = environment.get(setting.variable) else { continue };
        if let Err(reason) = setting.set_text(config, text) {
            let error = at(environment, setting.variable, reason);
            match setting.variable {
                name if name.starts_with("REDIS_") => about_redis = about_redis.or(Some(error)),
                name if PUBLIC_ADDRESS.contains(&name) => findings.warn(error.to_string()),
                _ => return Err(error),
            }
        }
    }
    if let Some(path) = environment.get(SERVER_PATH).filter(|path| !path.starts_with('/')) {
        let reason = format!(
            "has no slash at the beginning, so Laravel cannot parse the URL that it publishes to; \
             set it to /{}",
            path.trim_end_matches('/')
        );
        findings.warn(at(environment, SERVER_PATH, reason).to_string());
    }
    for limit in Limits::NAMES {
        let name = limit_variable(limit);
        let Some(text) = environment.get(&name) else { continue };
        values::whole(text, &(0..=u64::MAX))
            .and_then(|value| config.limits.set(limit, value))
            .map_err(|reason| at(environment, &name, reason))?;
    }
    Ok(about_redis)
}

/// The app in the environment, if it has credentials.
///
/// # Errors
///
/// One or two of the three credentials are missing, or a variable is invalid.
pub fn app(environment: &Environment) -> Result<Option<App>, Error> {
    let Some(given) = CREDENTIALS.into_iter().find(|name| environment.get(name).is_some()) else {
        return Ok(None);
    };
    if let Some(missing) = CREDENTIALS.into_iter().find(|name| environment.get(name).is_none()) {
        let reason = format!("is missing, although {given} is set");
        // The error names the source of the other credentials, which should have this one as well.
        return Err(Error::new(environment.source(given), missing, reason));
    }
    draft(environment).map(|draft| Some(draft.finish()))
}

/// The app in the environment; credentials may be missing.
///
/// # Errors
///
/// A variable is invalid.
pub fn draft(environment: &Environment) -> Result<AppDraft, Error> {
    let mut draft = AppDraft::new();
    for setting in APP {
        let Some(text) = environment.get(setting.variable) else { continue };
        setting
            .set_text(&mut draft, text)
            .map_err(|reason| at(environment, setting.variable, reason))?;
    }
    if draft.webhook_events.is_some() && draft.webhook_url.is_none() {
        let reason = "has no effect, because REVERB_APP_WEBHOOK_URL is not set".to_owned();
        return Err(at(environment, "REVERB_APP_WEBHOOK_EVENTS", reason));
    }
    Ok(draft)
}

/// A warning for each unknown variable that looks like one of this server.
pub fn misspelt(environment: &Environment) -> Vec<String> {
    let known: Vec<String> = names().collect();
    let mut warnings = Vec::new();
    for name in environment.names() {
        if !name.starts_with("REVERB_")
            || known.iter().any(|known| known == name)
            || KUBERNETES.iter().any(|theirs| name.starts_with(theirs))
        {
            continue;
        }
        let meant = did_you_mean(name, known.iter().map(String::as_str));
        if !meant.is_empty() || OURS.iter().any(|ours| name.starts_with(ours)) {
            let source = environment.source(name);
            warnings.push(format!("{source}: {name}: is not a known variable{meant}"));
        }
    }
    warnings
}

fn at(environment: &Environment, name: &str, reason: String) -> Error {
    Error::new(environment.source(name), name, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisTls;
    use std::path::Path;

    fn refused(file: &str) -> String {
        let environment = Environment::of_file(file);
        match apply(&environment, &mut Config::default(), &mut Findings::default()) {
            Err(error) => error.to_string(),
            Ok(_) => app(&environment).err().unwrap().to_string(),
        }
    }

    #[test]
    fn every_variable_sets_what_it_names() {
        let text = "REVERB_SERVER_HOST=::1\nREVERB_SERVER_PORT=9000\nREVERB_SERVER_PATH=/ws/\n\
            REVERB_HOST=ws.example\nREVERB_PORT=443\nREVERB_SCHEME=https\nREVERB_SERVER=reverb\n\
            REVERB_MAX_REQUEST_SIZE=20000\nREVERB_SCALING_ENABLED=true\n\
            REVERB_SCALING_CHANNEL=c\nREDIS_URL=redis://r\nREDIS_HOST=r\nREDIS_PORT=1\n\
            REDIS_USERNAME=u\nREDIS_PASSWORD=p\nREDIS_DB=2\nREDIS_TIMEOUT=3\n\
            REDIS_SCHEME=tls\nREDIS_TLS_CAFILE=/a\nREDIS_TLS_VERIFY_PEER=false\n\
            REDIS_TLS_PEER_NAME=n\nREDIS_TLS_LOCAL_CERT=/c\nREDIS_TLS_LOCAL_PK=/k\n\
            REDIS_TLS_PASSPHRASE=p\nSSL_CERT_FILE=/other\n\
            REVERB_SCALING_SENTINELS=a,b:2\nREVERB_SCALING_CLUSTER=true\nREDIS_SENTINEL_SERVICE=s\n\
            REDIS_SENTINEL_USERNAME=v\nREDIS_SENTINEL_PASSWORD=q\nREDIS_CLUSTER=redis\n\
            REVERB_PULSE_INGEST_INTERVAL=30\nREVERB_SERVER_PULSE_SAMPLE_RATE=0.1\n\
            REVERB_WEBHOOK_SPOOL=/s\nREVERB_WEBHOOK_PRIVATE_ADDRESSES=false\nREVERB_LIMIT_CONNECTIONS=7\n";
        let mut config = Config::default();
        let mut findings = Findings::default();
        assert_eq!(apply(&Environment::of_file(text), &mut config, &mut findings), Ok(None));
        assert_eq!(findings, Findings::default());
        let server = &config.server;
        let scaling = &server.scaling;
        assert_eq!((server.host.as_str(), server.port, server.path.as_str()), ("::1", 9000, "/ws"));
        assert_eq!(server.hostname.as_deref(), Some("ws.example"));
        assert_eq!(server.max_request_size, 20_000);
        assert_eq!((server.pulse_interval_s, server.pulse_sample_ppm), (30, Some(100_000)));
        assert_eq!(server.webhook_spool.as_deref(), Some(Path::new("/s")));
        assert!(scaling.enabled && !server.webhook_private_addresses);
        assert_eq!((scaling.channel.as_str(), scaling.url.as_deref()), ("c", Some("redis://r")));
        assert_eq!((scaling.host.as_str(), scaling.port), ("r", 1));
        assert_eq!(scaling.username.as_deref(), Some("u"));
        assert_eq!(scaling.password.as_deref(), Some("p"));
        assert_eq!((scaling.database, scaling.timeout_s), (2, 3));
        assert_eq!(scaling.scheme.as_deref(), Some("tls"));
        let sentinels: Vec<String> = scaling.sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(sentinels, ["a:26379", "b:2"]);
        assert_eq!((scaling.sentinel_service.as_str(), scaling.cluster), ("s", true));
        assert_eq!(scaling.sentinel_username.as_deref(), Some("v"));
        assert_eq!(scaling.sentinel_password.as_deref(), Some("q"));
        let tls = RedisTls {
            cafile: Some("/a".into()),
            verify_peer: false,
            peer_name: Some("n".into()),
            local_cert: Some("/c".into()),
            local_pk: Some("/k".into()),
            passphrase: Some("p".into()),
        };
        assert_eq!(scaling.tls, tls);
        assert_eq!(config.limits.connections, 7);
    }

    #[test]
    fn every_variable_of_an_app_sets_what_it_names() {
        let text = "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s\n\
            REVERB_APP_PING_INTERVAL=5\nREVERB_APP_ACTIVITY_TIMEOUT=6\n\
            REVERB_APP_MAX_CONNECTIONS=7\nREVERB_APP_MAX_MESSAGE_SIZE=8\n\
            REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM=none\nREVERB_APP_RATE_LIMITING_ENABLED=true\n\
            REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS=9\nREVERB_APP_RATE_LIMIT_DECAY_SECONDS=10\n\
            REVERB_APP_RATE_LIMIT_TERMINATE=true\nREVERB_APP_ALLOWED_ORIGINS=a,b\n\
            REVERB_APP_SUBSCRIPTION_COUNT=1\nREVERB_APP_STRICT_CHANNEL_NAMES=1\n\
            REVERB_APP_EMPTY_USERS_OK=1\n\
            REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS=1\n\
            REVERB_APP_MAX_BACKEND_EVENTS_PER_SECOND=11\nREVERB_APP_MAX_READ_REQUESTS_PER_SECOND=12\n\
            REVERB_APP_MAX_CLIENT_EVENTS_PER_SECOND=13\nREVERB_APP_MAX_PRESENCE_MEMBERS=14\n\
            REVERB_APP_MAX_CHANNELS=15\nREVERB_APP_MAX_EVENT_PAYLOAD_SIZE=16\n\
            REVERB_APP_MAX_EVENT_NAME_LENGTH=17\nREVERB_APP_MAX_CHANNEL_NAME_LENGTH=18\n\
            REVERB_APP_MAX_EVENT_CHANNELS_AT_ONCE=19\nREVERB_APP_MAX_EVENT_BATCH_SIZE=20\n\
            REVERB_APP_AUTHORIZATION_TIMEOUT=21\n";
        #[cfg(feature = "webhooks")]
        let text = &format!(
            "{text}REVERB_APP_WEBHOOK_URL=https://a/hook\n\
             REVERB_APP_WEBHOOK_EVENTS=channel_vacated,channel_occupied\n"
        );
        let app = app(&Environment::of_file(text)).unwrap().unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str(), app.secret.as_str()), ("1", "k", "s"));
        assert_eq!((app.ping_interval_s, app.activity_timeout_s), (5, 6));
        assert_eq!((app.max_connections, app.max_message_size), (Some(7), 8));
        let limit = app.rate_limit.unwrap();
        assert_eq!((limit.max_attempts, limit.decay_seconds), (9, 10));
        assert!(limit.terminate_on_limit);
        assert_eq!(app.allowed_origins, ["a", "b"]);
        assert!(app.subscription_count && app.strict_channel_names && app.empty_users_ok);
        assert!(app.client_events_on_public_channels);
        let limits: Vec<_> = app.limits.values().map(|(_, value)| value).collect();
        assert_eq!(limits, (11..=21).map(Some).collect::<Vec<_>>());
        #[cfg(feature = "webhooks")]
        {
            let [webhook] = &app.webhooks[..] else { panic!("{:?}", app.webhooks) };
            assert_eq!(webhook.url.to_string(), "https://a/hook");
            assert_eq!(webhook.events.iter().count(), 2);
        }
    }

    #[test]
    fn an_invalid_value_is_named_with_file_line_and_variable() {
        let credentials = "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s\n";
        assert_eq!(
            refused(&format!("{credentials}REVERB_APP_PING_INTERVAL=abc")),
            ".env:4: REVERB_APP_PING_INTERVAL: \"abc\" is not a whole number"
        );
        assert_eq!(
            refused(&format!("{credentials}REVERB_APP_ACTIVITY_TIMEOUT=0")),
            ".env:4: REVERB_APP_ACTIVITY_TIMEOUT: 0 is not between 1 and 31536000"
        );
        assert_eq!(
            refused(&format!("{credentials}REVERB_APP_WEBHOOK_EVENTS=cache_miss")),
            ".env:4: REVERB_APP_WEBHOOK_EVENTS: has no effect, because REVERB_APP_WEBHOOK_URL is not \
             set"
        );
        assert_eq!(
            refused("REVERB_SERVER_PORT=80800"),
            ".env:1: REVERB_SERVER_PORT: 80800 is not between 0 and 65535"
        );
        assert_eq!(
            refused("REVERB_LIMIT_ACCEPTS_PER_TURN=0"),
            ".env:1: REVERB_LIMIT_ACCEPTS_PER_TURN: must be between 1 and 65536"
        );
        assert_eq!(
            refused("REVERB_LIMIT_ACCEPTS_PER_TURN=many"),
            ".env:1: REVERB_LIMIT_ACCEPTS_PER_TURN: \"many\" is not a whole number"
        );
    }

    #[test]
    fn all_three_credentials_are_set_or_none() {
        assert_eq!(app(&Environment::of_file("REVERB_APP_ID=\nREVERB_APP_KEY=null")), Ok(None));
        assert_eq!(
            refused("REVERB_APP_ID=1\nREVERB_APP_KEY=k"),
            ".env:1: REVERB_APP_SECRET: is missing, although REVERB_APP_ID is set"
        );
        assert_eq!(
            refused("\nREVERB_APP_SECRET=s"),
            ".env:2: REVERB_APP_ID: is missing, although REVERB_APP_SECRET is set"
        );
    }

    #[test]
    fn errors_of_redis_are_returned_for_later() {
        let about_redis = Environment::of_file("REDIS_PORT=x\nREDIS_DB=y");
        let about_redis = apply(&about_redis, &mut Config::default(), &mut Findings::default());
        let message = about_redis.unwrap().unwrap().to_string();
        assert_eq!(message, ".env:1: REDIS_PORT: \"x\" is not a whole number");
    }

    #[test]
    fn errors_of_the_public_address_are_warnings() {
        let environment =
            Environment::of_file("REVERB_PORT=tcp://10.0.0.1:8080\nREVERB_SCHEME=wss");
        let mut findings = Findings::default();
        assert_eq!(apply(&environment, &mut Config::default(), &mut findings), Ok(None));
        assert_eq!(
            findings.warnings,
            [
                ".env:1: REVERB_PORT: \"tcp://10.0.0.1:8080\" is not a whole number",
                ".env:2: REVERB_SCHEME: \"wss\" is neither http nor https",
            ]
        );
    }

    #[test]
    fn a_path_that_laravel_cannot_use_causes_a_warning() {
        let warned = |text: &str| {
            let mut findings = Findings::default();
            apply(&Environment::of_file(text), &mut Config::default(), &mut findings).unwrap();
            findings.warnings
        };
        assert_eq!(
            warned("REVERB_SERVER_PATH=ws/"),
            [".env:1: REVERB_SERVER_PATH: has no slash at the beginning, so Laravel cannot parse \
              the URL that it publishes to; set it to /ws"]
        );
        assert_eq!(warned("REVERB_SERVER_PATH=/ws\n"), [""; 0]);
        assert_eq!(warned("REVERB_SERVER_PATH=\n"), [""; 0]);
    }

    #[test]
    fn misspelt_variables_cause_warnings_and_foreign_ones_do_not() {
        let warned = misspelt(&Environment::of_file(
            "REVERB_APP_PING_INTERVALL=1\nREVERB_SERVER_WORKERS=4\nREVERB_MAX_REQEST_SIZE=1\n\
             REVERB_DASHBOARD_TOKEN=x\n\
             REVERB_SERVICE_HOST=x\nREVERB_PORT_8080_TCP=x\n\
             VITE_REVERB_APP_KEY=x\nREVERB_APP_KEY=k\nREVERB_SERVER=r",
        ));
        assert_eq!(
            warned,
            [
                ".env:1: REVERB_APP_PING_INTERVALL: is not a known variable; did you mean \
                 REVERB_APP_PING_INTERVAL?",
                ".env:3: REVERB_MAX_REQEST_SIZE: is not a known variable; did you mean \
                 REVERB_MAX_REQUEST_SIZE?",
                ".env:2: REVERB_SERVER_WORKERS: is not a known variable",
            ]
        );
    }
}
