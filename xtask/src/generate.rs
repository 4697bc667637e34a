//! `xtask generate`: files that are made from others, and the proof that they are up to date.
//!
//! `config/herald.yaml` is the chart with its default values, for those who install by `kubectl apply`. The custom resource definitions are
//! made from the Rust types, into `charts/herald/crds/` and `config/crd/`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the plain manifests are installed: the classic ConfigMap is looked for there.
const NAMESPACE: &str = "metallb-system";

/// A helm built without release flags believes in a very old Kubernetes; the chart's templates do not depend on the version.
const KUBE_VERSION: &str = "1.34.0";

const HEADER: &str = "\
# Herald, to be installed with `kubectl apply -f`. Generated from charts/herald by `make generate`: change it there.
# Configuration: a ConfigMap `config` in the same namespace, see docs/configuration.md. For custom resources as well, where the cluster does
# not have MetalLB's definitions already: `kubectl create -f config/crd/`.
---
apiVersion: v1
kind: Namespace
metadata:
  name: metallb-system
  labels:
    # The speakers use the host's network and NET_RAW.
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
";

/// Values of MetalLB's chart that cannot do here what their user wants, with a part of what installing says then.
const REFUSED: [(&str, &str); 7] = [
    ("controller.image.repository=quay.io/metallb/controller", "set image.repository"),
    ("speaker.image.tag=v0.16.0", "set image.tag"),
    ("speaker.frr.enabled=true", "there is no FRR"),
    ("frrk8s.external=true", "no FRRConfiguration objects"),
    ("prometheus.speakerMetricsTLSSecret=x", "called tls.speakerMetricsTLSSecret"),
    ("controller.webhookMode=onlywebhook", "set speaker.enabled=false"),
    ("speaker.labels.app=metallb", "speaker.labels may not set \"app\""),
];

/// Why files could not be generated, or are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No helm anywhere.
    #[error("helm 3 was not found: set HELM to it, put it on PATH, or let the lab build it ({0})")]
    NoHelm(String),
    /// A definition without a name, or none at all.
    #[error("the definitions of custom resources are not what was expected: {0:?}")]
    Definitions(String),
    /// A command could not be run or failed.
    #[error("{command} failed: {message}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
    /// A value that is to be refused is not, or without the reason.
    #[error("the chart takes {value}, or does not say {reason:?}: it said {said:?}")]
    NotRefused {
        /// The value.
        value: &'static str,
        /// What should be said.
        reason: &'static str,
        /// What was said.
        said: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// `--check` found a difference.
    #[error(
        "{path} line {line} is not what is generated ({is:?} instead of {should:?}): run `make generate` and commit it"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
        /// First line that differs, from 1.
        line: usize,
        /// What stands there.
        is: String,
        /// What is generated.
        should: String,
    },
}

/// Writes the generated files: config/herald.yaml from the chart, the custom resource definitions from the types.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Write nothing; fail when a file is not up to date.
    #[arg(long)]
    check: bool,
    /// The workspace's root.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

impl GenerateArgs {
    /// Writes or compares; returns what was done.
    ///
    /// # Errors
    /// Every [`GenerateError`].
    pub fn run(self) -> Result<String, GenerateError> {
        let chart = self.root.join("charts/herald");
        let helm = find_helm(&self.root)?;
        output(Command::new(&helm).args(["lint", "--strict", "--quiet"]).arg(&chart))?;
        // Every branch of the templates, and a values file of MetalLB's.
        for values in ["ci/all-values.yaml", "ci/metallb-values.yaml"] {
            let values = chart.join(values);
            output(Command::new(&helm).args(["lint", "--strict", "--quiet", "--values"]).arg(&values).arg(&chart))?;
        }
        for (value, reason) in REFUSED {
            let mut template = Command::new(&helm);
            let said = match output(template.args(["template", "herald", "--set", value]).arg(&chart)) {
                Err(GenerateError::Command { message, .. }) => message,
                Err(error) => return Err(error),
                Ok(_) => "nothing".to_owned(),
            };
            if !said.contains(reason) {
                return Err(GenerateError::NotRefused { value, reason, said });
            }
        }
        let mut template = Command::new(&helm);
        template.args(["template", "herald", "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION]).arg(&chart);
        let mut files = definitions(&self.root)?;
        files.push((self.root.join("config/herald.yaml"), manifests(&output(&mut template)?)));
        for (path, should) in &files {
            let failed = |source| GenerateError::File { path: path.clone(), source };
            if self.check {
                compare(path, &fs::read_to_string(path).map_err(failed)?, should)?;
            } else {
                fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
                fs::write(path, should).map_err(failed)?;
            }
        }
        Ok(format!("{} files {}", files.len(), if self.check { "are up to date" } else { "written" }))
    }
}

const DEFINITION_HEADER: &str = "\
# Generated from the types in crates/api/src/crd by `make generate`: change it there.
";

/// The custom resource definitions: where helm installs them from (only those that the cluster lacks), and for kubectl.
fn definitions(root: &Path) -> Result<Vec<(PathBuf, String)>, GenerateError> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["run", "--quiet", "--locked", "--package", "herald-api", "--example", "crds"]);
    let text = output(&mut cargo)?;
    let mut files = Vec::new();
    for document in text.split("---\n").filter(|document| !document.is_empty()) {
        let mut lines = document.lines().skip_while(|line| *line != "metadata:");
        let name = lines.find_map(|line| line.strip_prefix("  name: ")).and_then(|name| name.split_once('.'));
        let (plural, group) = name.ok_or_else(|| GenerateError::Definitions(document.to_owned()))?;
        for folder in ["charts/herald/crds", "config/crd"] {
            let path = root.join(folder).join(format!("{group}_{plural}.yaml"));
            files.push((path, format!("{DEFINITION_HEADER}{document}")));
        }
    }
    if files.is_empty() { Err(GenerateError::Definitions(text)) } else { Ok(files) }
}

