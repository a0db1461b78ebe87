//! The envelope as metadata of a request.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::model::{ClusterId, MemberId};
use crate::peer::{Envelope, Refusal};

const CLUSTER: HeaderName = HeaderName::from_static("lodemark-cluster");
const FROM: HeaderName = HeaderName::from_static("lodemark-from");
const TO: HeaderName = HeaderName::from_static("lodemark-to");

/// A request to `path` of the other side, without its messages.
pub(super) fn request(path: &'static str, envelope: Envelope) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    // HTTP/2 wants a host; nobody looks at this one.
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("peer")
        .path_and_query(path)
        .build()
        .expect("the paths are constants");
    let headers = request.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    for (name, id) in [(CLUSTER, envelope.cluster.0), (FROM, envelope.from.0), (TO, envelope.to.0)] {
        let value = HeaderValue::from_str(&format!("{id:x}")).expect("hexadecimal digits are legal");
        headers.insert(name, value);
    }
    request
}

/// The envelope of a request.
///
/// # Errors
/// [`Refusal::Malformed`] if there is none.
pub(super) fn of(headers: &HeaderMap) -> Result<Envelope, Refusal> {
    Ok(Envelope {
        cluster: ClusterId(id(headers, CLUSTER)?),
        from: MemberId(id(headers, FROM)?),
        to: MemberId(id(headers, TO)?),
    })
}

fn id(headers: &HeaderMap, name: HeaderName) -> Result<u64, Refusal> {
    headers
        .get(&name)
        .and_then(|value| u64::from_str_radix(value.to_str().ok()?, 16).ok())
        .ok_or_else(|| Refusal::malformed(format_args!("{name} is missing or no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_the_way() {
        let envelope =
            Envelope { cluster: ClusterId(u64::MAX), from: MemberId(0), to: MemberId(0x8e9e_05c5_2164_694d) };
        let mut request = request(crate::peer::http2::CALL_PATH, envelope);
        assert_eq!(of(request.headers()), Ok(envelope));
        request.headers_mut().remove(TO);
        assert!(of(request.headers()).unwrap_err().to_string().contains("lodemark-to is missing"));
    }
}
