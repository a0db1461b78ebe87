//! Lock: contenders are keys under a lease, the oldest holds it.
