//! Replies made messages.
