//! From what was said to a [`Config`]: defaults that depend on other flags, and values that must fit together.

use std::path::PathBuf;
use std::time::Duration;

use super::advertise::{self, DEFAULT_URLS_CLIENT, DEFAULT_URLS_PEER};
use super::error::Error;
use super::flags::{self, Settings};
use super::url::Url;
use super::value::SignedDuration;
use super::{Config, InitialCluster, LogLevel, auth, compaction, discovery, handshake, keepalive, logging, tls};
use crate::env;
use crate::metrics::Detail;

/// Members of different names can be told apart; etcd warns of this one too.
pub(super) const DEFAULT_NAME: &str = "default";
/// What [`DEFAULT_NAME`] founds.
pub(super) const DEFAULT_CLUSTER: &str = "default=http://localhost:2380";
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
/// From here on a member takes long to start and to be replaced. Source: etcd, `MaxQuotaBytes`.
const QUOTA_BYTES_RECOMMENDED_MAX: i64 = 8 * 1024 * 1024 * 1024;
/// All of a million. Source: etcd, `maxSamplingRatePerMillion`.
const PER_MILLION_MAX: i64 = 1_000_000;
/// From here on requests disturb each other. Source: etcd, `recommendedMaxRequestBytes`.
const REQUEST_BYTES_RECOMMENDED_MAX: u64 = 10 * 1024 * 1024;

