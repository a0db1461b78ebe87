//! From what was said to a [`Config`]: defaults that depend on other flags, and values that must fit together.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::flags::{self, Settings};
use super::url::Url;
use super::{Config, InitialCluster, LogLevel, auth, compaction, keepalive, tls};
use crate::metrics::Detail;

/// Members of different names can be told apart; etcd warns of this one too.
pub(super) const DEFAULT_NAME: &str = "default";
/// What [`DEFAULT_NAME`] founds.
pub(super) const DEFAULT_CLUSTER: &str = "default=http://localhost:2380";
const DEFAULT_URLS_CLIENT: &str = "http://localhost:2379";
const DEFAULT_URLS_PEER: &str = "http://localhost:2380";
/// What 0 means. Source: etcd, `DefaultQuotaBytes`.
const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Of `--metrics`.
const EXTENSIVE: &str = "extensive";
/// What 0 means.
const DEFAULT_SNAPSHOT_COUNT: u64 = 10_000;
/// What 0 means.
const DEFAULT_WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Source: etcd, `maxElectionMs`.
const ELECTION_MS_MAX: u64 = 50_000;
/// What is shared must be enough for the fixed shares.
const MEMORY_BUDGET_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// From here on requests disturb each other. Source: etcd, `recommendedMaxRequestBytes`.
const REQUEST_BYTES_RECOMMENDED_MAX: u64 = 10 * 1024 * 1024;

/// Checks what was said.
///
/// # Errors
/// The first of etcd's checks that fails, in etcd's order.
pub(super) fn validate(mut settings: Settings) -> Result<Config, Error> {
    fill_empty(&mut settings.listen_client_urls, DEFAULT_URLS_CLIENT);
    fill_empty(&mut settings.listen_peer_urls, DEFAULT_URLS_PEER);
    check_urls(&settings)?;
    check_times(&settings)?;
    let mut more_advice = tls::peer_advice(&settings.peer_tls, &settings.listen_peer_urls);
    more_advice.extend(tls::client_advice(&settings.client_tls, &settings.listen_client_urls));
    let (peer_tls, client_tls) = (std::mem::take(&mut settings.peer_tls), std::mem::take(&mut settings.client_tls));
    let years = settings.self_signed_years;
    let peer_tls = tls::validate_peer(peer_tls, years, &settings.listen_peer_urls)?;
    let client_tls = tls::validate_client(client_tls, years, &settings.listen_client_urls)?;
    let (auth, auth_advice) = auth::validate(&settings.auth)?;
    more_advice.extend(auth_advice);
    let advertises =
        settings.given.contains(flags::ADVERTISE_CLIENT_URLS) && !settings.advertise_client_urls.is_empty();
    if settings.given.contains(flags::LISTEN_CLIENT_URLS) && !advertises {
        return Err(Error::NoAdvertisedUrls);
    }

    let compaction = compaction::validate(&settings.compaction)?;
    if (1..MEMORY_BUDGET_BYTES_MIN).contains(&settings.memory_budget_bytes) {
        return Err(Error::MemoryBudgetTooSmall { given: settings.memory_budget_bytes, min: MEMORY_BUDGET_BYTES_MIN });
    }
    let advice = advice(&settings).into_iter().chain(more_advice).collect();
    if settings.name != DEFAULT_NAME && settings.initial_cluster == DEFAULT_CLUSTER {
        let name = if settings.name.is_empty() { DEFAULT_NAME } else { &settings.name };
        settings.initial_cluster = InitialCluster::of_one(name, &settings.advertise_peer_urls).to_string();
    }
    if settings.data_dir.is_empty() {
        settings.data_dir = format!("{}.etcd", settings.name);
    }
    let or_default = |number: u64, default| if number == 0 { default } else { number };
    let progress = settings.watch_progress_interval.length;
    Ok(Config {
        name: settings.name,
        data_dir: PathBuf::from(settings.data_dir),
        listen_client_urls: settings.listen_client_urls,
        advertise_client_urls: settings.advertise_client_urls,
        grpc_gateway: settings.grpc_gateway,
        host_whitelist: settings.host_whitelist,
        cors: settings.cors,
        listen_peer_urls: settings.listen_peer_urls,
        advertise_peer_urls: settings.advertise_peer_urls,
        initial_cluster: settings.initial_cluster,
        initial_cluster_state: settings.initial_cluster_state,
        initial_cluster_token: settings.initial_cluster_token,
        strict_reconfig: settings.strict_reconfig,
        learners_max: usize::try_from(settings.learners_max).unwrap_or(usize::MAX),
        agreement_check: settings.agreement_check,
        initial_corrupt_check: settings.gates.checks_initially(),
        // etcd takes a time in the past for none.
        corrupt_check_interval: settings.corrupt_check_time.positive(),
        compact_hash_check_interval: settings
            .gates
            .checks_compactions()
            .then_some(settings.compact_hash_check_time.length),
        compaction,
        reclaim_bytes_min: match settings.auto_defrag_megabytes {
            0 => None,
            megabytes => Some(megabytes.saturating_mul(1 << 20)),
        },
        force_new_cluster: settings.force_new_cluster,
        peer_tls,
        client_tls,
        auth,
        pre_vote: settings.pre_vote,
        snapshot_entries: or_default(settings.snapshot_count, DEFAULT_SNAPSHOT_COUNT),
        catchup_entries: settings.snapshot_catchup_entries,
        heartbeat: Duration::from_millis(settings.heartbeat_ms),
        election_timeout: Duration::from_millis(settings.election_ms),
        quota_bytes: match settings.quota_bytes {
            0 => Some(DEFAULT_QUOTA_BYTES),
            bytes => u64::try_from(bytes).ok(),
        },
        // More than fits into memory is no limit.
        request_bytes_max: usize::try_from(settings.request_bytes_max).unwrap_or(usize::MAX),
        memory_budget_bytes: match settings.memory_budget_bytes {
            0 => None,
            bytes => Some(usize::try_from(bytes).unwrap_or(usize::MAX)),
        },
        txn_ops_max: usize::try_from(settings.txn_ops_max).unwrap_or(usize::MAX),
        streams_max: settings.streams_max,
        keepalive: keepalive::validate(settings.keepalive),
        watch_progress_interval: if progress.is_zero() { DEFAULT_WATCH_PROGRESS_INTERVAL } else { progress },
        log_level: settings.log_level,
        metrics: if settings.metrics == EXTENSIVE { Detail::Extensive } else { Detail::Basic },
        profiling: settings.profiling || settings.log_level == LogLevel::Debug,
        features: settings.gates.features(),
        advice,
    })
}

