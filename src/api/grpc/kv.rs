//! KV as an ordinary tonic service.
