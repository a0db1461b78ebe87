//! The stand-in for `protoc` hands out what protoc would make of etcd-client's sources.
//!
//! `UPDATE=1` writes the checked-in descriptor set anew instead of comparing: for an upgrade of etcd-client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What etcd-client's build script compiles.
const PROTOS: [&str; 5] = [
    "proto/etcd/api/authpb/auth.proto",
    "proto/etcd/api/etcdserverpb/rpc.proto",
    "proto/etcd/api/mvccpb/kv.proto",
    "proto/etcd/server/etcdserver/api/v3election/v3electionpb/v3election.proto",
    "proto/etcd/server/etcdserver/api/v3lock/v3lockpb/v3lock.proto",
];

#[test]
fn checked_in_descriptors_are_those_of_the_locked_etcd_client() {
    let sources = etcd_client_folder();
    let mut compiler = protox::Compiler::new([sources.join("proto")]).expect("proto folder of etcd-client");
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(PROTOS.map(|proto| sources.join(proto))).expect("etcd-client's protos compile");
    let made = compiler.encode_file_descriptor_set();

    let checked_in = stand_in().with_file_name("etcd-client.binpb");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&checked_in, made).expect("write the descriptor set");
        return;
    }
    assert!(
        made == std::fs::read(&checked_in).expect("read the descriptor set"),
        "{} is not what protox makes of {}: run `UPDATE=1 cargo test --test it protoc_stand_in` and commit it",
        checked_in.display(),
        sources.display(),
    );
}

#[test]
fn build_script_of_etcd_client_names_only_known_protos() {
    let script = std::fs::read_to_string(etcd_client_folder().join("build.rs")).expect("build.rs of etcd-client");
    let named: Vec<&str> = script.split('"').filter(|text| text.ends_with(".proto")).collect();
    assert_eq!(named, PROTOS);
}

#[test]
fn stand_in_answers_as_prost_build_asks() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for out in [&["-o", "a"][..], &["-oa"], &["--descriptor_set_out=a"]] {
        let file = folder.path().join("a");
        let _ = std::fs::remove_file(&file);
        let mut arguments = vec!["--include_imports", "--include_source_info"];
        arguments.extend(out);
        arguments.extend(["-I", "proto", "-Iproto"]);
        arguments.extend(PROTOS);
        let output = run(folder.path(), &arguments);
        assert!(output.status.success(), "{out:?}: {output:?}");
        let expected = std::fs::read(stand_in().with_file_name("etcd-client.binpb")).expect("read the descriptor set");
        assert!(std::fs::read(&file).expect("the file that was asked for") == expected, "{out:?}");
    }
    let output = run(folder.path(), &["--version"]);
    assert!(output.status.success() && output.stdout.starts_with(b"libprotoc "), "{output:?}");
}

#[test]
fn stand_in_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (arguments, reason) in [
        (&["-o", "a", "other.proto"][..], "no descriptors for other.proto"),
        (&["-o", "a"], "no .proto file was named"),
        (&[PROTOS[0]], "no -o FILE"),
        (&["--cpp_out=.", PROTOS[0]], "does not know the argument --cpp_out=."),
    ] {
        let output = run(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
        assert!(!folder.path().join("a").exists());
    }
}

fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("build/protoc/protoc")
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(stand_in()).args(arguments).current_dir(folder).output().expect("run the stand-in")
}

/// Where cargo has unpacked the etcd-client of `Cargo.lock`.
fn etcd_client_folder() -> PathBuf {
    // Offline: it was downloaded to build this very test. Only the host's packages were, hence the filter.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &host()])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("run cargo metadata");
    assert!(
        output.status.success(),
        "cargo metadata could not find etcd-client without the network (was this binary built elsewhere?): {}",
        String::from_utf8_lossy(&output.stderr),
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON from cargo metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "etcd-client").expect("etcd-client in Cargo.lock");
    let manifest = package["manifest_path"].as_str().expect("manifest_path");
    Path::new(manifest).parent().expect("folder of a manifest").to_path_buf()
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("run rustc");
    let said = String::from_utf8(output.stdout).expect("UTF-8 from rustc");
    said.lines().find_map(|line| line.strip_prefix("host: ")).expect("host of rustc").to_owned()
}
