//! The hub as a whole: its books agree, and nothing is left when all have gone.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::hub(data));
