//! Every kind of connection to a real Redis: Unix socket, address, host name, TLS; and the errors
//! for invalid settings. `tests/redis` tests the messages between nodes.

#[cfg(feature = "redis")]
mod daemon;
#[cfg(all(feature = "redis", feature = "tls"))]
mod secure;
#[cfg(feature = "redis")]
mod ways;

use std::process::Command;

use crate::support::APP;

/// The error of a server that does not start with these variables.
#[track_caller]
fn startup_error(variables: &[(&str, &str)]) -> String {
    let output = Command::new(crate::support::binary())
        .args(["start", "--host", "127.0.0.1", "--port", "0"])
        .current_dir(std::env::temp_dir())
        .env_clear()
        .envs([("REVERB_APP_ID", APP.id), ("REVERB_APP_KEY", APP.key)])
        .envs([("REVERB_APP_SECRET", APP.secret), ("REVERB_SCALING_ENABLED", "true")])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty(), "the server does not listen");
    assert_eq!(error.lines().count(), 1, "{error}");
    error.strip_prefix("reverb: ").unwrap().trim_end().to_owned()
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_build_without_redis_does_not_start_with_scaling_enabled() {
    let error = startup_error(&[]);
    assert!(error.contains("REVERB_SCALING_ENABLED"), "{error}");
    assert!(error.contains("this build has no Redis"), "{error}");
}

#[cfg(all(feature = "redis", not(feature = "tls")))]
#[test]
fn a_build_without_tls_does_not_connect_to_a_rediss_url() {
    let error = startup_error(&[("REDIS_URL", "rediss://:hush@localhost")]);
    assert!(error.contains("needs TLS, which this build lacks"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}
