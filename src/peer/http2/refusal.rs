//! Refusals as gRPC statuses.
//!
//! The code and the message are for people and tools; the member that was refused reads `lodemark-refusal`.

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, Status};

use crate::model::{ClusterId, MemberId};
use crate::peer::{PeerError, Refusal};

/// The number of a refusal and up to two values.
const REFUSAL: HeaderName = HeaderName::from_static("lodemark-refusal");
/// A text beyond it is cut: headers have a bound.
const TEXT_BYTES_MAX: usize = 1024;

/// The headers, or trailers, of an answer that is a refusal.
pub(super) fn headers(refusal: &Refusal) -> HeaderMap {
    let (number, code, values) = match refusal {
        Refusal::WrongCluster { expected, found } => (1, Code::FailedPrecondition, [expected.0, found.0]),
        Refusal::WrongMember { expected, found } => (2, Code::FailedPrecondition, [expected.0, found.0]),
        Refusal::Stranger(member) => (3, Code::PermissionDenied, [member.0, 0]),
        Refusal::Removed(member) => (4, Code::PermissionDenied, [member.0, 0]),
        Refusal::Malformed(_) => (5, Code::InvalidArgument, [0, 0]),
        Refusal::Stopped(_) => (6, Code::Unavailable, [0, 0]),
        Refusal::NoSpace => (7, Code::ResourceExhausted, [0, 0]),
    };
    let text = match refusal {
        Refusal::Malformed(text) | Refusal::Stopped(text) => text.to_string(),
        Refusal::WrongCluster { .. }
        | Refusal::WrongMember { .. }
        | Refusal::Stranger(_)
        | Refusal::Removed(_)
        | Refusal::NoSpace => refusal.to_string(),
    };
    let mut headers = HeaderMap::new();
    if Status::new(code, cut(&text)).add_header(&mut headers).is_err() {
        // A text that is no header: the code and the number say enough.
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(code as i32));
    }
    let [first, second] = values;
    let value = HeaderValue::from_str(&format!("{number} {first:x} {second:x}")).expect("digits are legal");
    headers.insert(REFUSAL, value);
    headers
}

/// The trailers of an answer that is none.
pub(super) fn success() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    headers
}

/// What the headers or trailers of an answer say; `None` if they say nothing.
pub(super) fn outcome(headers: &HeaderMap) -> Option<Result<(), PeerError>> {
    headers.get(Status::GRPC_STATUS)?;
    let mut headers = headers.clone();
    // Not ours, and the library panics on one that is no base64.
    headers.remove(Status::GRPC_STATUS_DETAILS);
    let status = Status::from_header_map(&headers)?;
    let text = || status.message().into();
    let (number, first, second) = match headers.get(REFUSAL).and_then(values) {
        Some(values) => values,
        None if status.code() == Code::Ok => return Some(Ok(())),
        None => return Some(Err(PeerError::Broken(format!("{}: {}", status.code(), status.message()).into()))),
    };
    let refusal = match number {
        1 => Refusal::WrongCluster { expected: ClusterId(first), found: ClusterId(second) },
        2 => Refusal::WrongMember { expected: MemberId(first), found: MemberId(second) },
        3 => Refusal::Stranger(MemberId(first)),
        4 => Refusal::Removed(MemberId(first)),
        5 => Refusal::Malformed(text()),
        6 => Refusal::Stopped(text()),
        7 => Refusal::NoSpace,
        // Of a newer member: that it refuses is known, and why is for people.
        _ => Refusal::Malformed(text()),
    };
    Some(Err(refusal.into()))
}

fn values(header: &HeaderValue) -> Option<(u32, u64, u64)> {
    let mut parts = header.to_str().ok()?.split(' ');
    let number = parts.next()?.parse().ok()?;
    let mut value = || u64::from_str_radix(parts.next()?, 16).ok();
    Some((number, value()?, value()?))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_comes_back_as_it_was() {
        for refusal in [
            Refusal::WrongCluster { expected: ClusterId(1), found: ClusterId(u64::MAX) },
            Refusal::WrongMember { expected: MemberId(7), found: MemberId(0) },
            Refusal::Stranger(MemberId(0xabc)),
            Refusal::Removed(MemberId(1)),
            Refusal::Malformed("körper\nof two lines".into()),
            Refusal::Stopped("".into()),
            Refusal::NoSpace,
        ] {
            assert_eq!(outcome(&headers(&refusal)), Some(Err(refusal.into())));
        }
        assert_eq!(outcome(&success()), Some(Ok(())));
        assert_eq!(outcome(&HeaderMap::new()), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = Refusal::Malformed("ö".repeat(TEXT_BYTES_MAX).into());
        let Some(Err(PeerError::Refused(Refusal::Malformed(text)))) = outcome(&headers(&long)) else { panic!() };
        assert_eq!(&*text, "ö".repeat(TEXT_BYTES_MAX / 2));
    }

    #[test]
    fn statuses_of_other_programs_are_no_refusals_and_no_panics() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("12"));
        headers.insert("grpc-status-details-bin", HeaderValue::from_static("*"));
        headers.insert("lodemark-refusal", HeaderValue::from_static("none"));
        assert!(matches!(outcome(&headers), Some(Err(PeerError::Broken(_)))));
        headers.insert("lodemark-refusal", HeaderValue::from_static("99 0 0"));
        assert!(matches!(outcome(&headers), Some(Err(PeerError::Refused(Refusal::Malformed(_))))));
    }
}
