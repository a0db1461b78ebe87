//! Health, as gRPC's own protocol asks for it: this server serves.
//!
//! It says nothing of leader, quorum or alarms; plain HTTP has `/health` for those.
//!
//! Source: gRPC, "Health Checking Protocol"; etcd registers only the server as a whole, whose name is empty.

use std::collections::HashMap;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{Api, guard, status};
use crate::proto::healthpb as pb;
use crate::proto::healthpb::health_check_response::ServingStatus;
use crate::proto::healthpb::health_server::Health;

/// The name of the server as a whole.
const SERVER: &str = "";

/// The service.
#[derive(Debug, Clone)]
pub(super) struct HealthService(pub(super) Api);

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        if request.into_inner().service != SERVER {
            return Err(status::UNKNOWN_SERVICE.into());
        }
        Ok(Response::new(answer(ServingStatus::Serving)))
    }

    async fn list(&self, _: Request<pb::HealthListRequest>) -> Result<Response<pb::HealthListResponse>, Status> {
        let statuses = HashMap::from([(SERVER.to_owned(), answer(ServingStatus::Serving))]);
        Ok(Response::new(pb::HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

    /// Says what is now, and stays open: until the server ends nothing changes.
    async fn watch(&self, request: Request<pb::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let headers = request.metadata().clone().into_headers();
        let is_known = request.into_inner().service == SERVER;
        let now = if is_known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let node = self.0.node.clone();
        let end = stream::once(async move { Err(guard::stream_end(node, &headers).await) });
        Ok(Response::new(Box::pin(stream::iter([Ok(answer(now))]).chain(end))))
    }
}

fn answer(status: ServingStatus) -> pb::HealthCheckResponse {
    pb::HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;

    fn request(service: &str) -> Request<pb::HealthCheckRequest> {
        Request::new(pb::HealthCheckRequest { service: service.into() })
    }

    #[tokio::test]
    async fn the_server_serves_and_nothing_else_is_known() {
        let health = HealthService(started().await);
        let serving = answer(ServingStatus::Serving);
        assert_eq!(health.check(request("")).await.unwrap().into_inner(), serving);
        let status = health.check(request("etcdserverpb.KV")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "unknown service"));
        let list = health.list(Request::new(pb::HealthListRequest {})).await.unwrap().into_inner();
        assert_eq!(list.statuses, HashMap::from([(String::new(), serving)]));
        health.0.node.stop().await;
    }

    #[tokio::test]
    async fn a_watch_tells_once_and_ends_with_the_server() {
        let health = HealthService(started().await);
        for (service, expected) in [("", ServingStatus::Serving), ("x", ServingStatus::ServiceUnknown)] {
            let mut watch = health.watch(request(service)).await.unwrap().into_inner();
            assert_eq!(watch.next().await.unwrap().unwrap(), answer(expected));
            assert!(watch.next().now_or_never().is_none(), "it stays open");
        }
        let mut watch = health.watch(request("")).await.unwrap().into_inner();
        watch.next().await.unwrap().unwrap();
        health.0.node.stop().await;
        assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
}
