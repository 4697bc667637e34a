//! From nothing, or from whatever is left, to a whole lab.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cgroup::Cgroups;
use crate::down::raise_inotify_limit;
use crate::error::{Error, Result};
use crate::host::{Host, Lan, MAX_WORKERS};
use crate::lab::{Lab, Options, require_root, running_options, settle_options};
use crate::node::NodeSpec;
use crate::place::{Lock, Place};
use crate::run::{Progress, wait_every};
use crate::wiring::{self, Port};
use crate::{images, packages, pki, power, tools};

/// How long another user of the same lab is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two questions by kubectl.
const KUBECTL_PAUSE: Duration = Duration::from_millis(200);

/// The nodes have no uplink, so "pull always", the default for images without a tag, could only fail.
const IMAGE_POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicy
metadata:
  name: lab-never-pull-again
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  failurePolicy: Ignore
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >
        Object{spec: Object.spec{containers: object.spec.containers.map(c,
          Object.spec.containers{name: c.name, imagePullPolicy: "IfNotPresent"})}}
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: lab-never-pull-again
spec:
  policyName: lab-never-pull-again
"#;

impl Lab {
    /// Brings up the lab of `HERALD_LAB_DIR` and holds its lock: builds or finds the programs, makes what is missing, powers
    /// on what is off, heals ports, removes workers beyond the wanted number, and waits until every node is Ready.
    /// What runs already keeps running. The lock makes this once per process: share the value between tests.
    ///
    /// # Errors
    /// Every [`Error`]; a half-made lab is left for the next `up` or `down`.
    pub fn up(options: Options) -> Result<Self> {
        require_root()?;
        if options.workers > MAX_WORKERS {
            return Err(Error::NoSuchHost(Host::Worker(options.workers).to_string()));
        }
        let place = Place::from_env()?;
        let cgroups = Cgroups::detect()?;
        // Before the lock: building takes minutes and has a lock of its own.
        let tools = tools::ensure()?;
        let lock = Lock::take(&place, PATIENCE)?;
        let progress = Progress::new();
        let cni = packages::ensure()?;
        let before = running_options(&place)?;
        fs::create_dir_all(place.dir()).map_err(Error::io("creating", place.dir()))?;
        settle_options(&place, &options)?;
        let lab = Self { place, options, cgroups, lock: Some(lock) };
        tools::link(&lab.place, &tools)?;
        for tar in images::build()? {
            images::adopt(&lab.place, &tar)?;
        }
        progress.say("programs and images ready");
        raise_inotify_limit()?;
        lab.prepare_files()?;
        progress.say("certificates ready");
        let surplus: Vec<Host> =
            before.map_or_else(Vec::new, |old| (options.workers + 1..=old.workers).map(Host::Worker).collect());
        for host in &surplus {
            lab.power_off(*host)?;
        }
        lab.wire()?;
        progress.say("network ready");
        let program = power::fresh_lab_program()?;
        for host in lab.hosts() {
            power::start(&lab.place, &lab.spec(host, &cni), &program)?;
        }
        lab.release(Host::ControlPlane, "kube-apiserver")?;
        lab.wait_api(Duration::from_secs(120)).map_err(|error| lab.hint(error))?;
        progress.say("API server ready");
        lab.kubectl_apply(IMAGE_POLICY)?;
        for host in &surplus {
            lab.kubectl(&["delete", "node", "--ignore-not-found", &host.to_string()])?;
            let dir = lab.place.host_dir(*host);
            fs::remove_dir_all(&dir).map_err(Error::io("removing", &dir))?;
        }
        lab.settle_nodes(progress).map_err(|error| lab.hint(error))?;
        wait_every(KUBECTL_PAUSE, "the default service account", Duration::from_secs(60), || {
            Ok(lab.kubectl(&["-n", "default", "get", "serviceaccount", "default"]).ok())
        })?;
        progress.say(&format!("up (cgroup {}); state in {}", lab.cgroups.version(), lab.place.dir().display()));
        Ok(lab)
    }

    fn hint(&self, error: Error) -> Error {
        match error {
            Error::Timeout { what, timeout, hint } => {
                let hint = format!("{hint}; see the logs in {}/hosts/*/log", self.place.dir().display());
                Error::Timeout { what, timeout, hint }
            }
            other => other,
        }
    }

