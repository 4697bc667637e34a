//! The lab with Herald installed, as one value.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use herald_lab::{Host, Lab, Options, Port};

use crate::error::{Error, Result};
use crate::interrupt;

/// Namespace that Herald is installed in: that of the classic lab.
pub const HERALD_NAMESPACE: &str = "metallb-system";
/// Namespace of what tests create.
pub const NAMESPACE: &str = "e2e";
/// The classic lab's pool: 192.168.56.11 to .13.
pub const CLASSIC_CONFIG: &str = include_str!("../../../config/samples/metallb-l2config.yaml");

/// kubeadm gives it to control planes; the lab's control plane is none of kubeadm's.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A cluster with Herald. Dropping the value removes the lab, also after a panic or Ctrl-C, unless it is to be kept.
#[derive(Debug)]
pub struct Cluster {
    /// `None` only while it is being dropped.
    lab: Option<Lab>,
    keep: bool,
    /// Extra arguments of the last `helm` call, to repeat it only when something changes.
    pub(crate) values: Mutex<Vec<String>>,
}

pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

/// The image to install: `HERALD_IMAGE_TAR`, or what `make image` makes.
fn image() -> Result<PathBuf> {
    let path = std::env::var_os("HERALD_IMAGE_TAR").map_or_else(|| workspace().join("dist/herald.tar"), PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(Error::NoImage(path)) }
}

