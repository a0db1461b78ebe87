//! Users, roles and tokens are the cluster's, not a member's.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{CHEAP, GET, PUT, enable, outcome, refusal, token};
use crate::harness::{Cluster, Program};

const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
const NOBODY: &str = "etcdserver: user name is empty";
/// What one thread asks at most while auth is enabled.
const REQUESTS_MAX: u32 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_member_is_good_at_all() {
    let cluster = Cluster::start_with(&Program::lodemark(), 3, &[CHEAP]).await;
    let endpoints = cluster.endpoints();
    let addresses: Vec<&str> = endpoints.iter().map(|url| url.trim_start_matches("http://")).collect();

    // Auth is enabled while requests run: each is answered, or refused for who asks; no other way.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for &address in &addresses {
            let is_over = &is_over;
            scope.spawn(move || {
                let (mut allowed, mut refused) = (0u32, 0u32);
                while (!is_over.load(Ordering::Relaxed) || refused == 0) && allowed + refused < REQUESTS_MAX {
                    let (path, body) = if (allowed + refused) % 2 == 0 { PUT } else { GET };
                    match outcome(address, path, None, body) {
                        (0, _) => {
                            assert_eq!(refused, 0, "once refused, always refused");
                            allowed += 1;
                        }
                        (3, text) if text == NOBODY => refused += 1,
                        other => panic!("{other:?}"),
                    }
                }
                assert!(refused > 0, "it has heard of the enabling");
            });
        }
        enable(addresses[0]);
        for address in &addresses[1..] {
            // Whether or not the member has heard of it before.
            assert_eq!(outcome(address, GET.0, None, GET.1), refusal(3, NOBODY));
        }
        is_over.store(true, Ordering::Relaxed);
    });

    for made in &addresses {
        let root = token(made, "root");
        for (at, used) in addresses.iter().enumerate() {
            // A member that is behind waits until it knows the token.
            assert_eq!(outcome(used, GET.0, Some(&root), GET.1), refusal(0, ""), "{made} {used}");
            assert_eq!(outcome(used, PUT.0, Some(&root), PUT.1), refusal(0, ""), "{made} {used}");
            let role = format!(r#"{{"name":"{at} {made}"}}"#);
            assert_eq!(outcome(used, "/v3/auth/role/add", Some(&root), &role), refusal(0, ""));
        }
    }
    // What is taken from a user is taken everywhere, once the member that was asked for it has answered and the others know.
    let (root, alice) = (token(addresses[0], "root"), token(addresses[1], "alice"));
    let gone = outcome(addresses[2], "/v3/auth/user/delete", Some(&root), r#"{"name":"alice"}"#);
    assert_eq!(gone, refusal(0, ""));
    for address in addresses {
        // A linearizable read as somebody else: after it the member knows.
        assert_eq!(outcome(address, GET.0, Some(&root), GET.1), refusal(0, ""));
        assert_eq!(outcome(address, GET.0, Some(&alice), GET.1), refusal(16, INVALID_TOKEN));
    }
}
