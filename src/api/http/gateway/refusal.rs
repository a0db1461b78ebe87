//! How a call that failed is told over HTTP.
//!
//! Source: `grpc-gateway/runtime/errors.go`, `handler.go`.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use super::JSON;
use crate::api::http::answer;

/// What a client is told.
#[derive(Serialize)]
struct Told<'a> {
    code: i32,
    message: &'a str,
}

/// The answer to a call that failed, or that was none.
pub(super) fn of(status: &Status) -> Response {
    let mut response = answer(http_status(status.code()), JSON, body(status));
    if status.code() == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(status.message())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, message);
    }
    response
}

/// The last line of an answer that comes in lines.
pub(super) fn line(status: &Status) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a> {
        error: Told<'a>,
    }
    let mut line = json(&Line { error: told(status) });
    line.push(b'\n');
    line.into()
}

/// The answer in lines to a call of which nothing else was said.
pub(super) fn only_line(status: &Status) -> Response {
    answer(http_status(status.code()), JSON, line(status))
}

fn body(status: &Status) -> Vec<u8> {
    json(&told(status))
}

fn told(status: &Status) -> Told<'_> {
    Told { code: status.code() as i32, message: status.message() }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a number and a text have a JSON form")
}

/// Source: `grpc-gateway/runtime/errors.go`, `HTTPStatusFromCode`.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // It has no name but with those who made it up.
        Code::Cancelled => StatusCode::from_u16(499).expect("it has three digits"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let statuses = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        for (code, status) in (0..).zip(statuses) {
            assert_eq!(http_status(Code::from_i32(code)).as_u16(), status, "{code}");
        }
    }

    #[tokio::test]
    async fn bodies_have_code_and_message() {
        let response = of(&Status::unauthenticated("a \"b\""));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "a \"b\"");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"code":16,"message":"a \"b\""}"#);
        assert_eq!(line(&Status::unknown("x")), "{\"error\":{\"code\":2,\"message\":\"x\"}}\n");
    }
}
