//! How clients prove who they are, as flags say it. No file is opened here.
//!
//! Source: etcd, `server/auth/store.go` (`NewTokenProvider`, `decomposeOpts`) and `options.go`.

use std::path::PathBuf;
use std::time::Duration;

use super::value;
use crate::auth::password::Cost;
use crate::auth::token::SignMethod;

/// What 0 means for simple tokens.
const DEFAULT_TOKEN_TTL_S: u64 = 300;
/// What a JWT without `ttl` lives.
const DEFAULT_JWT_TTL: Duration = Duration::from_secs(300);
/// The options of `jwt` that mean something.
const JWT_OPTIONS: [&str; 4] = ["sign-method", "pub-key", "priv-key", "ttl"];

/// What was said: each value as it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AuthSettings {
    pub(super) token: String,
    pub(super) token_ttl_s: u64,
    pub(super) bcrypt_cost: u64,
}

/// How clients prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// What they get for their password.
    pub token: TokenConfig,
    /// What passwords are hashed with.
    pub bcrypt_cost: Cost,
}

impl Default for AuthConfig {
    fn default() -> AuthConfig {
        let token = TokenConfig::Simple { ttl: Duration::from_secs(DEFAULT_TOKEN_TTL_S) };
        AuthConfig { token, bcrypt_cost: Cost::default() }
    }
}

/// The kind of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenConfig {
    /// There are none: no password is enough.
    Absent,
    /// Those that members remember.
    Simple {
        /// How long one lives after its last use.
        ttl: Duration,
    },
    /// Signed ones.
    Jwt(JwtFiles),
}

/// How tokens are signed, and where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtFiles {
    /// How.
    pub method: SignMethod,
    /// Whoever has only this can check tokens.
    pub public_key: Option<PathBuf>,
    /// For HMAC the secret itself.
    pub private_key: Option<PathBuf>,
    /// How long a token is good; zero if it never is.
    pub ttl: Duration,
}

/// What is wrong with `--auth-token`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenOptionError {
    /// There is no such kind of tokens.
    #[error("unknown token type {0:?}")]
    Kind(String),
    /// An option is not `name=value`.
    #[error("invalid token option {0:?}")]
    Option(String),
    /// An option comes twice.
    #[error("duplicate token option {0:?}")]
    Twice(String),
    /// There is no such method.
    #[error("auth: invalid auth signature method {0:?}")]
    Method(String),
    /// A time that cannot be read.
    #[error("ttl {0:?}: a duration such as 5m is expected")]
    Ttl(String),
}

/// Checks what was said; gives advice with it.
pub(super) fn validate(settings: &AuthSettings) -> Result<(AuthConfig, Vec<String>), TokenOptionError> {
    let mut advice = Vec::new();
    let (kind, options) = split(&settings.token)?;
    let token = match kind {
        "" => TokenConfig::Absent,
        "simple" => {
            let ttl_s = if settings.token_ttl_s == 0 { DEFAULT_TOKEN_TTL_S } else { settings.token_ttl_s };
            TokenConfig::Simple { ttl: Duration::from_secs(ttl_s) }
        }
        "jwt" => {
            let unknown: Vec<&str> =
                options.iter().map(|(name, _)| *name).filter(|name| !JWT_OPTIONS.contains(name)).collect();
            if !unknown.is_empty() {
                advice.push(format!("unknown JWT options: {}", unknown.join(", ")));
            }
            TokenConfig::Jwt(jwt(&options)?)
        }
        other => return Err(TokenOptionError::Kind(other.to_owned())),
    };
    let bcrypt_cost = Cost::new(settings.bcrypt_cost).unwrap_or_else(|| {
        let given = settings.bcrypt_cost;
        advice.push(format!("use default bcrypt cost instead of the invalid given cost {given}: it is from 4 to 31"));
        Cost::default()
    });
    Ok((AuthConfig { token, bcrypt_cost }, advice))
}

type Options<'a> = Vec<(&'a str, &'a str)>;

