//! Looking up host names, for URLs that are to be compared.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Addresses;

/// How long names are looked up: that of a machine that starts may be unknown for a while. Source: etcd,
/// `advertiseMatchesCluster`.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Between two attempts. Source: etcd, `pkg/netutil`.
const PAUSE: Duration = Duration::from_secs(1);

/// Finds the address of each name, the lowest if there are several; those that stay unknown are left out.
pub(super) async fn look_up(names: BTreeSet<String>) -> Addresses {
    let mut addresses = Addresses::new();
    let start = Instant::now();
    loop {
        for name in &names {
            if !addresses.contains_key(name)
                && let Some(address) = address(name).await
            {
                addresses.insert(name.clone(), address);
            }
        }
        if addresses.len() == names.len() || start.elapsed() > TIME_MAX {
            return addresses;
        }
        sleep(PAUSE).await;
    }
}

async fn address(name: &str) -> Option<std::net::IpAddr> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => found.map(|address| address.ip()).min(),
        Err(error) => {
            tracing::warn!(host = name, %error, "failed to resolve URL Host");
            None
        }
    }
}
