//! `xtask arch`: the architecture rules that a compiler does not know, proved from the dependency tree and the sources.
//!
//! A rule that is only written down erodes; each violation here names file, line and the rule's text.

mod dependencies;
mod rules;
mod sources;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A rule of the architecture (ARCHITECTURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What the pure crates may depend on.
    R1PureDependencies,
    /// What the pure crates may ask the system for: nothing.
    R2PureSources,
    /// Where Kubernetes types end.
    R3KubernetesAtTheRim,
    /// Where packets and links are handled.
    R3SocketsAtTheRim,
    /// Where `unsafe` may stand.
    UnsafeInOneFile,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::R1PureDependencies => {
                "R1: crates/core and crates/wire link nothing that does I/O or spawns (list: xtask/src/arch/allowed.txt)"
            }
            Self::R2PureSources => {
                "R2: crates/core and crates/wire ask nobody for time, environment, files, sockets, threads, processes or randomness"
            }
            Self::R3KubernetesAtTheRim => {
                "R3: Kubernetes types only in crates/api and in files named observe, apply, lease, events, watch, client, standby, key_secret, review"
            }
            Self::R3SocketsAtTheRim => "R3: sockets, netlink and libc only in speaker/src/net and speaker/src/links",
            Self::UnsafeInOneFile => "unsafe only in speaker/src/net/sys.rs",
        })
    }
}

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File relative to the workspace, or the Cargo.toml for R1.
    pub file: String,
    /// Line from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The rule.
    pub rule: Rule,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule, found } = self;
        match line {
            0 => write!(f, "{file}: {found}\n    {rule}"),
            _ => write!(f, "{file}:{line}: {found}\n    {rule}"),
        }
    }
}

/// Why the rules could not be checked, or did not hold.
#[derive(Debug, thiserror::Error)]
pub enum ArchError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}: run from the workspace's root")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A source file does not parse; the compiler says more.
    #[error("{path} does not parse: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: syn::Error,
    },
    /// `cargo tree` failed.
    #[error("cargo tree failed: {0}")]
    CargoTree(String),
    /// Rules are broken.
    #[error("{}\n{} broken", .0.iter().map(|v| format!("{v}\n")).collect::<String>(), match .0.len() { 1 => "1 rule is".to_owned(), n => format!("{n} rules are") })]
    Broken(Vec<Violation>),
}

/// Checks the architecture rules R1 to R3 and the place of `unsafe`.
#[derive(Debug, clap::Args)]
pub struct ArchArgs {
    /// The workspace's root.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

impl ArchArgs {
    /// Checks every rule; returns what was looked at.
    ///
    /// # Errors
    /// [`ArchError::Broken`] with all violations; the others when it could not be checked.
    pub fn run(self) -> Result<String, ArchError> {
        let tree = cargo_tree(&self.root)?;
        let (mut violations, linked) = dependencies::check(&tree, include_str!("arch/allowed.txt"));
        let mut files = Vec::new();
        for folder in rules::FOLDERS {
            rust_files(&self.root.join(folder), &mut files)?;
        }
        files.sort();
        for file in &files {
            let text = read(file)?;
            let uses = sources::read(&text).map_err(|source| ArchError::Parse { path: file.clone(), source })?;
            let name = file.strip_prefix(&self.root).unwrap_or(file).to_string_lossy().replace('\\', "/");
            violations.extend(rules::judge(&name, &uses));
        }
        violations.sort();
        if violations.is_empty() {
            Ok(format!("architecture rules hold: {linked} linked crates, {} source files", files.len()))
        } else {
            Err(ArchError::Broken(violations))
        }
    }
}

/// What the pure crates link, for every target: a rule that holds on one architecture only is none.
fn cargo_tree(root: &Path) -> Result<String, ArchError> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["tree", "--edges", "normal,no-proc-macro", "--target", "all", "--prefix", "depth"]);
    for name in dependencies::PURE {
        command.args(["--package", name]);
    }
    let output = command.output().map_err(|error| ArchError::CargoTree(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(ArchError::CargoTree(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn read(path: &Path) -> Result<String, ArchError> {
    fs::read_to_string(path).map_err(|source| ArchError::Read { path: path.to_owned(), source })
}

/// Rust files below `folder` except tests, which may ask the system for what they like.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ArchError> {
    let failed = |source| ArchError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_tests {
            continue;
        }
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
