//! A host's own view of the file system. The order matters.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::NodeSpec;
use crate::error::{Error, Result};

const NONE: Option<&str> = None;

/// Nothing that happens below reaches the machine.
pub(super) fn make_private() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).map_err(Error::system("making mounts private"))
}

fn mount_fs(kind: &str, at: &str, data: &str) -> Result<()> {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), (!data.is_empty()).then_some(data))
        .map_err(Error::system(format!("mounting {kind} on {at}")))
}

fn bind(source: &Path, at: &Path) -> Result<()> {
    mount(Some(source), at, NONE, MsFlags::MS_BIND, NONE).map_err(Error::system(format!(
        "binding {} on {}",
        source.display(),
        at.display()
    )))
}

/// Mount points at and below `top`, innermost last.
fn below(mountinfo: &str, top: &str) -> Vec<String> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|at| *at == top || at.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
        .map(Into::into)
        .collect()
}

fn unmount_all(top: &str) -> Result<()> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    for at in below(&text, top).iter().rev() {
        umount2(at.as_str(), MntFlags::MNT_DETACH).map_err(Error::system(format!("unmounting {at}")))?;
    }
    Ok(())
}

/// Writes `text` to a private file and binds it over `path`, which the kubelet would otherwise change for the whole machine.
fn private_file(path: &str, text: &str) -> Result<()> {
    let name = Path::new(path).file_name().unwrap_or_default();
    let own = Path::new("/run/lab").join(name);
    fs::write(&own, format!("{text}\n")).map_err(Error::io("writing", &own))?;
    bind(&own, Path::new(path))
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("creating", path))
}

fn random_uuid() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    Ok(text.trim().to_owned())
}

pub(super) fn set_up(spec: &NodeSpec) -> Result<()> {
    mount_fs("proc", "/proc", "")?;
    // Else every host pins every other host's network namespace.
    unmount_all("/run/netns")?;
    // /sys/class/net of this namespace, and no outer cgroup mounts.
    unmount_all("/sys")?;
    mount_fs("sysfs", "/sys", "")?;
    spec.cgroups.mount_in_host()?;
    mount_fs("tmpfs", "/run", "mode=755")?;
    create_dir(Path::new("/run/lab"))?;
    create_dir(Path::new("/run/lock"))?;
    for name in ["etc", "var", "opt"] {
        let (upper, work) = (spec.dir.join(format!("{name}.upper")), spec.dir.join(format!("{name}.work")));
        create_dir(&upper)?;
        create_dir(&work)?;
        let options = format!("lowerdir=/{name},upperdir={},workdir={}", upper.display(), work.display());
        mount_fs("overlay", &format!("/{name}"), &options)?;
    }
    // Plain folders: overlayfs cannot be the upper layer of containerd's overlayfs.
    for name in ["containerd", "kubelet", "etcd"] {
        let (own, at) = (spec.dir.join(name), Path::new("/var/lib").join(name));
        create_dir(&own)?;
        create_dir(&at)?;
        bind(&own, &at)?;
    }
    // The kubelet and Bidirectional mounts want a shared root.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE).map_err(Error::system("sharing mounts"))?;
    private_file("/proc/sys/vm/overcommit_memory", "1")?;
    private_file("/proc/sys/kernel/panic", "10")?;
    private_file("/proc/sys/kernel/panic_on_oops", "1")?;
    private_file("/proc/sys/kernel/keys/root_maxkeys", "1000000")?;
    private_file("/proc/sys/kernel/keys/root_maxbytes", "25000000")?;
    // A new one each power-on: the kubelet's Rebooted event.
    private_file("/proc/sys/kernel/random/boot_id", &random_uuid()?)?;
    identity(spec)
}

/// Host name, machine id and /etc/hosts; pods with hostNetwork show the first as theirs.
fn identity(spec: &NodeSpec) -> Result<()> {
    let name = spec.host.to_string();
    let write = |path: &str, text: String| -> Result<()> {
        // Removed first: the lower file may be a link into /run, which is empty now.
        let _ = fs::remove_file(path);
        fs::write(path, text).map_err(Error::io("writing", path))
    };
    fs::write("/proc/sys/kernel/hostname", &name).map_err(Error::io("writing", "/proc/sys/kernel/hostname"))?;
    write("/etc/hostname", format!("{name}\n"))?;
    let saved = spec.dir.join("machine-id");
    if !saved.exists() {
        fs::write(&saved, format!("{}\n", random_uuid()?.replace('-', ""))).map_err(Error::io("writing", &saved))?;
    }
    write("/etc/machine-id", fs::read_to_string(&saved).map_err(Error::io("reading", &saved))?)?;
    let hosts = spec.lab.join("hosts.txt");
    write("/etc/hosts", fs::read_to_string(&hosts).map_err(Error::io("reading", &hosts))?)
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn only_the_folder_itself_and_what_is_in_it() {
        let info = "1 0 0:1 / / rw - x x rw\n2 1 0:2 / /sys rw - x x rw\n3 2 0:3 / /sys/fs/cgroup rw - x x rw\n4 1 0:4 / /system rw - x x rw\n";
        assert_eq!(below(info, "/sys"), ["/sys", "/sys/fs/cgroup"]);
    }
}
