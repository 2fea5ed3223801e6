//! WebSocket frames: cut anywhere, and beside tungstenite's reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reverb::fuzzing::frames(data));
