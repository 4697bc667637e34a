//! Building the Kubernetes programs from their Go modules: about five minutes on two cores, once.

use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{ETCD, HELM, KUBERNETES, Tool};
use crate::error::{Error, Result};
use crate::place::Lock;
use crate::run::run;

/// Oldest Go that the modules accept.
const GO: (u32, u32) = (1, 25);

/// A Go module that requires one upstream module and builds its programs.
struct Module {
    name: &'static str,
    upstream: &'static str,
    version: &'static str,
    /// Packages; the last path element is the program's name.
    packages: &'static [&'static str],
}

const MODULES: [Module; 3] = [
    Module {
        name: "kubernetes",
        upstream: "k8s.io/kubernetes",
        version: KUBERNETES,
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
    },
    Module {
        name: "etcd",
        upstream: "go.etcd.io/etcd/server/v3",
        version: ETCD,
        packages: &["go.etcd.io/etcd/server/v3"],
    },
    Module { name: "helm", upstream: "helm.sh/helm/v3", version: HELM, packages: &["helm.sh/helm/v3/cmd/helm"] },
];

/// Builds `missing` into `built`. One builder at a time; what a predecessor built meanwhile is not built again.
pub(super) fn build(cache: &Path, built: &Path, missing: &[Tool]) -> Result<()> {
    check_go()?;
    fs::create_dir_all(built).map_err(Error::io("creating", built))?;
    let _lock = Lock::take_file(&cache.join("build.lock"), Duration::from_secs(3600), cache)?;
    let left: Vec<Tool> = missing.iter().filter(|tool| !built.join(tool.name).is_file()).copied().collect();
    let show = Show::new(left.len());
    for (index, tool) in left.iter().enumerate() {
        let module =
            module_of(tool.name).ok_or_else(|| Error::Tools(format!("nobody knows how to build {}", tool.name)))?;
        let dir = cache.join("modules").join(format!("{}-{}", module.name, module.version));
        show.step(index, &format!("{}: modules", tool.name), || prepare(module, &dir))?;
        show.step(index, tool.name, || compile(module, &dir, tool.name, built))?;
    }
    show.done();
    Ok(())
}

fn module_of(tool: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| {
        module.name == tool || module.packages.iter().any(|package| package.ends_with(&format!("/{tool}")))
    })
}

fn go(dir: &Path) -> Command {
    let mut go = Command::new("go");
    // -mod=mod: a user's GOFLAGS must not freeze the module files.
    go.current_dir(dir).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
    go
}

/// `go1.26.1` as (1, 26).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn check_go() -> Result<()> {
    let advice = format!(
        "the Kubernetes {KUBERNETES} programs were found neither in KUBEBUILDER_ASSETS nor in PATH, and building them needs Go >= {}.{} in PATH",
        GO.0, GO.1
    );
    let found = run(Command::new("go").args(["env", "GOVERSION"])).map_err(|_| Error::Tools(advice.clone()))?;
    match parse_version(&found) {
        Some(version) if version >= GO => Ok(()),
        _ => Err(Error::Tools(format!("{advice}; found {}", found.trim()))),
    }
}

/// Writes go.mod and resolves it, unless that was done before.
fn prepare(module: &Module, dir: &Path) -> Result<()> {
    let ready = dir.join("ready");
    if ready.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
    let mut text = format!(
        "module lab/{}\n\ngo {}.{}\n\nrequire {} v{}\n",
        module.name, GO.0, GO.1, module.upstream, module.version
    );
    if module.name == "kubernetes" {
        text.push_str(&staging_replacements(module, dir)?);
    }
    let mut imports = String::from("//go:build tools\n\npackage tools\n\nimport (\n");
    for package in module.packages {
        // etcd's main package cannot be imported; its library does as well for resolving.
        let package = if module.name == "etcd" { "go.etcd.io/etcd/server/v3/etcdmain" } else { package };
        let _ = writeln!(imports, "\t_ \"{package}\"");
    }
    imports.push_str(")\n");
    for (name, text) in [("go.mod", text), ("tools.go", imports)] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    run(go(dir).args(["mod", "tidy"]))?;
    fs::write(&ready, "").map_err(Error::io("writing", &ready))
}

