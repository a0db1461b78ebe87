//! Any text as the options of tokens, and any file as a key.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target is one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bodies::token_options(bytes);
});
