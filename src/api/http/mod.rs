//! Plain HTTP: version and health.
