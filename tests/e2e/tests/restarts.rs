//! What comes and goes in a cluster's life: labels, the API server, MetalLB.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use herald_e2e::{Cluster, Deployment, HttpLoop, NAMESPACE, PATIENCE, Probe, Result, Service, ensure, eventually};
use herald_lab::Host;
use serde_json::json;

use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("exclude_label_moves_and_returns", exclude_label),
    ("api_server_away_for_30_seconds", api_server_away),
    ("standby_while_metallb_runs", standby),
];

const PACE: Duration = Duration::from_millis(5);

/// Who answers for .11, .12, .13.
pub(crate) fn owners(cluster: &Cluster) -> Result<BTreeMap<IpAddr, Host>> {
    [11, 12, 13].map(lan).into_iter().map(|address| Ok((address, cluster.announcer(address)?))).collect()
}

/// In the order of their names, too: of one second, the names decide who is served first.
const NAMES: [&str; 3] = ["first", "second", "third"];

/// Three Services on one Deployment.
pub(crate) fn three_services(cluster: &Cluster) -> Result<()> {
    let services: Vec<_> = NAMES.map(|name| Service::new(name, "steady").object()).into();
    cluster.apply(&services)?;
    cluster.deploy(&Deployment::new("steady", 3))?;
    for name in NAMES {
        cluster.external_ips(name)?;
    }
    Ok(())
}

/// Waits until a second of probing goes without loss: kube-proxy has to learn the endpoints first.
pub(crate) fn until_lossless(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    eventually("a second of UDP answers without loss", PATIENCE, || {
        let probe = Probe::start(cluster, to, PACE)?;
        thread::sleep(Duration::from_secs(1));
        let seen = probe.finish();
        Ok(if seen.lost == 0 { Ok(()) } else { Err(format!("{} of {} lost", seen.lost, seen.sent)) })
    })
}

pub(crate) const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The label takes the addresses away from a node; without it they return.
fn exclude_label(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let before = owners(cluster)?;
    let (address, owner) =
        before.first_key_value().map(|(address, owner)| (*address, *owner)).unwrap_or((lan(11), Host::Worker(1)));
    cluster.lab().kubectl(&["label", "node", &owner.to_string(), &format!("{EXCLUDE}=")])?;
    let moved = eventually("another node to announce", PATIENCE, || {
        let now = cluster.announcers(address)?;
        let other = now.iter().find(|host| **host != owner && now.len() == 1).copied();
        Ok(other.ok_or_else(|| format!("{now:?}")))
    });
    let answers = moved.and_then(|_| cluster.answering_pods(address, 3));
    // Whatever came of it: the next journey needs the node.
    cluster.lab().kubectl(&["label", "node", &owner.to_string(), &format!("{EXCLUDE}-")])?;
    answers?;
    for (address, owner) in before {
        cluster.await_announcer(address, owner)?;
    }
    Ok(())
}

/// 30 seconds without an API server: no datagram and no request is lost, and afterwards new Services are served.
fn api_server_away(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let before = owners(cluster)?;
    until_lossless(cluster, SocketAddr::new(lan(11), 9999))?;
    cluster.answering_pods(lan(12), 3)?;
    let datagrams = Probe::start(cluster, SocketAddr::new(lan(11), 9999), PACE)?;
    let requests = HttpLoop::start(cluster, (lan(12), 80).into(), Duration::from_millis(50), Duration::from_secs(5))?;
    let watch = cluster.watch_announcers([192, 168, 56, 13].into())?;
    let away = cluster.lab().stop_api().and_then(|()| {
        thread::sleep(Duration::from_secs(30));
        cluster.lab().start_api()
    });
    // Also while everything finds its way back.
    thread::sleep(Duration::from_secs(3));
    let (datagrams, (requests, errors)) = (datagrams.finish(), requests.finish());
    let sights = watch.finish(cluster)?;
    away?;
    ensure!(
        datagrams.lost == 0,
        "no datagram is lost without an API server: {} of {} were",
        datagrams.lost,
        datagrams.sent
    );
    ensure!(
        requests.lost == 0,
        "no request fails without an API server: {} of {} did: {errors:?}",
        requests.lost,
        requests.sent
    );
    let owner = before.get(&lan(13)).copied();
    let other = sights.iter().find(|sight| !sight.hosts.is_empty() && !sight.hosts.iter().eq(owner.iter()));
    ensure!(other.is_none(), "{owner:?} alone answers at each of {} looks; {other:?}", sights.len());
    // A look waits 50 ms. An answer may come later on a busy machine; a client's kernel asks again after a second.
    let answered: Vec<Instant> = sights.iter().filter(|sight| !sight.hosts.is_empty()).map(|sight| sight.at).collect();
    let silence =
        answered.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or(Duration::MAX);
    eprintln!("  {} of {} looks were answered in time, {silence:?} apart at most", answered.len(), sights.len());
    ensure!(silence < Duration::from_secs(1), "{owner:?} answers all the time, not with a pause of {silence:?}");
    cluster.delete_service(NAMES[2])?;
    cluster.serve(&Service::new("afterwards", "steady"))?;
    cluster.await_ips("afterwards", &["192.168.56.13"])?;
    cluster.answering_pods(lan(13), 3)?;
    Ok(())
}

/// As MetalLB's own pods are labelled by its manifests.
fn metallb_pod() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "metallb-speaker", "namespace": NAMESPACE, "labels": {"app": "metallb", "component": "speaker"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "speaker", "image": "herald-lab/echo:1"}],
        },
    })
}

/// While a pod of MetalLB runs, Herald answers nothing and writes nothing; when it is gone, everything is as it was.
fn standby(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let before = owners(cluster)?;
    cluster.apply(&[metallb_pod()])?;
    for address in before.keys() {
        cluster.await_silence(*address)?;
    }
    let given = cluster.all_ips()?;
    cluster.configure_text(
        "address-pools:\n- {name: nginx-ip-range, protocol: layer2, addresses: [192.168.56.11-192.168.56.14]}\n",
    )?;
    cluster.serve(&Service::new("four", "steady"))?;
    // Nothing to wait for when nothing may happen; an active Herald needs less than a tenth of it.
    thread::sleep(Duration::from_secs(3));
    let mut now = cluster.all_ips()?;
    ensure!(now.remove("four") == Some(Vec::new()), "a new service gets no address in standby");
    ensure!(now == given, "in standby every service keeps the status that it had: {now:?}, before {given:?}");
    for address in before.keys() {
        let hosts = cluster.announcers(*address)?;
        ensure!(hosts.is_empty(), "nobody answers for {address} in standby, not {hosts:?}");
    }
    cluster.lab().kubectl(&["-n", NAMESPACE, "delete", "pod", "metallb-speaker"])?;
    cluster.await_ips("four", &["192.168.56.14"])?;
    for (address, owner) in before {
        cluster.await_announcer(address, owner)?;
        cluster.answering_pods(address, 3)?;
    }
    Ok(())
}