/// What the chart rendered, as a file of its own: nothing that says that Helm manages these objects.
fn manifests(rendered: &str) -> String {
    let of_helm = |line: &str| {
        let line = line.trim_start();
        line.starts_with("# Source:")
            || line.starts_with("helm.sh/chart:")
            || line.starts_with("app.kubernetes.io/managed-by:")
    };
    let mut text = HEADER.to_owned();
    for line in rendered.lines().filter(|line| !of_helm(line)) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn compare(path: &Path, is: &str, should: &str) -> Result<(), GenerateError> {
    if is == should {
        return Ok(());
    }
    let (is, should): (Vec<&str>, Vec<&str>) = (is.lines().collect(), should.lines().collect());
    let common = is.iter().zip(&should).take_while(|(is, should)| is == should).count();
    let at = |lines: &[&str]| lines.get(common).map_or("end of file", |line| *line).to_owned();
    Err(GenerateError::Outdated { path: path.to_owned(), line: common + 1, is: at(&is), should: at(&should) })
}

/// `$HELM`, else helm on PATH, else the one that the lab builds and keeps.
fn find_helm(root: &Path) -> Result<PathBuf, GenerateError> {
    if let Some(helm) = env::var_os("HELM").filter(|helm| !helm.is_empty()) {
        return Ok(helm.into());
    }
    let on_path = env::var_os("PATH")
        .and_then(|path| env::split_paths(&path).map(|folder| folder.join("helm")).find(|helm| helm.is_file()));
    if let Some(helm) = on_path {
        return Ok(helm);
    }
    let mut lab = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    lab.current_dir(root).args(["run", "--quiet", "--package", "herald-lab", "--", "tools"]);
    // Building takes minutes, so its progress is shown.
    lab.stderr(Stdio::inherit());
    let tools = output(&mut lab).map_err(|error| GenerateError::NoHelm(error.to_string()))?;
    let helm = tools.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == "helm");
    match helm.map(|(_, path)| PathBuf::from(path.trim())) {
        Some(helm) if helm.is_file() => Ok(helm),
        _ => Err(GenerateError::NoHelm(format!("the lab answered {tools:?}"))),
    }
}

/// Standard output of a command that succeeds.
fn output(command: &mut Command) -> Result<String, GenerateError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |message: String| GenerateError::Command { command: name, message };
    match command.output() {
        Err(error) => Err(failed(error.to_string())),
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let said = [output.stderr, output.stdout].concat();
            Err(failed(String::from_utf8_lossy(&said).trim().to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_helm_is_left_out() {
        let rendered = "---\n# Source: herald/templates/a.yaml\nkind: A\nmetadata:\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    \
                        helm.sh/chart: herald-0.1.0\n    app.kubernetes.io/name: herald\n";
        let text = manifests(rendered);
        assert_eq!(
            text.strip_prefix(HEADER),
            Some("---\nkind: A\nmetadata:\n  labels:\n    app.kubernetes.io/name: herald\n")
        );
    }

    #[test]
    fn the_first_difference_is_named() {
        let error = compare(Path::new("f"), "a\nb\n", "a\nc\nd\n").unwrap_err();
        assert!(matches!(error, GenerateError::Outdated { line: 2, is, should, .. } if is == "b" && should == "c"));
        let error = compare(Path::new("f"), "a\n", "a\nc\n").unwrap_err();
        assert!(matches!(error, GenerateError::Outdated { line: 2, is, .. } if is == "end of file"));
        assert!(compare(Path::new("f"), "a\n", "a\n").is_ok());
    }
}
