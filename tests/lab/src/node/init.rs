//! What PID 1 of a host does after it was launched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::config;
use super::supervise::{Daemon, Supervisor};
use super::{NodeSpec, mounts};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::run::{output, run, run_with_input};

/// The hidden `node-init` command. Returns only with an error.
///
/// # Errors
/// Whatever keeps the host from booting; it is in the host's `log/init.log`.
pub fn init(spec_file: &Path) -> Result<()> {
    let spec = NodeSpec::read(spec_file)?;
    // The terminal of the starter is not the host's; it fails only for a process that leads a session already.
    let _ = nix::unistd::setsid();
    mounts::set_up(&spec)?;
    let mut supervisor = Supervisor::new(&spec);
    // Kubernetes programs are given by path; containerd and runc look for theirs in PATH.
    let program = |name: &str| spec.bin.join(name);
    let daemon = |name: &'static str, args: Vec<String>| Daemon { name, program: program(name), args };
    if spec.host == Host::ControlPlane {
        supervisor.start(daemon("etcd", config::etcd()))?;
        supervisor.start(daemon("kube-apiserver", config::api_server(&spec)))?;
    }
    if let Some(files) = config::node_files(&spec) {
        for (path, text) in files {
            if let Some(parent) = Path::new(path).parent() {
                fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
            }
            fs::write(path, text).map_err(Error::io("writing", path))?;
        }
        fs::create_dir_all(config::VOLUME_PLUGINS).map_err(Error::io("creating", config::VOLUME_PLUGINS))?;
        run_with_input(Command::new("nft").args(["-f", "-"]), config::MASQUERADE)?;
        let containerd = vec!["-c".to_owned(), config::CONTAINERD_FILE.to_owned()];
        supervisor.start(Daemon { name: "containerd", program: PathBuf::from("containerd"), args: containerd })?;
        wait_for_containerd()?;
        import_images(&spec)?;
        wait_for_api(&spec)?;
        if spec.host == Host::ControlPlane {
            // Before the API server has its RBAC rules, these two end at once and are seconds late.
            supervisor.start(daemon("kube-controller-manager", config::controller_manager(&spec)))?;
            supervisor.start(daemon("kube-scheduler", config::scheduler(&spec)))?;
        }
        supervisor.start(daemon("kubelet", config::kubelet(&spec)))?;
        supervisor.start(daemon("kube-proxy", config::kube_proxy()))?;
    }
    let marker = NodeSpec::booted_marker(&spec.dir);
    fs::write(&marker, "").map_err(Error::io("writing", &marker))?;
    supervisor.run()
}

fn wait_for_containerd() -> Result<()> {
    let start = Instant::now();
    while !output(Command::new("ctr").arg("version"))?.status.success() {
        let timeout = Duration::from_secs(60);
        if start.elapsed() > timeout {
            return Err(Error::Timeout {
                what: "containerd".into(),
                timeout,
                hint: ", see log/containerd.log in the host's folder".into(),
            });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A kubelet that finds no API server backs off for seconds; a moment's wait is shorter. One that stays away (held, or
/// its host is off) is no reason to wait for ever. The control plane asks, and leaves a marker for the others.
fn wait_for_api(spec: &NodeSpec) -> Result<()> {
    let marker = NodeSpec::api_marker(&spec.lab);
    let config = spec.lab.join("admin.kubeconfig");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if spec.host == Host::ControlPlane {
            let mut kubectl = Command::new(spec.bin.join("kubectl"));
            kubectl.arg("--kubeconfig").arg(&config).args(["get", "--raw", "/readyz", "--request-timeout=2s"]);
            if output(&mut kubectl)?.status.success() {
                return fs::write(&marker, "").map_err(Error::io("writing", &marker));
            }
        } else if marker.exists() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

/// Imports each tar once per node: the marker remembers size and time of what was imported.
fn import_images(spec: &NodeSpec) -> Result<()> {
    let entries = fs::read_dir(&spec.images).map_err(Error::io("reading", &spec.images))?;
    let mut tars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    tars.retain(|path| path.extension().is_some_and(|kind| kind == "tar"));
    tars.sort();
    for tar in tars {
        let marker = import_marker(&spec.dir, &tar);
        let version = tar_version(&tar)?;
        if fs::read_to_string(&marker).is_ok_and(|text| text == version) {
            continue;
        }
        run(Command::new("ctr").args(["-n", "k8s.io", "images", "import"]).arg(&tar))?;
        fs::write(&marker, version).map_err(Error::io("writing", &marker))?;
    }
    Ok(())
}

/// Where a host remembers that it has imported `tar`.
pub(crate) fn import_marker(dir: &Path, tar: &Path) -> PathBuf {
    dir.join(format!("imported.{}", tar.file_name().unwrap_or_default().to_string_lossy()))
}

/// Size and time of a tar: enough to tell a new build from an old one.
pub(crate) fn tar_version(tar: &Path) -> Result<String> {
    let data = fs::metadata(tar).map_err(Error::io("reading", tar))?;
    Ok(format!("{} {:?}", data.len(), data.modified().ok()))
}
