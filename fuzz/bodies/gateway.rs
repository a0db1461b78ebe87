//! JSON of clients, and messages that become JSON.

use lodemark::api::http::gateway::any_bytes;

/// Any bytes as the JSON of any message: what is read becomes JSON that is read as the same.
pub fn json(bytes: &[u8]) -> bool {
    let Some((&message, body)) = bytes.split_first() else { return false };
    match any_bytes::read(message, body) {
        Ok(read) => {
            let text = any_bytes::write(message, &read, 7).expect("what was read can be written");
            assert_eq!(any_bytes::read(message, text.as_bytes()), Ok(read), "{text}");
            true
        }
        Err(why) => {
            assert!(!why.is_empty());
            false
        }
    }
}

/// Any bytes as any message, in pieces: it has the same JSON whatever they are.
pub fn json_of_message(bytes: &[u8]) -> bool {
    let &[message, piece_bytes, ref bytes @ ..] = bytes else { return false };
    let text = any_bytes::write(message, bytes, piece_bytes.into());
    assert_eq!(any_bytes::write(message, bytes, bytes.len()), text);
    text.is_some()
}
