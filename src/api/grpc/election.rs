//! Election: candidates are keys under a lease, the oldest leads.
