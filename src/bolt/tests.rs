//! What was written is read back, and whatever is done to it is an error or a value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::env::{Disk, File, MemoryDisk};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = MemoryDisk::new().create(Path::new("file")).unwrap();
    file.write_all_at(0, bytes).unwrap();
    Arc::from(file)
}

fn written(buckets: &BTreeMap<String, Rows>, page_bytes: usize) -> Vec<u8> {
    let fill = |writer: &mut Writer<'_>| -> Result<(), WriteError> {
        for (name, rows) in buckets {
            writer.bucket(name)?;
            rows.iter().try_for_each(|(key, value)| writer.row(key, value))?;
        }
        Ok(())
    };
    let layout = plan(page_bytes, fill).unwrap();
    let mut bytes = Vec::new();
    write(layout, &mut bytes, fill).unwrap();
    assert_eq!(bytes.len() as u64, layout.bytes());
    bytes
}

fn opened(bytes: &[u8]) -> Result<Reader, Error> {
    Reader::open(file_of(bytes), bytes.len() as u64)
}

fn read(bytes: &[u8]) -> Result<BTreeMap<String, Rows>, Error> {
    let reader = opened(bytes)?;
    let mut buckets = BTreeMap::new();
    for bucket in reader.buckets()? {
        let (mut rows, mut left) = (Rows::new(), reader.rows(&bucket)?);
        while let Some((key, value)) = left.next()? {
            rows.insert(key.to_vec(), value.to_vec());
        }
        buckets.insert(String::from_utf8_lossy(bucket.name()).into_owned(), rows);
    }
    // Every page but the two metas is reached.
    reader.check(|_| ())?;
    Ok(buckets)
}

fn numbered(count: usize, key_len: usize, value_len: usize) -> Rows {
    (0..count).map(|n| (format!("{n:0key_len$}").into_bytes(), vec![n as u8; value_len])).collect()
}

#[test]
fn empty_files_and_empty_buckets_read_back() {
    let empty = BTreeMap::new();
    assert_eq!(read(&written(&empty, PAGE_BYTES)).unwrap(), empty);
    let buckets = BTreeMap::from(["a", "b", "meta"].map(|name| (name.to_owned(), Rows::new())));
    assert_eq!(read(&written(&buckets, PAGE_BYTES)).unwrap(), buckets);
}

#[test]
fn deep_trees_and_long_values_read_back() {
    let buckets = BTreeMap::from([
        ("deep".to_owned(), numbered(20_000, 18, 3)),
        ("long".to_owned(), numbered(3, 18, 3 << 19)),
        ("one".to_owned(), numbered(1, 18, 0)),
        ("wide".to_owned(), numbered(50, 2000, 1)),
    ]);
    for page_bytes in [512, 1024, PAGE_BYTES, 65_536] {
        assert!(read(&written(&buckets, page_bytes)).unwrap() == buckets, "pages of {page_bytes}");
    }
}

#[test]
fn little_of_the_pages_is_wasted_whatever_the_rows_are() {
    for value_len in [0, 10, 100, 300, 500, 1000, 2000, 2100, 3000, 4000, 4096, 5000, 9000, 100_000] {
        let count = (4 << 20) / (value_len + 40);
        let bytes = written(&BTreeMap::from([("key".to_owned(), numbered(count, 17, value_len))]), PAGE_BYTES).len();
        let used = count * (value_len + 17 + 16);
        assert!(bytes < used * 6 / 5 + 10 * PAGE_BYTES, "values of {value_len} bytes: {bytes} for {used}");
    }
}

