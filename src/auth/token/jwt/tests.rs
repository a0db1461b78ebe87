//! Tokens of every method: our own, and those that etcd 3.7.1 made with the same keys (`../testdata`).

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A method, its private key, and its public one where there is one.
type Keys = (SignMethod, &'static [u8], Option<&'static [u8]>);

const KEYS: &[Keys] = &[
    (SignMethod::HS256, include_bytes!("../testdata/hmac.txt"), None),
    (SignMethod::HS384, include_bytes!("../testdata/hmac.txt"), None),
    (SignMethod::HS512, include_bytes!("../testdata/hmac.txt"), None),
    (SignMethod::RS256, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::RS384, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::RS512, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::PS256, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::PS384, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::PS512, include_bytes!("../testdata/rsa.pem"), Some(include_bytes!("../testdata/rsa.pub.pem"))),
    (SignMethod::ES256, include_bytes!("../testdata/p256.pem"), Some(include_bytes!("../testdata/p256.pub.pem"))),
    (SignMethod::ES384, include_bytes!("../testdata/p384.pem"), Some(include_bytes!("../testdata/p384.pub.pem"))),
    (SignMethod::ES512, include_bytes!("../testdata/p521.pem"), Some(include_bytes!("../testdata/p521.pub.pem"))),
    (SignMethod::EdDSA, include_bytes!("../testdata/ed25519.pem"), Some(include_bytes!("../testdata/ed25519.pub.pem"))),
];

fn jwt(method: SignMethod, private: Option<&[u8]>, public: Option<&[u8]>) -> Result<Jwt, KeyError> {
    let (private_key, public_key) = (private.map(<[u8]>::to_vec), public.map(<[u8]>::to_vec));
    Jwt::new(&JwtOptions { method, ttl: Duration::from_secs(300), private_key, public_key })
}

fn hmac() -> Jwt {
    jwt(SignMethod::HS256, Some(b"secret"), None).unwrap()
}

/// A token of any header and claims, rightly signed.
fn signed(header: &str, claims: &str) -> String {
    let parts = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = BASE64.encode(hmac().key.sign(parts.as_bytes()).unwrap());
    format!("{parts}.{signature}")
}

