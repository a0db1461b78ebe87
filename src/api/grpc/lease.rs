//! Lease: grant, revoke, keep alive, look.
