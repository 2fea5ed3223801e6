//! The folder of apps: what its files say is served, whatever changes first.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::apps_folder(data));
