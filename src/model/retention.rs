//! How much history is kept.

use std::fmt;
use std::time::Duration;

/// How much history stays when the store compacts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// What is not older than this.
    Time(Duration),
    /// So many revisions before the newest.
    Revisions(i64),
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::Time(time) => write!(f, "{time:?}"),
            Retention::Revisions(revisions) => write!(f, "{revisions}"),
        }
    }
}
