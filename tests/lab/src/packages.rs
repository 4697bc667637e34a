//! Programs from the distribution: looked for, installed on Debian and Ubuntu when missing, else named.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::run::run;

/// Program and the Debian package that has it.
const PROGRAMS: [(&str, &str); 16] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ss", "iproute2"),
    ("openssl", "openssl"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("sysctl", "procps"),
    ("arping", "iputils-arping"),
    ("ndisc6", "ndisc6"),
    ("tcpdump", "tcpdump"),
];
const CNI_PACKAGE: &str = "containernetworking-plugins";
/// Debian, Kubernetes' own packages, Fedora.
const CNI_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// The first `name` in PATH or where administrators' programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Folder with the bridge plugin.
fn cni() -> Option<PathBuf> {
    let mut folders = CNI_FOLDERS.iter().map(Path::new);
    folders.find(|folder| folder.join("bridge").is_file()).map(Path::to_path_buf)
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if cni().is_none() {
        packages.push(CNI_PACKAGE);
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = |args: &[&str]| run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"));
    let install: Vec<&str> =
        ["install", "-y", "-q", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    // The package lists of a fresh machine may be empty or old.
    if apt(&install).is_err() {
        apt(&["update", "-q"])?;
        apt(&install)?;
    }
    Ok(())
}

/// Makes sure of a program that only some tests need; `package` is the Debian package that has it.
pub(crate) fn ensure_program(program: &str, package: &str) -> Result<PathBuf> {
    let refuse = || Error::MissingPackages(package.to_owned());
    if find(program).is_none() {
        if !nix::unistd::geteuid().is_root() || find("apt-get").is_none() {
            return Err(refuse());
        }
        eprintln!("installing {package}");
        install(&[package])?;
    }
    find(program).ok_or_else(refuse)
}

/// Makes sure of all programs; returns the folder of the CNI plugins.
pub(crate) fn ensure() -> Result<PathBuf> {
    let packages = missing();
    if !packages.is_empty() {
        let refuse = || Error::MissingPackages(packages.join(" "));
        if !nix::unistd::geteuid().is_root() || find("apt-get").is_none() {
            return Err(refuse());
        }
        eprintln!("installing {}", packages.join(" "));
        install(&packages)?;
        let left = missing();
        if !left.is_empty() {
            return Err(Error::MissingPackages(left.join(" ")));
        }
    }
    cni().ok_or_else(|| Error::MissingPackages(CNI_PACKAGE.into()))
}
