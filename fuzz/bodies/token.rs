//! Tokens of callers, and what an operator says about them.

use std::ffi::OsString;
use std::sync::LazyLock;
use std::time::Duration;

use lodemark::auth::token::{Jwt, JwtOptions, SignMethod, any_bytes, index_of};
use lodemark::config::{Invocation, TokenConfig};

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// One of each family of methods. The first signs.
static JWTS: LazyLock<Vec<Jwt>> = LazyLock::new(|| {
    let keys: [(SignMethod, &[u8]); 5] = [
        (SignMethod::HS256, include_bytes!("../../src/auth/token/testdata/hmac.txt")),
        (SignMethod::RS256, include_bytes!("../../src/auth/token/testdata/rsa.pem")),
        (SignMethod::ES256, include_bytes!("../../src/auth/token/testdata/p256.pem")),
        (SignMethod::ES512, include_bytes!("../../src/auth/token/testdata/p521.pem")),
        (SignMethod::EdDSA, include_bytes!("../../src/auth/token/testdata/ed25519.pem")),
    ];
    let read = |(method, key): (SignMethod, &[u8])| {
        let private_key = Some(key.to_vec());
        Jwt::new(&JwtOptions { method, ttl: NOW, private_key, public_key: None }).expect("it is such a key")
    };
    keys.into_iter().map(read).collect()
});

/// Any text as a token; behind a zero, any bytes as claims that were signed.
pub fn token(bytes: &[u8]) -> bool {
    if let Some(claims) = bytes.strip_prefix(b"\0") {
        let token = any_bytes::signed(&JWTS[0], claims).expect("it can sign");
        let caller = JWTS[0].verify(&token, NOW);
        super::told(caller.as_ref().err());
        return caller.is_ok();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let callers = JWTS.iter().map(|jwt| jwt.verify(text, NOW));
    let is_signed = callers.inspect(|caller| super::told(caller.as_ref().err())).any(|caller| caller.is_ok());
    is_signed || index_of(text).is_some()
}

/// Any text behind a zero as `--auth-token`; behind another byte, any file as a key, private or public, of a method.
pub fn token_options(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else { return false };
    if first > 0 {
        let method = SignMethod::ALL[usize::from(first) % SignMethod::ALL.len()];
        let (private_key, public_key) =
            if first < 128 { (Some(rest.to_vec()), None) } else { (None, Some(rest.to_vec())) };
        let jwt = Jwt::new(&JwtOptions { method, ttl: NOW, private_key, public_key });
        super::told(jwt.as_ref().err());
        if let Ok(jwt) = &jwt
            && let Ok(token) = jwt.issue("a", 1, NOW)
        {
            assert!(jwt.verify(&token, NOW).is_ok());
        }
        return jwt.is_ok();
    }
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let invocation = Invocation::from_args([OsString::from(format!("--auth-token={text}"))]);
    super::told(invocation.as_ref().err());
    let Ok(Invocation::Serve(config)) = invocation else { return false };
    if let TokenConfig::Jwt(files) = &config.auth.token {
        assert!(text.contains(files.method.name()));
    }
    true
}
