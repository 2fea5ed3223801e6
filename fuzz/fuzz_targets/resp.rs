//! What Redis says: the same in any pieces, and never too much.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::resp(data));
