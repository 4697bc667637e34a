//! Hosts from outside: on, off, and which processes are theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroups;
use crate::error::{Error, Result, tail};
use crate::host::Host;
use crate::images;
use crate::node::NodeSpec;
use crate::place::Place;
use crate::run::{run, wait_until};

const PROGRAM: &str = "herald-lab";

/// The lab's own program: hosts run it as PID 1.
///
/// `HERALD_LAB_BIN`, this very program, or the one that cargo put beside this test or example.
pub(crate) fn lab_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HERALD_LAB_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().map_err(Error::io("finding", "/proc/self/exe"))?;
    if own.file_name().is_some_and(|name| name == PROGRAM) {
        return Ok(own);
    }
    // target/debug/deps/e2e-0123 and target/debug/examples/x: the program is one folder up.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file());
    found.ok_or(Error::NoProgram(own))
}

/// Like [`lab_program`], but built first when cargo runs this process: a test of another package does not make cargo build
/// the program, and an old one would not understand this library.
pub(crate) fn fresh_lab_program() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::io("finding", "/proc/self/exe"))?;
    let itself = own.file_name().is_some_and(|name| name == PROGRAM);
    // target/PROFILE/deps/test-0123, target/PROFILE/program.
    let profile_dir = own.ancestors().skip(1).find(|dir| dir.join(".fingerprint").is_dir());
    let (Some(cargo), Some(profile_dir)) = (std::env::var_os("CARGO"), profile_dir) else { return lab_program() };
    let (Some(profile), Some(target)) = (profile_dir.file_name(), profile_dir.parent()) else { return lab_program() };
    if itself || std::env::var_os("HERALD_LAB_BIN").is_some() {
        return lab_program();
    }
    let profile = if profile == "debug" { "dev".as_ref() } else { profile };
    run(Command::new(cargo)
        .current_dir(images::workspace())
        .args(["build", "-p", "herald-lab", "--bin", PROGRAM, "--target-dir"])
        .arg(target)
        .arg("--profile")
        .arg(profile))?;
    lab_program()
}

/// Number of PID namespaces the process is in, and its id in the innermost; `None` when it is gone.
fn innermost_pid(pid: &str) -> Option<(usize, i32)> {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status")).ok()?;
    let ids: Vec<&str> = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().collect();
    Some((ids.len(), ids.last()?.parse().ok()?))
}

/// The host's PID 1 as this process sees it. Found by cgroup, so that also a host whose starter died is found.
pub(crate) fn init_pid(place: &Place, cgroups: &Cgroups, host: Host) -> Option<i32> {
    let (own_depth, _) = innermost_pid("self")?;
    let pids = cgroups.pids(&place.host_cgroup(host));
    // One namespace deeper than we are; the first process of a pod is deeper still or has another id.
    pids.into_iter().find(|pid| innermost_pid(&pid.to_string()) == Some((own_depth + 1, 1)))
}

/// First word of a process's command line, without its folder.
fn program_of(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    Some(Path::new(std::str::from_utf8(first).ok()?).file_name()?.to_str()?.to_owned())
}

/// Processes of `host` that run `program`, as this process sees them.
pub(crate) fn pids_of(place: &Place, cgroups: &Cgroups, host: Host, program: &str) -> Vec<i32> {
    let mut pids = cgroups.pids(&place.host_cgroup(host));
    pids.retain(|pid| program_of(*pid).is_some_and(|name| name == program));
    pids
}

/// Switches a host on; its disk is what it was. Does not wait for it to boot.
pub(crate) fn start(place: &Place, spec: &NodeSpec, program: &Path) -> Result<()> {
    if init_pid(place, &spec.cgroups, spec.host).is_some() {
        return Ok(());
    }
    // Remains of a launch that was broken off.
    stop(place, &spec.cgroups, spec.host)?;
    let log = spec.dir.join("log");
    fs::create_dir_all(&log).map_err(Error::io("creating", &log))?;
    let file = spec.write()?;
    spec.cgroups.create(&spec.cgroup)?;
    run(Command::new(program).arg("node-launch").arg(&file)).map(drop)
}

/// Waits until the host has started its daemons.
pub(crate) fn wait_booted(place: &Place, cgroups: &Cgroups, host: Host) -> Result<()> {
    let dir = place.host_dir(host);
    let marker = NodeSpec::booted_marker(&dir);
    wait_until(&format!("{host} to boot"), Duration::from_secs(90), || {
        if marker.exists() {
            return Ok(Some(()));
        }
        if init_pid(place, cgroups, host).is_none() {
            let log = fs::read(dir.join("log/init.log")).unwrap_or_default();
            return Err(Error::Boot { host: host.to_string(), log: tail(&log) });
        }
        Ok(None)
    })
}

fn sigkill(pid: i32) {
    // It may be gone by now, which is what is wanted.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Ends `pids` at once.
pub(crate) fn end(pids: &[i32]) {
    pids.iter().for_each(|pid| sigkill(*pid));
}

/// Takes a host's power away: SIGKILL of its PID namespace's init takes every process with it.
pub(crate) fn stop(place: &Place, cgroups: &Cgroups, host: Host) -> Result<()> {
    let group = place.host_cgroup(host);
    if let Some(pid) = init_pid(place, cgroups, host) {
        sigkill(pid);
    }
    stop_group(cgroups, &group)?;
    let booted = NodeSpec::booted_marker(&place.host_dir(host));
    let api = NodeSpec::api_marker(place.dir());
    let markers = if host == Host::ControlPlane { vec![booted, api] } else { vec![booted] };
    for marker in markers.iter().filter(|marker| marker.exists()) {
        fs::remove_file(marker).map_err(Error::io("removing", marker))?;
    }
    Ok(())
}

/// Ends every process of a cgroup and removes it.
pub(crate) fn stop_group(cgroups: &Cgroups, group: &str) -> Result<()> {
    let mut first = true;
    wait_until(&format!("the processes of {group} to end"), Duration::from_secs(20), || {
        let pids = cgroups.pids(group);
        // The first look comes right after the kill of the init, which needs no help.
        if !std::mem::take(&mut first) {
            end(&pids);
        }
        Ok(pids.is_empty().then_some(()))
    })?;
    cgroups.remove(group)
}