/// Checks what was said.
///
/// # Errors
/// The first of etcd's checks that fails, in etcd's order.
pub(super) fn validate(mut settings: Settings) -> Result<Config, Error> {
    let (log, log_advice) = logging::validate(&settings.log)?;
    fill_empty(&mut settings.listen_client_urls, DEFAULT_URLS_CLIENT);
    fill_empty(&mut settings.listen_peer_urls, DEFAULT_URLS_PEER);
    if settings.is_of_file {
        fill_empty(&mut settings.advertise_client_urls, DEFAULT_URLS_CLIENT);
        fill_empty(&mut settings.advertise_peer_urls, DEFAULT_URLS_PEER);
    }
    check_urls(&settings)?;
    check_times(&settings)?;
    let mut more_advice = tls::peer_advice(&settings.peer_tls, &settings.listen_peer_urls);
    more_advice.extend(log_advice);
    let client_urls = [&settings.listen_client_urls[..], &settings.listen_client_http_urls].concat();
    more_advice.extend(tls::client_advice(&settings.client_tls, &client_urls));
    let (peer_tls, client_tls) = (std::mem::take(&mut settings.peer_tls), std::mem::take(&mut settings.client_tls));
    let years = settings.self_signed_years;
    let peer_tls = tls::validate_peer(peer_tls, years, &settings.listen_peer_urls)?;
    let client_tls = tls::validate_client(client_tls, years, &client_urls, &settings.listen_metrics_urls)?;
    if settings.given.contains(flags::CIPHER_SUITES) && settings.handshake.cipher_suites.is_empty() {
        return Err(Error::UnknownCipherSuite { name: String::new() });
    }
    let (handshake, handshake_advice) = handshake::validate(std::mem::take(&mut settings.handshake))?;
    more_advice.extend(handshake_advice);
    let (auth, auth_advice) = auth::validate(&settings.auth)?;
    more_advice.extend(auth_advice);
    let advertises =
        settings.given.contains(flags::ADVERTISE_CLIENT_URLS) && !settings.advertise_client_urls.is_empty();
    // In a file the default stands for what is not said.
    if settings.given.contains(flags::LISTEN_CLIENT_URLS) && !advertises && !settings.is_of_file {
        return Err(Error::NoAdvertisedUrls);
    }

    let (discovery_srv, discovery_service) = discovery::validate(&mut settings)?;
    let compaction = compaction::validate(&settings.compaction)?;
    check_tracing(&settings)?;
    if settings.gates.persist_alone() {
        return Err(Error::CheckpointsPersistAlone);
    }
    if (1..MEMORY_BUDGET_BYTES_MIN).contains(&settings.memory_budget_bytes) {
        return Err(Error::MemoryBudgetTooSmall { given: settings.memory_budget_bytes, min: MEMORY_BUDGET_BYTES_MIN });
    }
    let advice = advice(&settings).into_iter().chain(more_advice).collect();
    let detected_host = advertise::fill(&mut settings, env::default_host);
    if settings.name != DEFAULT_NAME && settings.initial_cluster == DEFAULT_CLUSTER {
        let name = if settings.name.is_empty() { DEFAULT_NAME } else { &settings.name };
        settings.initial_cluster = InitialCluster::of_one(name, &settings.advertise_peer_urls).to_string();
    }
    discovery::list_alone(&discovery_service, &mut settings);
    if settings.data_dir.is_empty() {
        settings.data_dir = format!("{}.etcd", settings.name);
    }
    let or_default = |number: u64, default| if number == 0 { default } else { number };
    let progress = settings.watch_progress_interval.length;
    Ok(Config {
        name: settings.name,
        data_dir: PathBuf::from(settings.data_dir),
        listen_client_urls: settings.listen_client_urls,
        listen_client_http_urls: settings.listen_client_http_urls,
        listen_metrics_urls: settings.listen_metrics_urls,
        shares_ports: settings.shares_ports,
        advertise_client_urls: settings.advertise_client_urls,
        grpc_gateway: settings.grpc_gateway,
        host_whitelist: settings.host_whitelist,
        cors: settings.cors,
        listen_peer_urls: settings.listen_peer_urls,
        advertise_peer_urls: settings.advertise_peer_urls,
        initial_cluster: settings.initial_cluster,
        discovery_srv,
        discovery_service,
        initial_cluster_state: settings.initial_cluster_state,
        initial_cluster_token: settings.initial_cluster_token,
        strict_reconfig: settings.strict_reconfig,
        learners_max: usize::try_from(settings.learners_max).unwrap_or(usize::MAX),
        agreement_check: settings.agreement_check,
        feature_gates: settings.gates.to_string(),
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
        bootstrap_defrag_bytes: match settings.bootstrap_defrag_megabytes {
            0 => None,
            megabytes => Some(megabytes.saturating_mul(1 << 20)),
        },
        force_new_cluster: settings.force_new_cluster,
        detected_host,
        handshake,
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
        unsafe_no_fsync: settings.unsafe_no_fsync,
        memory_mlock: settings.memory_mlock,
        log,
        wal_dir: (!settings.wal_dir.is_empty()).then(|| PathBuf::from(settings.wal_dir)),
        slow_unary: duration_or_zero(settings.slow_unary),
        slow_apply: duration_or_zero(settings.slow_apply),
        metrics: if settings.metrics == EXTENSIVE { Detail::Extensive } else { Detail::Basic },
        profiling: settings.profiling || settings.log_level == LogLevel::Debug,
        features: settings.gates.features(),
        advice,
    })
}

/// A time in the past is over at once, as etcd has it.
fn duration_or_zero(duration: SignedDuration) -> Duration {
    duration.positive().unwrap_or_default()
}

fn fill_empty(urls: &mut Vec<Url>, default: &str) {
    if urls.is_empty() {
        *urls = Url::parse_list(default).expect("defaults are URLs");
    }
}

