//! Which versions of TLS are spoken, and by which cipher suites: the same wherever this member listens or connects.
//!
//! Suites have the names of Go's `crypto/tls`. Those of TLS 1.3 are always there and cannot be chosen, as in Go. Some that Go
//! still has for old clients are not here: they have no forward secrecy, or encrypt in a way that was broken more than once.
//! A list that names some of them loses those, and the log says so; one that names nothing else is refused.

use super::error::Error;

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HandshakeSettings {
    /// Empty means the same as [`TLS12`].
    pub(super) version_min: String,
    /// Empty means the newest.
    pub(super) version_max: String,
    pub(super) cipher_suites: Vec<String>,
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeConfig {
    /// Whether by version 1.2; without it by 1.3 in any case.
    pub tls12: bool,
    /// Whether by version 1.3; without it by 1.2 in any case.
    pub tls13: bool,
    /// The cipher suites of version 1.2, by their numbers in IANA's list; empty means all that there are.
    pub cipher_suites: Vec<u16>,
    /// What was said of cipher suites, for the log.
    pub cipher_suites_given: Vec<String>,
}

impl Default for HandshakeConfig {
    /// Everything that there is.
    fn default() -> HandshakeConfig {
        HandshakeConfig { tls12: true, tls13: true, cipher_suites: Vec::new(), cipher_suites_given: Vec::new() }
    }
}

pub(super) const TLS12: &str = "TLS1.2";
const TLS13: &str = "TLS1.3";

/// Suites of TLS 1.2 that are spoken. The last two are former names, which etcd knows.
const SPOKEN: [(&str, u16); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xcca8),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xcca9),
];

/// Suites of TLS 1.3.
const OF_TLS13: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that Go has and that are not spoken here. Source: Go, `crypto/tls/cipher_suites.go`.
const NOT_SPOKEN: [&str; 16] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// Checks what was said; gives what is to be logged as warnings, too.
///
/// # Errors
/// The first of etcd's checks that fails. Source: etcd, `server/embed/config.go`, `client/pkg/tlsutil`.
pub(super) fn validate(settings: HandshakeSettings) -> Result<(HandshakeConfig, Vec<String>), Error> {
    let HandshakeSettings { version_min, version_max, cipher_suites } = settings;
    let (min, max) = (version(&version_min)?, version(&version_max)?);
    if let (Some(Version::Tls13), Some(Version::Tls12)) = (min, max) {
        return Err(Error::TlsVersionsCrossed { min: version_min, max: version_max });
    }
    if min == Some(Version::Tls13) && !cipher_suites.is_empty() {
        return Err(Error::CipherSuitesOfTls13);
    }
    let (mut spoken, mut advice) = (Vec::new(), Vec::new());
    for name in &cipher_suites {
        if let Some((_, suite)) = SPOKEN.iter().find(|(known, _)| known == name) {
            spoken.push(*suite);
        } else if NOT_SPOKEN.contains(&name.as_str()) {
            advice.push(format!(
                "--cipher-suites: {name} is left out, since it is not safe and Lodemark does not have it; clients that \
                 offer nothing better are refused"
            ));
        } else if !OF_TLS13.contains(&name.as_str()) {
            return Err(Error::UnknownCipherSuite { name: name.clone() });
        }
    }
    if spoken.is_empty() && !cipher_suites.is_empty() {
        return Err(Error::NoCipherSuite { given: cipher_suites });
    }
    let config = HandshakeConfig {
        tls12: min != Some(Version::Tls13),
        tls13: max != Some(Version::Tls12),
        cipher_suites: spoken,
        cipher_suites_given: cipher_suites,
    };
    Ok((config, advice))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

/// `None` if nothing was said.
fn version(text: &str) -> Result<Option<Version>, Error> {
    match text {
        "" => Ok(None),
        TLS12 => Ok(Some(Version::Tls12)),
        TLS13 => Ok(Some(Version::Tls13)),
        _ => Err(Error::UnknownTlsVersion { given: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Invocation;
    use super::*;

    fn read(arguments: &[&str]) -> Result<(HandshakeConfig, Vec<String>), Error> {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from))? {
            Invocation::Serve(config) => Ok((config.handshake, config.advice)),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_spoken_unless_flags_say_less() {
        for (arguments, tls12, tls13) in [
            (&[][..], true, true),
            (&["--tls-min-version=", "--tls-max-version="], true, true),
            (&["--tls-min-version=TLS1.3"], false, true),
            (&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.3"], false, true),
            (&["--tls-max-version=TLS1.2"], true, false),
        ] {
            let expected = HandshakeConfig { tls12, tls13, ..HandshakeConfig::default() };
            assert_eq!(read(arguments).unwrap().0, expected, "{arguments:?}");
        }
    }

    #[test]
    fn suites_are_named_as_go_names_them() {
        let suites = |list: &str| read(&["--name=a", &format!("--cipher-suites={list}")]).unwrap();
        let (config, advice) = suites("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
        assert_eq!((config.cipher_suites, config.cipher_suites_given.len()), (vec![0xcca8, 0xc02b], 2));
        assert!(!advice.iter().any(|line| line.contains("cipher")), "{advice:?}");
        let (config, advice) =
            suites("TLS_RSA_WITH_AES_128_CBC_SHA,TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
        assert_eq!(config.cipher_suites, [0xc030]);
        let told: Vec<_> =
            advice.iter().filter(|line| line.contains("TLS_RSA_WITH_AES_128_CBC_SHA is left out")).collect();
        assert_eq!(told.len(), 1, "{advice:?}");
    }

    /// Expected texts are those that etcd 3.7.1 logged for the same flags, but for the last.
    #[test]
    fn what_does_not_fit_is_refused_in_the_words_of_etcd() {
        const GOOD: &str = "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        for (arguments, text) in [
            (&["--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,x"][..], "unexpected TLS cipher suite \"x\""),
            (&["--cipher-suites="], "unexpected TLS cipher suite \"\""),
            (&[GOOD, "--tls-min-version=TLS1.3"], "cipher suites cannot be configured when only TLS1.3 is enabled"),
            (&["--tls-min-version=TLS1.1"], "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)"),
            (&["--tls-max-version=TLS1.4"], "unexpected TLS version \"TLS1.4\" (must be one of: TLS1.2, TLS1.3)"),
            (
                &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
                "min version (TLS1.3) is greater than max version (TLS1.2)",
            ),
            (
                &["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"],
                "--cipher-suites [\"TLS_RSA_WITH_RC4_128_SHA\"] leaves nothing for TLS 1.2 that Lodemark speaks: add \
                 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or leave the flag out",
            ),
        ] {
            let error = read(arguments).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, false), "{arguments:?}");
        }
    }
}
