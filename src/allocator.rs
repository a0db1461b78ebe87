//! The program's allocator, and how it is set.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_generic_collect`, which the bindings do not name.
const COLLECT_EVERY: c_int = 34;
/// What it is if nobody sets it. Anything else under that number is another option, of another version of mimalloc.
const COLLECT_EVERY_DEFAULT: c_long = 10_000;
/// The most that mimalloc takes.
const COLLECT_EVERY_MAX: c_long = 1_000_000;

/// Lets allocations tidy up as rarely as may be.
///
/// At every 10,000th allocation that is not served at once, mimalloc walks all pages of the thread's heap. The threads that
/// apply writes have all data in theirs: with a million keys one walk took 5 to 10 ms, in which no write was answered, and
/// while a compaction ran there were several in a second. What others have freed is found without it, when it is needed.
pub fn tune() {
    // The number is checked against what it stands for before it is set.
    #[allow(
        unsafe_code,
        reason = "the allocator's own settings have no other face; both calls only read or write a number"
    )]
    unsafe {
        if libmimalloc_sys::mi_option_get(COLLECT_EVERY) == COLLECT_EVERY_DEFAULT {
            libmimalloc_sys::mi_option_set(COLLECT_EVERY, COLLECT_EVERY_MAX);
        }
    }
}
