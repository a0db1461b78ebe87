//! The program: arguments, signals, and an exit status.

#[cfg(feature = "mimalloc")]
mod allocator;

use std::process::ExitCode;

use lodemark::api::ETCD_VERSION;
use lodemark::config::{self, Config, Invocation};
use lodemark::{server, snapshot, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The arguments are wrong. Source: Go, package `flag`.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "snapshot").is_some() {
        return snapshot::main(arguments);
    }
    match Invocation::from_args(arguments) {
        Ok(Invocation::Help) => print(&config::help()),
        Ok(Invocation::Version) => print(&version()),
        Ok(Invocation::Serve(config)) => serve(*config),
        Err(error) if error.is_usage() => {
            eprintln!("{error}\n{}", config::USAGE);
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            telemetry::init(config::LogLevel::default());
            tracing::warn!(%error, "failed to verify flags");
            ExitCode::FAILURE
        }
    }
}

/// Prints to stdout; a reader that has gone away is no fault.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What tools that know etcd read: four lines, the first of which decides which flags they use.
fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\n\
         Git SHA: Lodemark {}\n\
         Go Version: n/a\n\
         Go OS/Arch: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    )
}

fn serve(config: Config) -> ExitCode {
    #[cfg(feature = "mimalloc")]
    allocator::tune();
    telemetry::init(config.log_level);
    log_command_line(&config);
    raise_file_limit();
    #[cfg(target_os = "linux")]
    use_small_pages();
    let run = async {
        let stop = CancellationToken::new();
        let stop_on_signal = stop_on_signal(stop.clone()).map_err(server::Error::Runtime)?;
        tokio::spawn(stop_on_signal);
        server::run(config, stop).await
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(server::Error::Runtime).and_then(|runtime| runtime.block_on(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ server::Error::Bootstrap(_)) => {
            // etcd's word for everything that keeps a new member from finding its cluster.
            tracing::error!(target: telemetry::FATAL, %error, "discovery failed");
            ExitCode::FAILURE
        }
        Err(server::Error::FewFiles { limit, recommended }) => {
            let message = "file descriptor limit of etcd process is too low; please set higher";
            tracing::error!(target: telemetry::FATAL, limit, "recommended-limit" = recommended, "{message}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(target: telemetry::FATAL, %error, "the server cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Stops the server at the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => "terminated",
            _ = interrupt.recv() => "interrupt",
        }
    };
    Ok(async move {
        let signal = next().await;
        tracing::info!(signal, "received signal; shutting down");
        stop.cancel();
        let signal = next().await;
        tracing::warn!(signal, "received a second signal; ending at once");
        std::process::exit(1);
    })
}

fn log_command_line(config: &Config) {
    let arguments: Vec<String> = std::env::args_os().map(|text| text.to_string_lossy().into_owned()).collect();
    tracing::info!("args.json" = telemetry::json(&arguments), "Running: ");
    for advice in &config.advice {
        tracing::warn!("{advice}");
    }
    let ignored: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH")
        .collect();
    if !ignored.is_empty() {
        tracing::warn!(
            "variables.json" = telemetry::json(&ignored),
            "environment variables ETCD_* are not read by this version; use flags"
        );
    }
}

/// Each connection takes a file descriptor: this process may have as many as it may ask for, as a Go program has.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Keeps memory in pages of 4 KiB. The system would make it pages of 2 MiB where it may (the allocator asks it to): then
/// the first byte of each arena and size class of each thread takes 2 MiB, and what was freed is seldom given back.
#[cfg(target_os = "linux")]
fn use_small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "cannot turn transparent huge pages off");
    }
}
