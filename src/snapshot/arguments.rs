//! The arguments, as etcdctl and etcdutl take them: flags anywhere, `--name=value` or `--name value`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::Error;
use super::status::WriteOut;
use crate::client::Login;
use crate::command::{Given, Operands, Verb, text};
use crate::config::{Config, Invocation};
use crate::etcd_file::DigestCheck;

/// How the commands are called.
pub const USAGE: &str = "\
Usage:

  lodemark snapshot save FILE [--endpoints=http://127.0.0.1:2379] [--dial-timeout=SECONDS]
                              [--cacert=FILE] [--cert=FILE --key=FILE]
                              [--user=NAME[:PASSWORD]] [--password=PASSWORD]
    Save a snapshot of one member, of Lodemark or of etcd, in a file.
      --user              Who asks, if the cluster has users: it must be root.

  lodemark snapshot status FILE [-w|--write-out=simple|table|json|fields]
    Tell what is in a snapshot.

  lodemark snapshot restore FILE [--data-dir=DIR] [--wal-dir=DIR] [--skip-hash-check]
                                 [--name=default] [--initial-cluster=default=http://localhost:2380]
                                 [--initial-cluster-token=etcd-cluster]
                                 [--initial-advertise-peer-urls=http://localhost:2380]
                                 [--bump-revision=N --mark-compacted]
    Make the data folder of a member of a new cluster. Each member of the cluster is made of the same snapshot, with the
    same flags but for its name and its URLs, and is then started as ever.
      --skip-hash-check   The file is a copy of a database, which does not end with a digest.
      --bump-revision     Add this to the revision, so that it never goes back for clients that knew a later one.
      --mark-compacted    Compact everything up to that revision, so that their watches end and begin anew.
";

const DIAL_TIMEOUT_SECONDS: &str = "2";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Help,
    Save(Save),
    Status(StatusOf),
    Restore(Restore),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Save {
    pub(super) file: PathBuf,
    pub(super) endpoint: String,
    pub(super) dial_timeout: std::time::Duration,
    pub(super) cacert: Option<PathBuf>,
    /// Certificate and key.
    pub(super) cert: Option<(PathBuf, PathBuf)>,
    /// Who asks.
    pub(super) user: Option<Login>,
}

#[derive(Debug, PartialEq)]
pub(super) struct StatusOf {
    pub(super) file: PathBuf,
    pub(super) write_out: WriteOut,
}

#[derive(Debug, PartialEq)]
pub(super) struct Restore {
    pub(super) file: PathBuf,
    /// The member that will start from the folder.
    pub(super) config: Box<Config>,
    pub(super) wal_dir: Option<PathBuf>,
    pub(super) check: DigestCheck,
    /// Added to the revision, and all up to there compacted.
    pub(super) bump: Option<u64>,
}

/// What the command can do.
pub(crate) const VERBS: [Verb; 3] = [
    Verb {
        name: "save",
        values: &["endpoints", "dial-timeout", "cacert", "cert", "key", "user", "password"],
        switches: &[],
        operands: Operands::Files,
    },
    Verb { name: "status", values: &["write-out"], switches: &[], operands: Operands::Files },
    Verb {
        name: "restore",
        values: &[
            "data-dir",
            "wal-dir",
            "name",
            "initial-cluster",
            "initial-cluster-token",
            "initial-advertise-peer-urls",
            "bump-revision",
        ],
        switches: &["skip-hash-check", "mark-compacted"],
        operands: Operands::Files,
    },
];

/// Reads the arguments that follow `snapshot`.
pub(super) fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().map(text).transpose()?;
    let [save_verb, status_verb, restore_verb] = &VERBS;
    let mut read = |verb| Given::read(&mut arguments, verb);
    match name.as_deref() {
        Some("save") => save(read(save_verb)?),
        Some("status") => status(read(status_verb)?),
        Some("restore") => restore(read(restore_verb)?),
        None | Some("-h" | "--help" | "help") => Ok(Command::Help),
        Some(other) => Err(Error::Usage(format!("unknown command {other:?} for \"lodemark snapshot\""))),
    }
}

fn save(mut given: Given) -> Result<Command, Error> {
    if given.wants_help {
        return Ok(Command::Help);
    }
    let file = given.operand("snapshot save expects one argument")?;
    let endpoints = given.take("endpoints").unwrap_or_else(|| "http://127.0.0.1:2379".to_owned());
    if endpoints.contains(',') {
        return Err(Error::Usage("snapshot must be requested to one selected node, not multiple".to_owned()));
    }
    let seconds = given.take("dial-timeout").unwrap_or_else(|| DIAL_TIMEOUT_SECONDS.to_owned());
    let parsed = seconds.strip_suffix('s').unwrap_or(&seconds).parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let dial_timeout = parsed.ok_or_else(|| Error::Usage(format!("invalid value {seconds:?} for --dial-timeout")))?;
    let cert = match (given.take("cert"), given.take("key")) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => return Err(Error::Usage("--cert and --key must both be given".to_owned())),
    };
    Ok(Command::Save(Save {
        file: file.into(),
        endpoint: if endpoints.contains("://") { endpoints } else { format!("http://{endpoints}") },
        dial_timeout: std::time::Duration::from_secs(dial_timeout.into()),
        cacert: given.take("cacert").map(PathBuf::from),
        cert,
        user: login(given.take("user"), given.take("password"))?,
    }))
}

/// The name may hold a colon only if the password comes by itself, as in etcdctl. Nobody is asked for it: this runs in scripts.
fn login(user: Option<String>, password: Option<String>) -> Result<Option<Login>, Error> {
    match (user.filter(|user| !user.is_empty()), password) {
        (Some(name), Some(password)) => Ok(Some(Login { name, password })),
        (Some(user), None) => match user.split_once(':') {
            Some((name, password)) => Ok(Some(Login { name: name.to_owned(), password: password.to_owned() })),
            None => Err(Error::Usage("--user needs a password: --user=NAME:PASSWORD, or --password".to_owned())),
        },
        (None, Some(_)) => Err(Error::Usage("--password needs --user".to_owned())),
        (None, None) => Ok(None),
    }
}

fn status(mut given: Given) -> Result<Command, Error> {
    if given.wants_help {
        return Ok(Command::Help);
    }
    let file = given.operand("snapshot status requires exactly one argument")?;
    let write_out = match given.take("write-out").as_deref() {
        None | Some("simple") => WriteOut::Simple,
        Some("table") => WriteOut::Table,
        Some("json") => WriteOut::Json,
        Some("fields") => WriteOut::Fields,
        Some(other) => return Err(Error::Usage(format!("unsupported output format {other:?}"))),
    };
    Ok(Command::Status(StatusOf { file: file.into(), write_out }))
}

fn restore(mut given: Given) -> Result<Command, Error> {
    if given.wants_help {
        return Ok(Command::Help);
    }
    let file = given.operand("snapshot restore requires exactly one argument")?;
    let bump = given.take("bump-revision").unwrap_or_else(|| "0".to_owned());
    let bump: u64 = bump.parse().map_err(|_| Error::Usage(format!("invalid value {bump:?} for --bump-revision")))?;
    let bump = match (bump, given.switch("mark-compacted")) {
        (0, false) => None,
        // etcdutl says the same in both cases.
        (0, true) | (_, false) => {
            return Err(Error::Usage("--mark-compacted required if --revision-bump > 0".to_owned()));
        }
        (bump, true) => Some(bump),
    };
    let check = if given.switch("skip-hash-check") { DigestCheck::Skipped } else { DigestCheck::Required };
    let wal_dir = given.take("wal-dir").map(PathBuf::from);
    Ok(Command::Restore(Restore { file: file.into(), config: config(&mut given)?, wal_dir, check, bump }))
}

/// The flags of the server that tell of its cluster, with etcdutl's defaults.
fn config(given: &mut Given) -> Result<Box<Config>, Error> {
    let name = given.take("name").unwrap_or_else(|| "default".to_owned());
    let data_dir = given.take("data-dir").filter(|dir| !dir.is_empty()).unwrap_or_else(|| format!("{name}.etcd"));
    let mut flags = vec![format!("--name={name}"), format!("--data-dir={data_dir}")];
    let cluster = given.take("initial-cluster").unwrap_or_else(|| "default=http://localhost:2380".to_owned());
    for (flag, default) in
        [("initial-cluster-token", "etcd-cluster"), ("initial-advertise-peer-urls", "http://localhost:2380")]
    {
        let value = given.take(flag).unwrap_or_else(|| default.to_owned());
        flags.push(format!("--{flag}={value}"));
    }
    match Invocation::from_args(flags.into_iter().map(OsString::from))? {
        // Not the server's rule that a name alone founds a cluster: etcdutl does not have it.
        Invocation::Serve(config) => Ok(Box::new(Config { initial_cluster: cluster, ..*config })),
        Invocation::Help | Invocation::Version => unreachable!("no flag asks for them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, Error> {
        command(arguments.iter().map(OsString::from))
    }

    fn restore_of(arguments: &[&str]) -> Restore {
        match read(arguments) {
            Ok(Command::Restore(restore)) => restore,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn flags_may_stand_anywhere() {
        for arguments in [
            &["save", "f.db", "--endpoints=127.0.0.1:1"][..],
            &["save", "--endpoints", "127.0.0.1:1", "f.db"],
            &["save", "--endpoints=http://127.0.0.1:1", "f.db"],
        ] {
            let Ok(Command::Save(save)) = read(arguments) else { panic!("{arguments:?}") };
            assert_eq!((save.file, save.endpoint.as_str()), ("f.db".into(), "http://127.0.0.1:1"));
        }
        for (arguments, name, password) in [
            (&["save", "f.db", "--user=ann:a:b"][..], "ann", "a:b"),
            (&["save", "f.db", "--user=ann:x", "--password=y"], "ann:x", "y"),
        ] {
            let Ok(Command::Save(save)) = read(arguments) else { panic!("{arguments:?}") };
            assert_eq!(save.user, Some(Login { name: name.to_owned(), password: password.to_owned() }));
        }
        let Ok(Command::Status(status)) = read(&["status", "-w", "json", "f.db"]) else { panic!() };
        assert_eq!(status, StatusOf { file: "f.db".into(), write_out: WriteOut::Json });
        let restore = restore_of(&["restore", "--skip-hash-check", "f.db", "--bump-revision=7", "--mark-compacted"]);
        assert_eq!((restore.check, restore.bump), (DigestCheck::Skipped, Some(7)));
        assert_eq!(restore.config.data_dir, PathBuf::from("default.etcd"));
        let restore = restore_of(&["restore", "f.db", "--data-dir", "x", "--skip-hash-check=false"]);
        assert_eq!((restore.check, restore.bump), (DigestCheck::Required, None));
        assert_eq!(restore.config.data_dir, PathBuf::from("x"));
        for help in [&[][..], &["--help"], &["save", "--help"], &["restore", "-h"]] {
            assert_eq!(read(help).unwrap(), Command::Help);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, text) in [
            (&["load"][..], "unknown command \"load\""),
            (&["save"], "snapshot save expects one argument"),
            (&["save", "a", "b"], "snapshot save expects one argument"),
            (&["save", "a", "--endpoints=x:1,y:1"], "snapshot must be requested to one selected node, not multiple"),
            (&["save", "a", "--cert=x"], "--cert and --key"),
            (&["save", "a", "--user=x"], "--user needs a password"),
            (&["save", "a", "--password=x"], "--password needs --user"),
            (&["save", "a", "--dial-timeout=0s"], "invalid value \"0s\""),
            (&["status"], "snapshot status requires exactly one argument"),
            (&["status", "a", "-x"], "unknown shorthand flag in -x"),
            (&["status", "a", "-w=xml"], "unsupported output format \"xml\""),
            (&["status", "a", "--write-out=xml"], "unsupported output format \"xml\""),
            (&["restore", "a", "--nope"], "unknown flag: --nope"),
            (&["restore", "a", "--name"], "flag needs an argument: --name"),
            (&["restore", "a", "--bump-revision=-1", "--mark-compacted"], "invalid value \"-1\""),
            (&["restore", "a", "--bump-revision=1"], "--mark-compacted required if --revision-bump > 0"),
            (&["restore", "a", "--mark-compacted"], "--mark-compacted required if --revision-bump > 0"),
            (&["restore", "a", "--skip-hash-check=maybe"], "invalid argument \"maybe\""),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(matches!(error, Error::Usage(_)) && error.to_string().contains(text), "{arguments:?}: {error}");
        }
        let error = read(&["restore", "a", "--initial-advertise-peer-urls=x"]).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}
