//! What is measured: Herald, or any other program that answers for LoadBalancer addresses in the lab.

use crate::{Error, Result};
use herald_e2e::HERALD_NAMESPACE;
use herald_lab::{Host, Lab};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// Where it runs and what may be done to it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// For the report.
    pub name: String,
    /// Namespace of its pods.
    pub namespace: String,
    /// The DaemonSet whose pods announce.
    pub daemonset: String,
    /// Their container that does.
    pub container: String,
    /// The file name of that container's program.
    pub program: String,
    /// Nodes that announce, and that faults are done to.
    pub nodes: Vec<Host>,
    /// The host that asks.
    pub client: Host,
    /// Herald is installed and configured by the benchmark; anything else is taken as it stands.
    pub is_herald: bool,
}

/// For a pod that restarts.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions by kubectl, each of which costs a tenth of a second of processor time.
const PAUSE: Duration = Duration::from_millis(300);

impl Subject {
    /// Herald as its chart installs it.
    #[must_use]
    pub fn herald(nodes: Vec<Host>) -> Self {
        Self {
            name: format!("Herald {}", env!("CARGO_PKG_VERSION")),
            namespace: HERALD_NAMESPACE.to_owned(),
            daemonset: "herald-speaker".to_owned(),
            container: "speaker".to_owned(),
            program: "herald".to_owned(),
            nodes,
            client: Host::Client,
            is_herald: true,
        }
    }

    fn daemonset(&self, lab: &Lab) -> Result<Value> {
        Ok(lab.kubectl_json(&["-n", &self.namespace, "get", "daemonset", &self.daemonset])?)
    }

    /// Its pods that are ready and not ending, by node.
    ///
    /// # Errors
    /// There is no such DaemonSet.
    pub fn pods(&self, lab: &Lab) -> Result<BTreeMap<Host, String>> {
        let daemonset = self.daemonset(lab)?;
        let labels = daemonset["spec"]["selector"]["matchLabels"].as_object();
        let labels = labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        let selector = labels.collect::<Vec<_>>().join(",");
        let list = lab.kubectl_json(&["-n", &self.namespace, "get", "pods", "-l", &selector])?;
        let ready = |pod: &Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let pods = list["items"].as_array().into_iter().flatten().filter(|pod| ready(pod));
        let named = pods.filter_map(|pod| Some((pod["spec"]["nodeName"].as_str()?, pod["metadata"]["name"].as_str()?)));
        named.map(|(node, name)| Ok((node.parse::<Host>()?, name.to_owned()))).collect()
    }

    /// Waits until a ready pod is on every node.
    ///
    /// # Errors
    /// [`Error::NotSeen`].
    pub fn await_ready(&self, lab: &Lab) -> Result<BTreeMap<Host, String>> {
        let start = Instant::now();
        loop {
            let pods = self.pods(lab)?;
            if self.nodes.iter().all(|node| pods.contains_key(node)) {
                return Ok(pods);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::NotSeen(format!("a ready pod of {} on each of {:?}", self.daemonset, self.nodes)));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits until its program runs on a node: without asking the API, which knows late that a node was away.
    ///
    /// # Errors
    /// [`Error::NotSeen`].
    pub fn await_running(&self, lab: &Lab, node: Host) -> Result<()> {
        let start = Instant::now();
        while lab.program_pids(node, &self.program).is_empty() {
            if start.elapsed() > PATIENCE {
                return Err(Error::NotSeen(format!("the program {} on {node}", self.program)));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Processes of the announcing container on a node.
    ///
    /// # Errors
    /// There is none.
    pub fn pids(&self, lab: &Lab, node: Host) -> Result<Vec<i32>> {
        let pods = self.await_ready(lab)?;
        let pod = pods.get(&node).ok_or_else(|| Error::NotSeen(format!("a pod of {} on {node}", self.daemonset)))?;
        Ok(lab.container_pids(&self.namespace, pod, &self.container)?)
    }

    /// Restarts all its pods as `kubectl rollout restart` does, and waits for the end of it.
    ///
    /// # Errors
    /// kubectl's.
    pub fn roll_out(&self, lab: &Lab) -> Result<()> {
        let name = format!("daemonset/{}", self.daemonset);
        lab.kubectl(&["-n", &self.namespace, "rollout", "restart", &name])?;
        lab.kubectl(&["-n", &self.namespace, "rollout", "status", &name, "--timeout=300s"])?;
        Ok(())
    }
}