/// Takes `kind,name=value,name=value` apart.
fn split(text: &str) -> Result<(&str, Options<'_>), TokenOptionError> {
    let (kind, rest) = text.split_once(',').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    let mut options = Options::new();
    for option in rest.into_iter().flat_map(|rest| rest.split(',')) {
        let odd = || TokenOptionError::Option(option.to_owned());
        let (name, value) = option.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(odd)?;
        if options.iter().any(|(before, _)| *before == name) {
            return Err(TokenOptionError::Twice(name.to_owned()));
        }
        options.push((name, value));
    }
    Ok((kind, options))
}

fn jwt(options: &Options<'_>) -> Result<JwtFiles, TokenOptionError> {
    // An empty value is as good as none.
    let option =
        |name| options.iter().find(|(own, _)| *own == name).map(|(_, value)| *value).filter(|value| !value.is_empty());
    let ttl = match option("ttl") {
        None => DEFAULT_JWT_TTL,
        Some(text) => match value::duration(text) {
            Ok(ttl) if ttl.is_negative => Duration::ZERO,
            Ok(ttl) => ttl.length,
            Err(_) => return Err(TokenOptionError::Ttl(text.to_owned())),
        },
    };
    let name = option("sign-method").unwrap_or_default();
    let method = SignMethod::of(name).ok_or_else(|| TokenOptionError::Method(name.to_owned()))?;
    let file = |name| option(name).map(PathBuf::from);
    Ok(JwtFiles { method, public_key: file("pub-key"), private_key: file("priv-key"), ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(token: &str) -> Result<(AuthConfig, Vec<String>), TokenOptionError> {
        validate(&AuthSettings { token: token.to_owned(), token_ttl_s: 0, bcrypt_cost: 10 })
    }

    #[test]
    fn kinds_of_tokens() {
        assert_eq!(read("simple"), Ok((AuthConfig::default(), Vec::new())));
        assert_eq!(read("simple,a=b"), Ok((AuthConfig::default(), Vec::new())));
        assert_eq!(read("").unwrap().0.token, TokenConfig::Absent);
        let ttl =
            |token_ttl_s| validate(&AuthSettings { token: "simple".into(), token_ttl_s, bcrypt_cost: 4 }).unwrap().0;
        assert_eq!(ttl(7).token, TokenConfig::Simple { ttl: Duration::from_secs(7) });
    }

    #[test]
    fn options_of_jwt() {
        let files = |text: &str| match read(text).unwrap() {
            (AuthConfig { token: TokenConfig::Jwt(files), .. }, advice) => (files, advice),
            other => panic!("{other:?}"),
        };
        let (read, advice) = files("jwt,pub-key=a,priv-key=b,sign-method=ES512,ttl=1h,foo=bar,x=");
        let expected = JwtFiles {
            method: SignMethod::ES512,
            public_key: Some("a".into()),
            private_key: Some("b".into()),
            ttl: Duration::from_secs(3600),
        };
        assert_eq!((read, advice), (expected, vec!["unknown JWT options: foo, x".to_owned()]));
        let (read, _) = files("jwt,sign-method=HS256,priv-key=");
        assert_eq!((read.private_key, read.ttl), (None, Duration::from_secs(300)));
        assert_eq!(files("jwt,sign-method=HS256,ttl=-5s").0.ttl, Duration::ZERO);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let twice = "jwt,sign-method=HS256,sign-method=HS256";
        for (text, error) in [
            ("other", TokenOptionError::Kind("other".into())),
            ("JWT", TokenOptionError::Kind("JWT".into())),
            ("jwt", TokenOptionError::Method(String::new())),
            ("jwt,sign-method=none", TokenOptionError::Method("none".into())),
            ("jwt,", TokenOptionError::Option(String::new())),
            ("simple,x", TokenOptionError::Option("x".into())),
            ("jwt,a=b=c", TokenOptionError::Option("a=b=c".into())),
            (twice, TokenOptionError::Twice("sign-method".into())),
            ("jwt,sign-method=HS256,ttl=5", TokenOptionError::Ttl("5".into())),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_odd_cost_is_the_default_with_a_word_about_it() {
        for bcrypt_cost in [0, 3, 32, u64::MAX] {
            let settings = AuthSettings { token: "simple".into(), token_ttl_s: 300, bcrypt_cost };
            let (config, advice) = validate(&settings).unwrap();
            assert_eq!((config.bcrypt_cost, advice.len()), (Cost::default(), 1), "{bcrypt_cost}");
        }
    }
}
