//! Messages as rows of etcd's database: whoever reads and writes those needs no more of protobuf than this.

use prost::Message;

/// The bytes of a message.
#[must_use]
pub fn to_row(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Reads a message; `None` if the bytes are none.
#[must_use]
pub fn from_row<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok()
}
