//! Replays the corpus of the fuzzers: inputs that once failed, and inputs that reach the most code.
//! The fuzzers are in `fuzz/`.

use std::fs;
use std::path::{Path, PathBuf};

use reverb::fuzzing::{TARGETS, Target};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a folder, sorted by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[cfg(all(feature = "redis", feature = "deflate"))]
fn names(folder: &str) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files(&fuzz().join(folder)).iter().map(stem).collect()
}

#[track_caller]
fn replay(name: &str) {
    let (_, target): &(&str, Target) = TARGETS.iter().find(|(other, _)| *other == name).unwrap();
    let files = files(&fuzz().join("corpus").join(name));
    assert!(files.len() >= 5, "only {} inputs", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let run = std::panic::catch_unwind(|| target(&bytes));
        assert!(run.is_ok(), "{}", file.display());
        // A truncated input is another input, which must not fail either.
        let shorter = std::panic::catch_unwind(|| target(&bytes[..bytes.len() * 2 / 3]));
        assert!(shorter.is_ok(), "two thirds of {}", file.display());
    }
}

#[test]
fn a_folder_of_apps_serves_what_its_files_say() {
    replay("apps_folder");
}

#[test]
fn configuration_is_read_as_it_was_written() {
    replay("config");
}

#[cfg(feature = "deflate")]
#[test]
fn messages_are_decompressed_as_by_a_second_decompressor() {
    replay("deflate");
}

#[cfg(feature = "redis")]
#[test]
fn envelopes_are_decoded_as_they_were_encoded() {
    replay("envelope");
}

#[test]
fn offers_of_extensions_are_decided_as_by_a_second_parser() {
    replay("extensions");
}

#[test]
fn frames_in_any_pieces_are_decoded_as_by_tungstenite() {
    replay("frames");
}

#[test]
fn requests_in_any_pieces_get_the_same_responses() {
    replay("http");
}

#[test]
fn a_hub_keeps_no_state_after_all_clients_disconnect() {
    replay("hub");
}

#[test]
fn messages_keep_their_meaning_when_serialized_again() {
    replay("message");
}

#[test]
fn values_of_php_are_read_as_they_were_written() {
    replay("php");
}

#[cfg(feature = "redis")]
#[test]
fn replies_of_redis_in_any_pieces_are_decoded_the_same() {
    replay("resp");
}

#[test]
fn responses_of_other_servers_in_any_pieces_are_decoded_the_same() {
    replay("response");
}

#[test]
fn what_a_crash_leaves_of_the_spool_is_read() {
    replay("spool");
}

#[cfg(all(feature = "redis", feature = "deflate"))]
#[test]
fn every_target_has_a_fuzzer_and_inputs() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let here = fs::read_to_string(Path::new(file!())).unwrap();
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        assert!(here.contains(&format!("replay(\"{target}\")")), "{target} is not replayed");
    }
}
