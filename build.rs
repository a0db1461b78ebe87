//! Makes Rust of the messages in `proto/`, without an installed protobuf compiler.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;

const FILES: [&str; 8] = [
    "etcd/rpc.proto",
    "etcd/v3lock.proto",
    "etcd/v3election.proto",
    "grpc/health.proto",
    "lodemark/log.proto",
    "lodemark/member_calls.proto",
    "lodemark/peer.proto",
    "lodemark/raft.proto",
];

/// Where an enum of all calls of clients goes in `OUT_DIR`.
const CALLS: &str = "rpcs.rs";
/// The files of what the JSON gateway speaks.
const DESCRIBED: &str = "etcd/";
/// Where their descriptors go in `OUT_DIR`.
const DESCRIPTORS: &str = "etcd_descriptors.bin";

/// Fields whose capitals would become odd Rust names (`peer_ur_ls`). Names are not on the wire, so ours may differ.
const RENAMED: [(&str, &str); 2] = [("peerURLs", "peer_urls"), ("clientURLs", "client_urls")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rustc-env=LODEMARK_RUSTC={}", compiler()?);

    let mut files = protox::compile(FILES, ["proto"])?;
    // With the names of the contract, before any is changed.
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join(DESCRIPTORS), described(&files).encode_to_vec())?;
    for field in files.file.iter_mut().flat_map(|file| &mut file.message_type).flat_map(|message| &mut message.field) {
        if let Some((_, name)) = RENAMED.iter().find(|(theirs, _)| field.name() == *theirs) {
            field.name = Some((*name).to_owned());
        }
    }
    // Members answer each other by hand (`src/peer/http2`).
    for file in files.file.iter_mut().filter(|file| file.package() == "lodemarkpb") {
        file.service.clear();
    }
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join(CALLS), calls(&files))?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(".")
        // Pairs are sent as the bytes in which they are stored, and events are shared.
        .extern_path(".mvccpb.KeyValue", "crate::proto::KeyValue")
        .extern_path(".etcdserverpb.WatchResponse", "crate::proto::WatchResponse")
        .compile_fds(files)?;
    Ok(())
}

/// What compiles this, for a metric that tells it.
fn compiler() -> Result<String, Box<dyn Error>> {
    let told = std::process::Command::new(std::env::var("RUSTC")?).arg("--version").output()?;
    Ok(String::from_utf8(told.stdout)?.trim().to_owned())
}

/// Rust code of an enum with a variant for each call, and of the way to it from the path of the call.
fn calls(files: &FileDescriptorSet) -> String {
    let (mut variants, mut paths, mut all) = (String::new(), String::new(), String::new());
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let variant = format!("{}{}", camel_case(service.name()), camel_case(method.name()));
                writeln!(variants, "    /// `{path}`\n    {variant},").expect("a text can always be written to");
                writeln!(paths, "            \"/{path}\" => Some(Rpc::{variant}),")
                    .expect("a text can always be written to");
                let (service, streams) = (service.name(), (method.client_streaming(), method.server_streaming()));
                writeln!(all, "        (\"{}.{service}\", \"{}\", {streams:?}),", file.package(), method.name())
                    .expect("a text can always be written to");
            }
        }
    }
    format!(
        "/// A call that clients make.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq)]\n\
         pub(super) enum Rpc {{\n{variants}}}\n\n\
         impl Rpc {{\n    /// All of them, in order: service, method, whether clients send many messages, whether they get many.\n    \
         pub(super) const ALL: &[(&str, &str, (bool, bool))] = &[\n{all}    ];\n\n    /// The call of a path.\n    pub(super) fn of(path: &str) -> Option<Rpc> {{\n        \
         match path {{\n{paths}            _ => None,\n        }}\n    }}\n}}\n"
    )
}

/// `KV` becomes `Kv` and `HashKV` `HashKv`, as in the code that is made of the messages.
fn camel_case(name: &str) -> String {
    let mut last_is_capital = false;
    name.chars()
        .map(|letter| {
            let is_capital = letter.is_uppercase();
            let letter = if is_capital && last_is_capital { letter.to_ascii_lowercase() } else { letter };
            last_is_capital = is_capital;
            letter
        })
        .collect()
}

/// The descriptors of etcd's messages and services, without comments.
fn described(files: &FileDescriptorSet) -> FileDescriptorSet {
    let mut described = files.clone();
    described.file.retain(|file| file.name().starts_with(DESCRIBED));
    for file in &mut described.file {
        file.source_code_info = None;
    }
    described
}
