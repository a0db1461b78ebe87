//! Every flag that there is.

use std::path::PathBuf;

use super::{
    ADVERTISE_CLIENT_URLS, ADVERTISE_PEER_URLS, COMPACT_HASH_CHECK_TIME, DATA_DIR, DOWNGRADE_CHECK, ELECTION, Flag,
    Group, HEARTBEAT, Kind, LISTEN_CLIENT_URLS, LISTEN_PEER_URLS, NAME, SELF_SIGNED_VALIDITY, WATCH_PROGRESS,
};
use crate::config::url::Url;
use crate::config::value::SignedDuration;
use crate::config::{ClusterState, LogLevel, value};

/// Every flag, in the order of the help text.
pub(in crate::config) const ALL: &[Flag] = &[
    Flag {
        name: NAME,
        group: Group::Member,
        default: crate::config::validate::DEFAULT_NAME,
        about: "Name of this member, for people and for --initial-cluster.",
        kind: Kind::Value(|settings, value| {
            settings.name = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: DATA_DIR,
        group: Group::Member,
        default: "",
        about: "Folder that everything is kept in; made if it is not there. Give each member its own.\n\
                Empty means <name>.etcd in the working directory.",
        kind: Kind::Value(|settings, value| {
            settings.data_dir = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: LISTEN_CLIENT_URLS,
        group: Group::Member,
        default: "http://localhost:2379",
        about: "Where to wait for clients, comma-separated: http://<IP or localhost>:<port> or unix://<path>, with TLS\n\
                https or unixs. The same port may be given as http and as https.\n\
                http://0.0.0.0:2379 is every interface, port 0 any free port (the log tells which).",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_client_urls)),
    },
    Flag {
        name: ADVERTISE_CLIENT_URLS,
        group: Group::Member,
        default: "http://localhost:2379",
        about: "Where clients are told to find this member; host names are fine here.\n\
                Has to be given when --listen-client-urls is.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.advertise_client_urls)),
    },
    Flag {
        name: "enable-grpc-gateway",
        group: Group::Member,
        default: "true",
        about: "Answer JSON over HTTP below /v3/ as well as gRPC.",
        kind: Kind::Switch(|settings, value| settings.grpc_gateway = value),
    },
    Flag {
        name: "host-whitelist",
        group: Group::Member,
        default: "*",
        about: "Names that clients may call this member by over plain HTTP, comma-separated, so that web pages cannot use\n\
                names of their own (DNS rebinding). * means any.",
        kind: Kind::Value(|settings, value| {
            settings.host_whitelist = value.split(',').map(str::to_owned).collect();
            Ok(())
        }),
    },
    Flag {
        name: "cors",
        group: Group::Member,
        default: "*",
        about: "Origins whose web pages may read answers, as http://<host>:<port>, comma-separated. * means any.",
        kind: Kind::Value(|settings, value| {
            settings.cors = origins(value)?;
            Ok(())
        }),
    },
    Flag {
        name: LISTEN_PEER_URLS,
        group: Group::Member,
        default: "http://localhost:2380",
        about: "Where to wait for other members: http or https, as --listen-client-urls.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_peer_urls)),
    },
    Flag {
        name: ADVERTISE_PEER_URLS,
        group: Group::Cluster,
        default: "http://localhost:2380",
        about: "Where other members are told to find this one. Has to agree with --initial-cluster.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.advertise_peer_urls)),
    },
    Flag {
        name: "initial-cluster",
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
    Flag {
        name: "cert-file",
        group: Group::ClientTls,
        default: "",
        about: "Certificate that this member shows to clients, as PEM: a file, read again for every connection.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.cert_file)),
    },
    Flag {
        name: "key-file",
        group: Group::ClientTls,
        default: "",
        about: "Private key of --cert-file, as PEM.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.key_file)),
    },
    Flag {
        name: "trusted-ca-file",
        group: Group::ClientTls,
        default: "",
        about: "Certificates of the authorities that sign those of clients, as PEM.\n\
                With this clients have to show a certificate.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.trusted_ca_file)),
    },
    Flag {
        name: "client-cert-auth",
        group: Group::ClientTls,
        default: "false",
        about: "Clients have to show a certificate, checked against --trusted-ca-file or the system's. Its common name is\n\
                the user that one without a token is taken for.",
        kind: Kind::Switch(|settings, value| settings.client_tls.client_cert_auth = value),
    },
    Flag {
        name: "client-cert-allowed-hostname",
        group: Group::ClientTls,
        default: "",
        about: "Host names that certificates of clients may be for, comma-separated; empty means any.",
        kind: Kind::Value(|settings, value| list(value, &mut settings.client_tls.allowed_hostnames)),
    },
    Flag {
        name: "client-crl-file",
        group: Group::ClientTls,
        default: "",
        about: "List of revoked certificates, as DER, read again for every connection.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.crl_file)),
    },
    Flag {
        name: "client-cert-file",
        group: Group::ClientTls,
        default: "",
        about: "Taken for etcd's sake: this member never connects to its own clients' sockets.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.client_cert_file)),
    },
    Flag {
        name: "client-key-file",
        group: Group::ClientTls,
        default: "",
        about: "As --client-cert-file.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.client_tls.client_key_file)),
    },
    Flag {
        name: "auto-tls",
        group: Group::ClientTls,
        default: "false",
        about: "Make a certificate if neither --cert-file nor --key-file is given. Encrypts; proves nothing.",
        kind: Kind::Switch(|settings, value| settings.client_tls.auto_tls = value),
    },
    Flag {
        name: "peer-cert-file",
        group: Group::PeerTls,
        default: "",
        about: "Certificate that this member shows to others, as PEM: a file, read again for every connection.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.cert_file)),
    },
    Flag {
        name: "peer-key-file",
        group: Group::PeerTls,
        default: "",
        about: "Private key of --peer-cert-file, as PEM.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.key_file)),
    },
    Flag {
        name: "peer-client-cert-file",
        group: Group::PeerTls,
        default: "",
        about: "Certificate for connections that this member opens; empty means --peer-cert-file.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.client_cert_file)),
    },
    Flag {
        name: "peer-client-key-file",
        group: Group::PeerTls,
        default: "",
        about: "Private key of --peer-client-cert-file.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.client_key_file)),
    },
    Flag {
        name: "peer-trusted-ca-file",
        group: Group::PeerTls,
        default: "",
        about: "Certificates of the authorities that sign those of members, as PEM.\n\
                With this other members have to show a certificate.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.trusted_ca_file)),
    },
    Flag {
        name: "peer-client-cert-auth",
        group: Group::PeerTls,
        default: "false",
        about: "Other members have to show a certificate, checked against --peer-trusted-ca-file or the system's.",
        kind: Kind::Switch(|settings, value| settings.peer_tls.client_cert_auth = value),
    },
    Flag {
        name: "peer-cert-allowed-cn",
        group: Group::PeerTls,
        default: "",
        about: "Common names that certificates of members may have, comma-separated; empty means any.",
        kind: Kind::Value(|settings, value| list(value, &mut settings.peer_tls.allowed_common_names)),
    },
    Flag {
        name: "peer-cert-allowed-hostname",
        group: Group::PeerTls,
        default: "",
        about: "Host names that certificates of members may be for, comma-separated; empty means any.\n\
                Not together with --peer-cert-allowed-cn.",
        kind: Kind::Value(|settings, value| list(value, &mut settings.peer_tls.allowed_hostnames)),
    },
    Flag {
        name: "peer-crl-file",
        group: Group::PeerTls,
        default: "",
        about: "List of revoked certificates, as DER, read again for every connection.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.peer_tls.crl_file)),
    },
    Flag {
        name: "peer-skip-client-san-verification",
        group: Group::PeerTls,
        default: "false",
        about: "Do not check that a member connects from an address that its certificate names.",
        kind: Kind::Switch(|settings, value| settings.peer_tls.skip_client_san_verification = value),
    },
    Flag {
        name: "peer-auto-tls",
        group: Group::PeerTls,
        default: "false",
        about: "Make a certificate if neither --peer-cert-file nor --peer-key-file is given. Encrypts; proves nothing.",
        kind: Kind::Switch(|settings, value| settings.peer_tls.auto_tls = value),
    },
    Flag {
        name: SELF_SIGNED_VALIDITY,
        group: Group::PeerTls,
        default: "1",
        about: "Years that certificates of --auto-tls and --peer-auto-tls are valid.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.self_signed_years)),
    },
    Flag {
        name: "auth-token",
        group: Group::Auth,
        default: "simple",
        about: "Kind of tokens that users get for their password: 'simple', which members remember, or 'jwt', which are\n\
                signed: jwt,sign-method=<method>,priv-key=<file>,pub-key=<file>,ttl=<time>. Methods are RS, PS and ES,\n\
                HS (priv-key is the secret), each with 256, 384 or 512, and EdDSA. With pub-key alone tokens of others are\n\
                checked and none are made. Empty: no tokens.",
        kind: Kind::Value(|settings, value| {
            settings.auth.token = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "auth-token-ttl",
        group: Group::Auth,
        default: "300",
        about: "Seconds that a simple token lives after its last use. 0 means 300.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.auth.token_ttl_s)),
    },
    Flag {
        name: "bcrypt-cost",
        group: Group::Auth,
        default: "10",
        about: "How much work it is to hash a password, from 4 to 31; one more is twice as much.",
        kind: Kind::Value(|settings, value| number(value, &mut settings.auth.bcrypt_cost)),
    },
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
        name: "log-level",
        group: Group::Logging,
        default: "info",
        about: "The lowest level that is logged: debug, info, warn, error, panic or fatal.\n\
                The log goes to stderr, one JSON object a line.",
        kind: Kind::Value(|settings, value| {
            settings.log_level = match value {
                "debug" | "DEBUG" => LogLevel::Debug,
                "info" | "INFO" | "" => LogLevel::Info,
                "warn" | "WARN" => LogLevel::Warn,
                "error" | "ERROR" => LogLevel::Error,
                "dpanic" | "DPANIC" | "panic" | "PANIC" => LogLevel::Panic,
                "fatal" | "FATAL" => LogLevel::Fatal,
                _ => return Err(format!("unrecognized level: {value:?}")),
            };
            Ok(())
        }),
    },
    Flag {
        name: "metrics",
        group: Group::Metrics,
        default: "basic",
        about: "How much is measured: 'extensive' adds how long each call takes, by method.",
        kind: Kind::Value(|settings, value| {
            settings.metrics = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "enable-pprof",
        group: Group::Metrics,
        default: "false",
        about: "Answer who asks for profiles at /debug/pprof/: where else to look, for there are none of Go here.\n\
                So does --log-level=debug.",
        kind: Kind::Switch(|settings, value| settings.profiling = value),
    },
    Flag {
        name: DOWNGRADE_CHECK,
        group: Group::General,
        default: "5s",
        about: "Taken for etcd's sake: a downgrade is over when all members run the earlier version, which none can here.",
        kind: Kind::Value(|_, value| value::duration(value).map(drop).map_err(str::to_owned)),
    },
    Flag {
        name: "version",
        group: Group::General,
        default: "false",
        about: "Print the version and exit.",
        kind: Kind::Version,
    },
    Flag {
        name: "help",
        group: Group::General,
        default: "false",
        about: "Print this text and exit; -h is the same.",
        kind: Kind::Help,
    },
];

fn urls(value: &str, into: &mut Vec<Url>) -> Result<(), String> {
    *into = Url::parse_list(value)?;
    Ok(())
}

/// Source: etcd, `flags.UniqueURLs`: one star is not taken for a URL.
fn origins(value: &str) -> Result<Vec<String>, String> {
    if value == "*" {
        return Ok(vec![value.to_owned()]);
    }
    let parse = |url| Url::parse(url).map(|url| url.to_string()).map_err(|error| error.to_string());
    value.split(',').map(parse).collect()
}

fn path(value: &str, into: &mut Option<PathBuf>) -> Result<(), String> {
    *into = (!value.is_empty()).then(|| value.into());
    Ok(())
}

fn list(value: &str, into: &mut Vec<String>) -> Result<(), String> {
    *into = value.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Ok(())
}

fn duration(value: &str, into: &mut SignedDuration) -> Result<(), String> {
    *into = value::duration(value)?;
    Ok(())
}

fn number(value: &str, into: &mut u64) -> Result<(), String> {
    *into = value::number(value, u64::MAX)?;
    Ok(())
}
