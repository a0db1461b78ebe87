//! What stays of users, roles and tokens when a member starts again.

use super::{CHEAP, GET, PUT, enable, outcome, refusal, token};
use crate::harness::{Options, Server};

const INVALID_TOKEN: &str = "etcdserver: invalid auth token";

#[test]
fn users_stay_and_simple_tokens_go_with_the_member_that_is_stopped() {
    let mut server = Server::start(&Options { flags: vec![CHEAP.to_owned()], ..Options::default() });
    enable(server.client_address());
    let before = token(server.client_address(), "root");
    assert_eq!(outcome(server.client_address(), PUT.0, Some(&before), PUT.1), refusal(0, ""));
    for is_killed in [true, false] {
        if is_killed {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        server = server.restart();
        let address = server.client_address();
        assert_eq!(outcome(address, GET.0, None, GET.1), refusal(3, "etcdserver: user name is empty"));
        // One that is killed finds in its log what no checkpoint has, tokens too; so does etcd.
        if !is_killed {
            assert_eq!(outcome(address, GET.0, Some(&before), GET.1), refusal(16, INVALID_TOKEN));
        }
        let after = token(address, "root");
        assert_eq!(outcome(address, GET.0, Some(&after), GET.1), refusal(0, ""));
        let alice = token(address, "alice");
        assert_eq!(outcome(address, GET.0, Some(&alice), GET.1), refusal(7, "etcdserver: permission denied"));
    }
}

#[test]
fn simple_tokens_end_when_nobody_uses_them() {
    let flags = vec![CHEAP.to_owned(), "--auth-token-ttl=1".to_owned()];
    let server = Server::start(&Options { flags, ..Options::default() });
    enable(server.client_address());
    let root = token(server.client_address(), "root");
    let used = || outcome(server.client_address(), GET.0, Some(&root), GET.1);
    assert_eq!(used(), refusal(0, ""));
    // The time itself is tested where it is counted; here, that it passes.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(used(), refusal(16, INVALID_TOKEN));
}