fn fill_empty(urls: &mut Vec<Url>, default: &str) {
    if urls.is_empty() {
        *urls = Url::parse_list(default).expect("defaults are URLs");
    }
}

fn check_urls(settings: &Settings) -> Result<(), Error> {
    for url in settings.listen_peer_urls.iter().chain(&settings.listen_client_urls) {
        if !url.is_bindable() {
            return Err(Error::BindsName { url: url.to_string() });
        }
    }
    let advertised = [
        (flags::ADVERTISE_PEER_URLS, &settings.advertise_peer_urls),
        (flags::ADVERTISE_CLIENT_URLS, &settings.advertise_client_urls),
    ];
    for (flag, urls) in advertised {
        if let Some(url) = urls.iter().find(|url| url.host().is_empty()) {
            return Err(Error::EmptyHost { flag, url: url.to_string() });
        }
    }
    Ok(())
}

fn check_times(settings: &Settings) -> Result<(), Error> {
    let (heartbeat_ms, election_ms) = (settings.heartbeat_ms, settings.election_ms);
    if heartbeat_ms == 0 {
        return Err(Error::ZeroTime { flag: flags::HEARTBEAT });
    }
    if election_ms == 0 {
        return Err(Error::ZeroTime { flag: flags::ELECTION });
    }
    if heartbeat_ms.saturating_mul(5) > election_ms {
        return Err(Error::ElectionTooShort { election_ms, heartbeat_ms });
    }
    if election_ms > ELECTION_MS_MAX {
        return Err(Error::ElectionTooLong { election_ms, max_ms: ELECTION_MS_MAX });
    }
    if settings.watch_progress_interval.is_negative {
        return Err(Error::NegativeTime { flag: flags::WATCH_PROGRESS });
    }
    if settings.compact_hash_check_time.positive().is_none() {
        let length = settings.compact_hash_check_time.length;
        let given = if length.is_zero() { "0s".to_owned() } else { format!("-{length:?}") };
        return Err(Error::NoTime { flag: flags::COMPACT_HASH_CHECK_TIME, given });
    }
    Ok(())
}

