//! The build script: makes the page of the console from its parts, and the policy that allows nothing
//! else. The page is part of the binary, so it is compressed: from 100 KB to 38.

use std::error::Error;
use std::io::Write;
use std::path::Path;
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
    println!("cargo::rerun-if-changed={PARTS}");
    println!("cargo::rerun-if-changed=src/build.rs");
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

fn part(name: &str) -> Result<String, Box<dyn Error>> {
    let path = Path::new(PARTS).join(name);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
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
