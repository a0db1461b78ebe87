//! A child process whose stderr is watched line by line.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long anything that a test waits for may take, on a machine that is busy with other tests.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at a process that should end.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// What a process has said so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Said>,
    reader: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts `program`.
    pub fn start(program: &Path, arguments: &[OsString], working_dir: &Path) -> Process {
        Process::start_with(program, arguments, working_dir, &[])
    }

    /// The same, with these variables in its environment.
    pub fn start_with(
        program: &Path,
        arguments: &[OsString],
        working_dir: &Path,
        variables: &[(String, String)],
    ) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(working_dir).stdin(Stdio::null());
        // Variables of the one who runs the tests must not reach the program.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let said = Arc::new(Said::default());
        let (stderr, into) = (child.stderr.take().expect("it is piped"), said.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lines.lock().unwrap().0.push(line);
                into.changed.notify_all();
            }
            into.lines.lock().unwrap().1 = true;
            into.changed.notify_all();
        });
        let mut stdout = child.stdout.take().expect("it is piped");
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Process { child, said, reader: Some(reader), stdout: Some(stdout) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines of stderr so far.
    pub fn lines(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().0.clone()
    }

    /// Waits for the `nth` line (first is 0) that contains `text`, and gives it; panics if the process ends before.
    pub fn wait_for_line(&self, text: &str, nth: usize) -> String {
        let lines = self.said.lines.lock().unwrap();
        let find = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).nth(nth).cloned();
        let (lines, _) = self
            .said
            .changed
            .wait_timeout_while(lines, WAIT_MAX, |(lines, has_ended)| find(lines).is_none() && !*has_ended)
            .unwrap();
        let found = find(&lines.0);
        let ended = if lines.1 { "it has ended" } else { "it runs" };
        // Free before the panic, whose unwinding prints the lines.
        drop(lines);
        found.unwrap_or_else(|| panic!("the process does not say {text:?}; {ended}"))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {signal:?} to {pid:?}: {error}"));
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        // It may have ended by itself; then that is its end.
        let _ = self.child.kill();
        self.wait();
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut waited = Duration::ZERO;
        let status = loop {
            match self.child.try_wait().expect("the child is ours") {
                Some(status) => break status,
                None if waited >= WAIT_MAX => panic!("process {} does not end", self.pid()),
                // The system tells of the end of a child only by asking.
                None => std::thread::sleep(EXIT_POLL),
            }
            waited += EXIT_POLL;
        };
        // Everything that it said is there then.
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        status
    }

    /// Waits for its end; gives the exit status and what it printed to stdout and stderr.
    pub fn output(mut self) -> (Option<i32>, String, String) {
        let status = self.wait();
        let stdout = self.stdout.take().expect("it is taken once").join().expect("reading does not panic");
        (status.code(), stdout, self.lines().join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- process {} said:\n{}\n---", self.pid(), self.lines().join("\n"));
        }
    }
}
