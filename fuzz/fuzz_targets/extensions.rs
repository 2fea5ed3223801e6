//! Offers of extensions: two parsers decide the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::extensions(data));
