//! Flags of TLS and of users.

use super::{list, number, path, text};
use crate::config::flags::{CIPHER_SUITES, Flag, Group, Kind, SELF_SIGNED_VALIDITY};

pub(super) const FLAGS: &[Flag] = &[
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
];
