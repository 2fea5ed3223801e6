//! Every kind of connection to a real Redis: Unix socket, address, name, TLS; and the errors for
//! invalid settings. The messages between nodes are tested elsewhere.

#[cfg(feature = "redis")]
mod daemon;
#[cfg(all(feature = "redis", feature = "tls"))]
mod secure;
#[cfg(feature = "redis")]
mod ways;

use std::process::Command;

use crate::support::APP;

/// What a server with these variables says before it ends.
#[track_caller]
fn refused(variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_reverb"))
        .args(["start", "--host", "127.0.0.1", "--port", "0"])
        .current_dir(std::env::temp_dir())
        .env_clear()
        .envs([("REVERB_APP_ID", APP.id), ("REVERB_APP_KEY", APP.key)])
        .envs([("REVERB_APP_SECRET", APP.secret), ("REVERB_SCALING_ENABLED", "true")])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty(), "it does not listen");
    assert_eq!(told.lines().count(), 1, "{told}");
    told.strip_prefix("reverb: ").unwrap().trim_end().to_owned()
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_build_without_redis_does_not_start_with_scaling_enabled() {
    let told = refused(&[]);
    assert!(told.contains("REVERB_SCALING_ENABLED"), "{told}");
    assert!(told.contains("this build has no Redis"), "{told}");
}

#[cfg(all(feature = "redis", not(feature = "tls")))]
#[test]
fn a_build_without_tls_does_not_connect_to_a_rediss_url() {
    let told = refused(&[("REDIS_URL", "rediss://:hush@localhost")]);
    assert!(told.contains("needs TLS, which this build lacks"), "{told}");
    assert!(!told.contains("hush"), "{told}");
}
