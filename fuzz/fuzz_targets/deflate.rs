//! Compression: what is decompressed is what a second decompressor makes of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::deflate(data));
