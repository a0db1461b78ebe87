//! Requests: checked once, and made our values.
