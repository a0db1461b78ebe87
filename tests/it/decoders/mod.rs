//! Decoders of bytes that may come from a damaged disk, a peer or a client, and random steps for the machine and its
//! model: generated and mutated inputs give an error or a value, never a panic. The fuzz targets run the same bodies
//! (`fuzz/bodies`).
//!
//! `LODEMARK_FUZZ_INPUTS=n` gives each body so many inputs, `LODEMARK_FUZZ_SEED=n` others than usual, and
//! `LODEMARK_FUZZ_INPUT=hex` this one alone.

#[path = "../../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../../../fuzz/commands_model.rs"]
mod commands_model;
mod inputs;
mod seeds;

use std::sync::Arc;

use bytes::Bytes;
use lodemark::env::{Disk, SeededRandom, SimDisk};
use lodemark::wal::{Options, Wal};

use self::inputs::{INPUTS_FEW, INPUTS_MANY, try_many, try_some};

#[test]
fn records() {
    try_many(bodies::record, seeds::records());
}

#[test]
fn checkpoint_rows() {
    try_many(bodies::row, seeds::rows());
}

#[test]
fn txn_requests() {
    try_many(bodies::txn_request, seeds::txn_requests());
}

#[test]
fn commands() {
    try_many(bodies::commands, seeds::entries());
}

#[test]
fn log_segments() {
    try_many(bodies::log, vec![seeds::segment()]);
}

#[test]
fn log_batches() {
    try_many(bodies::log_batch, vec![seeds::batch()]);
}

#[test]
fn log_files() {
    try_many(bodies::log_files, seeds::log_files());
}

#[test]
fn snapshots() {
    try_many(bodies::snapshot, vec![seeds::stream()]);
}

#[test]
fn snapshot_chunks() {
    try_many(bodies::snapshot_chunks, vec![seeds::chunks(&seeds::stream())]);
}

#[test]
fn etcd_snapshots() {
    try_many(bodies::etcd_snapshot, vec![seeds::etcd_snapshot(20)]);
}

#[test]
fn etcd_pages() {
    try_many(bodies::etcd_pages, vec![seeds::etcd_pages(4), seeds::etcd_pages(40)]);
}

#[test]
fn raft_messages() {
    try_many(bodies::raft_message, seeds::raft_messages());
}

#[test]
fn peer_messages() {
    try_many(bodies::peer_message, seeds::peer_messages());
}

#[test]
fn peer_streams() {
    try_many(bodies::peer_stream, seeds::peer_streams());
}

#[test]
fn peer_headers() {
    try_many(bodies::peer_headers, seeds::peer_headers());
}

#[test]
fn requests() {
    try_many(bodies::request, seeds::requests());
}

#[test]
fn calls() {
    try_some(bodies::call, seeds::calls(), INPUTS_FEW);
}

#[test]
fn headers() {
    try_many(bodies::headers, seeds::headers());
}

#[test]
fn flags() {
    // Flags that disagree are worth trying, too.
    try_some(bodies::flags, seeds::flags(), INPUTS_MANY);
}

#[test]
fn config_files() {
    try_some(bodies::config_file, seeds::config_files(), INPUTS_MANY);
}

#[test]
fn json() {
    try_many(bodies::json, seeds::json());
}

#[test]
fn json_of_messages() {
    try_many(bodies::json_of_message, seeds::messages_for_json());
}

#[test]
fn addresses() {
    try_many(bodies::addresses, seeds::addresses());
}

#[test]
fn tokens() {
    try_many(bodies::token, seeds::tokens());
}

#[test]
fn token_options() {
    try_many(bodies::token_options, seeds::token_options());
}

#[test]
fn commands_beside_the_model() {
    try_some(commands_model::commands_model, seeds::steps(), INPUTS_FEW);
}

/// A segment made by the words of `docs/storage-format.md` alone opens as what it says.
#[test]
fn the_page_about_the_format_tells_how_to_write_a_segment() {
    let records = seeds::batch();
    let disk = Arc::new(SimDisk::new());
    let options = Options::default();
    disk.create_dir_all(&options.dir).expect("a new disk takes a folder");
    let file = disk.create(&options.dir.join("0000000000000001.wal")).expect("a new disk takes a file");
    file.write_all_at(0, &bodies::segment_of(&records[1..], 6)).expect("a new disk takes bytes");
    let (wal, _, recovered) = Wal::open(disk, Arc::new(SeededRandom::new(3)), options).expect("it is a segment");
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"note"[..]));
    assert_eq!(recovered.purged, Some((3, Bytes::from_static(b"mark"))));
    let entries = wal.read(4, 9, usize::MAX).expect("they are there");
    assert_eq!(entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(4, 7), (5, 7)]);
    assert_eq!(entries[0].payload, seeds::entry_of(&seeds::all_commands()));
}
