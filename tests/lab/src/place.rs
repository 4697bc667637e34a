//! Where a lab keeps its state, and the names it uses on the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::Host;

/// State folder when `HERALD_LAB_DIR` says nothing.
pub const DEFAULT_DIR: &str = "/tmp/herald-lab";

/// Folders that every host covers with its own.
const PRIVATE: [&str; 7] = ["/run", "/etc", "/var", "/opt", "/sys", "/proc", "/dev"];

/// A lab's identity: its state folder decides all other names, so that two labs in two folders never meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    dir: PathBuf,
    tag: String,
}

impl Place {
    /// The lab of `HERALD_LAB_DIR`, or of `/tmp/herald-lab`.
    ///
    /// # Errors
    /// [`Error::BadDirectory`].
    pub fn from_env() -> Result<Self> {
        Self::new(std::env::var_os("HERALD_LAB_DIR").map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from))
    }

    /// The lab whose state is in `dir` (absolute, outside the folders that hosts have for themselves).
    ///
    /// # Errors
    /// [`Error::BadDirectory`].
    pub fn new(dir: PathBuf) -> Result<Self> {
        let plain = dir.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if !dir.is_absolute()
            || !plain
            || PRIVATE.iter().any(|private| dir.starts_with(private))
            || dir == Path::new("/")
        {
            return Err(Error::BadDirectory(dir));
        }
        let tag = if dir == Path::new(DEFAULT_DIR) { String::new() } else { format!("{:06x}-", fnv(&dir)) };
        Ok(Self { dir, tag })
    }

    /// The state folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Name of a host's network namespace, as `ip netns` shows it.
    #[must_use]
    pub fn netns(&self, host: Host) -> String {
        format!("hl-{}{host}", self.tag)
    }

    /// Name of the switch's network namespace.
    #[must_use]
    pub fn switch(&self) -> String {
        format!("hl-{}sw", self.tag)
    }

    /// The host or switch part of a network namespace of this lab.
    pub(crate) fn of_netns<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix("hl-")?.strip_prefix(self.tag.as_str())?;
        (rest == "sw" || rest.parse::<Host>().is_ok()).then_some(rest)
    }

    /// Cgroup of the whole lab, below every hierarchy's root.
    pub(crate) fn cgroup(&self) -> String {
        format!("herald-lab{}{}", if self.tag.is_empty() { "" } else { "-" }, self.tag.trim_end_matches('-'))
    }

    /// Cgroup of one host.
    pub(crate) fn host_cgroup(&self, host: Host) -> String {
        format!("{}/{host}", self.cgroup())
    }

    /// State of one host: disk, logs.
    #[must_use]
    pub fn host_dir(&self, host: Host) -> PathBuf {
        self.dir.join("hosts").join(host.to_string())
    }

    /// Kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Links to the Kubernetes programs in use.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Image tars that every node imports when it boots.
    pub(crate) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Beside the folder, because `down` removes the folder.
    fn lock_file(&self) -> PathBuf {
        let mut name = self.dir.clone().into_os_string();
        name.push(".lock");
        PathBuf::from(name)
    }
}

/// FNV-1a folded to 24 bits: a short, stable tag; not meant to withstand anybody.
fn fnv(dir: &Path) -> u64 {
    let hash =
        dir.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    (hash ^ (hash >> 24)) & 0x00ff_ffff
}

/// The lab's lock: held by whoever builds, changes or tests it. The kernel lets go of it when the holder dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, waiting at most `patience` for another holder.
    ///
    /// # Errors
    /// [`Error::Locked`] naming the holder's process id.
    pub(crate) fn take(place: &Place, patience: Duration) -> Result<Self> {
        let lock = Self::take_file(&place.lock_file(), patience, &place.dir)?;
        Ok(lock)
    }

    pub(crate) fn take_file(path: &Path, patience: Duration, dir: &Path) -> Result<Self> {
        let start = Instant::now();
        let mut told = false;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
        }
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(Error::io("opening", path))?;
            if file.try_lock().is_ok() {
                // The last holder may have removed the file between our open and our lock: then it locks nobody out.
                let same = fs::metadata(path).ok().zip(file.metadata().ok()).is_some_and(|(a, b)| a.ino() == b.ino());
                if !same {
                    continue;
                }
                let written = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .and_then(|()| file.flush());
                written.map_err(Error::io("writing", path))?;
                return Ok(Self { file, path: path.to_path_buf() });
            }
            let mut pid = String::new();
            // Only for the message; an unreadable file leaves it empty.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "(unknown)".into() } else { pid.trim().to_owned() };
            if start.elapsed() >= patience {
                return Err(Error::Locked { dir: dir.to_path_buf(), pid });
            }
            if !told {
                told = true;
                eprintln!("{} is in use by process {pid}; waiting up to {} s", dir.display(), patience.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Removes the lock file together with the lock.
    pub(crate) fn remove(self) {
        // Removed while locked: waiters notice that their file is no longer the one at this path.
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_share_no_name() {
        let one = Place::new(DEFAULT_DIR.into()).unwrap();
        let two = Place::new("/tmp/other".into()).unwrap();
        assert_eq!(one.netns(Host::ControlPlane), "hl-m-k8s");
        assert_eq!(one.cgroup(), "herald-lab");
        assert_ne!(one.netns(Host::Client), two.netns(Host::Client));
        assert_ne!(one.cgroup(), two.cgroup());
        assert_eq!(one.of_netns(&one.netns(Host::Worker(7))), Some("w7-k8s"));
        assert_eq!(one.of_netns(&two.netns(Host::Worker(7))), None);
        assert_eq!(two.of_netns(&one.switch()), None);
        assert_eq!(two.of_netns(&two.switch()), Some("sw"));
    }

    #[test]
    fn folders_that_hosts_cover_are_refused() {
        for bad in ["/run/lab", "/var/tmp/lab", "relative", "/", "/tmp/../run"] {
            assert!(matches!(Place::new(bad.into()), Err(Error::BadDirectory(_))), "{bad}");
        }
    }

    #[test]
    fn the_second_holder_learns_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("lab")).unwrap();
        let first = Lock::take(&place, Duration::ZERO).unwrap();
        match Lock::take(&place, Duration::ZERO) {
            Err(Error::Locked { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        first.remove();
        assert!(!place.lock_file().exists());
        drop(Lock::take(&place, Duration::ZERO).unwrap());
        drop(Lock::take(&place, Duration::ZERO).unwrap());
    }
}
