//! Watch: streams of events.
