//! How a program that uses etcd is tested: a server of the test's own, in memory, whose clock the test moves.
//!
//! `Registry` is the code under test: it knows nothing but an etcd client. `main` is what would be a `#[tokio::test]`.
//!
//! ```sh
//! cargo run --example test_server
//! ```

use std::error::Error;
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions};
use lodemark::embed::{ManualClock, Server};

/// Where the instances of a service are.
struct Registry {
    client: Client,
    service: String,
}

impl Registry {
    /// Registers an instance for as long as its lease is renewed, which is given back.
    async fn register(&mut self, address: &str, ttl: i64) -> Result<i64, etcd_client::Error> {
        let lease = self.client.lease_grant(ttl, None).await?.id();
        let key = format!("/services/{}/{lease:x}", self.service);
        self.client.put(key, address, Some(PutOptions::new().with_lease(lease))).await?;
        Ok(lease)
    }

    /// Renews a lease once.
    async fn renew(&mut self, lease: i64) -> Result<(), etcd_client::Error> {
        let (mut keeper, mut renewals) = self.client.lease_keep_alive(lease).await?;
        keeper.keep_alive().await?;
        renewals.message().await?;
        Ok(())
    }

    /// The addresses of all instances, sorted.
    async fn instances(&mut self) -> Result<Vec<String>, etcd_client::Error> {
        let prefix = format!("/services/{}/", self.service);
        let found = self.client.get(prefix, Some(GetOptions::new().with_prefix())).await?;
        let mut addresses = Vec::new();
        for pair in found.kvs() {
            addresses.push(pair.value_str()?.to_owned());
        }
        addresses.sort();
        Ok(addresses)
    }
}

/// An instance that is not renewed is gone after its TTL; one that is stays. Ten seconds pass in no time.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let server = Server::in_memory().client_addr("127.0.0.1:0").clock(&clock).start().await?;
    let client = Client::connect(server.endpoints(), None).await?;
    let mut registry = Registry { client, service: "web".into() };

    registry.register("10.0.0.1:8080", 10).await?;
    let kept = registry.register("10.0.0.2:8080", 10).await?;
    assert_eq!(registry.instances().await?, ["10.0.0.1:8080", "10.0.0.2:8080"]);

    clock.advance(Duration::from_secs(9)).await?;
    registry.renew(kept).await?;
    clock.advance(Duration::from_secs(1)).await?;
    assert_eq!(registry.instances().await?, ["10.0.0.2:8080"]);

    server.stop().await?;
    Ok(())
}