    fn prepare_files(&self) -> Result<()> {
        let hosts = self.hosts();
        pki::ensure(&self.place, &hosts)?;
        let mut names = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for host in &hosts {
            let dir = self.place.host_dir(*host);
            fs::create_dir_all(&dir).map_err(Error::io("creating", &dir))?;
            // Writing to a String cannot fail.
            let _ = writeln!(names, "{} {host}", host.ipv4(Lan::First));
        }
        let path = self.place.dir().join("hosts.txt");
        fs::write(&path, names).map_err(Error::io("writing", &path))
    }

    /// Switch, ports, addresses and routes of all hosts; every port forwarding.
    fn wire(&self) -> Result<()> {
        let (hosts, lans) = (self.hosts(), self.options.lans());
        wiring::switch_up(&self.place, lans)?;
        for host in &hosts {
            // A running host whose network is incomplete cannot be mended from outside: its daemons hold the old one.
            if wiring::host_up(&self.place, *host, lans)? && self.is_on(*host) {
                power::stop(&self.place, &self.cgroups, *host)?;
            }
            for lan in lans {
                if wiring::port(&self.place, *host, *lan)? != Port::Up {
                    wiring::set_port(&self.place, *host, *lan, Port::Up)?;
                }
            }
        }
        hosts.iter().try_for_each(|host| wiring::pod_routes(&self.place, *host, &hosts))
    }

    pub(crate) fn spec(&self, host: Host, cni: &Path) -> NodeSpec {
        NodeSpec {
            host,
            lab: self.place.dir().to_path_buf(),
            dir: self.place.host_dir(host),
            bin: self.place.bin(),
            pki: self.place.pki(),
            images: self.place.images(),
            cni: cni.to_path_buf(),
            proxy_mode: self.options.proxy_mode,
            cgroups: self.cgroups.clone(),
            cgroup: self.place.host_cgroup(host),
            netns: wiring::netns_path(&self.place.netns(host)),
        }
    }

    /// Gives each Node object its pod networks and label as it appears, and waits until all are Ready.
    fn settle_nodes(&self, progress: Progress) -> Result<()> {
        let mut waiting: BTreeMap<String, Host> =
            self.nodes().into_iter().map(|host| (host.to_string(), host)).collect();
        wait_every(KUBECTL_PAUSE, "all nodes to be Ready", Duration::from_secs(180), || {
            for host in waiting.values() {
                if power::init_pid(&self.place, &self.cgroups, *host).is_none() {
                    power::wait_booted(&self.place, &self.cgroups, *host)?;
                }
            }
            let list = self.kubectl_json(&["get", "nodes"])?;
            for node in list["items"].as_array().into_iter().flatten() {
                let name = node["metadata"]["name"].as_str().unwrap_or_default();
                let Some(host) = waiting.get(name).copied() else { continue };
                if node["spec"]["podCIDR"].is_null() {
                    self.describe_node(host)?;
                    continue;
                }
                let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
                let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
                if ready.any(|condition| condition["status"] == "True") && self.has_booted(host) {
                    waiting.remove(name);
                    progress.say(&format!("{name} Ready"));
                }
            }
            Ok(waiting.is_empty().then_some(()))
        })
    }

    /// A node that was off may still be called Ready by the API.
    fn has_booted(&self, host: Host) -> bool {
        NodeSpec::booted_marker(&self.place.host_dir(host)).exists()
    }

    fn describe_node(&self, host: Host) -> Result<()> {
        let Some((v4, v6)) = host.pod_networks() else { return Ok(()) };
        let name = host.to_string();
        if host == Host::ControlPlane {
            // NodeRestriction: a kubelet may not give itself this label.
            self.kubectl(&["label", "--overwrite", "node", &name, "node-role.kubernetes.io/control-plane="])?;
        }
        let patch = format!(r#"{{"spec":{{"podCIDR":"{v4}","podCIDRs":["{v4}","{v6}"]}}}}"#);
        self.kubectl(&["patch", "node", &name, "--type", "merge", "-p", &patch]).map(drop)
    }
}
