//! The private decoders of this folder, for whoever feeds them any bytes: the fuzz targets in `fuzz/`.

use super::codec;
use super::error::Damage;
use crate::model::{LeaseId, MemberId, Record};

/// Reads one kind of payload.
///
/// # Errors
/// What is wrong with it.
///
/// # Panics
/// If what was read reads back otherwise after it was written: a fault of the decoder or the encoder.
pub type Reader = fn(&[u8]) -> Result<(), Damage>;

/// The payloads of tables and of `meta` that have a form of their own, by name.
pub const READERS: &[(&str, Reader)] = &[
    ("record", |payload| there_and_back(payload, Record::from_bytes, |record| record.as_bytes().to_vec())),
    ("lease", |payload| there_and_back(payload, |from| codec::decode_lease(LeaseId(1), from), codec::encode_lease)),
    ("member", |payload| there_and_back(payload, |from| codec::decode_member(MemberId(1), from), codec::encode_member)),
    ("removed", |payload| there_and_back(payload, codec::decode_removed, |()| Vec::new())),
    ("alarms", |payload| there_and_back(payload, codec::decode_alarms, |raised| codec::encode_alarms(*raised))),
    ("auth", |payload| there_and_back(payload, codec::decode_auth, codec::encode_auth)),
    ("log id", |payload| there_and_back(payload, codec::decode_log_id, |at| codec::encode_log_id(*at))),
    ("identity", |payload| there_and_back(payload, codec::decode_identity, |of| codec::encode_identity(*of))),
    ("founding", |payload| there_and_back(payload, codec::decode_founding, codec::encode_founding)),
    ("sum", |payload| there_and_back(payload, codec::decode_sum, |sum| codec::encode_sum(*sum))),
    ("sealed value", |sealed| {
        let key = b"key";
        let mut again = Vec::new();
        codec::seal(key, codec::unseal(key, sealed)?, &mut again);
        assert_eq!(again, sealed);
        Ok(())
    }),
];

fn there_and_back<T: PartialEq + std::fmt::Debug, E: Into<Damage> + std::fmt::Debug>(
    payload: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Result<(), Damage> {
    let value = decode(payload).map_err(Into::into)?;
    assert_eq!(decode(&encode(&value)).expect("what was written can be read"), value);
    Ok(())
}
