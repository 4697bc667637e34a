//! The cluster that is measured: a fresh lab with Herald in it, and two pools.

use crate::{Error, Result, api};
use futures::{StreamExt as _, stream};
use herald_e2e::{Cluster, Deployment, HERALD_NAMESPACE, NAMESPACE};
use herald_lab::{Host, Lab, Options, ProxyMode, wait_until};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A pool of the ConfigMap: name and range.
pub type Pool = (&'static str, &'static str);
/// Pool on the LAN: 80 addresses.
pub const LAN_POOL: Pool = ("lan", "192.168.56.20-192.168.56.99");
/// Pool with room for 1,000 Services; off the LAN's subnet, which ARP does not mind.
pub const WIDE_POOL: Pool = ("wide", "192.168.60.0/22");
/// Pool with room for 10,000, likewise.
pub const HUGE_POOL: Pool = ("huge", "10.200.0.0/18");
/// Its first address.
pub const HUGE_FIRST: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);

/// Requests under way at once when many are to be made.
pub const AT_ONCE: usize = 16;

/// Far beyond what anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Root of the checkout.
#[must_use]
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

/// A fresh cluster of three workers with the LAN pool and an echo pod on the control plane, which is never switched off. Each benchmark
/// installs Herald with the settings that it needs.
/// With `keep`, one that stands is used and stays; otherwise one that stands is removed first, and this one when the value is dropped.
///
/// # Errors
/// Everything that lab and kit say.
pub fn start(keep: bool) -> Result<Cluster> {
    if Lab::attach().is_ok() && !keep {
        Lab::down()?;
    }
    let cluster = Cluster::bring_up(Options { proxy_mode: ProxyMode::Nftables, ..Options::default() }, keep)?;
    let namespace =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HERALD_NAMESPACE}});
    cluster.apply(&[namespace])?;
    configure(&cluster, &[LAN_POOL])?;
    furnish(&cluster)?;
    Ok(cluster)
}

/// The namespace with an echo pod on the control plane, and no Services.
///
/// # Errors
/// kubectl's.
pub fn furnish(cluster: &Cluster) -> Result<()> {
    cluster.apply(&[serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})])?;
    clean_services(cluster)?;
    cluster.clean()?;
    let mut echo = Deployment::new(ECHO, 1).on(&[Host::ControlPlane]).object();
    // It may stand on the control plane.
    if let Some(spec) = echo.pointer_mut("/spec/template/spec") {
        spec["tolerations"] = serde_json::json!([{"operator": "Exists"}]);
    }
    cluster.apply(&[echo])?;
    let target = format!("deployment/{ECHO}");
    cluster.lab().kubectl(&["-n", NAMESPACE, "rollout", "status", &target, "--timeout=120s"])?;
    Ok(())
}

/// Deployment that all Services of the benchmarks lead to, and the value of its pods' label `app`.
pub const ECHO: &str = "echo";

/// Gives Herald these layer2 pools.
///
/// # Errors
/// kubectl's.
pub fn configure(cluster: &Cluster, pools: &[Pool]) -> Result<()> {
    Ok(cluster.configure_text(&config(pools))?)
}

/// The text of the ConfigMap's key `config`.
#[must_use]
pub fn config(pools: &[Pool]) -> String {
    let pool = |(name, range): &Pool| format!("- name: {name}\n  protocol: layer2\n  addresses:\n  - {range}\n");
    format!("address-pools:\n{}", pools.iter().map(pool).collect::<String>())
}

/// EXTERNAL-IPs of all Services, as soon as there are `count`.
///
/// # Errors
/// They do not come.
pub fn external_ips(cluster: &Cluster, count: usize) -> Result<BTreeMap<String, Ipv4Addr>> {
    let start = Instant::now();
    loop {
        let all = cluster.all_ips()?;
        let first = all.into_iter().filter_map(|(name, ips)| match ips.first() {
            Some(IpAddr::V4(ip)) => Some((name, *ip)),
            _ => None,
        });
        let found: BTreeMap<_, _> = first.collect();
        if found.len() >= count {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::NotSeen(format!("{count} EXTERNAL-IPs (there are {})", found.len())));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Processes of Herald's containers of a component (`controller`, `speaker`), with the pod's name.
///
/// # Errors
/// kubectl's.
pub fn herald_processes(cluster: &Cluster, component: &str) -> Result<BTreeMap<String, i32>> {
    let mut processes = BTreeMap::new();
    for pod in cluster.running_herald_pods(component)?.into_keys() {
        let pids = wait_until(&format!("the process of {pod}"), PATIENCE, || {
            let pids = cluster.lab().container_pids(HERALD_NAMESPACE, &pod, component)?;
            Ok(pids.first().copied())
        })?;
        processes.insert(pod, pids);
    }
    Ok(processes)
}

/// Removes all Services of the benchmarks and waits until they are gone.
///
/// # Errors
/// The API server's.
pub fn clean_services(cluster: &Cluster) -> Result<()> {
    api::run(cluster.lab(), |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        let start = Instant::now();
        loop {
            let left = services.list_metadata(&ListParams::default()).await?.items;
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE * 3 {
                return Err(Error::NotSeen(format!("the end of {} Services", left.len())));
            }
            let names = left.into_iter().filter_map(|service| service.metadata.name);
            // Not a deletion of the collection: the API server does that one by one, which takes a minute for a thousand.
            let deleted = stream::iter(names).map(|name| {
                let services = &services;
                async move { services.delete(&name, &DeleteParams::default()).await.map(drop) }
            });
            // One that is gone already, or not now: the next round tells.
            deleted.buffer_unordered(AT_ONCE).for_each(|_| async {}).await;
        }
    })
}
