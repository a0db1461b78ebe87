//! Flags of one member: where it keeps what it has, and where it waits for others.

use super::{origins, urls};
use crate::config::flags::{
    ADVERTISE_CLIENT_URLS, DATA_DIR, Flag, Group, Kind, LISTEN_CLIENT_URLS, LISTEN_PEER_URLS, NAME,
};

pub(super) const FLAGS: &[Flag] = &[
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
];