#[test]
fn what_bbolt_does_not_take_is_not_written() {
    let told =
        |fill: &dyn Fn(&mut Writer<'_>) -> Result<(), WriteError>| plan(PAGE_BYTES, fill).unwrap_err().to_string();
    assert!(told(&|writer| writer.row(b"k", b"v")).contains("before the first bucket"));
    assert!(told(&|writer| writer.bucket("a").and_then(|()| writer.row(b"", b"v"))).contains("0 bytes"));
    assert!(told(&|writer| writer.bucket("a").and_then(|()| writer.row(&[1; 32769], b"v"))).contains("32769 bytes"));
    assert!(told(&|writer| writer.bucket("b").and_then(|()| writer.bucket("a"))).contains("not above"));
    assert!(
        told(&|writer| {
            writer.bucket("a")?;
            writer.row(b"b", b"")?;
            writer.row(b"b", b"")
        })
        .contains("not above")
    );
}

#[test]
fn a_second_pass_with_other_rows_is_an_error() {
    let fill = |rows: usize| {
        move |writer: &mut Writer<'_>| -> Result<(), WriteError> {
            writer.bucket("key")?;
            numbered(rows, 17, 100).iter().try_for_each(|(key, value)| writer.row(key, value))
        }
    };
    let layout = plan(PAGE_BYTES, fill(1000)).unwrap();
    let error = write(layout, &mut Vec::new(), fill(900)).unwrap_err();
    assert!(matches!(error, WriteError::OtherRows { .. }), "{error}");
}

#[test]
fn the_newer_valid_meta_counts_and_either_is_enough() {
    let buckets = BTreeMap::from([("key".to_owned(), numbered(100, 17, 9))]);
    let good = written(&buckets, 1024);
    for damaged in [0..1024, 1024..2048] {
        let mut bytes = good.clone();
        bytes[damaged].fill(0);
        assert_eq!(read(&bytes).unwrap(), buckets);
    }
    let mut bytes = good.clone();
    bytes[..2048].fill(0);
    assert!(matches!(opened(&bytes), Err(Error::NoMeta { .. })));
    assert!(matches!(opened(&good[..good.len() - 1]), Err(Error::Truncated { .. })));
    // A newer one that leads nowhere is followed: it is what the last transaction said.
    let newer = format::Meta { page_bytes: 1024, root: 0, pages: good.len() as u64 / 1024, transaction: 9 };
    let mut bytes = good;
    bytes[1024..2048].copy_from_slice(&format::encode_meta(1, &newer));
    assert!(matches!(read(&bytes), Err(Error::Page { page: 0, .. })));
}

/// A branch whose child is the branch itself, or whose children are the same page.
#[test]
fn pages_that_two_places_lead_to_are_damage() {
    let good = written(&BTreeMap::from([("key".to_owned(), numbered(200, 17, 9))]), 512);
    let is_branch = |page: &&[u8]| page[8] == 1;
    let branch = good.chunks(512).find(is_branch).expect("it has one");
    let id = u64::from_le_bytes(*branch.first_chunk().unwrap());
    for child in [id, u64::from_le_bytes(*branch[16 + 8..].first_chunk().unwrap())] {
        let mut bytes = good.clone();
        // The second element's child.
        bytes[id as usize * 512 + 16 + 16 + 8..][..8].copy_from_slice(&child.to_le_bytes());
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, Error::Page { page, why: PageDamage::SeenTwice } if page == child), "{error}");
    }
}

fn rows() -> impl Strategy<Value = Rows> {
    let key = prop::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (0usize..5000).prop_map(|len| vec![7; len]),
    ];
    prop::collection::btree_map(key, value, 0..120)
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(
        buckets in prop::collection::btree_map("[a-z]{1,12}", rows(), 0..12),
        page_bytes in prop_oneof![Just(512usize), Just(1024), Just(4096)],
    ) {
        prop_assert_eq!(read(&written(&buckets, page_bytes)).unwrap(), buckets);
    }

    #[test]
    fn a_changed_byte_is_an_error_or_a_value(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        count in 0usize..200,
    ) {
        let buckets = BTreeMap::from([("key".to_owned(), numbered(count, 17, 40)), ("meta".to_owned(), numbered(3, 5, 8))]);
        let mut bytes = written(&buckets, 512);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Err(error) = read(&bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
