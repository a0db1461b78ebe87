//! From the path of a call to its service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;

use super::access::{self, Credentials, Rpc};
use super::auth::AuthService;
use super::cluster::ClusterService;
use super::election::ElectionService;
use super::health::HealthService;
use super::kv::KvService;
use super::lease::LeaseService;
use super::lock::LockService;
use super::maintenance::MaintenanceService;
use super::message_limit::MessageLimit;
use super::meter::{self, Meters};
use super::watch::WatchService;
use super::{Api, SENT_MESSAGE_BYTES_MAX, guard, status};
use crate::api::MESSAGE_BYTES_SPARE;
use crate::node::Node;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::etcdserverpb::kv_server::KvServer;
use crate::proto::etcdserverpb::lease_server::LeaseServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::proto::healthpb::health_server::HealthServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;

/// Makes the services that answer every call.
pub(crate) fn routes(api: &Api) -> Services {
    /// Wraps a service for the wire. tonic's own limit for what is received cannot be reached: [`MessageLimit`] is lower.
    macro_rules! served {
        ($server:ident, $service:ident) => {
            $server::new($service(api.clone()))
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(SENT_MESSAGE_BYTES_MAX)
        };
    }
    Services::new(api)
        .with(served!(KvServer, KvService))
        .with(served!(LeaseServer, LeaseService))
        .with(served!(ClusterServer, ClusterService))
        .with(served!(MaintenanceServer, MaintenanceService))
        .with(served!(AuthServer, AuthService))
        .with(served!(HealthServer, HealthService))
        .with(served!(WatchServer, WatchService))
        .with(served!(LockServer, LockService))
        .with(served!(ElectionServer, ElectionService))
}

/// All services: takes a call by its path, lets it in, answers it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    node: Node,
    routes: Routes,
    names: Arc<[&'static str]>,
    meters: Arc<Meters>,
    /// The largest message that is received, in bytes.
    message_bytes_max: usize,
}

impl Services {
    fn new(api: &Api) -> Services {
        let message_bytes_max = api.limits.request_bytes_max + MESSAGE_BYTES_SPARE;
        let (node, meters) = (api.node.clone(), Arc::new(Meters::new(api.node.metrics().clone())));
        Services { node, routes: Routes::default(), names: Arc::default(), meters, message_bytes_max }
    }

    /// What counts the calls.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    fn with<S>(self, service: S) -> Services
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let names = self.names.iter().copied().chain([S::NAME]).collect();
        Services { routes: self.routes.add_service(service).prepare(), names, ..self }
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<(), Status> {
        let path = request.uri().path();
        let is_known = |(service, _): (&str, &str)| self.names.contains(&service);
        if !status::service_and_method(path).is_some_and(is_known) {
            return Err(status::unknown_service(path));
        }
        guard::admit(&self.node, path, request.headers())
    }
}

impl<B> Service<Request<B>> for Services
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    /// Always ready.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Err(refused) = self.admit(&request) {
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        }
        let path = request.uri().path().to_owned();
        let metered = Rpc::of(&path).map(|rpc| self.meters.begin(rpc, request.headers()));
        let caller = self.node.is_auth_enabled().then(|| {
            // A path that is no call is refused by the service.
            Rpc::of(&path).map(|rpc| (rpc, Credentials::of(request.headers(), request.extensions())))
        });
        let node = self.node.clone();
        let request = request.map(|body| {
            let meter = metered.as_ref().map(|metered| metered.meter().clone());
            MessageLimit::new(Body::new(body), self.message_bytes_max, meter)
        });
        let mut routes = self.routes.clone();
        Box::pin(async move {
            if let Some(Some((rpc, credentials))) = caller
                && let Err(refused) = access::admit(&node, rpc, &credentials).await
            {
                return Ok(meter::metered(refused.into_http(), metered));
            }
            let answer = routes.call(request).await?;
            if is_unknown_method(&answer) {
                return Ok(status::unknown_method(&path).into_http());
            }
            Ok(meter::metered(answer, metered))
        })
    }
}

