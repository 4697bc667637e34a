//! Cgroups of the lab: `herald-lab/HOST` in every v1 hierarchy, or once in v2. A host's cgroup is also the list of its processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One mounted cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    /// Where the machine has it.
    mount: PathBuf,
    /// Mount options that name it, e.g. `cpu,cpuacct` or `none,name=systemd`.
    options: String,
}

/// The machine's cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cgroups {
    /// Version 1 (also "hybrid": the controllers are what counts).
    V1(Vec<Hierarchy>),
    /// Version 2, mounted here.
    V2(PathBuf),
}

/// What kubelet and runc cannot do without.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Super options of a v1 mount that do not name the hierarchy.
fn names_hierarchy(option: &str) -> bool {
    !matches!(option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children") && !option.starts_with("release_agent=")
}

impl Cgroups {
    pub(crate) fn detect() -> Result<Self> {
        let path = "/proc/self/mountinfo";
        let mounts = fs::read_to_string(path).map_err(Error::io("reading", path))?;
        Self::parse(&mounts)
    }

    /// From the text of mountinfo (proc(5)): `… ROOT MOUNTPOINT … - TYPE SOURCE SUPEROPTIONS`.
    fn parse(mountinfo: &str) -> Result<Self> {
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(at), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => v2 = v2.or_else(|| Some(PathBuf::from(at))),
                (Some("cgroup"), Some(options)) => {
                    let named: Vec<&str> = options.split(',').filter(|option| names_hierarchy(option)).collect();
                    let named = named.join(",");
                    let options = if named.starts_with("name=") { format!("none,{named}") } else { named };
                    if !v1.iter().any(|hierarchy| hierarchy.options == options) {
                        v1.push(Hierarchy { mount: at.into(), options });
                    }
                }
                _ => {}
            }
        }
        let has = |controller: &str| v1.iter().any(|h| h.options.split(',').any(|option| option == controller));
        if NEEDED.iter().all(|controller| has(controller)) {
            return Ok(Self::V1(v1));
        }
        v2.filter(|_| !has("memory")).map(Self::V2).ok_or_else(|| {
            Error::Cgroups(
                "neither v2 nor the v1 hierarchies cpu, cpuset, memory and pids are mounted below /sys/fs/cgroup"
                    .into(),
            )
        })
    }

    /// `v1` or `v2`, for messages.
    pub(crate) const fn version(&self) -> &'static str {
        match self {
            Self::V1(_) => "v1",
            Self::V2(_) => "v2",
        }
    }

    fn roots(&self) -> Vec<&Path> {
        match self {
            Self::V1(all) => all.iter().map(|hierarchy| hierarchy.mount.as_path()).collect(),
            Self::V2(mount) => vec![mount],
        }
    }

    /// The hierarchy whose process lists count.
    fn listing(&self) -> Option<&Path> {
        match self {
            Self::V1(all) => {
                let pids = all.iter().find(|hierarchy| hierarchy.options.split(',').any(|option| option == "pids"));
                pids.map(|hierarchy| hierarchy.mount.as_path())
            }
            Self::V2(mount) => Some(mount),
        }
    }

    /// Makes `group` (`lab/host`) everywhere, ready to take processes.
    pub(crate) fn create(&self, group: &str) -> Result<()> {
        for root in self.roots() {
            let mut at = root.to_path_buf();
            for part in Path::new(group) {
                if let Self::V2(_) = self {
                    enable_controllers(&at)?;
                }
                at.push(part);
                fs::create_dir_all(&at).map_err(Error::io("creating", &at))?;
                // New v1 cpusets are empty and take no process before they are filled.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let (own, outer) = (at.join(file), at.join("..").join(file));
                    if matches!(self, Self::V1(_)) && fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty())
                    {
                        let value = fs::read_to_string(&outer).map_err(Error::io("reading", &outer))?;
                        fs::write(&own, value).map_err(Error::io("writing", &own))?;
                    }
                }
            }
        }
        if let Self::V2(mount) = self {
            let file = mount.join(group).join("cgroup.controllers");
            let got = fs::read_to_string(&file).map_err(Error::io("reading", &file))?;
            let missing: Vec<&str> =
                NEEDED.into_iter().filter(|need| !got.split_whitespace().any(|have| have == *need)).collect();
            if !missing.is_empty() {
                return Err(Error::Cgroups(format!(
                    "v2 controllers {} are not available below {}; in a container start it with its own cgroup namespace whose root holds no processes",
                    missing.join(", "),
                    mount.display()
                )));
            }
        }
        Ok(())
    }

    /// Moves the calling process into `group`.
    pub(crate) fn join(&self, group: &str) -> Result<()> {
        for root in self.roots() {
            let file = root.join(group).join("cgroup.procs");
            fs::write(&file, process::id().to_string()).map_err(Error::io("writing", &file))?;
        }
        Ok(())
    }

    /// Process ids in `group` and below, as this process sees them.
    pub(crate) fn pids(&self, group: &str) -> Vec<i32> {
        let mut pids = Vec::new();
        if let Some(root) = self.listing() {
            collect_pids(&root.join(group), &mut pids);
        }
        pids
    }

    /// Process ids of the container with this id below `group`.
    pub(crate) fn container_pids(&self, group: &str, container_id: &str) -> Vec<i32> {
        fn find(dir: &Path, id: &str, pids: &mut Vec<i32>) {
            for child in subdirectories(dir) {
                // runc names the group after the id, the systemd driver cri-containerd-ID.scope.
                if child.file_name().is_some_and(|name| name.to_string_lossy().contains(id)) {
                    collect_pids(&child, pids);
                } else {
                    find(&child, id, pids);
                }
            }
        }
        let mut pids = Vec::new();
        if let Some(root) = self.listing() {
            find(&root.join(group), container_id, &mut pids);
        }
        pids
    }

    /// Names of the groups directly below `group` in any hierarchy.
    pub(crate) fn children(&self, group: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .roots()
            .into_iter()
            .flat_map(|root| subdirectories(&root.join(group)))
            .filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Names of all labs' groups on this machine.
    pub(crate) fn labs(&self) -> Vec<String> {
        self.children("").into_iter().filter(|name| name.starts_with("herald-lab")).collect()
    }

    /// Removes `group` and everything below; its processes must be gone. The kernel needs a moment to empty a group.
    pub(crate) fn remove(&self, group: &str) -> Result<()> {
        fn remove(dir: &Path) {
            for child in subdirectories(dir) {
                remove(&child);
            }
            // Whatever stays is found below.
            let _ = fs::remove_dir(dir);
        }
        let start = Instant::now();
        loop {
            let left: Vec<PathBuf> =
                self.roots().into_iter().map(|r| r.join(group)).filter(|dir| dir.exists()).collect();
            if left.is_empty() {
                return Ok(());
            }
            left.iter().for_each(|dir| remove(dir));
            if start.elapsed() > Duration::from_secs(5) {
                let left: Vec<String> =
                    left.iter().filter(|dir| dir.exists()).map(|dir| dir.display().to_string()).collect();
                return if left.is_empty() { Ok(()) } else { Err(Error::LeftBehind(left.join(" "))) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// In a host's fresh mount and cgroup namespace: shows the host's own group as root of each hierarchy.
    ///
    /// The old mounts must be gone before, not covered: kubelet, cAdvisor and runc read mountinfo and take the first line.
    pub(crate) fn mount_in_host(&self) -> Result<()> {
        let base = Path::new("/sys/fs/cgroup");
        match self {
            Self::V1(all) => {
                mount_one("tmpfs", base, "tmpfs", "mode=755")?;
                for hierarchy in all {
                    let name = hierarchy.mount.file_name().unwrap_or_default();
                    let at = base.join(name);
                    fs::create_dir_all(&at).map_err(Error::io("creating", &at))?;
                    mount_one("cgroup", &at, "cgroup", &hierarchy.options)?;
                }
            }
            Self::V2(_) => {
                mount_one("cgroup2", base, "cgroup2", "")?;
                // A v2 group has processes or controllers for its children, never both: PID 1 makes room for /kubepods.
                let init = base.join("init");
                fs::create_dir_all(&init).map_err(Error::io("creating", &init))?;
                let procs = init.join("cgroup.procs");
                fs::write(&procs, "1").map_err(Error::io("writing", &procs))?;
                // The starter was in the group, too, and is just leaving.
                let start = Instant::now();
                loop {
                    match enable_controllers(base) {
                        Err(_) if start.elapsed() < Duration::from_secs(5) => {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        result => return result,
                    }
                }
            }
        }
        Ok(())
    }
}

fn mount_one(source: &str, at: &Path, kind: &str, data: &str) -> Result<()> {
    let data = (!data.is_empty()).then_some(data);
    mount(Some(source), at, Some(kind), MsFlags::empty(), data).map_err(Error::system(format!(
        "mounting {kind} ({}) on {}",
        data.unwrap_or(""),
        at.display()
    )))
}

/// Hands every available controller to the children of `dir`.
fn enable_controllers(dir: &Path) -> Result<()> {
    let (available, control) = (dir.join("cgroup.controllers"), dir.join("cgroup.subtree_control"));
    let available = fs::read_to_string(&available).map_err(Error::io("reading", &available))?;
    for controller in available.split_whitespace() {
        let result = fs::write(&control, format!("+{controller}")).map_err(Error::io("writing", &control));
        // Others (e.g. cpu with real-time processes about) may be refused without harm.
        if NEEDED.contains(&controller) {
            result?;
        }
    }
    Ok(())
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn collect_pids(dir: &Path, pids: &mut Vec<i32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    for child in subdirectories(dir) {
        collect_pids(&child, pids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 25 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
32 30 0:27 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
33 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 30 0:29 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
35 30 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
36 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
37 30 0:28 / /somewhere/memory rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn v1_hierarchies_are_found_once_each_with_the_options_to_mount_them_again() {
        let Cgroups::V1(all) = Cgroups::parse(V1).unwrap() else { panic!("not v1") };
        let options: Vec<&str> = all.iter().map(|hierarchy| hierarchy.options.as_str()).collect();
        assert_eq!(options, ["cpu,cpuacct", "cpuset", "memory", "pids", "none,name=systemd"]);
        assert_eq!(all[2].mount, Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn v2_is_taken_when_no_controller_is_in_v1() {
        let v2 = "35 25 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Cgroups::parse(v2).unwrap(), Cgroups::V2("/sys/fs/cgroup".into()));
        let half = "33 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert!(Cgroups::parse(half).is_err());
        assert!(Cgroups::parse(&format!("{half}{v2}")).is_err());
        assert!(Cgroups::parse("").is_err());
    }
}
