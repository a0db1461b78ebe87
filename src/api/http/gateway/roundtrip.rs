//! Any message of the contract becomes JSON and the same message again, in whatever pieces it comes.

use base64::Engine;
use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::json;

use super::read;
use super::write::Writer;
use crate::proto::descriptors;

/// Messages in each other that are made.
const DEPTH_MAX: usize = 6;

fn named(name: &str) -> MessageDescriptor {
    descriptors().get_message_by_name(&format!("etcdserverpb.{name}")).unwrap_or_else(|| panic!("{name}"))
}

fn text(message: &[u8], of: &MessageDescriptor, piece_bytes: usize) -> String {
    let mut out = Vec::new();
    let mut writer = Writer::new(of.clone(), message.len() as u64, &mut out);
    for piece in message.chunks(piece_bytes.max(1)) {
        assert!(!writer.is_done());
        writer.write(piece, &mut out).unwrap();
    }
    assert!(writer.is_done());
    String::from_utf8(out).unwrap()
}

fn bytes(json: &str, name: &str) -> Result<Vec<u8>, String> {
    read::message(json.as_bytes(), &named(name)).map_err(|error| error.to_string())
}

/// What a message is made of.
struct Entropy<'a>(&'a [u8]);

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u64 {
        let bytes = usize::from(self.byte()) % 9;
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()) % 9;
        (0..len).map(|_| self.byte()).collect()
    }
}

/// A message as every encoder writes it.
fn message(of: &MessageDescriptor, entropy: &mut Entropy<'_>, depth: usize) -> Vec<u8> {
    let (mut out, mut chosen) = (Vec::new(), std::collections::HashMap::new());
    for oneof in of.oneofs() {
        chosen.insert(oneof.name().to_owned(), usize::from(entropy.byte()) % (oneof.fields().len() + 1));
    }
    for field in of.fields() {
        if let Some(oneof) = field.containing_oneof()
            && oneof.fields().nth(chosen[oneof.name()]).as_ref() != Some(&field)
        {
            continue;
        }
        let count = if field.is_list() { usize::from(entropy.byte()) % 4 } else { 1 };
        let mut packed = Vec::new();
        for _ in 0..count {
            let (kind, is_shown) = (field.kind(), field.supports_presence() || field.is_list());
            let varint = |number: u64, packed: &mut Vec<u8>, out: &mut Vec<u8>| {
                if field.is_packed() {
                    encode_varint(number, packed);
                } else if number != 0 || is_shown {
                    encode_key(field.number(), WireType::Varint, out);
                    encode_varint(number, out);
                }
            };
            let block = |bytes: &[u8], out: &mut Vec<u8>| {
                encode_key(field.number(), WireType::LengthDelimited, out);
                encode_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            };
            match kind {
                Kind::Message(_) if depth == DEPTH_MAX || (!field.is_list() && entropy.byte().is_multiple_of(3)) => {}
                Kind::Message(part) => block(&message(&part, entropy, depth + 1), &mut out),
                Kind::Bool => varint(entropy.number() & 1, &mut packed, &mut out),
                Kind::Uint32 => varint(entropy.number() & 0xffff_ffff, &mut packed, &mut out),
                Kind::Int32 | Kind::Enum(_) => {
                    varint(i64::from(entropy.number() as i32) as u64, &mut packed, &mut out);
                }
                Kind::Int64 | Kind::Uint64 => varint(entropy.number(), &mut packed, &mut out),
                Kind::String => {
                    let text = String::from_utf8_lossy(&entropy.bytes()).into_owned();
                    if !text.is_empty() || is_shown {
                        block(text.as_bytes(), &mut out);
                    }
                }
                Kind::Bytes => {
                    let bytes = entropy.bytes();
                    if !bytes.is_empty() || is_shown {
                        block(&bytes, &mut out);
                    }
                }
                other => panic!("{} is of a kind that cannot be read: {other:?}", field.full_name()),
            }
        }
        if !packed.is_empty() {
            encode_key(field.number(), WireType::LengthDelimited, &mut out);
            encode_varint(packed.len() as u64, &mut out);
            out.extend_from_slice(&packed);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_comes_back(entropy in proptest::collection::vec(any::<u8>(), 0..400), piece_bytes in 1_usize..40) {
        for of in descriptors().all_messages() {
            let message = message(&of, &mut Entropy(&entropy), 0);
            let text = text(&message, &of, piece_bytes);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{} {text}", of.full_name());
            let again = read::message(text.as_bytes(), &of);
            prop_assert_eq!(again.as_ref(), Ok(&message), "{} {}", of.full_name(), text);
        }
    }

    #[test]
    fn any_bytes_become_text_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..60), piece_bytes in 1_usize..9) {
        for of in descriptors().all_messages() {
            let mut out = Vec::new();
            let mut writer = Writer::new(of, bytes.len() as u64, &mut out);
            for piece in bytes.chunks(piece_bytes) {
                if writer.write(piece, &mut out).is_err() {
                    break;
                }
            }
        }
    }
}