impl Cluster {
    /// Lab up, image imported, Herald installed with the classic lab's configuration. `HERALD_E2E_KEEP=1` leaves it standing.
    ///
    /// # Errors
    /// [`Error::NoImage`] before anything is started; every error of the lab.
    pub fn start(workers: u8) -> Result<Self> {
        let keep = std::env::var_os("HERALD_E2E_KEEP").is_some_and(|value| value != "0" && !value.is_empty());
        let cluster = Self::bring_up(Options { workers, ..Options::default() }, keep)?;
        cluster
            .apply(&[serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})])?;
        cluster.forget()?;
        cluster.install(&[])?;
        cluster.configure(CLASSIC_CONFIG)?;
        Ok(cluster)
    }

    /// Lab up and image imported; nothing installed. `keep` decides whether it outlives the value.
    ///
    /// # Errors
    /// See [`Cluster::start`].
    pub fn bring_up(options: Options, keep: bool) -> Result<Self> {
        let tar = image()?;
        interrupt::watch(keep);
        let lab = Lab::up(options)?;
        let cluster = Self { lab: Some(lab), keep, values: Mutex::default() };
        let lab = cluster.lab();
        lab.import_image(&tar)?;
        // As on a cluster that kubeadm made: the control plane announces nothing.
        lab.kubectl(&["label", "--overwrite", "node", &Host::ControlPlane.to_string(), &format!("{EXCLUDE_LABEL}=")])?;
        Ok(cluster)
    }

    /// The lab that stands, as it is, with whatever is installed in it; it outlives the value.
    ///
    /// # Errors
    /// There is none.
    pub fn attach() -> Result<Self> {
        Ok(Self { lab: Some(Lab::attach()?), keep: true, values: Mutex::default() })
    }

    /// In a lab that was kept, or that the demo used, nothing may hold addresses.
    fn forget(&self) -> Result<()> {
        let list = self.lab().kubectl_json(&["get", "services", "--all-namespaces"])?;
        for service in list["items"].as_array().into_iter().flatten() {
            let (name, namespace) = (service["metadata"]["name"].as_str(), service["metadata"]["namespace"].as_str());
            if let (Some(name), Some(namespace), Some("LoadBalancer")) =
                (name, namespace, service["spec"]["type"].as_str())
            {
                self.lab().kubectl(&["-n", namespace, "delete", "service", name])?;
            }
        }
        Ok(())
    }

    /// The lab itself.
    ///
    /// # Panics
    /// Never: the lab leaves the value only when it is dropped.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the lab is taken in drop only")]
    pub fn lab(&self) -> &Lab {
        self.lab.as_ref().expect("the lab is taken in drop only")
    }

    /// `helm upgrade --install` of the chart, waiting for all its pods; `values` are `--set` assignments. Does nothing when
    /// that is what runs.
    ///
    /// # Errors
    /// helm's stderr.
    pub fn install(&self, values: &[&str]) -> Result<()> {
        let mut last = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        // Never empty once installed.
        let wanted: Vec<String> =
            std::iter::once("installed").chain(values.iter().copied()).map(str::to_owned).collect();
        if *last == wanted {
            return Ok(());
        }
        last.clear();
        let chart = workspace().join("charts/herald").display().to_string();
        let mut args =
            vec!["upgrade", "--install", "herald", &chart, "--namespace", HERALD_NAMESPACE, "--create-namespace"];
        args.extend(["--wait", "--timeout", "3m", "--reset-values"]);
        values.iter().for_each(|value| args.extend(["--set", value]));
        self.lab().helm(&args)?;
        *last = wanted;
        Ok(())
    }

    /// `kubectl apply` of a manifest, e.g. [`CLASSIC_CONFIG`].
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn configure(&self, manifest: &str) -> Result<()> {
        Ok(self.lab().kubectl_apply(manifest).map(drop)?)
    }

    /// The ConfigMap `config` with this text under its data key `config`.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn configure_text(&self, text: &str) -> Result<()> {
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "config", "namespace": HERALD_NAMESPACE},
            "data": {"config": text},
        });
        self.configure(&manifest.to_string())
    }

    /// Everything on, plugged in, and the API server running. Answers whether anything had to be done.
    ///
    /// # Errors
    /// Every error of the lab.
    pub fn heal(&self) -> Result<bool> {
        let lab = self.lab();
        let mut healed = false;
        for status in lab.status()? {
            if status.init.is_none() {
                lab.power_on(status.host)?;
                healed = true;
            }
            for (lan, port) in status.ports {
                if matches!(port, Port::Cut | Port::Silenced) {
                    lab.set_port(status.host, lan, Port::Up)?;
                    healed = true;
                }
            }
        }
        if lab.program_pids(Host::ControlPlane, "etcd").is_empty() {
            lab.release(Host::ControlPlane, "etcd")?;
            lab.start_api()?;
            healed = true;
        }
        if lab.program_pids(Host::ControlPlane, "kube-apiserver").is_empty() {
            lab.start_api()?;
            healed = true;
        }
        Ok(healed)
    }

    /// What the daemons and the API have to say, for the report of a failed test.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let lab = self.lab();
        let mut text = String::new();
        for host in lab.nodes() {
            let log = lab.place().host_dir(host).join("log/kube-proxy.log");
            let said = std::fs::read_to_string(&log).unwrap_or_else(|error| error.to_string());
            text.push_str(&format!("--- kube-proxy on {host}\n{}\n", last_lines(&said, 20)));
        }
        let asks: [&[&str]; 8] = [
            &["get", "nodes"],
            &["get", "endpointslices", "-n", NAMESPACE],
            &["-n", HERALD_NAMESPACE, "get", "pods", "-o", "wide"],
            &["get", "services,pods", "-n", NAMESPACE, "-o", "wide"],
            &["get", "events", "-n", NAMESPACE, "--sort-by=.lastTimestamp"],
            &["get", "events", "-n", HERALD_NAMESPACE, "--sort-by=.lastTimestamp"],
            &["-n", HERALD_NAMESPACE, "logs", "-l", "component=controller", "--tail=60", "--prefix"],
            &[
                "-n",
                HERALD_NAMESPACE,
                "logs",
                "-l",
                "component=speaker",
                "--tail=40",
                "--prefix",
                "--max-log-requests=20",
            ],
        ];
        for ask in asks {
            let args: Vec<&str> = ask.iter().copied().chain(["--request-timeout=10s"]).collect();
            let answer = lab.kubectl(&args).unwrap_or_else(|error| format!("{error}\n"));
            text.push_str(&format!("--- kubectl {}\n{}\n", ask.join(" "), last_lines(&answer, 160)));
        }
        text
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(lab) = self.lab.take() else { return };
        if self.keep {
            eprintln!("the lab stays up in {}; remove it with `make lab-down`", lab.place().dir().display());
        } else if let Err(error) = lab.remove() {
            eprintln!("removing the lab: {error}");
        }
    }
}