/// Kubernetes replaces its staging modules by folders of its own tree; as a dependency they are their published releases.
fn staging_replacements(module: &Module, dir: &Path) -> Result<String> {
    let bare = dir.join("go.mod");
    fs::write(&bare, format!("module lab/{}\n", module.name)).map_err(Error::io("writing", &bare))?;
    let answer = run(go(dir).args(["mod", "download", "-json", &format!("{}@v{}", module.upstream, module.version)]))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).map_err(Error::json("go mod download"))?;
    let path = PathBuf::from(answer["GoMod"].as_str().unwrap_or_default());
    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
    Ok(replacements(&text, module.version))
}

fn replacements(go_mod: &str, version: &str) -> String {
    let minor = version.strip_prefix("1.").unwrap_or(version);
    let staged = go_mod.lines().filter_map(|line| line.trim().split_once(" => ./staging/"));
    staged.fold(String::from("\n"), |mut text, (name, _)| {
        let _ = writeln!(text, "replace {name} => {name} v0.{minor}");
        text
    })
}

fn compile(module: &Module, dir: &Path, tool: &str, built: &Path) -> Result<()> {
    let package = module.packages.iter().find(|package| package.ends_with(&format!("/{tool}")));
    let package = package.or(module.packages.first()).copied().unwrap_or_default();
    let flags = match module.name {
        "kubernetes" => {
            let at = "k8s.io/component-base/version";
            let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
            // What `version` prints and clients compare; the date is fixed so that builds are alike.
            format!(
                "-s -w -X {at}.gitVersion=v{KUBERNETES} -X {at}.gitMajor=1 -X {at}.gitMinor={minor} -X {at}.gitTreeState=clean \
                 -X {at}.gitCommit=0000000000000000000000000000000000000000 -X {at}.buildDate=2026-01-01T00:00:00Z"
            )
        }
        _ => "-s -w".to_owned(),
    };
    let partial = built.join(format!("{tool}.partial"));
    run(go(dir).args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(&partial).arg(package))?;
    fs::rename(&partial, built.join(tool)).map_err(Error::io("renaming", &partial))
}

/// Progress: a bar on a terminal, plain lines otherwise.
struct Show {
    start: Instant,
    total: usize,
    bar: Option<ProgressBar>,
}

impl Show {
    fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} building {pos}/{len} {msg} [{elapsed}] {wide_bar}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        eprintln!("building {total} Kubernetes programs, once; about five minutes on two cores");
        Self { start: Instant::now(), total, bar }
    }

    fn step(&self, index: usize, what: &str, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(index as u64);
            bar.set_message(what.to_owned());
            return work();
        }
        let start = Instant::now();
        let line = |state: &str| {
            eprintln!("[{:4} s] {}/{} {what}{state}", self.start.elapsed().as_secs(), index + 1, self.total);
        };
        line(" ...");
        let result = thread::scope(|scope| {
            let work = scope.spawn(work);
            let mut told = Instant::now();
            while !work.is_finished() {
                thread::sleep(Duration::from_millis(20));
                if told.elapsed() > Duration::from_secs(30) {
                    told = Instant::now();
                    line(" ...");
                }
            }
            work.join().unwrap_or_else(|_| Err(Error::Tools(format!("building {what} broke off"))))
        });
        if result.is_ok() {
            line(&format!(" done in {} s", start.elapsed().as_secs()));
        }
        result
    }

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("built {} programs in {} s", self.total, self.start.elapsed().as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_by_number() {
        assert_eq!(parse_version("go1.26.1\n"), Some((1, 26)));
        assert_eq!(parse_version("go1.9"), Some((1, 9)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert!(parse_version("go1.9").unwrap() < GO);
        assert_eq!(parse_version("devel"), None);
    }

    #[test]
    fn staging_folders_become_published_releases() {
        let text = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/klog => k8s.io/klog v1\n)\n";
        assert_eq!(replacements(text, "1.34.4"), "\nreplace k8s.io/api => k8s.io/api v0.34.4\n");
    }

    #[test]
    fn every_tool_has_a_module() {
        for tool in super::super::TOOLS {
            assert!(module_of(tool.name).is_some(), "{}", tool.name);
        }
    }
}
