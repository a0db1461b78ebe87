//! Maintenance: how this member does.
