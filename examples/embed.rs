//! A program with a server inside: it keeps settings in a folder, and other programs may follow them with any etcd client.
//!
//! ```sh
//! cargo run --example embed -- settings.lodemark
//! ```

use std::error::Error;
use std::path::Path;

use lodemark::embed::{Compare, Server, Store, prefix};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "settings.lodemark".into());
    run(Path::new(&folder), |line| println!("{line}")).await
}

/// Starts a server in `folder`, counts this start, changes a setting, and stops in order.
pub async fn run(folder: &Path, tell: impl Fn(String)) -> Result<(), Box<dyn Error>> {
    let server = Server::in_dir(folder).client_addr("127.0.0.1:0").start().await?;
    for endpoint in server.endpoints() {
        tell(format!("etcdctl --endpoints {endpoint} watch --prefix settings/"));
    }

    let store = server.store();
    tell(format!("start number {}", count_start(&store).await?));

    // List first, then watch from the revision after the list: nothing is missed and nothing comes twice.
    let list = store.range(prefix("settings/")).await?;
    let mut changes = store.watch(prefix("settings/")).from(list.revision.next()).await?;
    store.put("settings/color", "blue").await?;
    for event in &*changes.next().await? {
        let record = &event.record;
        tell(format!("{} is {}", record.key().escape_ascii(), record.value().escape_ascii()));
    }

    server.stop().await?;
    Ok(())
}

/// Counts in the store. Whoever else counts at the same time is not lost: the write takes effect only if nobody has written
/// since the read.
async fn count_start(store: &Store) -> Result<u64, Box<dyn Error>> {
    const KEY: &str = "starts";
    loop {
        let (unchanged, starts) = match store.get(KEY).await? {
            Some(record) => {
                let before: u64 = std::str::from_utf8(record.value())?.parse()?;
                (Compare::modified_at(KEY, record.mod_revision()), before + 1)
            }
            None => (Compare::missing(KEY), 1),
        };
        if store.txn().when(unchanged).then(store.put(KEY, starts.to_string())).await?.succeeded {
            return Ok(starts);
        }
    }
}