fn check_urls(settings: &Settings) -> Result<(), Error> {
    let Settings { listen_peer_urls, listen_client_urls, listen_client_http_urls, listen_metrics_urls, .. } = settings;
    for url in
        [listen_peer_urls, listen_client_urls, listen_client_http_urls, listen_metrics_urls].into_iter().flatten()
    {
        if !url.is_bindable() {
            return Err(Error::BindsName { url: url.to_string() });
        }
    }
    // Any free port is another one each time.
    let is_same = |a: &Url, b: &Url| {
        (a.is_tcp(), a.host(), a.port()) == (b.is_tcp(), b.host(), b.port()) && !(a.is_tcp() && a.port() == 0)
    };
    if let Some(url) =
        listen_client_http_urls.iter().find(|http| listen_client_urls.iter().any(|url| is_same(url, http)))
    {
        return Err(Error::GrpcAndHttpAtOneUrl { url: url.to_string() });
    }
    let advertised = [
        (flags::ADVERTISE_PEER_URLS, "\"host:port\"", &settings.advertise_peer_urls),
        (
            flags::ADVERTISE_CLIENT_URLS,
            "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"",
            &settings.advertise_client_urls,
        ),
    ];
    for (flag, form, urls) in advertised {
        if let Some(url) = urls.iter().find(|url| url.host().is_empty()) {
            let given = urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
            return Err(Error::EmptyHost { flag, form, given, url: url.to_string() });
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

fn check_tracing(settings: &Settings) -> Result<(), Error> {
    match settings.tracing_per_million {
        _ if !settings.tracing => Ok(()),
        ..0 => Err(Error::SamplingRate { bound: "positive" }),
        0..=PER_MILLION_MAX => Ok(()),
        _ => Err(Error::SamplingRate { bound: "less than 1000000" }),
    }
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
    advice.extend(flags::advice_without_effect(&settings.given));
    if !settings.tick_advance {
        advice.push(
            "--initial-election-tick-advance=false has no effect: the first election waits as long as any other"
                .to_owned(),
        );
    }
    if settings.discovery.insecure_skip_tls_verify {
        advice.push(
            "--discovery-insecure-skip-tls-verify is set: whoever answers at --discovery-endpoints is believed"
                .to_owned(),
        );
    }
    if settings.tracing {
        advice.push("--enable-distributed-tracing has no effect: this version sends no traces".to_owned());
    }
    if settings.unsafe_no_fsync {
        advice.push(
            "--unsafe-no-fsync is set: a machine that loses power loses what was acknowledged, and may not start again \
             with its data"
                .to_owned(),
        );
    }
    if settings.quota_bytes > QUOTA_BYTES_RECOMMENDED_MAX {
        advice.push(format!(
            "quota exceeds the maximum value: --quota-backend-bytes {} is more than the recommended \
             {QUOTA_BYTES_RECOMMENDED_MAX}",
            settings.quota_bytes
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
    fn what_is_unsafe_or_changes_nothing_is_said() {
        let advice = |arguments: &[&str]| {
            let arguments: Vec<&str> = [&["--name=a", "--data-dir=a"], arguments].concat();
            config(&arguments).unwrap().advice
        };
        assert_eq!(advice(&["--bootstrap-defrag-threshold-megabytes=1", "--memory-mlock"]), Vec::<String>::new());
        for (argument, text) in [
            ("--unsafe-no-fsync", "loses power"),
            ("--initial-election-tick-advance=false", "has no effect"),
            ("--enable-distributed-tracing", "sends no traces"),
            ("--quota-backend-bytes=8589934593", "quota exceeds the maximum value"),
            ("--max-snapshots=5", "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8"),
            ("--v2-deprecation=gone", "The default value is enforced, ignoring user input."),
            ("--enable-v2", "--enable-v2 has no effect"),
        ] {
            let advice = advice(&[argument]);
            assert!(advice.len() == 1 && advice[0].contains(text), "{argument}: {advice:?}");
        }
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
            (&["--listen-metrics-urls=http://a.b:1"], "expected IP in URL for binding (http://a.b:1)"),
            (&["--listen-client-http-urls=http://a.b:1"], "expected IP in URL for binding (http://a.b:1)"),
            (
                &["--listen-client-http-urls=https://localhost:2379", "--auto-tls"],
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url \
                 https://localhost:2379",
            ),
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
                &["--feature-gates=LeaseCheckpointPersist=true"],
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
            ),
            (
                &["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=2000000"],
                "distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)",
            ),
            (
                &["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=-1"],
                "distributed tracing configurition is not valid: (tracing sampling rate must be positive)",
            ),
            (
                &["--initial-advertise-peer-urls=http://:1"],
                "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))",
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
