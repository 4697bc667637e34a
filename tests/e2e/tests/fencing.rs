//! A dead node's endpoints leave long before Kubernetes notices, and come back with it.

use std::time::{Duration, Instant};

use herald_e2e::{Cluster, Deployment, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::Host;

use crate::{Journey, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[("dead_node_is_fenced_and_freed", fenced)];

/// Kubernetes needs 40 seconds and more with its defaults.
const SOON: Duration = Duration::from_secs(20);

/// Nodes with an endpoint of the Service that is ready.
fn serving(cluster: &Cluster, service: &str) -> Result<Vec<String>> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices =
        cluster.lab().kubectl_json(&["-n", herald_e2e::NAMESPACE, "get", "endpointslices", "-l", &selector])?;
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    Ok(ready.filter_map(|endpoint| endpoint["nodeName"].as_str().map(str::to_owned)).collect())
}

fn fenced(cluster: &Cluster) -> Result<()> {
    cluster.install(&["controller.deadNodeFencing.enabled=true"])?;
    cluster.serve(&Service::new("spread", "spread"))?;
    cluster.deploy(&Deployment::new("spread", 3))?;
    let address = *cluster.external_ips("spread")?.first().ok_or_else(|| missing("an address"))?;
    cluster.answering_pods(address, 3)?;
    // Not the one that the controller runs on: a controller that dies fences only once another one leads.
    let controllers = cluster.herald_pods("controller")?;
    let workers = cluster.lab().workers();
    let victim: Host = *workers
        .iter()
        .find(|host| controllers.values().all(|on| on != *host))
        .ok_or_else(|| missing("a worker without the controller"))?;
    let name = victim.to_string();
    cluster.lab().power_off(victim)?;
    let died = Instant::now();
    let left = eventually("its endpoints to leave", SOON, || {
        let now = serving(cluster, "spread")?;
        Ok(if now.contains(&name) { Err(format!("{now:?}")) } else { Ok(died.elapsed()) })
    });
    let told = left.and_then(|after| {
        eprintln!("  the endpoints of {victim} left {after:?} after its power loss");
        cluster.await_event_in("default", "Node", &name, "nodeFenced")?;
        // Nothing else is fenced, and what is left serves.
        ensure!(serving(cluster, "spread")?.len() == 2, "the others stay");
        cluster.answering_pods(address, 2)
    });
    cluster.lab().power_on(victim)?;
    told?;
    cluster.await_event_in("default", "Node", &name, "nodeFreed")?;
    eventually("its endpoints to come back", PATIENCE, || {
        let now = serving(cluster, "spread")?;
        Ok(if now.contains(&name) { Ok(()) } else { Err(format!("{now:?}")) })
    })
}
