//! Bytes that changed or went: harmless, or reported with file and offset, and never served as something else.

use super::*;
use crate::env::Disk;

/// Files by name.
type Files = Vec<(String, Vec<u8>)>;

fn files(disk: &SimDisk) -> Files {
    let read = |name: String| {
        let file = disk.open(&Path::new("log").join(&name)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut bytes).unwrap();
        (name, bytes)
    };
    segments(disk).into_iter().map(read).collect()
}

fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("log")).unwrap();
    for (name, bytes) in files {
        disk.create(&Path::new("log").join(name)).unwrap().write_all_at(0, bytes).unwrap();
    }
    disk
}

/// Changes one bit of each byte in a range of one.
pub(super) fn flip(disk: &SimDisk, name: &str, offset: u64) {
    let file = disk.open(&Path::new("log").join(name)).unwrap();
    let mut byte = [0];
    file.read_exact_at(offset, &mut byte).unwrap();
    file.write_all_at(offset, &[byte[0] ^ 1]).unwrap();
}

/// A log of three segments with votes, a truncation and a purge, and what it holds.
fn small_log() -> (SimDisk, Log) {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.wal.save_vote(Bytes::from_static(b"a vote"), Box::new(|_| {})).unwrap();
    log.fill(3);
    log.wal.truncate_after(2).unwrap();
    log.wal.save_committed(Bytes::from_static(b"committed")).unwrap();
    log.wal.append(vec![entry(3, 2, 40)], Box::new(|_| {})).unwrap();
    assert!(log.writer.step());
    log.wal.purge(1, Bytes::from_static(b"mark")).unwrap();
    assert!(log.writer.step());
    while segments(&disk).len() < 3 {
        log.append(60, Box::new(|_| {}));
        assert!(log.writer.step());
    }
    (disk, log)
}

/// What a log says of itself, in a form to compare.
fn contents(log: &Log) -> (Recovered, Vec<LogEntry>) {
    (Recovered { torn_bytes: 0, ..log.recovered.clone() }, log.all())
}

/// Where the used part of a segment ends.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn any_changed_bit_of_a_sealed_log_is_harmless_or_reported() {
    let (disk, log) = small_log();
    log.close();
    let intact = files(&disk);
    let expected = contents(&open(&disk_of(&intact)));
    let (mut harmless, mut reported) = (0, 0);
    let mut files = intact.clone();
    for i in 0..files.len() {
        for offset in 0..files[i].1.len() {
            for bits in [0x01, 0x80, 0xff] {
                files[i].1[offset] ^= bits;
                let context = format!("{} at {offset}, bits {bits:#x}", files[i].0);
                match open_with(disk_of(&files), options(SMALL_SEGMENT_BYTES)) {
                    Ok(log) => {
                        assert_eq!(contents(&log), expected, "{context}");
                        harmless += 1;
                    }
                    Err(OpenError::Corrupt { file, offset: at, .. }) => {
                        assert_eq!(file, Path::new("log").join(&files[i].0), "{context}");
                        let is_near = at <= offset as u64 && offset as u64 - at < SMALL_SEGMENT_BYTES - HEADER_BYTES;
                        assert!(is_near || at == 0, "{context}: reported at {at}");
                        reported += 1;
                    }
                    Err(error) => panic!("{context}: {error}"),
                }
                files[i].1[offset] ^= bits;
            }
        }
    }
    let proven: usize = intact.iter().map(|(_, bytes)| used(bytes) - HEADER_BYTES as usize).sum();
    assert!(
        reported > 3 * proven * 8 / 10 && harmless > 0,
        "{reported} reported, {harmless} harmless, {proven} proven"
    );
}

