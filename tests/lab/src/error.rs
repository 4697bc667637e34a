//! What can go wrong, told so that the operator knows the next step.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Result of every lab operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A lab operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Namespaces, mounts and cgroups need it.
    #[error("the lab needs root (namespaces, mounts, cgroups); run it with sudo -E")]
    NotRoot,
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// A program could not be started.
    #[error("`{command}` cannot be started: {source}")]
    Start {
        /// The command line.
        command: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file operation failed.
    #[error("{what} {path}: {source}")]
    Io {
        /// The operation.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// The operation.
        what: String,
        /// The cause.
        source: nix::errno::Errno,
    },
    /// Somebody else works on the same lab.
    #[error(
        "the lab in {dir} is in use by process {pid}; wait for it, end it, or use another one with HERALD_LAB_DIR=/some/dir"
    )]
    Locked {
        /// State folder of the lab.
        dir: PathBuf,
        /// Holder of the lock as it wrote itself down.
        pid: String,
    },
    /// A state folder that hosts cannot see.
    #[error(
        "HERALD_LAB_DIR={0}: every host has its own /run, /etc, /var, /opt, /sys, /proc and /dev; choose a folder elsewhere, e.g. /tmp/herald-lab"
    )]
    BadDirectory(PathBuf),
    /// Debian packages are missing and could not be installed.
    #[error("missing programs; install them with: apt-get install {0}")]
    MissingPackages(String),
    /// No Kubernetes programs and no way to build them.
    #[error("{0}")]
    Tools(String),
    /// Not a host of this lab.
    #[error("{0:?} is no host of the lab: m-k8s, w1-k8s .. w90-k8s and lab-client are")]
    NoSuchHost(String),
    /// The host is powered off (or the lab is down).
    #[error("{0} is off; start it with `herald-lab power-on {0}`, or the whole lab with `herald-lab up`")]
    HostOff(String),
    /// A host's PID 1 ended before its daemons ran.
    #[error("{host} died while booting: {log}")]
    Boot {
        /// The host.
        host: String,
        /// The last lines of its boot log.
        log: String,
    },
    /// The running lab was made with other options.
    #[error("the lab in {dir} runs with {running}; run `herald-lab down` before starting it with {asked}")]
    OtherOptions {
        /// State folder of the lab.
        dir: PathBuf,
        /// Its options.
        running: String,
        /// The options asked for.
        asked: String,
    },
    /// Something did not happen in time.
    #[error("waited {timeout:?} for {what}{hint}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
        /// Where to look, or what was seen last.
        hint: String,
    },
    /// Neither usable cgroup v1 hierarchies nor cgroup v2.
    #[error("cgroups: {0}")]
    Cgroups(String),
    /// Building an image failed.
    #[error("image: {0}")]
    Image(#[from] herald_xtask::image::ImageError),
    /// An answer of a program that was not understood.
    #[error("{what}: {source}")]
    Json {
        /// Whose answer.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The lab's own program, which hosts run as their PID 1, was not found.
    #[error("the herald-lab program is not beside {0}; build it with `cargo build -p herald-lab`")]
    NoProgram(PathBuf),
    /// `down` could not remove something.
    #[error("left behind: {0}")]
    LeftBehind(String),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    pub(crate) fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Json { what, source }
    }
}

/// The command line as a person would type it, for messages.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

/// The last lines of `text`, at most 20.
pub(crate) fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
