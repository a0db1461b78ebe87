//! The tokens of this member, with the keys that sign them.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::auth::token::{Jwt, JwtOptions, KeyError, Tokens};
use crate::config::{JwtFiles, TokenConfig};

/// Why there can be no tokens. The texts begin with etcd's.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// A file of a key cannot be read.
    #[error("auth: invalid auth options: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is in it is no use.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads the keys, if there are any. They are not read again: tokens that were made by one key would end with it.
pub(super) fn open(config: &TokenConfig) -> Result<Tokens, Error> {
    match config {
        TokenConfig::Absent => Ok(Tokens::Absent),
        TokenConfig::Simple { ttl } => {
            tracing::warn!("simple token is not cryptographically signed");
            Ok(Tokens::simple(*ttl))
        }
        TokenConfig::Jwt(files) => Ok(Tokens::Jwt(Box::new(jwt(files)?))),
    }
}

/// Reads the keys of signed tokens.
pub(super) fn jwt(files: &JwtFiles) -> Result<Jwt, TokensError> {
    let JwtFiles { method, public_key, private_key, ttl } = files;
    let read = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
    let options =
        JwtOptions { method: *method, ttl: *ttl, private_key: read(private_key)?, public_key: read(public_key)? };
    Ok(Jwt::new(&options)?)
}

fn read(path: &Path) -> Result<Vec<u8>, TokensError> {
    fs::read(path).map_err(|source| TokensError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::SignMethod;

    #[test]
    fn keys_are_read_and_what_is_wrong_is_named() {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/token/testdata");
        let of = |private_key: Option<&str>| {
            let private_key = private_key.map(|name| testdata.join(name));
            let files = JwtFiles { method: SignMethod::ES256, public_key: None, private_key, ttl: Default::default() };
            open(&TokenConfig::Jwt(files)).map_err(|error| error.to_string())
        };
        assert!(matches!(of(Some("p256.pem")), Ok(Tokens::Jwt(_))));
        assert_eq!(of(None).unwrap_err(), "auth: missing key data");
        let missing = of(Some("none")).unwrap_err();
        assert!(missing.starts_with("auth: invalid auth options: ") && missing.contains("none: "), "{missing}");
        assert!(of(Some("rsa.pem")).unwrap_err().contains("priv-key cannot be used for ES256"));
    }
}
