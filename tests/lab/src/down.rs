//! Back to nothing, also from half a lab, also after a crash.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, umount2};

use crate::cgroup::Cgroups;
use crate::error::{Error, Result};
use crate::host::{Host, Lan};
use crate::lab::{Lab, require_root};
use crate::place::{Lock, Place};
use crate::power;
use crate::run::{Progress, command, output};
use crate::up::PATIENCE;
use crate::wiring;

const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
/// The machine's own value while any lab runs; outside all labs, because the last one puts it back.
const INOTIFY_SAVED: &str = "/run/herald-lab.inotify";
/// Four kubelets and containerds need more than the usual 128.
const INOTIFY_NEEDED: u32 = 8192;

fn read_number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The limit is the machine's, not a host's.
pub(crate) fn raise_inotify_limit() -> Result<()> {
    let now = read_number(INOTIFY).unwrap_or_default();
    if now >= INOTIFY_NEEDED {
        return Ok(());
    }
    fs::write(INOTIFY_SAVED, now.to_string()).map_err(Error::io("writing", INOTIFY_SAVED))?;
    fs::write(INOTIFY, INOTIFY_NEEDED.to_string()).map_err(Error::io("writing", INOTIFY))
}

fn restore_inotify_limit() -> Result<()> {
    if let Some(saved) = read_number(INOTIFY_SAVED) {
        fs::write(INOTIFY, saved.to_string()).map_err(Error::io("writing", INOTIFY))?;
        fs::remove_file(INOTIFY_SAVED).map_err(Error::io("removing", INOTIFY_SAVED))?;
    }
    Ok(())
}

impl Lab {
    /// Removes the lab of `HERALD_LAB_DIR` and everything it put on the machine. Repeatable; nothing there is fine.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process uses the lab; [`Error::LeftBehind`] names what would not go.
    pub fn down() -> Result<()> {
        require_root()?;
        let place = Place::from_env()?;
        let lock = Lock::take(&place, PATIENCE)?;
        remove(&place, lock)
    }

    /// [`Lab::down`] by the holder of the lock.
    ///
    /// # Errors
    /// [`Error::LeftBehind`] names what would not go.
    pub fn remove(mut self) -> Result<()> {
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => Lock::take(&self.place, PATIENCE)?,
        };
        remove(&self.place, lock)
    }
}

fn remove(place: &Place, lock: Lock) -> Result<()> {
    let progress = Progress::new();
    let cgroups = Cgroups::detect()?;
    // Not from the state folder: what stands counts, also when the folder is gone.
    let namespaces = wiring::namespaces(place);
    let hosts: Vec<Host> = namespaces.iter().filter_map(|name| place.of_netns(name)?.parse().ok()).collect();
    for host in &hosts {
        for lan in [Lan::First, Lan::Second] {
            match wiring::set_port(place, *host, lan, wiring::Port::Cut) {
                Ok(()) | Err(Error::HostOff(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for name in cgroups.children(&place.cgroup()) {
        match name.parse::<Host>() {
            Ok(host) => power::stop(place, &cgroups, host)?,
            Err(_) => power::stop_group(&cgroups, &format!("{}/{name}", place.cgroup()))?,
        }
    }
    power::stop_group(&cgroups, &place.cgroup())?;
    progress.say("hosts stopped");
    for name in &namespaces {
        end_strangers(name)?;
    }
    for host in hosts {
        wiring::host_down(place, host)?;
    }
    wiring::switch_down(place)?;
    remove_empty_netns_folder();
    unmount_below(place.dir())?;
    if place.dir().exists() {
        fs::remove_dir_all(place.dir()).map_err(Error::io("removing", place.dir()))?;
    }
    if cgroups.labs().is_empty() {
        restore_inotify_limit()?;
    }
    lock.remove();
    progress.say("down");
    Ok(())
}

/// Clients and captures that somebody left running in a host's network would keep it alive.
fn end_strangers(netns: &str) -> Result<()> {
    let answer = output(&mut command("ip", ["netns", "pids", netns]))?;
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let pids = String::from_utf8_lossy(&answer.stdout);
    let pids: Vec<i32> = pids.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != own).collect();
    power::end(&pids);
    Ok(())
}

/// As it was before the first `ip netns add` of this machine.
fn remove_empty_netns_folder() {
    let path = Path::new("/run/netns");
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
        // Others may have made a namespace in the meantime: then it stays.
        let _ = Command::new("umount").arg(path).output();
        let _ = fs::remove_dir(path);
    }
}

fn unmount_below(dir: &Path) -> Result<()> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| Path::new(at).starts_with(dir));
    let points: Vec<&str> = points.collect();
    for at in points.iter().rev() {
        umount2(*at, MntFlags::MNT_DETACH).map_err(Error::system(format!("unmounting {at}")))?;
    }
    Ok(())
}
