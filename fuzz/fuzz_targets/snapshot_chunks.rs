//! Any bytes as chunks of a snapshot stream whose checksums are right.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target is one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bodies::snapshot_chunks(bytes);
});
