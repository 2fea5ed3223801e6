//! Values of PHP: what is read, written down and read again is what it was.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::php(data));
