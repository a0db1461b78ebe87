//! From the start of the process to its end: what it tells systemd, what it makes in its folders, and the log on a disk of
//! its own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use etcd_client::Client;

use crate::harness::{Options, Process, Program, Server, skip};

/// Flags of a server that disturbs nobody.
fn anywhere(data_dir: &Path) -> Vec<OsString> {
    let fixed = [
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:0",
        "--listen-peer-urls=http://127.0.0.1:0",
    ];
    let data_dir = format!("--data-dir={}", data_dir.display());
    fixed.iter().map(OsString::from).chain([data_dir.into()]).collect()
}

/// What is received, one after the other; each must come within a minute.
fn states(socket: &UnixDatagram, count: usize) -> Vec<String> {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let receive = |_| {
        let mut bytes = [0; 64];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    (0..count).map(receive).collect()
}

fn started_by_systemd(name: &str, folder: &Path) -> Process {
    let wrapper = ["env".to_owned(), format!("NOTIFY_SOCKET={name}")];
    Program::lodemark().under(wrapper).start(anywhere(&folder.join("data")), folder)
}

fn place(process: &Process, text: &str) -> usize {
    let lines = process.lines();
    lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("nobody says {text:?}: {lines:#?}"))
}

fn is_told(socket: &UnixDatagram, name: &str) {
    let temp = tempfile::tempdir().unwrap();
    let mut process = started_by_systemd(name, temp.path());
    assert_eq!(states(socket, 1), ["READY=1"]);
    process.wait_for_line("successfully notified init daemon", 0);
    process.terminate();
    assert_eq!(states(socket, 1), ["STOPPING=1"]);
    assert_eq!(process.wait().code(), Some(0));
    let order =
        ["published local member", "ready to serve client requests", "notifying init daemon", "successfully notified"];
    let places = order.map(|text| place(&process, text));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn systemd_is_told_of_readiness_and_of_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("notify");
    is_told(&UnixDatagram::bind(&path).unwrap(), &path.display().to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_over_abstract_sockets_too() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("lodemark-life-cycle-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    is_told(&UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
}

#[test]
fn systemd_is_told_that_a_gateway_is_ready() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    for program in [Program::lodemark()].into_iter().chain(Program::etcd()) {
        let wrapper = ["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display())];
        let arguments = ["gateway", "start", "--listen-addr=127.0.0.1:0"].map(OsString::from);
        let process = program.under(wrapper).start(arguments, temp.path());
        assert_eq!(states(&socket, 1), ["READY=1"]);
        process.wait_for_line("ready to proxy client requests", 0);
        let order = ["notifying init daemon", "successfully notified init daemon", "ready to proxy client requests"];
        let places = order.map(|text| place(&process, text));
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn a_socket_that_nobody_listens_on_does_not_stop_the_server() {
    let temp = tempfile::tempdir().unwrap();
    let mut process = started_by_systemd("/nowhere/at/all", temp.path());
    process.wait_for_line("failed to notify systemd for readiness", 0);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
}

/// Modes of a folder and all that is in it.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut found = vec![(folder.display().to_string(), fs::metadata(folder).unwrap().permissions().mode() & 0o777)];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else {
            found.push((path.display().to_string(), fs::metadata(&path).unwrap().permissions().mode() & 0o777));
        }
    }
    found
}

#[test]
fn folders_and_files_are_the_owners_alone() {
    let temp = tempfile::tempdir().unwrap();
    let wal_dir = temp.path().join("wal");
    let flags = vec![format!("--wal-dir={}", wal_dir.display()), "--auto-tls".to_owned(), "--peer-auto-tls".to_owned()];
    let mut server = Server::start(&Options { flags, ..Options::default() });
    server.terminate();
    for (path, mode) in modes(&server.data_dir()).into_iter().chain(modes(&wal_dir)) {
        let is_folder = Path::new(&path).is_dir();
        assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{path} has mode {mode:o}");
    }
}

#[test]
fn what_is_odd_about_the_data_folder_is_told_in_the_words_of_etcd() {
    let temp = tempfile::tempdir().unwrap();
    let data_dir = temp.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(data_dir.join("notes"), "x").unwrap();
    let mut server = Server::start(&Options { data_dir: Some(data_dir.clone()), ..Options::default() });
    server.terminate();
    let lines = server.process().lines().join("\n");
    let permission = format!(
        "directory \\\"{}\\\" exist, but the permission is \\\"drwxr-xr-x\\\". The recommended permission is \\\"-rwx------\\\" to \
         prevent possible unprivileged access to the data",
        data_dir.display()
    );
    assert!(lines.contains("check file permission") && lines.contains(&permission), "{lines}");
    assert!(
        lines.contains("found invalid file under data directory") && lines.contains("\"filename\":\"notes\""),
        "{lines}"
    );
}

/// A start that must not succeed; gives what it said.
fn refused(flags: &[OsString], folder: &Path) -> String {
    let (status, stdout, stderr) = Server::run(flags, folder).output();
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains(r#""level":"fatal""#), "{stderr}");
    stderr
}

async fn put(server: &Server, key: &str) {
    Client::connect([server.endpoint()], None).await.unwrap().put(key, "v", None).await.unwrap();
}

async fn has(server: &Server, key: &str) -> bool {
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    client.get(key, None).await.unwrap().count() == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_may_be_on_a_disk_of_its_own_and_is_missed_where_it_is_not() {
    let temp = tempfile::tempdir().unwrap();
    let (data_dir, wal_dir, other) = (temp.path().join("data"), temp.path().join("wal"), temp.path().join("other"));
    let flag = |path: &Path| format!("--wal-dir={}", path.display());
    let options = |flags: &[String]| Options { flags: flags.to_vec(), data_dir: Some(data_dir.clone()) };
    let with = |flags: &[String]| {
        let mut all = anywhere(&data_dir);
        all.extend(flags.iter().map(OsString::from));
        all
    };
    let mut server = Server::start(&options(&[flag(&wal_dir)]));
    put(&server, "before").await;
    assert!(!data_dir.join("member/wal").exists());
    assert!(fs::read_dir(&wal_dir).unwrap().any(|entry| entry.unwrap().path().extension().is_some_and(|e| e == "wal")));
    // Another member must not use it meanwhile, nor afterwards.
    let mut foreign = anywhere(&temp.path().join("foreign"));
    foreign.push(flag(&wal_dir).into());
    assert!(refused(&foreign, temp.path()).contains("is in use by another process"));
    server.kill();
    foreign.push("--initial-cluster-token=foreign".into());
    assert!(refused(&foreign, temp.path()).contains("holds the log of another member"));

    // The log has what no checkpoint has: without it the member would begin anew.
    let said = refused(&with(&[]), temp.path());
    assert!(said.contains(&format!("it was last in {}", wal_dir.display())), "{said}");
    let said = refused(&with(&[flag(&other)]), temp.path());
    assert!(said.contains("the log of this member is not in"), "{said}");
    let server = server.restart();
    assert!(has(&server, "before").await);
    put(&server, "between").await;
    drop(server);

    // Moved to another disk, and back into the data folder.
    fs::rename(&wal_dir, &other).unwrap();
    let mut server = Server::start(&options(&[flag(&other)]));
    assert!(has(&server, "between").await);
    assert_eq!(server.terminate(), Some(0));
    fs::create_dir(data_dir.join("member/wal")).unwrap();
    for entry in fs::read_dir(&other).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            fs::rename(&path, data_dir.join("member/wal").join(path.file_name().unwrap())).unwrap();
        }
    }
    let said = refused(&with(&[flag(&other)]), temp.path());
    assert!(said.contains("move the files that end in .wal there"), "{said}");
    let server = Server::start(&options(&[]));
    assert!(has(&server, "before").await && has(&server, "between").await);
}

/// A small file system of its own, which goes with this value; `None`, said plainly, if the test has to be skipped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Option<SmallDisk> {
        fs::create_dir(at).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(at.to_owned()));
        }
        skip("mounting a file system needs root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_cannot_be_written_to_is_refused_with_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    for (options, expected) in [("ro,size=1m", "Read-only file system"), ("size=1m", "No space left on device")] {
        let at = temp.path().join(options);
        let Some(_disk) = SmallDisk::mount(&at, options) else { return };
        let said = refused(&anywhere(&at.join("data")), temp.path());
        assert!(said.contains(expected), "{said}");
    }
}
