//! Messages as JSON values, to the wire of gRPC and back, by the text of `schema`.
//!
//! What is in the value is written, and what is on the wire is read: a zero that a server sends is seen. A field that the
//! text does not know is an error, so that no server has one unnoticed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use serde_json::{Map, Value};

use super::schema::{Field, Kind, Schema};

/// Bytes, as JSON has them.
pub fn base64(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(bytes))
}

/// The bytes of such a field.
pub fn bytes_of(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).expect("this test writes base64")
}

pub fn encode(message: &str, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fields = Schema::get().fields(message);
    for (name, value) in value.as_object().into_iter().flatten() {
        let field = fields.iter().find(|field| field.name == name);
        let field = field.unwrap_or_else(|| panic!("{message} has no {name}"));
        match (field.is_list, value) {
            (true, Value::Array(values)) => values.iter().for_each(|value| encode_field(field, value, &mut bytes)),
            _ => encode_field(field, value, &mut bytes),
        }
    }
    bytes
}

fn encode_field(field: &Field, value: &Value, bytes: &mut Vec<u8>) {
    let number = match field.kind {
        Kind::Bytes => return encode_bytes(field, &bytes_of(value), bytes),
        Kind::String => return encode_bytes(field, value.as_str().unwrap_or_default().as_bytes(), bytes),
        Kind::Message(name) => return encode_bytes(field, &encode(name, value), bytes),
        Kind::Bool => u64::from(value.as_bool().unwrap_or_default()),
        Kind::Int64 | Kind::Uint64 | Kind::Uint32 => number_of(value),
        Kind::Enum(name) => match value.as_str() {
            Some(text) => {
                let known = Schema::get().values(name).iter().position(|known| *known == text);
                known.unwrap_or_else(|| panic!("{name} has no {text}")) as u64
            }
            None => number_of(value),
        },
    };
    encode_key(field.number, WireType::Varint, bytes);
    encode_varint(number, bytes);
}

fn encode_bytes(field: &Field, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(field.number, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

/// The bits of a number, written as number or as text.
fn number_of(value: &Value) -> u64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let signed = || text.parse::<i64>().map(i64::cast_unsigned);
    text.parse().or_else(|_| signed()).unwrap_or_else(|_| panic!("{value} is no number"))
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode(message: &str, mut bytes: &[u8]) -> Result<Value, String> {
    let fields = Schema::get().fields(message);
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).map_err(|error| format!("{message}: {error}"))?;
        let field = fields.iter().find(|field| field.number == number);
        let field = field.ok_or_else(|| format!("{message} has a field {number}"))?;
        let varint = decode_varint(&mut bytes).map_err(|error| format!("{message}.{}: {error}", field.name))?;
        match wire {
            WireType::Varint => add(&mut object, field, varint_value(field, varint)?),
            WireType::LengthDelimited => {
                let len = usize::try_from(varint).map_err(|error| error.to_string())?;
                let cut = bytes.split_at_checked(len);
                let (content, rest) = cut.ok_or_else(|| format!("{message}.{} is cut off", field.name))?;
                bytes = rest;
                add_content(&mut object, field, content)?;
            }
            _ => return Err(format!("{message}.{} is {wire:?}", field.name)),
        }
    }
    Ok(Value::Object(object))
}

fn add_content(object: &mut Map<String, Value>, field: &Field, mut content: &[u8]) -> Result<(), String> {
    let value = match field.kind {
        Kind::Bytes => base64(content),
        Kind::String => Value::String(String::from_utf8(content.to_vec()).map_err(|error| error.to_string())?),
        Kind::Message(name) => decode(name, content)?,
        Kind::Bool | Kind::Int64 | Kind::Uint64 | Kind::Uint32 | Kind::Enum(_) => {
            while !content.is_empty() {
                let varint = decode_varint(&mut content).map_err(|error| error.to_string())?;
                add(object, field, varint_value(field, varint)?);
            }
            return Ok(());
        }
    };
    add(object, field, value);
    Ok(())
}

fn varint_value(field: &Field, varint: u64) -> Result<Value, String> {
    Ok(match field.kind {
        Kind::Bool => Value::Bool(varint != 0),
        Kind::Int64 => Value::String(varint.cast_signed().to_string()),
        Kind::Uint64 => Value::String(varint.to_string()),
        Kind::Uint32 => Value::from(varint),
        Kind::Enum(name) => {
            let known = usize::try_from(varint).ok().and_then(|at| Schema::get().values(name).get(at));
            known.map_or(Value::from(varint), |known| Value::from(*known))
        }
        Kind::Bytes | Kind::String | Kind::Message(_) => return Err(format!("{} is a number", field.name)),
    })
}

fn add(object: &mut Map<String, Value>, field: &Field, value: Value) {
    if !field.is_list {
        object.insert(field.name.to_owned(), value);
        return;
    }
    let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().expect("it was made as a list").push(value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema::ALL;
    use super::*;

    #[test]
    fn every_message_of_a_call_is_written() {
        for rpc in ALL {
            for message in [rpc.request, rpc.answer] {
                assert_eq!(decode(message, &[]), Ok(json!({})), "{message}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let txn = json!({
            "compare": [{"result": "GREATER", "target": "LEASE", "key": "YQ==", "lease": "-7"}],
            "success": [{"request_put": {"key": "YQ==", "ignore_value": true}}, {"request_txn": {}}],
        });
        assert_eq!(decode("TxnRequest", &encode("TxnRequest", &txn)), Ok(txn));
        let status = json!({"raftIndex": u64::MAX.to_string(), "errors": ["a", ""], "downgradeInfo": {}});
        assert_eq!(decode("StatusResponse", &encode("StatusResponse", &status)), Ok(status));
        assert!(decode("LeaseStatus", &encode("LeaseTimeToLiveRequest", &json!({"keys": true}))).is_err());
    }
}
