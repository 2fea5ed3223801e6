//! Client messages: parsed, written again, parsed again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::message(data));
