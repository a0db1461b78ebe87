//! Flags of members that find each other without a list.

use super::{duration, path, text};
use crate::config::discovery::Fallback;
use crate::config::flags::{DISCOVERY_ENDPOINTS, DISCOVERY_PASSWORD, DISCOVERY_USER, Flag, Group, Kind};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "discovery-srv",
        group: Group::Discovery,
        default: "",
        about: "Domain whose SRV records of DNS name the members, in place of --initial-cluster:\n\
                _etcd-server-ssl._tcp.<domain> for https, _etcd-server._tcp.<domain> for http.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.discovery.srv)),
    },
    Flag {
        name: "discovery-srv-name",
        group: Group::Discovery,
        default: "",
        about: "What is put behind the names of these services, after a dash: for several clusters of one domain.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.discovery.srv_name)),
    },
    Flag {
        name: "discovery-fallback",
        group: Group::Discovery,
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
        name: DISCOVERY_ENDPOINTS,
        group: Group::Discovery,
        default: "",
        about: "A running etcd or Lodemark, as <host>:<port>, comma-separated, in which the members register and wait for\n\
                each other, in place of --initial-cluster. The key /_etcd/registry/<token>/_config/size there says how many\n\
                found the cluster.",
        kind: Kind::Value(|settings, value| {
            let mut endpoints: Vec<String> = value.split(',').map(str::to_owned).collect();
            endpoints.sort_unstable();
            endpoints.dedup();
            settings.discovery.endpoints = endpoints;
            Ok(())
        }),
    },
    Flag {
        name: "discovery-token",
        group: Group::Discovery,
        default: "",
        about: "Any text of the cluster's own, the same on its members: where they register. Use it for one cluster.\n\
                It takes the place of --initial-cluster-token.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.discovery.token)),
    },
    Flag {
        name: "discovery-dial-timeout",
        group: Group::Discovery,
        default: "2s",
        about: "How long it may take to connect to --discovery-endpoints.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.discovery.dial_timeout)),
    },
    Flag {
        name: "discovery-request-timeout",
        group: Group::Discovery,
        default: "5s",
        about: "How long an answer from there may take, until it is asked again after a while.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.discovery.request_timeout)),
    },
    Flag {
        name: "discovery-keepalive-time",
        group: Group::Discovery,
        default: "2s",
        about: "How often a connection to there is pinged while it is waited for others. Less than 10s is 10s; 0 is never.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.discovery.keepalive_time)),
    },
    Flag {
        name: "discovery-keepalive-timeout",
        group: Group::Discovery,
        default: "6s",
        about: "How long a ping may stay without an answer, until another connection is made.",
        kind: Kind::Value(|settings, value| duration(value, &mut settings.discovery.keepalive_timeout)),
    },
    Flag {
        name: "discovery-insecure-transport",
        group: Group::Discovery,
        default: "true",
        about: "Speak no TLS with endpoints that have no scheme, unless one of the following flags is given.\n\
                With https:// it is always spoken, with http:// never; the first endpoint decides for all.",
        kind: Kind::Switch(|settings, value| settings.discovery.insecure_transport = value),
    },
    Flag {
        name: "discovery-cacert",
        group: Group::Discovery,
        default: "",
        about: "Certificates of the authorities that sign those of --discovery-endpoints, as PEM; empty means the system's.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.discovery.cacert)),
    },
    Flag {
        name: "discovery-cert",
        group: Group::Discovery,
        default: "",
        about: "Certificate that this member shows there, as PEM.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.discovery.cert)),
    },
    Flag {
        name: "discovery-key",
        group: Group::Discovery,
        default: "",
        about: "Private key of --discovery-cert, as PEM.",
        kind: Kind::Value(|settings, value| path(value, &mut settings.discovery.key)),
    },
    Flag {
        name: "discovery-insecure-skip-tls-verify",
        group: Group::Discovery,
        default: "false",
        about: "Believe whoever answers at --discovery-endpoints, whatever certificate it shows. For trials only.",
        kind: Kind::Switch(|settings, value| settings.discovery.insecure_skip_tls_verify = value),
    },
    Flag {
        name: DISCOVERY_USER,
        group: Group::Discovery,
        default: "",
        about: "User to register as, if the service has users, as <name> or <name>:<password>.\n\
                It needs to read and write the keys that begin with /_etcd/registry/<token>.",
        kind: Kind::Value(|settings, value| text(value, &mut settings.discovery.user)),
    },
    Flag {
        name: DISCOVERY_PASSWORD,
        group: Group::Discovery,
        default: "",
        about: "Password of --discovery-user. In a variable, ETCD_DISCOVERY_PASSWORD, other users of the machine do not see it.",
        kind: Kind::Value(|settings, value| {
            settings.discovery.password = value.into();
            Ok(())
        }),
    },
];
