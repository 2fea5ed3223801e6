//! The build script: passes to the compiler what `reverb --version` says about a build. Nothing else
//! may be read here, least of all a clock: two builds of one commit are equal byte for byte.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    // Without a line of this kind, each changed file would run the script again.
    println!("cargo::rerun-if-changed=src/build.rs");
    describe_build();
}

/// Sets the variables that `args/version.rs` reads.
fn describe_build() {
    println!("cargo::rerun-if-env-changed=REVERB_COMMIT");
    println!("cargo::rustc-env=REVERB_BUILD_COMMIT={}", commit());
    println!("cargo::rustc-env=REVERB_BUILD_TARGET={}", variable("TARGET"));
    let enabled = variable("CARGO_CFG_FEATURE");
    let mut features: Vec<&str> = enabled.split(',').filter(|name| *name != "default").collect();
    features.sort_unstable();
    println!("cargo::rustc-env=REVERB_BUILD_FEATURES={}", features.join(", "));
}

/// The commit: that of the repository, or in a copy without one, `REVERB_COMMIT`. Empty if neither
/// is known.
fn commit() -> String {
    // A copy in a folder of another repository is not of that repository's commit.
    if !Path::new(".git").exists() {
        return variable("REVERB_COMMIT");
    }
    // Both files change with the commit: the second with each, the first when another branch is
    // checked out.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The output of git; empty if it is not installed, or fails.
fn git(arguments: &[&str]) -> String {
    // Git sets the first variable for its hooks.
    let output = Command::new("git").args(arguments).env_remove("GIT_DIR").output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(String::new, |run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
}

/// A variable of the environment; empty if it is not set. Only one line may be passed on.
fn variable(name: &str) -> String {
    let value = env::var(name).unwrap_or_default();
    value.lines().next().unwrap_or_default().trim().to_owned()
}
