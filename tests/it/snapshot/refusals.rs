//! What is no whole snapshot of a version that is known is refused, and nothing is touched.

use std::fs;
use std::path::{Path, PathBuf};

use super::By;
use super::state::fill;
use super::tools::lodemark;
use crate::harness::{Member, Program, Site};

/// A snapshot of a small store.
async fn saved(folder: &Path) -> PathBuf {
    let member = Member::start(&Program::lodemark(), Site::new(folder)).await;
    fill(&mut member.client().await, 200).await;
    let file = folder.join("saved.db");
    By::Lodemark.save(&member.endpoint(), &file);
    file
}

fn restore(file: &Path, data_dir: &Path, more: &[&str]) -> (Option<i32>, String) {
    let data_dir = format!("--data-dir={}", data_dir.display());
    let arguments = ["snapshot".as_ref(), "restore".as_ref(), file.as_os_str(), data_dir.as_ref()];
    let (code, _, stderr) = lodemark(arguments.into_iter().chain(more.iter().map(|flag| flag.as_ref())));
    (code, stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_whole_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = fs::read(saved(folder.path()).await).expect("it was saved");
    let file = folder.path().join("damaged.db");
    let altered = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let len = good.len();
    let newer = {
        let mut bytes = good.clone();
        let at = bytes.windows(5).position(|five| five == b"3.7.0").expect("it says its version");
        let last = bytes.windows(19).position(|text| text == b"storageVersion3.7.0").expect("it says its version");
        assert_ne!(at, last, "the version of the cluster comes first");
        bytes[last + 14..][..5].copy_from_slice(b"3.8.0");
        bytes.truncate(len - 32);
        bytes
    };
    let cases: [(&str, Vec<u8>, &[&str], &str); 9] = [
        ("its first bit", altered(0), &[], "expected sha256 "),
        ("a bit of a row", altered(len / 2), &[], "expected sha256 "),
        ("a bit of the digest", altered(len - 1), &[], "expected sha256 "),
        ("cut by a byte", good[..len - 1].to_vec(), &[], "snapshot missing hash but --skip-hash-check=false"),
        ("cut by a page", good[..len - 4096].to_vec(), &[], "expected sha256 "),
        ("cut by its digest", good[..len - 32].to_vec(), &[], "snapshot missing hash but --skip-hash-check=false"),
        ("cut, and not checked", good[..len - 32 - 8192].to_vec(), &["--skip-hash-check"], "is cut short"),
        ("newer", newer, &["--skip-hash-check"], "storage version 3.8.0"),
        ("empty", Vec::new(), &["--skip-hash-check"], "is no bbolt database"),
    ];
    for (what, bytes, flags, expected) in cases {
        fs::write(&file, bytes).expect("it can be written");
        let data_dir = folder.path().join("restored");
        let (code, stderr) = restore(&file, &data_dir, flags);
        assert_eq!(code, Some(1), "{what}: {stderr}");
        assert!(stderr.contains(expected), "{what}: {stderr}");
        assert!(!data_dir.exists(), "{what}: something is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_that_do_not_fit_touch_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = saved(folder.path()).await;
    let data_dir = folder.path().join("restored");
    for (flags, status, expected) in [
        (&["--bump-revision=5"][..], 128, "--mark-compacted required if --revision-bump > 0"),
        (&["--name=m9"], 1, "couldn't find local name \"m9\" in the initial cluster configuration"),
        (&["--initial-cluster=default=http://localhost:1"], 1, "--initial-cluster has default=http://localhost:1"),
        (&["--nonsense"], 128, "unknown flag: --nonsense"),
    ] {
        let (code, stderr) = restore(&file, &data_dir, flags);
        assert_eq!(code, Some(status), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
        assert!(!data_dir.exists(), "{flags:?}");
    }
    fs::create_dir(&data_dir).expect("a new folder");
    fs::write(data_dir.join("mine"), "x").expect("it can be written");
    let (code, stderr) = restore(&file, &data_dir, &[]);
    assert!(code == Some(1) && stderr.contains("not empty or could not be read"), "{stderr}");
    assert_eq!(fs::read_dir(&data_dir).expect("it is there").count(), 1);
    let (code, stderr) = restore(&file, &folder.path().join("other"), &["--wal-dir", &data_dir.display().to_string()]);
    assert!(code == Some(1) && stderr.contains("wal-dir"), "{stderr}");
}
