//! The text of `reverb --version`. The build script, `src/build.rs`, sets the variables.

use std::fmt::Write as _;

/// The name and the version, as the log of the start has them.
pub const VERSION: &str = concat!("reverb ", env!("CARGO_PKG_VERSION"));

/// The version, and on a line each: the commit, if it is known, the target and the features.
pub fn version() -> String {
    let mut text = VERSION.to_owned();
    let features = match env!("REVERB_BUILD_FEATURES") {
        "" => "none",
        names => names,
    };
    for (name, value) in [
        ("commit", env!("REVERB_BUILD_COMMIT")),
        ("target", env!("REVERB_BUILD_TARGET")),
        ("features", features),
    ] {
        if !value.is_empty() {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n{name}: {value}");
        }
    }
    text
}