/// Without a seal the last batch is not proven: damage there looks like a torn write, and is cut off.
#[test]
fn any_changed_bit_behind_the_last_proof_cuts_the_log_and_no_more() {
    let (disk, log) = small_log();
    let last = log.wal.last().unwrap().0;
    // As a power cut leaves it: neither idle step nor seal.
    let survived = disk.crash_image(Image::Nothing, 1);
    std::mem::forget(log);
    let intact = files(&survived);
    let expected = contents(&open(&disk_of(&intact)));
    let (name, bytes) = intact.last().unwrap();
    let start = last_batch_start(bytes);
    let mut cut = 0;
    for offset in HEADER_BYTES as usize..bytes.len() {
        let mut files = intact.clone();
        files.last_mut().unwrap().1[offset] ^= 0x10;
        match open_with(disk_of(&files), options(SMALL_SEGMENT_BYTES)) {
            Ok(log) if log.wal.last() == Some((last, 1)) => assert_eq!(contents(&log), expected, "{name} at {offset}"),
            Ok(log) => {
                assert!(offset >= start, "{name} at {offset}: only the last batch may be cut");
                assert_eq!(log.wal.last().map(|(index, _)| index), Some(last - 1), "{name} at {offset}");
                assert!(log.recovered.torn_bytes > 0);
                cut += 1;
            }
            Err(OpenError::Corrupt { .. }) => {
                assert!(offset < start, "{name} at {offset}: nothing proves the last batch")
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(cut > 60, "{cut}");
}

/// The offset of the last batch of a segment, found by walking the lengths.
fn last_batch_start(bytes: &[u8]) -> usize {
    let (mut at, mut last) = (HEADER_BYTES as usize, 0);
    while at + BATCH_HEADER_BYTES <= bytes.len() && bytes[at..at + 4] != [0; 4] {
        last = at;
        let len = u32::from_le_bytes(bytes[at + 24..at + 28].try_into().unwrap()) as usize;
        at += (BATCH_HEADER_BYTES + len).next_multiple_of(8);
    }
    last
}

#[test]
fn a_file_cut_anywhere_is_reported() {
    let (disk, log) = small_log();
    log.close();
    let intact = files(&disk);
    for i in 0..intact.len() {
        for len in 0..intact[i].1.len() {
            let mut files = intact.clone();
            files[i].1.truncate(len);
            match open_with(disk_of(&files), options(SMALL_SEGMENT_BYTES)) {
                Err(OpenError::Corrupt { file, .. }) => assert_eq!(file, Path::new("log").join(&files[i].0)),
                Err(error) => panic!("{} of {len} bytes: {error}", files[i].0),
                Ok(_) => panic!("{} of {len} bytes was taken for whole", files[i].0),
            }
        }
    }
}

fn corruption(files: &[(String, Vec<u8>)]) -> String {
    match open_with(disk_of(files), options(SMALL_SEGMENT_BYTES)) {
        Err(error @ OpenError::Corrupt { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(log) => panic!("it was taken for whole: {:?}", log.recovered),
    }
}

#[test]
fn a_missing_segment_is_reported() {
    let (disk, log) = small_log();
    log.close();
    let intact = files(&disk);
    let without = |i: usize| {
        let mut files = intact.clone();
        files.remove(i);
        files
    };
    assert!(corruption(&without(1)).contains("the segment before it is missing"));
    // The purge mark says that entry 2 must be there.
    assert!(corruption(&without(0)).contains("missing"), "{}", corruption(&without(0)));
}

#[test]
fn a_log_that_never_purged_misses_its_first_segment() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(6);
    log.close();
    let mut files = files(&disk);
    files.remove(0);
    assert!(corruption(&files).contains("the segments before it are missing"));
}

#[test]
fn segments_that_changed_places_are_reported() {
    let (disk, log) = small_log();
    log.close();
    let mut files = files(&disk);
    let first = files[0].1.clone();
    files[0].1 = std::mem::replace(&mut files[1].1, first);
    let told = corruption(&files);
    assert!(told.contains(&files[0].0) && told.contains("it has the name of another segment"), "{told}");
}

#[test]
fn a_segment_that_went_back_in_time_is_reported() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(1);
    let early = files(&disk)[0].clone();
    log.fill(6);
    log.close();
    let mut files = files(&disk);
    files[0] = early;
    assert!(corruption(&files).contains("a batch is missing before this one"));
    // Even if all of it is zeros.
    let len = files[0].1.len();
    files[0].1.truncate(HEADER_BYTES as usize);
    files[0].1.resize(len, 0);
    assert!(corruption(&files).contains("a batch is missing before this one"));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (disk, log) = small_log();
    log.close();
    let mut files = files(&disk);
    let header = &mut files[2].1;
    header[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32c::crc32c(&header[..40]);
    header[40..44].copy_from_slice(&crc.to_le_bytes());
    let error = open_with(disk_of(&files), options(SMALL_SEGMENT_BYTES)).err().unwrap().to_string();
    let told = "was written by a newer version: it has format 2, this version reads up to 1; start a later version";
    assert_eq!(error, format!("log/{} {told}", files[2].0));
}

#[test]
fn what_is_unfinished_goes_and_other_files_are_left_alone() {
    let (disk, log) = small_log();
    log.close();
    let mut files = files(&disk);
    let expected = contents(&open(&disk_of(&files)));
    for name in ["0000000000000009.wal.new", "4.wal", "+000000000000004.wal", "notes.txt"] {
        files.push((name.to_owned(), b"anything".to_vec()));
    }
    let disk = disk_of(&files);
    assert_eq!(contents(&open(&disk)), expected);
    let names = segments(&disk);
    assert!(!names.iter().any(|name| name.ends_with(".new")), "{names:?}");
    assert!(names.iter().any(|name| name == "notes.txt"));
}
