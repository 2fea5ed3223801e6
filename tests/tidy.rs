//! The rules of the source tree: which module may import which, and the form of a file.
//!
//! `net` may import `hub` and `proto`, `hub` may import `proto`, never the reverse; the pure layers
//! use no sockets, files, environment, clock or randomness.

mod imports;

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The maximum number of lines before a file has to be split by meaning.
const LINES: usize = 450;

/// One source file.
struct Source {
    /// Relative to the root, such as `src/net/server.rs`.
    name: String,
    text: String,
}

impl Source {
    fn is_in(&self, folder: &str) -> bool {
        self.name.starts_with(&format!("src/{folder}/")) || self.name == format!("src/{folder}.rs")
    }

    /// The identifiers and punctuation outside tests, without comments and literals.
    fn code(&self) -> Vec<String> {
        if self.name.ends_with("/tests.rs") || self.name.contains("/tests/") {
            return Vec::new();
        }
        let mut tokens = tokens(&self.text);
        let tests = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        if let Some(at) = tokens.windows(tests.len()).position(|window| window == tests) {
            tokens.truncate(at);
        }
        tokens
    }
}

/// All `.rs` files of a folder of the root.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
                found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// Splits code into identifiers and single signs, leaving out comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let word = &rest[..end.unwrap_or(rest.len())];
            tokens.push(word.to_owned());
            word.len()
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the raw string at the start, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len() + hashes + 1;
    Some(start + text[start..].find(&end)? + end.len())
}

/// The length of the literal at the start, which ends with this unescaped sign.
fn quoted(text: &str, sign: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == sign => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether the quote at the start opens a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Every place where one of these runs of tokens occurs in the code of a folder.
fn found(folder: &str, runs: &[&[&str]]) -> Vec<String> {
    let mut places = Vec::new();
    for source in sources("src").iter().filter(|source| source.is_in(folder)) {
        let code = source.code();
        for run in runs {
            if code.windows(run.len()).any(|window| window == *run) {
                places.push(format!("{} names {}", source.name, run.concat()));
            }
        }
    }
    places
}

/// The modules that directly follow `crate::`, also in a list.
fn modules(code: &[String]) -> Vec<&str> {
    let mut modules = Vec::new();
    for (at, window) in code.windows(4).enumerate() {
        if window[..3] != ["crate", ":", ":"] {
            continue;
        }
        if window[3] != "{" {
            modules.push(window[3].as_str());
            continue;
        }
        let (mut depth, mut before) = (0, "");
        for token in &code[at + 3..] {
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                name if depth == 1 && (before == "{" || before == ",") => modules.push(name),
                _ => {}
            }
            before = token;
        }
    }
    modules
}

#[track_caller]
fn none(places: &[String]) {
    assert!(places.is_empty(), "\n{}", places.join("\n"));
}

#[test]
fn layers_import_downwards_only() {
    let mut places = Vec::new();
    for (folder, above) in [
        ("proto", &["hub", "net", "commands", "args"][..]),
        ("hub", &["net", "commands", "args"]),
        ("config", &["hub", "net", "commands"]),
        ("net", &["commands", "args"]),
    ] {
        for source in sources("src").iter().filter(|source| source.is_in(folder)) {
            let code = source.code();
            for module in modules(&code).iter().filter(|module| above.contains(module)) {
                places.push(format!("{} names {module}", source.name));
            }
        }
    }
    let load = [&["config", ":", ":", "load"][..], &["config", ":", ":", "env"]];
    places.extend(found("proto", &load));
    places.extend(found("hub", &load));
    none(&places);
}

#[test]
fn the_pure_layers_have_no_side_effects() {
    let effects: [&[&str]; 9] = [
        &["mio"],
        &["rustls"],
        &["rustix"],
        &["libc"],
        &["rand"],
        &["Instant", ":", ":", "now"],
        &["thread"],
        &["std", ":", ":", "process"],
        &["println"],
    ];
    none(&found("proto", &effects));
    none(&found("hub", &effects));
    // These in their tests, too: files that a test needs are part of the program (`include_str!`).
    let files_and_sockets = ["fs", "env", "TcpStream", "TcpListener", "UdpSocket", "SystemTime"];
    let mut places = Vec::new();
    for source in sources("src").iter().filter(|it| it.is_in("proto") || it.is_in("hub")) {
        let tokens = tokens(&source.text);
        // `env!` is a constant of the build.
        let is_named = |name: &str| tokens.windows(2).any(|pair| pair[0] == name && pair[1] != "!");
        let named = files_and_sockets.iter().filter(|name| is_named(name));
        places.extend(named.map(|name| format!("{} names {name}", source.name)));
    }
    none(&places);
}

#[test]
fn one_file_may_contain_unsafe_code() {
    let sources = sources("src");
    let allowing = sources.iter().filter(|it| tokens(&it.text).iter().any(|t| t == "unsafe_code"));
    let names: Vec<&str> = allowing.map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["src/net/sys/process.rs"]);
}

#[test]
fn the_network_layer_does_not_parse_payloads() {
    none(&found(
        "net",
        &[&["httparse"], &["serde_json"], &["hmac"], &["sha2"], &["md5"], &["tungstenite"]],
    ));
}

#[test]
fn every_file_opens_with_its_purpose() {
    let mut places = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        if !source.text.starts_with("//!") {
            places.push(source.name.clone());
        }
    }
    none(&places);
}

#[test]
fn no_file_exceeds_the_line_limit() {
    let mut places = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let lines = source.text.lines().count();
        if lines > LINES {
            places.push(format!("{}: {lines} lines", source.name));
        }
    }
    none(&places);
}

#[test]
fn the_root_has_only_expected_entries() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "tests",
        "fuzz",
        "man",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "target",
    ];
    let mut places = Vec::new();
    for entry in fs::read_dir(ROOT).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !allowed.contains(&name.as_str()) {
            places.push(name);
        }
    }
    none(&places);
}

#[test]
fn the_tokenizer_ignores_comments_and_strings() {
    let text =
        "let a = b\"mio\\\"\"; // mio\n/* mio */ 'x' '\\'' r#\"mio\"# &'static str; mio::Poll";
    let found: Vec<String> = tokens(text);
    assert_eq!(found.iter().filter(|token| *token == "mio").count(), 1);
    assert!(found.iter().any(|token| token == "static"));
    let code = tokens("use crate::hub::x; use crate::{net::{a, b}, proto, c::d}; use self::e;");
    assert_eq!(modules(&code), ["hub", "net", "proto", "c"]);
}