#[test]
fn fields_are_declared_in_the_order_of_their_numbers() {
    for message in descriptors().all_messages() {
        let declared: Vec<i32> = message.descriptor_proto().field.iter().map(|field| field.number()).collect();
        assert!(declared.is_sorted(), "{}: {declared:?}", message.full_name());
        assert!(message.fields().all(|field| !field.is_map() && !field.is_group()), "{}", message.full_name());
    }
}

#[test]
fn what_is_zero_is_left_out_unless_it_was_chosen() {
    let of = named("Compare");
    assert_eq!(text(&[0x08, 0, 0x10, 0, 0x1a, 0], &of, 1), "{}");
    assert_eq!(text(&[0x20, 0], &of, 1), r#"{"version":"0"}"#);
    assert_eq!(bytes(r#"{"result":0,"version":"0"}"#, "Compare"), Ok(vec![0x20, 0]));
    assert_eq!(text(&[0x08, 9, 0x10, 3], &of, 9), r#"{"result":9,"target":"VALUE"}"#);
}

#[test]
fn what_is_not_known_is_passed_over() {
    let of = named("RangeResponse");
    // Fields 100 to 103: a number, 64 bits, bytes, 32 bits; then `count`.
    let message = [
        &[0xa0, 0x06, 0xff, 0x01][..],
        &[0xa9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xb2, 0x06, 2, 1, 2],
        &[0xb2, 0x06, 0],
        &[0xbd, 0x06, 1, 2, 3, 4],
        &[0x20, 5],
    ]
    .concat();
    for piece_bytes in 1..message.len() {
        assert_eq!(text(&message, &of, piece_bytes), r#"{"count":"5"}"#);
    }
}

#[test]
fn texts_are_escaped_as_go_escapes_them() {
    let name = "a\"\\\u{1}\n\t\u{8}\u{7f}é<\u{1f600}";
    let mut message = vec![0x0a, name.len() as u8];
    message.extend_from_slice(name.as_bytes());
    let of = named("AuthUserAddRequest");
    let expected = "{\"name\":\"a\\\"\\\\\\u0001\\n\\t\\b\u{7f}é<\u{1f600}\"}";
    assert_eq!(text(&message, &of, 1), expected);
    assert_eq!(bytes(expected, "AuthUserAddRequest"), Ok(message));
}

/// What a real etcd takes.
#[test]
fn the_mapping_is_generous() {
    let same = |name, variants: &[&str]| {
        let first = bytes(variants[0], name).unwrap();
        for other in variants {
            assert_eq!(bytes(other, name).as_ref(), Ok(&first), "{other}");
        }
    };
    same(
        "RangeRequest",
        &[
            r#"{"key":"Zm9v","range_end":"/+8="}"#,
            r#"{"key":"Zm9v","rangeEnd":"_-8="}"#,
            "{ \"key\" : \"Zm\\n9v\" ,\n\"rangeEnd\":\"_-8\", \"bogus\":[{\"key\":1}], \"bogus\":null, \"limit\":null}",
            r#"{"\u006bey":"Zm9v","range_end":"\/+8","sort_order":"NO SUCH","limit":-0,"[x]":0}"#,
        ],
    );
    same("RangeRequest", &[r#"{"sort_order":"DESCEND"}"#, r#"{"sortOrder":2}"#, r#"{"sortOrder":20e-1}"#]);
    same("PutRequest", &[r#"{"lease":"1000"}"#, r#"{"lease":1000}"#, r#"{"lease":1e3}"#, r#"{"lease":"1000.0"}"#]);
    same("PutRequest", &[r#"{"value":"YQ=="}"#, r#"{"value":"YR=="}"#, r#"{"value":"YQ"}"#]);
    same("MemberAddRequest", &[r#"{"peerURLs":["x"]}"#, r#"{"bogus":1,"peerURLs":["x"],"is_learner":false}"#]);
    same(
        "TxnRequest",
        &[
            r#"{"success":[{"request_range":{"key":"Zm9v"}}]}"#,
            r#"{"success":[{"requestRange":{"key":"Zm9v"}, "request_put":null}],"failure":null,"compare":[]}"#,
        ],
    );
}

/// What a real etcd answers.
#[test]
fn what_does_not_fit_is_refused_in_the_words_of_protojson() {
    for (name, text, why) in [
        ("PutRequest", "[1,2]", "syntax error (line 1:1): unexpected token ["),
        ("PutRequest", "123", "syntax error (line 1:1): unexpected token 123"),
        ("PutRequest", "\"x\"", "syntax error (line 1:1): unexpected token \"x\""),
        ("PutRequest", "null", "syntax error (line 1:1): unexpected token null"),
        ("PutRequest", r#"{"key":123}"#, "(line 1:8): invalid value for bytes field key: 123"),
        ("PutRequest", r#"{"key":"Z"}"#, "(line 1:8): invalid value for bytes field key: \"Z\""),
        ("PutRequest", r#"{"key":"+_8"}"#, "(line 1:8): invalid value for bytes field key: \"+_8\""),
        ("PutRequest", r#"{"key":"YQ="}"#, "(line 1:8): invalid value for bytes field key: \"YQ=\""),
        ("PutRequest", r#"{"key":"Zm9v","key":"Zm9v"}"#, "(line 1:15): duplicate field \"key\""),
        ("RangeRequest", r#"{"range_end":"","rangeEnd":""}"#, "(line 1:17): duplicate field \"rangeEnd\""),
        ("PutRequest", "{\n\n \"lease\":\"abc\"}", "(line 3:10): invalid value for int64 field lease: \"abc\""),
        ("PutRequest", "{\"éé\":1,\"lease\":1.5}", "(line 1:17): invalid value for int64 field lease: 1.5"),
        ("PutRequest", r#"{"lease":" 1"}"#, "(line 1:10): invalid value for int64 field lease: \" 1\""),
        (
            "PutRequest",
            r#"{"lease":9223372036854775808}"#,
            "(line 1:10): invalid value for int64 field lease: 9223372036854775808",
        ),
        ("PutRequest", r#"{"prev_kv":"true"}"#, "(line 1:12): invalid value for bool field prevKv: \"true\""),
        ("PutRequest", r#"{"prev_kv":1}"#, "(line 1:12): invalid value for bool field prevKv: 1"),
        ("RangeRequest", r#"{"sort_order":1.5}"#, "(line 1:15): invalid value for enum field sortOrder: 1.5"),
        ("RangeRequest", r#"{"sort_order":3e9}"#, "(line 1:15): invalid value for enum field sortOrder: 3e9"),
        ("RangeRequest", r#"{"sort_order":{}}"#, "(line 1:15): invalid value for enum field sortOrder: {"),
        ("MemberRemoveRequest", r#"{"ID":-1}"#, "(line 1:7): invalid value for uint64 field ID: -1"),
        ("MemberAddRequest", r#"{"peerURLs":"x"}"#, "syntax error (line 1:13): unexpected token \"x\""),
        (
            "MemberAddRequest",
            r#"{"peerURLs":["x",null]}"#,
            "(line 1:18): invalid value for string field peerURLs: null",
        ),
        ("TxnRequest", r#"{"success":[null]}"#, "syntax error (line 1:13): unexpected token null"),
        ("TxnRequest", r#"{"success":{}}"#, "syntax error (line 1:12): unexpected token {"),
        (
            "RequestOp",
            r#"{"request_range":{},"request_put":{}}"#,
            "(line 1:21): error parsing \"request_put\", oneof etcdserverpb.RequestOp.request is already set",
        ),
        ("AuthUserAddRequest", r#"{"name":"\ud800"}"#, "unexpected EOF"),
        (
            "AuthUserAddRequest",
            r#"{"x":"\ud800abcdefg"}"#,
            "syntax error (line 1:6): invalid escape code \"abcdef\" in string",
        ),
    ] {
        assert_eq!(bytes(text, name), Err(format!("proto: {why}")), "{text}");
    }
    let no_utf8 = read::message(b"{\"name\":\"a\xff\"}", &named("AuthUserAddRequest")).unwrap_err();
    assert_eq!(no_utf8.to_string(), "proto: syntax error (line 1:9): invalid UTF-8 in string");
}

#[test]
fn txns_in_txns_have_a_bound() {
    let nested = |depth: usize| {
        let txn = (0..depth).fold(json!({}), |inner, _| json!({ "success": [{ "request_txn": inner }] }));
        bytes(&txn.to_string(), "TxnRequest")
    };
    assert!(nested(49).is_ok());
    assert_eq!(nested(50), Err("proto: exceeded max recursion depth".to_owned()));
}

#[test]
fn base64_of_any_length_comes_in_any_pieces() {
    let of = named("SnapshotResponse");
    for len in 1..20_u8 {
        let blob: Vec<u8> = (0..len).map(|at| at.wrapping_mul(53)).collect();
        let message = [&[0x1a, len][..], &blob].concat();
        let expected = json!({ "blob": base64::engine::general_purpose::STANDARD.encode(&blob) }).to_string();
        for piece_bytes in 1..20 {
            assert_eq!(text(&message, &of, piece_bytes), expected);
        }
    }
}