fn advice(settings: &Settings) -> Vec<String> {
    let mut advice = Vec::new();
    if settings.name == DEFAULT_NAME {
        advice.push(
            "it isn't recommended to use default name, please set a value for --name: members of one name cannot be \
             told apart"
                .to_owned(),
        );
    }
    for name in &settings.called_formerly {
        advice.push(format!("--experimental-{name} is a former name of --{name}, which means the same"));
    }
    for (gate, name) in &settings.gates_called_formerly {
        advice.push(format!("--{name} is a former name of --feature-gates={gate}=true, which means the same"));
    }
    advice.extend(settings.gates.advice());
    if !["basic", EXTENSIVE, ""].contains(&settings.metrics.as_str()) {
        advice.push(format!("--metrics={:?} is neither basic nor extensive; it means basic", settings.metrics));
    }
    if settings.data_dir.is_empty() {
        advice.push(format!("--data-dir is not set; using {}.etcd in the working directory", settings.name));
    }
    if settings.given.contains(flags::DOWNGRADE_CHECK) {
        advice.push(format!(
            "--{} has no effect: a downgrade ends when all members run the earlier version, and no member of Lodemark \
             does; etcdctl downgrade cancel ends it",
            flags::DOWNGRADE_CHECK
        ));
    }
    if settings.request_bytes_max > REQUEST_BYTES_RECOMMENDED_MAX {
        advice.push(format!(
            "--max-request-bytes {} exceeds the recommended {REQUEST_BYTES_RECOMMENDED_MAX}: large requests delay all \
             others",
            settings.request_bytes_max
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::super::{AuthConfig, Invocation, LogLevel, TlsConfig};
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, Error> {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from))? {
            Invocation::Serve(config) => Ok(*config),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn texts(urls: &[Url]) -> Vec<&str> {
        urls.iter().map(Url::as_str).collect()
    }

    #[test]
    fn no_flags_mean_what_they_mean_to_etcd() {
        let config = config(&[]).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("default", Some("default.etcd")));
        assert_eq!(texts(&config.listen_client_urls), ["http://localhost:2379"]);
        assert_eq!(texts(&config.advertise_client_urls), ["http://localhost:2379"]);
        assert_eq!(texts(&config.listen_peer_urls), ["http://localhost:2380"]);
        assert_eq!(texts(&config.advertise_peer_urls), ["http://localhost:2380"]);
        assert_eq!(config.initial_cluster, "default=http://localhost:2380");
        assert_eq!((config.snapshot_entries, config.catchup_entries), (10_000, 5000));
        assert_eq!((config.request_bytes_max, config.txn_ops_max), (1_572_864, 128));
        assert_eq!(config.streams_max, u32::MAX);
        assert_eq!((config.heartbeat.as_millis(), config.election_timeout.as_millis()), (100, 1000));
        assert!(config.pre_vote && config.strict_reconfig && config.agreement_check && !config.force_new_cluster);
        assert_eq!((config.learners_max, &config.peer_tls), (1, &TlsConfig::default()));
        assert_eq!((&config.client_tls, &config.auth), (&TlsConfig::default(), &AuthConfig::default()));
        assert_eq!(config.watch_progress_interval.as_secs(), 600);
        assert_eq!(config.log_level, LogLevel::Info);
    }

    #[test]
    fn a_name_alone_founds_its_own_cluster() {
        let config = config(&["--name=m1"]).unwrap();
        assert_eq!(config.initial_cluster, "m1=http://localhost:2380");
        assert_eq!(config.data_dir.to_str(), Some("m1.etcd"));
    }

    #[test]
    fn zero_and_empty_mean_the_default() {
        let config = config(&["--snapshot-count=0", "--listen-peer-urls=", "--log-level="]).unwrap();
        assert_eq!(config.snapshot_entries, 10_000);
        assert_eq!(texts(&config.listen_peer_urls), ["http://localhost:2380"]);
        assert_eq!(config.log_level, LogLevel::Info);
    }

    #[test]
    fn values_that_do_not_fit_are_refused_in_the_words_of_etcd() {
        for (arguments, text) in [
            (
                &["--listen-client-urls=http://127.0.0.1:1"][..],
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            ),
            (
                &["--listen-client-urls=", "--advertise-client-urls="],
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            ),
            (&["--listen-client-urls=http://example.com:1"], "expected IP in URL for binding (http://example.com:1)"),
            (&["--listen-peer-urls=http://:2380"], "expected IP in URL for binding (http://:2380)"),
            (
                &["--heartbeat-interval=300"],
                "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
            ),
            (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
            (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
            (
                &["--election-timeout=100"],
                "--election-timeout[100ms] should be at least as 5 times as --heartbeat-interval[100ms]",
            ),
            (
                &["--election-timeout=60000"],
                "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
            ),
            (
                &["--advertise-client-urls=http://:1"],
                "--advertise-client-urls \"http://:1\" must be in the format \"host:port\", \"unix:/path/to/socket\" or \
                 \"unixs:/path/to/socket\" (unexpected empty host (http://:1))",
            ),
        ] {
            let error = config(arguments).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, false), "{arguments:?}");
        }
    }
}
