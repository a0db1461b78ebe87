//! Flags, checked once.
