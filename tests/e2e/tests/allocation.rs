//! Pools, what Services ask of them, and controllers that die meanwhile.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use herald_e2e::{
    Cluster, Deployment, Error, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Result, Service, ensure, eventually,
};
use herald_lab::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Journey, lan, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("pools_and_wishes", pools_and_wishes),
    ("bgp_pool_is_allocated_and_says_why_it_is_silent", bgp_pool),
    ("invalid_configuration_loses_nothing", invalid_configuration),
    ("controller_killed_while_allocating", controller_killed),
    ("leader_of_two_controllers_killed", leader_killed),
];

const TWO_POOLS: &str = "address-pools:
- name: general
  protocol: layer2
  addresses: [192.168.56.30-192.168.56.34]
- name: special
  protocol: layer2
  auto-assign: false
  addresses: [192.168.56.35-192.168.56.39]
";

/// Annotations under both prefixes, spec.loadBalancerIP, a pool that is never chosen by itself, an address in no pool.
fn pools_and_wishes(cluster: &Cluster) -> Result<()> {
    cluster.configure_text(TWO_POOLS)?;
    let service = |name: &str| Service::new(name, "none");
    cluster.serve(&service("plain"))?;
    cluster.await_ips("plain", &["192.168.56.30"])?;
    cluster.apply(&[
        service("pool-old").annotated("metallb.universe.tf/address-pool", "special").object(),
        service("ips-new").annotated("metallb.io/loadBalancerIPs", "192.168.56.33").object(),
        service("ip-spec").with("loadBalancerIP", "192.168.56.38").object(),
        service("nowhere").with("loadBalancerIP", "192.168.56.99").object(),
        service("no-pool").annotated("metallb.io/address-pool", "missing").object(),
    ])?;
    cluster.await_ips("pool-old", &["192.168.56.35"])?;
    cluster.await_ips("ips-new", &["192.168.56.33"])?;
    cluster.await_ips("ip-spec", &["192.168.56.38"])?;
    for name in ["nowhere", "no-pool"] {
        cluster.await_event(name, "AllocationFailed")?;
        ensure!(cluster.current_ips(name)?.is_empty(), "service {name} asks for what does not exist and gets nothing");
    }
    Ok(())
}

const BGP_POOL: &str = "peers:
- peer-address: 192.168.56.1
  peer-asn: 64501
  my-asn: 64500
address-pools:
- name: routed
  protocol: bgp
  addresses: [192.168.56.240/28]
";

/// A pool of protocol bgp gives addresses; nobody announces them, and every speaker says why.
fn bgp_pool(cluster: &Cluster) -> Result<()> {
    cluster.configure_text(BGP_POOL)?;
    let addresses = cluster.expose("routed", 1)?;
    ensure!(addresses == [lan(240)], "the first address of the bgp pool is given, not {addresses:?}");
    for host in cluster.lab().workers() {
        eventually(&format!("{host} to say that bgp pools are not announced"), PATIENCE, || {
            let service = cluster.speaker_state(host)?["services"][format!("{NAMESPACE}/routed")].clone();
            let reason = service["silent"].to_string().to_lowercase();
            Ok(if reason.contains("bgp") && reason.contains("routed") { Ok(()) } else { Err(service.to_string()) })
        })?;
    }
    let answering = cluster.announcers(lan(240))?;
    ensure!(answering.is_empty(), "nobody answers ARP for an address of a bgp pool, not {answering:?}");
    Ok(())
}

/// A ConfigMap with a mistake says so; what was given stays and goes on working; the repaired one is taken.
fn invalid_configuration(cluster: &Cluster) -> Result<()> {
    let addresses = cluster.expose("steady", 2)?;
    let address = *addresses.first().ok_or_else(|| missing("the address"))?;
    let announcer = cluster.announcer(address)?;

    cluster.configure_text(
        "address-pools:\n- name: broken\n  protocol: layer7\n  addresses: [192.168.56.11-192.168.56.13]\n",
    )?;
    let event = cluster.await_event_in(HERALD_NAMESPACE, "ConfigMap", "config", "InvalidConfiguration")?;
    ensure!(event["message"].to_string().contains("layer7"), "the event names the mistake: {event}");
    ensure!(event["type"] == "Warning", "the event is a warning: {event}");
    cluster.await_announcer(address, announcer)?;
    cluster.answering_pods(address, 2)?;
    // The last good configuration goes on serving.
    cluster.serve(&Service::new("meanwhile", "steady"))?;
    cluster.await_ips("meanwhile", &["192.168.56.12"])?;

    cluster.configure_text(
        "address-pools:\n- name: repaired\n  protocol: layer2\n  addresses: [192.168.56.11-192.168.56.12, 192.168.56.41/32]\n",
    )?;
    cluster.serve(&Service::new("after", "steady"))?;
    cluster.await_ips("after", &["192.168.56.41"])?;
    ensure!(cluster.current_ips("steady")? == addresses, "the first service keeps its address through all of it");
    Ok(())
}

/// Thirty, clear of the hosts' own addresses.
const ROOM_FOR_MANY: &str = "address-pools:
- name: many
  protocol: layer2
  addresses: [192.168.56.40-192.168.56.69]
";

fn many() -> Vec<serde_json::Value> {
    (0..30).map(|number| Service::new(&format!("many-{number:02}"), "none").object()).collect()
}

