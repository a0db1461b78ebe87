//! Registers a service under a lease, and follows who else is there.
//!
//! Start a server, then this program in two terminals, and end one of them: the other tells within seconds.
//!
//! ```sh
//! cargo run --release
//! cargo run --example discovery -- web 10.0.0.1:8080
//! cargo run --example discovery -- web 10.0.0.2:8080
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use etcd_client::{Client, EventType, GetOptions, PutOptions, WatchOptions};

/// Seconds after which the service is gone unless its lease was renewed.
const TTL: i64 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: discovery SERVICE ADDRESS [ENDPOINT]".into());
    };
    let endpoint = arguments.next().unwrap_or_else(|| "http://localhost:2379".into());
    follow(&service, &address, &endpoint, |instances| println!("instances of {service}: {instances:?}")).await
}

/// Registers `address` and tells all instances, now and whenever they change, until the future is dropped.
pub async fn follow(
    service: &str,
    address: &str,
    endpoint: &str,
    tell: impl Fn(Vec<&str>),
) -> Result<(), Box<dyn Error>> {
    let mut client = Client::connect([endpoint], None).await?;
    let prefix = format!("/services/{service}/");

    // The key lives as long as its lease, and the lease as long as somebody renews it.
    let lease = client.lease_grant(TTL, None).await?.id();
    client.put(format!("{prefix}{lease:x}"), address, Some(PutOptions::new().with_lease(lease))).await?;
    let (mut keeper, mut renewals) = client.lease_keep_alive(lease).await?;
    // At a third of the TTL: two renewals may be lost before the lease is.
    let mut ticks = tokio::time::interval(Duration::from_secs(1).mul_f64(TTL as f64 / 3.0));

    // List first, then watch from the revision after the list: nothing is missed and nothing comes twice.
    let list = client.get(prefix.as_str(), Some(GetOptions::new().with_prefix())).await?;
    let mut instances = BTreeMap::new();
    for pair in list.kvs() {
        instances.insert(pair.key_str()?.to_owned(), pair.value_str()?.to_owned());
    }
    tell(instances.values().map(String::as_str).collect());
    let next = list.header().map_or(0, |header| header.revision() + 1);
    let options = WatchOptions::new().with_prefix().with_start_revision(next);
    let mut events = client.watch(prefix.as_str(), Some(options)).await?;

    loop {
        tokio::select! {
            message = events.message() => {
                let Some(message) = message? else { return Err("the watch has ended".into()) };
                if message.events().is_empty() {
                    continue;
                }
                for event in message.events() {
                    let Some(pair) = event.kv() else { continue };
                    match event.event_type() {
                        EventType::Put => instances.insert(pair.key_str()?.to_owned(), pair.value_str()?.to_owned()),
                        EventType::Delete => instances.remove(pair.key_str()?),
                    };
                }
                tell(instances.values().map(String::as_str).collect());
            }
            _ = ticks.tick() => keeper.keep_alive().await?,
            renewal = renewals.message() => {
                let left = renewal?.map_or(0, |renewal| renewal.ttl());
                if left <= 0 {
                    return Err("the lease has ended: this instance is no longer registered".into());
                }
            }
        }
    }
}
