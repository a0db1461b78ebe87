//! Flags of Raft: its timing, and its log.

use super::{duration, number};
use crate::config::flags::{ELECTION, Flag, Group, HEARTBEAT, Kind, RAFT_READ_TIMEOUT, RAFT_WRITE_TIMEOUT};
use crate::config::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: HEARTBEAT,
        group: Group::Timing,
        default: "100",
        about: "Milliseconds between two signs of life of a leader: about one round trip between members.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.heartbeat_ms)),
    },
    Flag {
        name: ELECTION,
        group: Group::Timing,
        default: "1000",
        about: "Milliseconds without one until a member stands for election: 5 heartbeats at least, 50000 at most.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.election_ms)),
    },
    Flag {
        name: "pre-vote",
        group: Group::Timing,
        default: "true",
        about: "Ask whether an election can be won before standing for it, so that a member that comes back from behind a\n\
                broken network disturbs nobody.",
        kind: Kind::Switch(|settings, value| settings.pre_vote = value),
    },
    Flag {
        name: "snapshot-count",
        group: Group::Timing,
        default: "10000",
        about: "Log entries from one snapshot to the next. Fewer keep the log shorter. 0 means 10000.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.snapshot_count)),
    },
    Flag {
        name: "snapshot-catchup-entries",
        group: Group::Timing,
        default: "5000",
        about: "Log entries that stay after a snapshot, for members that are a little behind.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.snapshot_catchup_entries)),
    },
    Flag {
        name: "max-snapshots",
        group: Group::Timing,
        default: "5",
        about: "Taken for etcd's sake: there is one snapshot, the checkpoint.",
        kind: Kind::Value(|_, value| value::number(value, u64::MAX).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: "max-wals",
        group: Group::Timing,
        default: "5",
        about: "Taken for etcd's sake: segments of the log go when nothing needs them.",
        kind: Kind::Value(|_, value| value::number(value, u64::MAX).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: RAFT_READ_TIMEOUT,
        group: Group::Timing,
        default: "5s",
        about: "Taken for etcd's sake: how long a member is waited for follows from --election-timeout.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.raft_read_timeout)),
    },
    Flag {
        name: RAFT_WRITE_TIMEOUT,
        group: Group::Timing,
        default: "5s",
        about: "As --raft-read-timeout.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.raft_write_timeout)),
    },
];
