//! The build script: passes to the compiler what `reverb --version` says about a build, and makes the
//! page of the console. Nothing else may be read here, least of all a clock: two builds of one commit
//! are equal byte for byte.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use data_encoding::BASE64;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

/// The parts of the page.
const PARTS: &str = "src/hub/console/page";
/// The parts of its script, in their order.
const SCRIPTS: [&str; 6] =
    ["common.js", "overview.js", "live.js", "channels.js", "publish.js", "main.js"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/build.rs");
    describe_build();
    make_page()
}

/// Makes the page from its parts, and the policy that allows nothing else. The page is part of the
/// binary, so it is compressed: from 100 KB to 38.
fn make_page() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PARTS}");
    let style = part("console.css")?;
    let plots = part("uplot.js")?;
    let script = SCRIPTS.iter().map(|name| part(name)).collect::<Result<String, _>>()?;
    let page = [
        &part("head.html")?,
        "<style>",
        &style,
        "</style></head>",
        &part("body.html")?,
        "<script>",
        &plots,
        "</script><script>",
        &script,
        "</script></body></html>\n",
    ];
    let file = Path::new(&env::var("OUT_DIR")?).join("console.html.gz");
    fs::write(file, compressed(&page.concat())?)?;
    // The hashes admit exactly these texts: a script in a user-supplied name is not executed.
    println!(
        "cargo::rustc-env=CONSOLE_POLICY=default-src 'none'; script-src '{}' '{}'; style-src '{}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(&plots),
        hash(&script),
        hash(&style)
    );
    Ok(())
}

/// A part of the page. Its lines lose their indentation, which makes the page a kilobyte shorter.
fn part(name: &str) -> Result<String, Box<dyn Error>> {
    let path = Path::new(PARTS).join(name);
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().flat_map(|line| [line.trim_start_matches('\t'), "\n"]).collect())
}

/// The text with gzip. The format has no time here, so that equal sources give equal binaries.
fn compressed(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// The hash of an inline script or style, as a policy contains it.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(text)))
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