fn claimed(claims: &str) -> Result<Caller, TokenError> {
    hmac().verify(&signed(r#"{"alg":"HS256","typ":"JWT"}"#, claims), NOW)
}

#[test]
fn every_method_signs_and_checks() {
    assert!(KEYS.iter().map(|(method, ..)| *method).eq(SignMethod::ALL));
    for &(method, private, public) in KEYS {
        let both = jwt(method, Some(private), public).unwrap();
        let token = both.issue("alice", 7, NOW).unwrap();
        let caller = Caller { user: "alice".to_owned(), revision: 7 };
        assert_eq!(both.verify(&token, NOW), Ok(caller.clone()), "{}", method.name());
        let Some(public) = public else { continue };
        let checks_only = jwt(method, None, Some(public)).unwrap();
        assert_eq!(checks_only.verify(&token, NOW), Ok(caller), "{}", method.name());
        assert_eq!(checks_only.issue("alice", 7, NOW), Err(Error::VerifyOnly));
    }
}

#[test]
fn tokens_of_etcd_are_good() {
    let tokens = include_str!("../testdata/made_by_etcd.txt");
    let mut seen = 0;
    for (line, &(method, private, _)) in tokens.lines().zip(KEYS) {
        let (name, token) = line.split_once(' ').unwrap();
        assert_eq!(name, method.name());
        let root = Caller { user: "root".to_owned(), revision: 3 };
        let jwt = jwt(method, Some(private), None).unwrap();
        assert_eq!(jwt.verify(token, NOW), Ok(root), "{name}");
        // Those of HMAC depend on nothing else.
        if let (0..3, Ok(claims)) = (seen, read(token.split('.').nth(1).unwrap(), "claims")) {
            let end = Duration::from_secs(claims["exp"].as_u64().unwrap()) - Duration::from_secs(300);
            assert_eq!(jwt.issue("root", 3, end).unwrap(), token);
        }
        seen += 1;
    }
    assert_eq!(seen, KEYS.len());
}

#[test]
fn what_was_changed_is_found() {
    for &(method, private, _) in KEYS {
        let jwt = jwt(method, Some(private), None).unwrap();
        let token = jwt.issue("alice", 7, NOW).unwrap();
        for place in [0, 20, token.rfind('.').unwrap() - 2, token.rfind('.').unwrap() + 2] {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(jwt.verify(std::str::from_utf8(&changed).unwrap(), NOW).is_err(), "{} {place}", method.name());
        }
    }
}

#[test]
fn another_method_is_refused_whoever_signed() {
    let token = signed(r#"{"alg":"none"}"#, r#"{"username":"root","revision":1}"#);
    assert_eq!(hmac().verify(&token, NOW), Err(TokenError::Method));
    for odd in [r#"{"typ":"JWT"}"#, r#"{"alg":5}"#, r#"{"alg":"hs256"}"#] {
        assert_eq!(hmac().verify(&signed(odd, "{}"), NOW), Err(TokenError::Method), "{odd}");
    }
    // The public key is no secret: who signs with it as one is a stranger.
    let (rsa, public) = (&KEYS[3], KEYS[3].2.unwrap());
    let forged = jwt(SignMethod::HS256, Some(public), None).unwrap().issue("root", 7, NOW).unwrap();
    assert_eq!(jwt(rsa.0, None, Some(public)).unwrap().verify(&forged, NOW), Err(TokenError::Method));
}

#[test]
fn claims_say_who_and_as_of_when() {
    let of = |user: &str, revision| Ok(Caller { user: user.to_owned(), revision });
    assert_eq!(claimed(r#"{"username":"a","revision":3}"#), of("a", 3));
    assert_eq!(claimed(r#"{"username":"","revision":3.9,"more":[]}"#), of("", 3));
    assert_eq!(claimed(r#"{"username":"a","revision":-1}"#), of("a", 0));
    assert_eq!(claimed(r#"{"username":"a","revision":1e30}"#), of("a", u64::MAX));
    for (claims, claim) in [
        (r#"{"revision":3}"#, "username"),
        (r#"{"username":5,"revision":3}"#, "username"),
        (r#"{"username":"a"}"#, "revision"),
        (r#"{"username":"a","revision":"3"}"#, "revision"),
        (r#"{"username":"a","revision":3,"exp":"soon"}"#, "exp"),
        (r#"{"username":"a","revision":3,"exp":null}"#, "exp"),
    ] {
        assert_eq!(claimed(claims), Err(TokenError::Claim { claim }), "{claims}");
    }
}

#[test]
fn a_token_has_its_time() {
    let with = |claim: &str, at: &str| claimed(&format!(r#"{{"username":"a","revision":3,"{claim}":{at}}}"#)).err();
    assert_eq!(with("exp", "1800000001"), None);
    assert_eq!(with("exp", "1800000000"), Some(TokenError::Expired));
    assert_eq!(with("exp", "1800000000.9"), Some(TokenError::Expired));
    assert_eq!(with("exp", "0"), None);
    assert_eq!(with("exp", "-1"), Some(TokenError::Expired));
    assert_eq!(with("nbf", "1800000000"), None);
    assert_eq!(with("nbf", "1800000001"), Some(TokenError::NotYet));
    assert_eq!(with("iat", "1900000000"), None);
    let token = hmac().issue("a", 3, NOW).unwrap();
    let last = Duration::from_secs(299);
    assert!(hmac().verify(&token, NOW + last).is_ok());
    assert_eq!(hmac().verify(&token, NOW + last + Duration::from_secs(1)), Err(TokenError::Expired));
}

#[test]
fn what_is_no_token_is_refused() {
    for odd in ["", ".", "a.b", "a.b.c.d", "abc.5", "letters.17"] {
        assert_eq!(hmac().verify(odd, NOW), Err(TokenError::Malformed), "{odd}");
    }
    for odd in ["..", "é.é.é", "!.!.!", "W10.e30.", "eyJ.e30."] {
        assert_eq!(hmac().verify(odd, NOW), Err(TokenError::Unreadable { part: "header" }), "{odd}");
    }
}

#[test]
fn keys_must_be_there_and_of_the_method() {
    let (rsa, p256, p384) = (&KEYS[3], &KEYS[9], &KEYS[10]);
    assert_eq!(jwt(SignMethod::HS256, None, Some(b"x")).unwrap_err(), KeyError::Missing);
    assert_eq!(jwt(SignMethod::HS256, Some(b""), None).unwrap_err(), KeyError::Missing);
    assert_eq!(jwt(SignMethod::ES256, None, None).unwrap_err(), KeyError::Missing);
    let other = rcgen::KeyPair::generate().unwrap().public_key_pem();
    assert_eq!(jwt(SignMethod::ES256, Some(p256.1), Some(other.as_bytes())).unwrap_err(), KeyError::Mismatch);
    let of_certificate = include_bytes!("../testdata/p256.cert.pem");
    assert!(jwt(SignMethod::ES256, Some(p256.1), Some(of_certificate)).is_ok());
    for (method, private, public) in [
        (SignMethod::ES256, Some(rsa.1), None),
        (SignMethod::ES256, Some(p384.1), None),
        (SignMethod::ES384, Some(p256.1), None),
        (SignMethod::ES512, Some(p256.1), None),
        (SignMethod::EdDSA, Some(p256.1), None),
        (SignMethod::RS256, Some(p256.1), None),
        (SignMethod::ES384, None, p256.2),
        (SignMethod::ES512, None, p256.2),
        (SignMethod::RS256, None, p256.2),
        (SignMethod::EdDSA, None, rsa.2),
        (SignMethod::RS256, Some(b"no key".as_slice()), None),
        (SignMethod::RS256, None, Some(rsa.1)),
    ] {
        let error = jwt(method, private, public).unwrap_err();
        assert!(matches!(error, KeyError::Unusable { .. }), "{method:?}: {error}");
    }
}

#[test]
fn nothing_of_a_key_shows() {
    let shown = format!("{:?}", hmac());
    assert_eq!(shown, "Jwt { key: Key { method: HS256, can_sign: true, .. }, ttl: 300s }");
}
