//! RPCs that are not there yet, and say so.
