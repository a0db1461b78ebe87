//! Runs for leader of a group, works while it leads, and hands over in order.
//!
//! ```sh
//! cargo run --release
//! cargo run --example election -- nightly-job worker-1
//! cargo run --example election -- nightly-job worker-2
//! ```

use std::error::Error;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, LeaseKeepAliveStream, LeaseKeeper, PutOptions, ResignOptions, Txn, TxnOp,
};

/// Seconds after which a leader that has died is replaced.
const TTL: i64 = 5;
/// How often the leader works before it hands over.
const ROUNDS: usize = 5;
/// How long it works each time.
const ROUND_TIME: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(group), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: election GROUP NAME [ENDPOINT]".into());
    };
    let endpoint = arguments.next().unwrap_or_else(|| "http://localhost:2379".into());
    run(&group, &name, &endpoint, |line| println!("{line}")).await
}

/// Takes its turn as leader of `group`, and tells what happens.
pub async fn run(group: &str, name: &str, endpoint: &str, tell: impl Fn(String)) -> Result<(), Box<dyn Error>> {
    let mut client = Client::connect([endpoint], None).await?;
    let lease = client.lease_grant(TTL, None).await?.id();
    let (keeper, renewals) = client.lease_keep_alive(lease).await?;
    tokio::select! {
        outcome = take_turn(&mut client, group, name, lease, tell) => outcome?,
        lost = renew(keeper, renewals) => return Err(lost),
    }
    client.lease_revoke(lease).await?;
    Ok(())
}

async fn take_turn(
    client: &mut Client,
    group: &str,
    name: &str,
    lease: i64,
    tell: impl Fn(String),
) -> Result<(), Box<dyn Error>> {
    tell(format!("{name} runs for {group}"));
    let campaign = client.campaign(group, name, lease).await?;
    let leader = campaign.leader().ok_or("the answer names no leader")?.clone();
    // The create revision of the leader's key, which grows from leader to leader.
    let token = leader.rev();
    tell(format!("{name} leads {group} with the fencing token {token}"));

    // This write takes effect only while that very key is still there, however late it arrives. What is written elsewhere
    // would carry the token, and whoever takes it would refuse tokens below the highest it has seen.
    for round in 1..=ROUNDS {
        let still_leads = Compare::create_revision(leader.key(), CompareOp::Equal, token);
        let result = format!("round {round} by {name}");
        let write = TxnOp::put(format!("{group}-result"), result.as_str(), None::<PutOptions>);
        if !client.txn(Txn::new().when([still_leads]).and_then([write])).await?.succeeded() {
            return Err(format!("{name} no longer leads").into());
        }
        tell(result);
        tokio::time::sleep(ROUND_TIME).await;
    }

    // Told first: the next one may lead before the answer is here.
    tell(format!("{name} hands over"));
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    Ok(())
}

/// Renews at a third of the TTL: two renewals may be lost before the lease is. Ends only with an error.
async fn renew(mut keeper: LeaseKeeper, mut renewals: LeaseKeepAliveStream) -> Box<dyn Error> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1).mul_f64(TTL as f64 / 3.0));
    loop {
        ticks.tick().await;
        if let Err(error) = keeper.keep_alive().await {
            return error.into();
        }
        match renewals.message().await {
            Ok(Some(renewal)) if renewal.ttl() > 0 => {}
            Ok(_) => return "the lease has ended: somebody else may lead".into(),
            Err(error) => return error.into(),
        }
    }
}
