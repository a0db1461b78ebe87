//! Every flag that there is.

use std::path::PathBuf;

use super::{
    ADVERTISE_CLIENT_URLS, ADVERTISE_PEER_URLS, BOOTSTRAP_DEFRAG, CIPHER_SUITES, COMPACT_HASH_CHECK_TIME, CONFIG_FILE,
    DATA_DIR, DOWNGRADE_CHECK, ELECTION, Flag, Group, HEARTBEAT, INITIAL_CLUSTER, Kind, LISTEN_CLIENT_URLS,
    LISTEN_PEER_URLS, NAME, RAFT_READ_TIMEOUT, RAFT_WRITE_TIMEOUT, SELF_SIGNED_VALIDITY, WATCH_PROGRESS,
};
use crate::config::discovery::Fallback;
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
        name: "wal-dir",
        group: Group::Member,
        default: "",
        about: "Folder for the Raft log alone, best on a disk of its own; empty means member/wal in the data folder. To move\n\
                the log of a member, stop it and move the files.",
        kind: Kind::Value(|settings, value| {
            settings.wal_dir = value.to_owned();
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
        name: "listen-client-http-urls",
        group: Group::Member,
        default: "",
        about: "Where to wait for clients that speak plain HTTP (the JSON gateway, health, version, metrics), as\n\
                --listen-client-urls. With it HTTP is answered there alone, and --listen-client-urls are for gRPC alone.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_client_http_urls)),
    },
    Flag {
        name: "listen-metrics-urls",
        group: Group::Member,
        default: "",
        about: "Where /metrics, /health, /livez and /readyz are answered besides, and nothing else, for anybody who can\n\
                connect. https and unixs take the certificate of --cert-file.",
        kind: Kind::Value(|settings, value| urls(value, &mut settings.listen_metrics_urls)),
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
        name: "socket-reuse-port",
        group: Group::Member,
        default: "false",
        about: "Let other processes listen on the same ports if they ask for it, too (SO_REUSEPORT): the system gives each\n\
                some of the connections.",
        kind: Kind::Switch(|settings, value| settings.shares_ports = value),
    },
    Flag {
        name: "socket-reuse-address",
        group: Group::Member,
        default: "false",
        about: "Listen on a port although connections of an earlier process still close on it (SO_REUSEADDR). That is\n\
                always so, whatever is said here.",
        kind: Kind::Switch(|_, _| {}),
    },
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
        name: "discovery-srv",
        group: Group::Cluster,
        default: "",
        about: "Domain whose SRV records of DNS name the members, in place of --initial-cluster:\n\
                _etcd-server-ssl._tcp.<domain> for https, _etcd-server._tcp.<domain> for http.",
        kind: Kind::Value(|settings, value| {
            settings.discovery.srv = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "discovery-srv-name",
        group: Group::Cluster,
        default: "",
        about: "What is put behind the names of these services, after a dash: for several clusters of one domain.",
        kind: Kind::Value(|settings, value| {
            settings.discovery.srv_name = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "discovery-fallback",
        group: Group::Cluster,
        default: "exit",
        about: "Taken for etcd's sake: whoever finds nobody ends.",
        kind: Kind::Value(|settings, value| {
            settings.discovery.fallback = match value {
                "exit" => Fallback::Exit,
                "proxy" => Fallback::Proxy,
                _ => return Err("invalid value".to_owned()),
            };
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
        name: "unsafe-no-fsync",
        group: Group::Unsafe,
        default: "false",
        about: "Never wait for the disk (no fsync): faster, for tests. A machine that loses power loses what was acknowledged,\n\
                and may not start again with its data.",
        kind: Kind::Switch(|settings, value| settings.unsafe_no_fsync = value),
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
        name: "tls-min-version",
        group: Group::PeerTls,
        default: crate::config::handshake::TLS12,
        about: "Oldest version of TLS for clients and members: TLS1.2 or TLS1.3.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.handshake.version_min)),
    },
    Flag {
        name: "tls-max-version",
        group: Group::PeerTls,
        default: "",
        about: "Newest version of TLS for clients and members; empty means the newest that there is.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.handshake.version_max)),
    },
    Flag {
        name: CIPHER_SUITES,
        group: Group::PeerTls,
        default: "",
        about: "Cipher suites of TLS 1.2 for clients and members, comma-separated, by the names of Go, such as\n\
                TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256. Empty means all; those of TLS 1.3 cannot be chosen.",
        kind: Kind::Value(|settings, value| list(value, &mut settings.handshake.cipher_suites)),
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
    Flag {
        name: "log-level",
        group: Group::Logging,
        default: "info",
        about: "The lowest level that is logged: debug, info, warn, error, panic or fatal.",
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
        name: "enable-distributed-tracing",
        group: Group::Tracing,
        default: "false",
        about: "Taken for etcd's sake: this version sends no traces.",
        kind: Kind::Switch(|settings, value| settings.tracing = value),
    },
    Flag {
        name: "distributed-tracing-address",
        group: Group::Tracing,
        default: "localhost:4317",
        about: "Where etcd would send traces.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-service-name",
        group: Group::Tracing,
        default: "etcd",
        about: "What etcd would call the cluster in them.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-instance-id",
        group: Group::Tracing,
        default: "",
        about: "What etcd would call the member in them.",
        kind: Kind::Value(|_, _| Ok(())),
    },
    Flag {
        name: "distributed-tracing-sampling-rate",
        group: Group::Tracing,
        default: "0",
        about: "How many of a million requests etcd would trace.",
        kind: Kind::Value(|settings, value| {
            settings.tracing_per_million = value::signed_number(value)?;
            Ok(())
        }),
    },
    Flag {
        name: "log-format",
        group: Group::Logging,
        default: "json",
        about: "'json' for one object a line, 'console' for people.",
        kind: Kind::Value(|settings, value| {
            settings.log.format = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "log-outputs",
        group: Group::Logging,
        default: "default",
        about: "Where the log goes, comma-separated: stderr, stdout, systemd/journal, or files, which are appended to.\n\
                'default' is stderr; it and the journal stand alone.",
        kind: Kind::Value(|settings, value| {
            settings.log.outputs = value.split(',').map(str::to_owned).collect();
            Ok(())
        }),
    },
    Flag {
        name: "enable-log-rotation",
        group: Group::Logging,
        default: "false",
        about: "Put the one file of --log-outputs aside when it is full.",
        kind: Kind::Switch(|settings, value| settings.log.rotates = value),
    },
    Flag {
        name: "log-rotation-config-json",
        group: Group::Logging,
        default: r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        about: "When it is full (MB), how long what was put aside stays (days), how many such files (0 is no limit), and\n\
                whether they are compressed.",
        kind: Kind::Value(|settings, value| {
            settings.log.rotation = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "logger",
        group: Group::Logging,
        default: "zap",
        about: "Taken for etcd's sake: there is one kind.",
        kind: Kind::Value(|settings, value| {
            settings.log.logger = value.to_owned();
            Ok(())
        }),
    },
    Flag {
        name: "warning-unary-request-duration",
        group: Group::Logging,
        default: "300ms",
        about: "A request that takes longer is logged with what it asked for, without values.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.slow_unary)),
    },
    Flag {
        name: "warning-apply-duration",
        group: Group::Logging,
        default: "100ms",
        about: "A read, or the execution of a write, that takes longer is logged as well.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.slow_apply)),
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
        name: CONFIG_FILE,
        group: Group::General,
        default: "",
        about: "File that says everything instead, as YAML or JSON: other flags and all variables are ignored then.\n\
                docs/configuration.md has its keys. Times in it are whole numbers of nanoseconds.",
        kind: Kind::Value(|settings, value| {
            settings.config_file = value.to_owned();
            Ok(())
        }),
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
    Flag {
        name: "v2-deprecation",
        group: Group::Ignored,
        default: "write-only",
        about: "Taken for etcd's sake: there is no v2 store. write-only, write-only-skip-check, write-only-drop-data or gone.",
        kind: Kind::Value(|_, value| {
            let is_stage = |stage: &&str| !V2_STAGES.contains(stage);
            match value.split(',').find(is_stage) {
                Some(odd) => Err(format!("invalid value {odd:?}")),
                None => Ok(()),
            }
        }),
    },
    ignored("enable-v2"),
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
];

/// What `--v2-deprecation` may be, with the one that it is.
const V2_STAGES: [&str; 4] = ["write-only", "write-only-skip-check", "write-only-drop-data", "gone"];

/// A flag that meant something to an etcd of long ago.
const fn ignored(name: &'static str) -> Flag {
    Flag {
        name,
        group: Group::Ignored,
        default: "",
        about: "Taken for the sake of old unit files.",
        kind: Kind::Ignored,
    }
}

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

fn text(value: &str, into: &mut String) -> Result<(), String> {
    value.clone_into(into);
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
