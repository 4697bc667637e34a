//! PID 1 of a host: starts daemons again when they end, reaps orphans.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, wait};

use super::NodeSpec;
use crate::error::{Error, Result};

/// A daemon: name (of log and hold marker), program and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Daemon {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
}

/// Seconds until a daemon that ended is started again, and until a held one is looked at again.
const PAUSE: &str = "0.3";

#[derive(Debug)]
enum Child {
    Daemon(Daemon),
    /// A sleeping process whose end is the daemon's start: keeps this process single-threaded and asleep.
    Timer(Daemon),
}

/// The daemons of one host. `std::process::Child` is not kept: `wait` takes orphans and children alike.
#[derive(Debug)]
pub(super) struct Supervisor {
    dir: PathBuf,
    children: BTreeMap<i32, Child>,
}

impl Supervisor {
    pub(super) fn new(spec: &NodeSpec) -> Self {
        Self { dir: spec.dir.clone(), children: BTreeMap::new() }
    }

    pub(super) fn start(&mut self, daemon: Daemon) -> Result<()> {
        if NodeSpec::hold_marker(&self.dir, daemon.name).exists() {
            return self.start_later(daemon);
        }
        let path = self.dir.join("log").join(format!("{}.log", daemon.name));
        let open = || OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("opening", &path));
        let mut log = open()?;
        // Only a mark between runs.
        let _ = writeln!(log, "--- start {}", daemon.name);
        let mut command = Command::new(&daemon.program);
        command.args(&daemon.args).stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        match command.spawn() {
            Ok(child) => {
                self.insert(child.id(), Child::Daemon(daemon));
                Ok(())
            }
            Err(error) => {
                let _ = writeln!(log, "--- cannot start {}: {error}", daemon.program.display());
                self.start_later(daemon)
            }
        }
    }

    fn start_later(&mut self, daemon: Daemon) -> Result<()> {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg(PAUSE).stdin(Stdio::null()).spawn();
        let child = child.map_err(|source| Error::Start { command: format!("sleep {PAUSE}"), source })?;
        self.insert(child.id(), Child::Timer(daemon));
        Ok(())
    }

    fn insert(&mut self, pid: u32, child: Child) {
        if let Ok(pid) = i32::try_from(pid) {
            self.children.insert(pid, child);
        }
    }

    /// For ever: a host ends by SIGKILL from outside.
    pub(super) fn run(mut self) -> Result<()> {
        loop {
            let status = match wait() {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                // Nothing to look after (the client): sleep until killed.
                Err(Errno::ECHILD) => {
                    std::thread::park();
                    continue;
                }
                Err(error) => return Err(Error::system("waiting for children")(error)),
            };
            let pid = match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid,
                _ => continue,
            };
            match self.children.remove(&pid.as_raw()) {
                Some(Child::Daemon(daemon)) => {
                    eprintln!("{} ended: {status:?}", daemon.name);
                    self.start_later(daemon)?;
                }
                Some(Child::Timer(daemon)) => self.start(daemon)?,
                None => {}
            }
        }
    }
}
