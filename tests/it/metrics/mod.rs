//! `/metrics`, the probes beside it, and what alerts and boards ask of them: beside a real etcd.

mod counters;
mod endpoints;
mod expressions;
mod families;
mod published;
mod rules;
mod scrape;

use crate::harness::{Etcd, Options, Server, reference};

/// Both servers.
struct Both {
    own: Server,
    etcd: Etcd,
}

impl Both {
    /// Starts both with the same flags; `None` if there is no etcd to compare with.
    fn start(flags: &[&str]) -> Option<Both> {
        let etcd = Etcd::start(&reference()?, flags);
        let flags = flags.iter().copied().map(str::to_owned).collect();
        Some(Both { own: Server::start(&Options { flags, ..Options::default() }), etcd })
    }
}
