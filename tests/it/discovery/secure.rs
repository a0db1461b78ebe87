//! A service over TLS, with users.

use std::path::Path;

use etcd_client::{Client, Permission, PermissionType};

use super::{Founder, READY, TOKEN, programs, size_key};
use crate::harness::{Authority, Member, Program, Site, free_port};

const PASSWORD: &str = "what-opens-it";

/// A service with a port for those who speak TLS and show a certificate, and users.
struct Service {
    /// It ends with this value.
    _member: Member,
    secure: String,
}

impl Service {
    async fn start(program: &Program, authority: &Authority, folder: &Path) -> Service {
        let site = Site::new(folder);
        let secure = format!("https://127.0.0.1:{}", free_port());
        let files = authority.issue(folder, "service", "service", 1, &["127.0.0.1"]);
        let urls = format!("{},{secure}", site.endpoint());
        let flags = [
            format!("--listen-client-urls={urls}"),
            format!("--advertise-client-urls={urls}"),
            format!("--cert-file={}", files.cert.display()),
            format!("--key-file={}", files.key.display()),
            format!("--trusted-ca-file={}", folder.join("ca.pem").display()),
            "--bcrypt-cost=4".to_owned(),
        ];
        let member = Member::start(program, site.with_flags(flags)).await;
        let mut client = member.client().await;
        client.put(size_key(), "3", None).await.unwrap();
        add_users(&mut client).await;
        Service { _member: member, secure }
    }
}

async fn add_users(client: &mut Client) {
    let prefix = format!("/_etcd/registry/{TOKEN}");
    client.role_add("finder").await.unwrap();
    let end = format!("{}{}", &prefix[..prefix.len() - 1], 'l');
    let permission = Permission::new(PermissionType::Readwrite, prefix).with_range_end(end);
    client.role_grant_permission("finder", permission).await.unwrap();
    for (user, role) in [("root", "root"), ("ann", "finder")] {
        client.user_add(user, PASSWORD, None).await.unwrap();
        if role == "root" {
            client.role_add(role).await.unwrap();
        }
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_show_certificates_and_passwords_find_each_other() {
    let authority = Authority::new("ours");
    for service_program in programs() {
        let folder = tempfile::tempdir().unwrap();
        let ca = authority.write(folder.path());
        let service = Service::start(&service_program, &authority, folder.path()).await;
        let files = authority.issue(folder.path(), "member", "member", 2, &["127.0.0.1"]);
        let (cert, key) =
            (format!("--discovery-cert={}", files.cert.display()), format!("--discovery-key={}", files.key.display()));
        let ca = format!("--discovery-cacert={}", ca.display());
        let (password, together) =
            (format!("--discovery-password={PASSWORD}"), format!("--discovery-user=ann:{PASSWORD}"));
        let user = "--discovery-user=ann";
        let bare = service.secure.trim_start_matches("https://");
        let founders = [
            Founder::new(0, &service.secure).with(&[&cert, &key, &ca, user, &password]),
            // What follows from the files.
            Founder::new(1, bare).with(&[&cert, &key, &ca, &together]),
            Founder::new(2, bare).with(&[&cert, &key, "--discovery-insecure-skip-tls-verify", user, &password]),
        ];
        // Who checks the service's certificate by other authorities does not believe it.
        let others = folder.path().join("others");
        std::fs::create_dir(&others).unwrap();
        let others = format!("--discovery-cacert={}", Authority::new("others").write(&others).display());
        let doubts =
            Founder::new(3, &service.secure).with(&[&cert, &key, &others, "--discovery-request-timeout=300ms"]);
        let doubts = doubts.start(&Program::lodemark(), folder.path());
        doubts.wait_for_line("invalid peer certificate", 0);
        drop(doubts);

        let processes: Vec<_> =
            founders.iter().map(|founder| founder.start(&Program::lodemark(), folder.path())).collect();
        for process in &processes {
            process.wait_for_line(READY, 0);
            assert!(!process.lines().iter().any(|line| line.contains(PASSWORD)), "{:#?}", process.lines());
        }
        processes[2].wait_for_line("whoever answers at --discovery-endpoints is believed", 0);
        processes[0].wait_for_line(r#""discovery-user":"ann""#, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_who_it_is_ends_as_etcd_does() {
    let authority = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let service = Service::start(&Program::lodemark(), &authority, folder.path()).await;
    let files = authority.issue(folder.path(), "member", "member", 2, &["127.0.0.1"]);
    let flags = [
        format!("--discovery-cert={}", files.cert.display()),
        format!("--discovery-key={}", files.key.display()),
        format!("--discovery-cacert={}", ca.display()),
        "--discovery-user=ann".to_owned(),
        "--discovery-dial-timeout=1s".to_owned(),
        "--discovery-request-timeout=300ms".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for (number, program) in programs().into_iter().enumerate() {
        let founder = Founder::new(number, &service.secure).with(&flags);
        let wrong = founder.clone().with(&["--discovery-password=wrong"]);
        let (status, _, said) = wrong.start(&program, folder.path()).output();
        let text = "authentication failed, invalid user ID or password";
        assert!(
            status == Some(1) && said.contains("failed to join discovery cluster (") && said.contains(text),
            "{said}"
        );

        // Nobody to prove it to.
        let password = format!("--discovery-password={PASSWORD}");
        let nowhere = format!("https://127.0.0.1:{}", free_port());
        let lost = Founder::new(number + 10, &nowhere).with(&flags).with(&[&password]);
        let (status, _, said) = lost.start(&program, folder.path()).output();
        assert!(status == Some(1) && said.contains("failed to join discovery cluster ("), "{said}");

        // Without a password nothing is proved, and everything refused; that may change, so it is tried again.
        let process = founder.start(&program, folder.path());
        process.wait_for_line("user name is empty", 0);
        process.wait_for_line("retry connecting to discovery service", 0);
    }
}
