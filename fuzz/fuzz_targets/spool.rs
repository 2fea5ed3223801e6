//! The spool of webhooks: whole records are read, whatever follows them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::spool(data));