/// Every Service has one address, all are different and of the pool; those that were there before are unchanged.
fn all_served(cluster: &Cluster, before: &[(String, Vec<IpAddr>)]) -> Result<()> {
    let all = eventually("30 services with addresses", PATIENCE, || {
        let all = cluster.all_ips()?;
        let waiting = all.values().filter(|addresses| addresses.is_empty()).count();
        thread::sleep(Duration::from_millis(200));
        Ok(if all.len() == 30 && waiting == 0 { Ok(all) } else { Err(format!("{waiting} of {} wait", all.len())) })
    })?;
    let distinct: BTreeSet<IpAddr> = all.values().flatten().copied().collect();
    ensure!(
        distinct == (40..70).map(lan).collect(),
        "30 services have the 30 addresses of the pool, each once: {all:?}"
    );
    for (name, addresses) in before {
        ensure!(all.get(name) == Some(addresses), "{name} had {addresses:?} and keeps it: {:?}", all.get(name));
    }
    Ok(())
}

fn given(cluster: &Cluster) -> Result<Vec<(String, Vec<IpAddr>)>> {
    Ok(cluster.all_ips()?.into_iter().filter(|(_, addresses)| !addresses.is_empty()).collect())
}

/// Processes of a controller. After a crash the pod's status names the dead container for a moment: that one has none.
fn controller_pids(cluster: &Cluster, pod: &str) -> Result<Vec<i32>> {
    eventually(&format!("a running container in {pod}"), PATIENCE, || {
        let pids = cluster.lab().container_pids(HERALD_NAMESPACE, pod, "controller")?;
        Ok(if pids.is_empty() { Err("no process".to_owned()) } else { Ok(pids) })
    })
}

/// SIGKILL, as an out-of-memory kill would be.
fn kill_all(pids: Vec<i32>) {
    for pid in pids {
        // It may be gone by now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn only_controller(cluster: &Cluster) -> Result<String> {
    cluster.herald_pods("controller")?.into_keys().next().ok_or_else(|| missing("a ready controller"))
}

/// Killed while it works through a queue of waiting Services: the next one finishes, and nothing given changes hands.
fn controller_killed(cluster: &Cluster) -> Result<()> {
    let pod = only_controller(cluster)?;
    // Without a pool they all wait, so that the kill comes in the middle of the work and not after it.
    cluster.configure_text("address-pools: []\n")?;
    cluster.apply(&many())?;
    let pids = controller_pids(cluster, &pod)?;
    let line = "jsonpath={.status.loadBalancer.ingress[0].ip}{\"\\n\"}";
    let args = ["-n", NAMESPACE, "get", "services", "--watch-only", "--output", line];
    let mut watch = cluster.lab().kubectl_command(&args)?;
    let mut watch = watch.stdout(Stdio::piped()).spawn().map_err(Error::io("kubectl get --watch-only"))?;
    let lines = BufReader::new(watch.stdout.take().ok_or_else(|| missing("kubectl's output"))?).lines();
    // The watch has to stand before the first address is out.
    thread::sleep(Duration::from_secs(1));
    cluster.configure_text(ROOM_FOR_MANY)?;
    // The first address is out: the others are being given at this moment.
    let first = lines.map_while(std::io::Result::ok).find(|line| !line.trim().is_empty());
    kill_all(pids);
    let ended = watch.kill().and_then(|()| watch.wait()).map_err(Error::io("ending kubectl"));
    ended.and_then(|_| first.ok_or_else(|| missing("the first address in the watch")))?;
    let before = given(cluster)?;
    eprintln!("  {} of 30 had an address when the controller was killed", before.len());
    all_served(cluster, &before)
}

fn lease_holder(cluster: &Cluster) -> Result<String> {
    let lease = cluster.lab().kubectl_json(&["-n", HERALD_NAMESPACE, "get", "lease", "herald-controller"])?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// Of two replicas the other one takes over when the leader is killed and does not return.
fn leader_killed(cluster: &Cluster) -> Result<()> {
    cluster.install(&["controller.replicas=2"])?;
    cluster.configure_text(ROOM_FOR_MANY)?;
    let half: Vec<_> = many().into_iter().take(15).collect();
    cluster.apply(&half)?;
    cluster.external_ips("many-14")?;
    let before = given(cluster)?;
    let leader = lease_holder(cluster)?;
    let pods = cluster.herald_pods("controller")?;
    ensure!(pods.keys().any(|pod| leader.contains(pod.as_str())), "the lease names one of {pods:?}, not {leader:?}");
    kill_all(controller_pids(cluster, &leader)?);
    cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "pod", &leader, "--grace-period=0", "--force"])?;
    cluster.apply(&many())?;
    all_served(cluster, &before)?;
    // The kubelet may have restarted the container before it heard of the deletion: then the old leader did the work and goes now.
    eventually(&format!("another replica than {leader} to lead"), PATIENCE, || {
        let next = lease_holder(cluster)?;
        Ok(if next == leader || next.is_empty() { Err(format!("{next:?}")) } else { Ok(()) })
    })
}

/// Used by other journeys: a service on two pods, none of them on the node that announces it. Returns address and announcer.
pub(crate) fn away_from_its_announcer(cluster: &Cluster, name: &str) -> Result<(IpAddr, Host)> {
    let addresses = cluster.expose(name, 2)?;
    let address = *addresses.first().ok_or_else(|| Error::Unexpected(format!("{name} has no address")))?;
    let announcer = cluster.announcer(address)?;
    cluster.deploy(&Deployment::new(name, 2).not_on(&[announcer]))?;
    eventually(&format!("no pod of {name} on {announcer}"), PATIENCE, || {
        let pods = cluster.nodes_of(name)?;
        let away = pods.len() == 2 && pods.values().all(|host| *host != announcer);
        Ok(if away { Ok(()) } else { Err(format!("{pods:?}")) })
    })?;
    cluster.await_announcer(address, announcer)?;
    Ok((address, announcer))
}
