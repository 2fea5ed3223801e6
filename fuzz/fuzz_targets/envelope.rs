//! What nodes say to each other: read, written again, read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::envelope(data));
