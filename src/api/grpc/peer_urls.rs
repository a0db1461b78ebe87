//! The URLs at which a new member is to be reached, checked.
//!
//! Source: etcd, `client/pkg/types/urls.go`, over Go's `net/url`. So a query or a fragment passes, and a port is any
//! number, or missing after its colon.

/// Checks and arranges the URLs of a member: without blanks around them, their scheme in small letters, sorted. `None` if
/// there is none, or one is wrong.
pub(super) fn peer_urls(urls: &[String]) -> Option<Vec<String>> {
    let mut checked = urls.iter().map(|url| peer_url(url.trim())).collect::<Option<Vec<_>>>()?;
    checked.sort();
    (!checked.is_empty()).then_some(checked)
}

fn peer_url(url: &str) -> Option<String> {
    if url.contains(|c: char| c.is_ascii_control()) {
        return None;
    }
    let (scheme, rest) = url.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => {
            let rest = rest.strip_prefix("//")?;
            let authority = rest.split(['?', '#']).next()?;
            // A path is no authority; a path of one slash is one too.
            let host = match authority.rsplit_once('@') {
                Some((user, host)) => user.chars().all(is_of_user).then_some(host)?,
                None => authority,
            };
            is_host_and_port(host).then_some(())?;
        }
        "unix" | "unixs" => {}
        _ => return None,
    }
    Some(format!("{scheme}:{rest}"))
}

/// `host:port` or `[host]:port`, each of which may be empty.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_bare = |host: &str| host.chars().all(|c| is_of_host(c) && !matches!(c, ':' | '[' | ']'));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.chars().all(|c| is_of_host(c) && !matches!(c, '[' | ']')),
        None => is_bare(host),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_of_host(c: char) -> bool {
    c.is_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"".contains(c)
}

fn is_of_user(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Option<String> {
        peer_urls(&[url.to_owned()]).map(|urls| urls.concat())
    }

    /// Each was tried with etcd 3.7.1.
    #[test]
    fn urls_pass_that_etcd_lets_pass() {
        let same =
            ["http://u@h:1", "http://h:", "http://h:1?x", "http://h:1#f", "http://h:99999", "https://[::1]:2380"];
        for url in same {
            assert_eq!(check(url).as_deref(), Some(url));
        }
        assert_eq!(check(" HTTP://127.0.0.1:0 ").as_deref(), Some("http://127.0.0.1:0"));
        assert_eq!(check("unix:///run/peer.sock").as_deref(), Some("unix:///run/peer.sock"));
    }

    /// Each was tried with etcd 3.7.1.
    #[test]
    fn urls_are_refused_that_etcd_refuses() {
        let bad = [
            "",
            "http://x",
            "http://x:1/",
            "ftp://x:1",
            "http://h:x",
            "http:h:1",
            "http://::1:1",
            "http://h h:1",
            "http://h:1%",
            "http://[::1:1",
            "http://h:1\u{1}",
            "h:1",
        ];
        for url in bad {
            assert_eq!(check(url), None, "{url}");
        }
    }

    #[test]
    fn a_member_has_at_least_one_url_and_they_are_sorted() {
        assert_eq!(peer_urls(&[]), None);
        let urls = ["http://b:1", " http://a:2", "http://a:1"].map(str::to_owned);
        assert_eq!(peer_urls(&urls).unwrap(), ["http://a:1", "http://a:2", "http://b:1"]);
        assert_eq!(peer_urls(&[urls[0].clone(), "b".into()]), None);
    }
}
