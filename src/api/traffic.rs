//! What a listener is for.

use std::fmt;

/// What is served at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Calls over HTTP/2, and plain HTTP.
    GrpcAndHttp,
    /// Calls alone.
    Grpc,
    /// Plain HTTP alone: with TLS also over HTTP/2.
    Http,
    /// As [`Traffic::Http`], but only what those ask who watch over this member, and for anybody.
    Metrics,
}

impl Traffic {
    /// Whether calls are answered.
    pub(super) fn has_grpc(self) -> bool {
        matches!(self, Traffic::GrpcAndHttp | Traffic::Grpc)
    }

    /// Whether plain HTTP is answered.
    pub(super) fn has_http(self) -> bool {
        self != Traffic::Grpc
    }
}

impl fmt::Display for Traffic {
    /// In etcd's words, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Traffic::GrpcAndHttp => "grpc+http",
            Traffic::Grpc => "grpc",
            Traffic::Http => "http",
            Traffic::Metrics => "metrics",
        })
    }
}
