//! The program: arguments, signals, and an exit status.

#[cfg(feature = "mimalloc")]
mod allocator;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use lodemark::api::ETCD_VERSION;
use lodemark::config::{self, Config, Invocation, LogConfig, LogLevel, Notice, Reading};
use lodemark::{cli, env, server, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The arguments are wrong. Source: Go, package `flag`.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = program_name(arguments.next());
    let mut arguments = arguments.peekable();
    if let Some(done) = cli::run(&program, &mut arguments) {
        return done;
    }
    let Reading { outcome, notices } = Invocation::read(arguments, std::env::vars_os());
    match outcome {
        Ok(Invocation::Help) => print(&config::help(&program)),
        Ok(Invocation::Version) => print(&version()),
        Ok(Invocation::Serve(config)) => serve(*config, &notices),
        Err(error) if error.is_usage() => {
            eprintln!("{error}\n{}", config::usage(&program));
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => refuse(&error, &notices),
    }
}

/// Says that the flags do not fit together, where the log is as long as they say nothing of it.
fn refuse(error: &(dyn std::error::Error + 'static), notices: &[Notice]) -> ExitCode {
    telemetry::init(LogLevel::default(), &LogConfig::default()).expect("stderr needs not be opened");
    notices.iter().for_each(Notice::log);
    match error.downcast_ref() {
        Some(config::Error::Shadowed { variable }) => {
            tracing::error!(target: telemetry::FATAL, { "environment-variable" = variable }, "{error}");
        }
        _ => tracing::warn!(error = %error, "failed to verify flags"),
    }
    ExitCode::FAILURE
}

/// What the program was started as: packages call it `etcd`, so that unit files need not change.
fn program_name(argument: Option<OsString>) -> String {
    let name = argument.as_deref().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    name.unwrap_or(env!("CARGO_PKG_NAME")).to_owned()
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

fn serve(config: Config, notices: &[Notice]) -> ExitCode {
    #[cfg(feature = "mimalloc")]
    allocator::tune();
    if let Err(error) = telemetry::init(config.log_level, &config.log) {
        return refuse(&error, notices);
    }
    notices.iter().for_each(Notice::log);
    log_command_line(&config);
    env::raise_file_limit();
    if config.memory_mlock
        && let Err(error) = lock_memory()
    {
        tracing::error!(
            target: telemetry::FATAL,
            %error,
            "cannot keep memory from being swapped out (--memory-mlock): raise the limit of locked memory \
             (LimitMEMLOCK=infinity in a unit file, ulimit -l unlimited in a shell), or leave the flag out"
        );
        return ExitCode::FAILURE;
    }
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
        Err(server::Error::Bootstrap(error @ server::BootstrapError::Registry { .. })) => {
            refuse_token(&error);
            ExitCode::FAILURE
        }
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

/// Says that the member has found no cluster by its token, in etcd's words; they fit best where others have founded it.
fn refuse_token(error: &server::BootstrapError) {
    let server::BootstrapError::Registry { token, endpoints, .. } = error else { return };
    tracing::warn!(
        "discovery-token" = token,
        "discovery-endpoints.json" = telemetry::json(endpoints),
        %error,
        "failed to bootstrap; discovery token was already used"
    );
    tracing::warn!("do not reuse discovery token; generate a new one to bootstrap a cluster");
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
    let arguments = std::env::args_os().map(|text| text.to_string_lossy().into_owned());
    tracing::info!("args.json" = telemetry::json(&config::shown_arguments(arguments)), "Running: ");
    for advice in &config.advice {
        tracing::warn!("{advice}");
    }
}

/// Keeps what is in memory, and what will be, from being swapped out. Pages are locked when they are first used: the
/// allocator asks for far more than that.
#[cfg(target_os = "linux")]
fn lock_memory() -> std::io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
}

#[cfg(not(target_os = "linux"))]
fn lock_memory() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Keeps memory in pages of 4 KiB. The system would make it pages of 2 MiB where it may (the allocator asks it to): then
/// the first byte of each arena and size class of each thread takes 2 MiB, and what was freed is seldom given back.
#[cfg(target_os = "linux")]
fn use_small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "cannot turn transparent huge pages off");
    }
}
