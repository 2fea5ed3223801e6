//! HTTP requests: answered in pieces as they are whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::http(data));
