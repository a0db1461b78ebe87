//! Flags of the cluster: how it is founded, and what its members check of each other.

use super::{duration, number, urls};
use crate::config::ClusterState;
use crate::config::flags::{ADVERTISE_PEER_URLS, COMPACT_HASH_CHECK_TIME, Flag, Group, INITIAL_CLUSTER, Kind};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: ADVERTISE_PEER_URLS,
        group: Group::Cluster,
        default: "http://localhost:2380",
        about: "Where other members are told to find this one. Has to agree with --initial-cluster.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.advertise_peer_urls)),
    },
    Flag {
        name: INITIAL_CLUSTER,
        group: Group::Cluster,
        default: crate::config::validate::DEFAULT_CLUSTER,
        about: "All members, as <name>=<peer URL>, comma-separated; a member with several URLs comes several times.\n\
                To found a cluster, start each of them with the same list. To join one, list those that are there and\n\
                this one. With --name alone it is <name>=<--initial-advertise-peer-urls>.",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "initial-cluster-state",
        group: Group::Cluster,
        default: "new",
        about: "'new' to found a cluster, 'existing' to join one that this member was added to (etcdctl member add).",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster_state = match value {
                "new" => ClusterState::New,
                "existing" => ClusterState::Existing,
                _ => return Err("invalid value".to_owned()),
            };
            Ok(())
        }),
    },
    Flag {
        name: "initial-cluster-token",
        group: Group::Cluster,
        default: "etcd-cluster",
        about: "Any text of the cluster's own: clusters with the same URLs get different ids by it.",
        kind: Kind::Value(|settings, value| {
            settings.initial_cluster_token = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "initial-election-tick-advance",
        group: Group::Cluster,
        default: "true",
        about: "Taken for etcd's sake: the first election waits as long as any other, which is less than --election-timeout.",
        kind: Kind::Switch(|settings, value| settings.tick_advance = value),
    },
    Flag {
        name: "strict-reconfig-check",
        group: Group::Membership,
        default: "true",
        about: "Refuse to add or remove members when that would cost the cluster its quorum.",
        kind: Kind::Switch(|settings, value| settings.strict_reconfig = value),
    },
    Flag {
        name: "max-learners",
        group: Group::Membership,
        default: "1",
        about: "Number of members without a vote that the cluster may have. The same on every member.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.learners_max)),
    },
    Flag {
        name: "agreement-check",
        group: Group::Membership,
        default: "true",
        about: "Compare the state of this member with that of the others all the time, and stop it for good when most\n\
                of them have another one. Costs nothing to speak of.",
        kind: Kind::Switch(|settings, value| settings.agreement_check = value),
    },
    Flag {
        name: "feature-gates",
        group: Group::Membership,
        default: "",
        about: "Feature gates of etcd to turn on or off, as <name>=true, comma-separated. With an effect here:\n\
                InitialCorruptCheck compares the records of this member with those of the others before it serves;\n\
                CompactHashCheck lets the leader compare what compactions found.",
        kind: Kind::Value(|settings, value| settings.gates.read(value)),
    },
    Flag {
        name: "corrupt-check-time",
        group: Group::Membership,
        default: "0s",
        about: "How often the leader compares the records of all members, such as 1h, and raises an alarm for one that\n\
                differs. Reads everything each time. 0 is never.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.corrupt_check_time)),
    },
    Flag {
        name: COMPACT_HASH_CHECK_TIME,
        group: Group::Membership,
        default: "1m",
        about: "How often the leader compares what compactions found, if the gate CompactHashCheck is on.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.compact_hash_check_time)),
    },
    Flag {
        name: "force-new-cluster",
        group: Group::Membership,
        default: "false",
        about: "Make this member the only one of its cluster, and keep its data. For a cluster that has lost its quorum\n\
                for good: what only others had is lost, and they must never run again with their old data.",
        kind: Kind::Switch(|settings, value| settings.force_new_cluster = value),
    },
];
