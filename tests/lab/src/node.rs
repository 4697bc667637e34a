//! A host from inside: what its PID 1 is told, how it is launched, and what it does.

mod config;
mod init;
mod mounts;
mod supervise;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::error::{Error, Result, line};
use crate::host::Host;

pub use config::ProxyMode;
pub use init::init;
pub(crate) use init::{import_marker, tar_version};

/// Everything a host's PID 1 needs to know, written to `node.json` in the host's folder by the starter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeSpec {
    pub(crate) host: Host,
    /// The lab's folder.
    pub(crate) lab: PathBuf,
    /// The host's folder.
    pub(crate) dir: PathBuf,
    /// Folder with the Kubernetes programs.
    pub(crate) bin: PathBuf,
    pub(crate) pki: PathBuf,
    pub(crate) images: PathBuf,
    /// Folder with the CNI plugins.
    pub(crate) cni: PathBuf,
    pub(crate) proxy_mode: ProxyMode,
    pub(crate) cgroups: Cgroups,
    pub(crate) cgroup: String,
    /// Path of the network namespace.
    pub(crate) netns: PathBuf,
}

impl NodeSpec {
    pub(crate) fn file(dir: &Path) -> PathBuf {
        dir.join("node.json")
    }

    pub(crate) fn write(&self) -> Result<PathBuf> {
        let path = Self::file(&self.dir);
        let text = serde_json::to_vec_pretty(self).map_err(Error::json("node.json"))?;
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        Ok(path)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(Error::io("reading", path))?;
        serde_json::from_slice(&text).map_err(Error::json(path.display().to_string()))
    }

    /// Exists as soon as the host has started all its daemons.
    pub(crate) fn booted_marker(dir: &Path) -> PathBuf {
        dir.join("booted")
    }

    /// Exists since the API server was ready for the first time after the control plane was switched on.
    pub(crate) fn api_marker(lab: &Path) -> PathBuf {
        lab.join("api-ready")
    }

    /// While this file exists, the daemon is not restarted.
    pub(crate) fn hold_marker(dir: &Path, daemon: &str) -> PathBuf {
        dir.join(format!("hold-{daemon}"))
    }
}

/// The hidden `node-launch` command: moves itself into the host's cgroup and namespaces, starts PID 1 there, and ends.
///
/// The PID namespace is the point: SIGKILL of its init takes every process of the host in one stroke.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn launch(spec_file: &Path) -> Result<()> {
    let spec = NodeSpec::read(spec_file)?;
    // First of all, so that the host's cgroup lists everything that ever belonged to it.
    spec.cgroups.join(&spec.cgroup)?;
    let netns = fs::File::open(&spec.netns).map_err(Error::io("opening", &spec.netns))?;
    setns(&netns, CloneFlags::CLONE_NEWNET).map_err(Error::system("entering the network namespace"))?;
    let fresh = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(fresh).map_err(Error::system("making namespaces (needs root)"))?;
    mounts::make_private()?;
    let log = spec.dir.join("log/init.log");
    let open = || fs::OpenOptions::new().create(true).append(true).open(&log).map_err(Error::io("opening", &log));
    let program = std::env::current_exe().map_err(Error::io("finding", "/proc/self/exe"))?;
    let mut init = Command::new(program);
    init.arg("node-init").arg(spec_file).current_dir("/").stdin(Stdio::null()).stdout(open()?).stderr(open()?);
    // Not waited for: this process ends now and leaves it to the machine's init.
    init.spawn().map(drop).map_err(|source| Error::Start { command: line(&init), source })
}