/// tonic answers a method that is not there with a code alone; where we answer with that code, there is a text.
fn is_unknown_method(answer: &Response<Body>) -> bool {
    let headers = answer.headers();
    let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    code == Some(Code::Unimplemented) && !headers.contains_key(Status::GRPC_MESSAGE)
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, BufMut, Bytes, BytesMut};
    use http_body_util::{BodyExt, Full};
    use prost::Message;

    use super::*;
    use crate::api::grpc::testing::started;
    use crate::proto::etcdserverpb as pb;

    /// Makes a call with these messages; gives those of the answer, and how it ended.
    async fn exchange(services: &Services, path: &str, messages: &[Vec<u8>]) -> (Vec<Bytes>, Status) {
        let mut body = BytesMut::new();
        for message in messages {
            body.put_u8(0);
            body.put_u32(message.len() as u32);
            body.put_slice(message);
        }
        let request = Request::post(path).body(Full::new(body.freeze())).unwrap();
        let answer = services.clone().call(request).await.unwrap();
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return (vec![], status);
        }
        let body = answer.into_body().collect().await.unwrap();
        let status = Status::from_header_map(body.trailers().unwrap()).unwrap();
        let (mut rest, mut answers) = (body.to_bytes(), vec![]);
        while !rest.is_empty() {
            assert_eq!(rest.get_u8(), 0, "it is not compressed");
            let len = rest.get_u32() as usize;
            answers.push(rest.split_to(len));
        }
        (answers, status)
    }

    /// Makes a unary call.
    async fn call(services: &Services, path: &str, message: Vec<u8>) -> Result<Bytes, Status> {
        let (mut answers, status) = exchange(services, path, &[message]).await;
        if status.code() == Code::Ok { Ok(answers.remove(0)) } else { Err(status) }
    }

    fn put(bytes: usize) -> Vec<u8> {
        pb::PutRequest { key: Bytes::from_static(b"k"), value: vec![7; bytes].into(), ..Default::default() }
            .encode_to_vec()
    }

    #[tokio::test]
    async fn calls_reach_their_service() {
        let api = started().await;
        let services = routes(&api);
        let answer = call(&services, "/etcdserverpb.KV/Put", put(3)).await.unwrap();
        assert_eq!(pb::PutResponse::decode(answer).unwrap().header.unwrap().revision, 2);
        api.node.stop().await;
    }

    #[tokio::test]
    async fn a_keep_alive_stream_ends_well_when_the_client_sends_no_more() {
        let api = started().await;
        let services = routes(&api);
        let grant = pb::LeaseGrantRequest { ttl: 60, id: 7 }.encode_to_vec();
        call(&services, "/etcdserverpb.Lease/LeaseGrant", grant).await.unwrap();
        let requests = [7, 8].map(|id| pb::LeaseKeepAliveRequest { id }.encode_to_vec());
        let (answers, status) = exchange(&services, "/etcdserverpb.Lease/LeaseKeepAlive", &requests).await;
        assert_eq!(status.code(), Code::Ok);
        let ttls: Vec<_> =
            answers.into_iter().map(|answer| pb::LeaseKeepAliveResponse::decode(answer).unwrap().ttl).collect();
        assert_eq!(ttls, [60, 0]);

        let (answers, status) = exchange(&services, "/etcdserverpb.Lease/LeaseKeepAlive", &[vec![0xff]]).await;
        assert_eq!((answers.len(), status.code()), (0, Code::Internal));
        api.node.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let api = started().await;
        let services = routes(&api);
        for (path, text) in [
            ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
            ("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
            ("/etcdserverpb.KV", "malformed method name: \"/etcdserverpb.KV\""),
            ("/nope.Svc/M", "unknown service nope.Svc"),
            ("/etcdserverpb.KV/a/b", "unknown service etcdserverpb.KV/a"),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "unknown service grpc.reflection.v1.ServerReflection",
            ),
        ] {
            let status = call(&services, path, vec![]).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
        }
        api.node.stop().await;
    }

    #[tokio::test]
    async fn size_has_two_limits_the_command_and_the_message() {
        let api = started().await;
        let services = routes(&api);
        let command_max = api.limits.request_bytes_max;
        let status = call(&services, "/etcdserverpb.KV/Put", put(command_max)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "etcdserver: request is too large"));
        let message_max = command_max + MESSAGE_BYTES_SPARE;
        let message = put(message_max);
        let (len, text) = (message.len(), "grpc: received message larger than max");
        let status = call(&services, "/etcdserverpb.KV/Put", message).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), format!("{text} ({len} vs. {message_max})"));
        api.node.stop().await;
    }

    #[tokio::test]
    async fn a_malformed_message_is_an_internal_error() {
        let api = started().await;
        let status = call(&routes(&api), "/etcdserverpb.KV/Put", vec![0x0a]).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        api.node.stop().await;
    }
}
