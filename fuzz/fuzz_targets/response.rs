//! Responses of other HTTP servers: the same in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::response(data));
