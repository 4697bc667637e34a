//! The lab as a value: options, and the handle that everything hangs on.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::error::{Error, Result};
use crate::host::{Host, Lan};
use crate::node::ProxyMode;
use crate::place::{Lock, Place};

/// What kind of lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Workers beside the control plane, 0 to [`crate::MAX_WORKERS`].
    pub workers: u8,
    /// How kube-proxy programs Services.
    pub proxy_mode: ProxyMode,
    /// A second LAN (eth1, 192.168.57.0/24 and fd57::/64) that all hosts are plugged into as well.
    #[serde(default)]
    pub second_lan: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 3, proxy_mode: ProxyMode::default(), second_lan: false }
    }
}

impl Options {
    /// LANs of such a lab.
    #[must_use]
    pub fn lans(&self) -> &'static [Lan] {
        if self.second_lan { &[Lan::First, Lan::Second] } else { &[Lan::First] }
    }

    /// Whether a running lab can become this one by adding or removing workers.
    fn fits(&self, running: &Self) -> bool {
        Self { workers: 0, ..*self } == Self { workers: 0, ..*running }
    }

    fn describe(&self) -> String {
        format!("--proxy-mode {}{}", self.proxy_mode.as_str(), if self.second_lan { " --second-lan" } else { "" })
    }
}

/// A lab. The value is a handle: dropping it leaves the cluster running (and lets go of the lock).
#[derive(Debug)]
pub struct Lab {
    pub(crate) place: Place,
    pub(crate) options: Options,
    pub(crate) cgroups: Cgroups,
    /// Held by those who made sure of the lab with `up`.
    pub(crate) lock: Option<Lock>,
}

fn options_file(place: &Place) -> PathBuf {
    place.dir().join("options.json")
}

/// Options of the lab that stands at `place`; `None` when there is none.
pub(crate) fn running_options(place: &Place) -> Result<Option<Options>> {
    let path = options_file(place);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(Error::json(path.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("reading", &path)(error)),
    }
}

/// Writes the options down, refusing those that the running lab cannot change to.
pub(crate) fn settle_options(place: &Place, options: &Options) -> Result<()> {
    if let Some(running) = running_options(place)?
        && !options.fits(&running)
    {
        return Err(Error::OtherOptions {
            dir: place.dir().to_path_buf(),
            running: running.describe(),
            asked: options.describe(),
        });
    }
    let path = options_file(place);
    let partial = path.with_extension("new");
    let text = serde_json::to_vec(options).map_err(Error::json("options"))?;
    fs::write(&partial, text).map_err(Error::io("writing", &partial))?;
    fs::rename(&partial, &path).map_err(Error::io("renaming", &partial))
}

pub(crate) fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

impl Lab {
    /// A handle on the lab that runs in `HERALD_LAB_DIR`, without changing anything and without its lock.
    ///
    /// # Errors
    /// [`Error::HostOff`] when there is no lab; [`Error::NotRoot`].
    pub fn attach() -> Result<Self> {
        require_root()?;
        let place = Place::from_env()?;
        let options = running_options(&place)?.ok_or_else(|| Error::HostOff(Host::ControlPlane.to_string()))?;
        Ok(Self { place, options, cgroups: Cgroups::detect()?, lock: None })
    }

    /// Names and folders of this lab.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Options of this lab.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// All hosts, on or off.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        Host::all(self.options.workers)
    }

    /// All hosts that run Kubernetes.
    #[must_use]
    pub fn nodes(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.is_node()).collect()
    }

    /// The hosts `w1-k8s` and so on.
    #[must_use]
    pub fn workers(&self) -> Vec<Host> {
        (1..=self.options.workers).map(Host::Worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_workers_may_change_while_running() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().to_path_buf()).unwrap();
        let three = Options::default();
        assert_eq!(running_options(&place).unwrap(), None);
        settle_options(&place, &three).unwrap();
        settle_options(&place, &Options { workers: 5, ..three }).unwrap();
        assert_eq!(running_options(&place).unwrap().unwrap().workers, 5);
        let other = Options { proxy_mode: ProxyMode::Nftables, ..three };
        assert!(matches!(settle_options(&place, &other), Err(Error::OtherOptions { .. })));
        let other = Options { second_lan: true, ..three };
        assert!(matches!(settle_options(&place, &other), Err(Error::OtherOptions { .. })));
    }
}
