//! The Kubernetes programs: found, or built once from their Go modules.

mod build;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::error::{Error, Result};
use crate::packages;
use crate::place::Place;
use crate::run::output;

/// Kubernetes version that is built, and whose minor version is accepted when found.
pub const KUBERNETES: &str = "1.34.4";
pub(crate) const ETCD: &str = "3.6.7";
pub(crate) const HELM: &str = "3.19.2";

/// A program of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// Arguments that print the version.
    version: &'static [&'static str],
    /// What the printed version must contain.
    fits: &'static str,
}

const fn tool(name: &'static str, version: &'static [&'static str], fits: &'static str) -> Tool {
    Tool { name, version, fits }
}

/// All of them; the API server first, because it takes longest to build and the others then find most of it cached.
pub(crate) const TOOLS: [Tool; 8] = [
    tool("kube-apiserver", &["--version"], "v1.34."),
    tool("kube-controller-manager", &["--version"], "v1.34."),
    tool("kube-scheduler", &["--version"], "v1.34."),
    tool("kube-proxy", &["--version"], "v1.34."),
    tool("kubelet", &["--version"], "v1.34."),
    tool("kubectl", &["version", "--client"], "v1.34."),
    tool("etcd", &["--version"], "etcd Version: 3."),
    tool("helm", &["version", "--short"], "v3."),
];

/// Folder of built programs: outside any checkout, one per set of versions.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("HERALD_LAB_CACHE") {
        return std::path::absolute(&dir).map_err(Error::io("resolving", &dir));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| {
        Error::Tools("neither HERALD_LAB_CACHE nor HOME is set: where should the Kubernetes programs be kept?".into())
    })?;
    Ok(PathBuf::from(home).join(".cache/herald-lab"))
}

fn built_dir(cache: &Path) -> PathBuf {
    cache.join(format!("kubernetes-{KUBERNETES}-etcd-{ETCD}-helm-{HELM}"))
}

impl Tool {
    fn fits(&self, path: &Path) -> bool {
        let answer = output(Command::new(path).args(self.version));
        answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains(self.fits))
    }

    /// Built ones first (their folder names their version), then `KUBEBUILDER_ASSETS`, then PATH, both if they fit.
    fn find(&self, built: &Path) -> Option<PathBuf> {
        let own = built.join(self.name);
        if own.is_file() {
            return Some(own);
        }
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|dir| PathBuf::from(dir).join(self.name));
        let found = [assets.filter(|path| path.is_file()), packages::find(self.name)];
        found.into_iter().flatten().find(|path| self.fits(path))
    }
}

/// Path of every tool, in the order of [`TOOLS`]; builds what is not found.
pub(crate) fn ensure() -> Result<Vec<(&'static str, PathBuf)>> {
    let cache = cache()?;
    let built = built_dir(&cache);
    let find = || -> Vec<Option<PathBuf>> {
        thread::scope(|scope| {
            let asked: Vec<_> = TOOLS.iter().map(|tool| scope.spawn(|| tool.find(&built))).collect();
            asked.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        })
    };
    let mut found = find();
    if found.iter().any(Option::is_none) {
        let missing: Vec<Tool> =
            TOOLS.iter().zip(&found).filter(|(_, path)| path.is_none()).map(|(tool, _)| *tool).collect();
        build::build(&cache, &built, &missing)?;
        found = find();
    }
    let all = TOOLS.iter().zip(found).map(|(tool, path)| Some((tool.name, path?))).collect::<Option<Vec<_>>>();
    all.ok_or_else(|| {
        Error::Tools(format!("built programs are missing in {}; remove that folder and try again", built.display()))
    })
}

/// Links them all into the lab's folder, so that everything else has one place to look.
pub(crate) fn link(place: &Place, tools: &[(&'static str, PathBuf)]) -> Result<()> {
    let bin = place.bin();
    fs::create_dir_all(&bin).map_err(Error::io("creating", &bin))?;
    for (name, path) in tools {
        let link = bin.join(name);
        if fs::read_link(&link).is_ok_and(|old| old == *path) {
            continue;
        }
        let fresh = bin.join(format!("{name}.new"));
        // Left over from a run that died here.
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(path, &fresh).map_err(Error::io("linking", &fresh))?;
        fs::rename(&fresh, &link).map_err(Error::io("renaming", &fresh))?;
    }
    Ok(())
}
