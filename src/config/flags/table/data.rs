//! Flags of the data: how history is compacted, and how much there may be of everything.

use super::{duration, number};
use crate::config::flags::{BOOTSTRAP_DEFRAG, Flag, Group, Kind, WATCH_PROGRESS};
use crate::config::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "auto-compaction-mode",
        group: Group::Compaction,
        default: "periodic",
        about: "What --auto-compaction-retention counts: 'periodic' is time, 'revision' revisions.",
        kind: Kind::Value(|settings, value| {
            settings.compaction.mode = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "auto-compaction-retention",
        group: Group::Compaction,
        default: "0",
        about: "How much history stays when the leader compacts by itself: hours or a time such as 5m, or a number of\n\
                revisions. 0 leaves compaction to clients.",
        kind: Kind::Value(|settings, value| {
            settings.compaction.retention = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "compaction-batch-limit",
        group: Group::Compaction,
        default: "0",
        about: "Number of keys that a compaction visits at a time, while others wait. 0 means 250.",
        kind: Kind::Value(|settings, value| {
            settings.compaction.batch_limit = value::signed_number(value)?;
            Ok(())
        }),
    },
    Flag {
        name: "compaction-sleep-interval",
        group: Group::Compaction,
        default: "0s",
        about: "How long a compaction rests after that. 0 means 1ms.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.compaction.sleep_interval)),
    },
    Flag {
        name: "auto-defrag-threshold-megabytes",
        group: Group::Compaction,
        default: "64",
        about: "Free space within the checkpoint's file, in megabytes, from which on a compaction is followed by what\n\
                defrag does, if more than half of the file is free. 0 leaves that to defrag.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.auto_defrag_megabytes)),
    },
    Flag {
        name: BOOTSTRAP_DEFRAG,
        group: Group::Compaction,
        default: "0",
        about: "Free space within the checkpoint's file, in megabytes, from which on a member does what defrag does when it\n\
                starts, before it serves. 0 is never.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.bootstrap_defrag_megabytes)),
    },
    Flag {
        name: "backend-batch-interval",
        group: Group::Compaction,
        default: "0s",
        about: "Taken for etcd's sake: what is acknowledged is in the log; its tables are written after a second.",
        kind: Kind::Value(|_, value| value::duration(value).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: "backend-batch-limit",
        group: Group::Compaction,
        default: "0",
        about: "As --backend-batch-interval: or after 16 MiB.",
        kind: Kind::Value(|_, value| value::signed_number(value).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: "backend-bbolt-freelist-type",
        group: Group::Compaction,
        default: "",
        about: "Taken for etcd's sake: there is no bbolt here.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "quota-backend-bytes",
        group: Group::Limits,
        default: "0",
        about: "How large the data may become, in bytes, history that is not compacted included. Beyond it an alarm is raised,\n\
                and only reads, deletes and compactions are answered until it is disarmed. 0 means 2147483648 (2 GiB), a\n\
                number below 0 any size.",
        kind: Kind::Value(|settings, value| {
            settings.quota_bytes = value::signed_number(value)?;
            Ok(())
        }),
    },
    Flag {
        name: "max-request-bytes",
        group: Group::Limits,
        default: "1572864",
        about: "Size of the largest request that changes something, in bytes.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.request_bytes_max)),
    },
    Flag {
        name: "memory-budget-bytes",
        group: Group::Limits,
        default: "0",
        about: "Memory for values, caches and what waits for the disk, in bytes. Values beyond it are read from the disk;\n\
                keys stay in memory beside it, about 150 bytes each. 0 means half of the machine's memory, or of what the\n\
                process may have.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.memory_budget_bytes)),
    },
    Flag {
        name: "memory-mlock",
        group: Group::Limits,
        default: "false",
        about: "Keep everything that the program has in memory from being swapped out. Needs a limit (ulimit -l) that allows it.",
        kind: Kind::Switch(|settings, value| settings.memory_mlock = value),
    },
    Flag {
        name: "max-txn-ops",
        group: Group::Limits,
        default: "128",
        about: "Number of operations that one transaction may have.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.txn_ops_max)),
    },
    Flag {
        name: "max-concurrent-streams",
        group: Group::Limits,
        default: "4294967295",
        about: "Number of calls that one client connection may have open at a time.",
        kind: Kind::Value(|settings, value| {
            // etcd reads this one by itself, and its texts differ.
            let read = value::number(value, u64::from(u32::MAX)).map_err(|why| {
                let why = if why == "parse error" { "invalid syntax" } else { why };
                format!("strconv.ParseUint: parsing {value:?}: {why}")
            })?;
            settings.streams_max = u32::try_from(read).expect("the limit was given");
            Ok(())
        }),
    },
    Flag {
        name: "grpc-keepalive-min-time",
        group: Group::Limits,
        default: "5s",
        about: "How often a client may ping while it has a call open. One that pings more often, or without a call, is told\n\
                too_many_pings and let go of. 0 means 5m. Clients that come over TLS may ping as they like.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.keepalive.min_time)),
    },
    Flag {
        name: "grpc-keepalive-interval",
        group: Group::Limits,
        default: "2h",
        about: "How long a client may say nothing before it is pinged, 1s at least. 0 means 2h.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.keepalive.interval)),
    },
    Flag {
        name: "grpc-keepalive-timeout",
        group: Group::Limits,
        default: "20s",
        about: "How long a client may leave that ping without an answer before its connection is closed. 0 means 20s.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.keepalive.timeout)),
    },
    Flag {
        name: WATCH_PROGRESS,
        group: Group::Limits,
        default: "0s",
        about: "How often a watch that asks for progress hears of it while nothing happens, such as 30s or 10m.\n\
                0 means 10m.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.watch_progress_interval)),
    },
];
