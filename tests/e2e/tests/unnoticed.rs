//! What nobody notices: speakers that are updated, killed or frozen while their nodes live.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use herald_e2e::{Cluster, HERALD_NAMESPACE, Held, PATIENCE, Probe, Result, Sight, ensure, eventually};
use herald_lab::Host;

use crate::restarts::{owners, three_services, until_lossless};
use crate::{Journey, lan, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("rolling_update_of_the_speakers_is_unnoticed", rolling_update),
    ("killed_and_frozen_speakers_are_unnoticed", killed_and_frozen),
    ("node_that_dies_with_a_frozen_speaker_is_replaced", dies_frozen),
];

const PACE: Duration = Duration::from_millis(5);
/// Connections held to each address.
const CONNECTIONS: usize = 20;

/// A client that uses three addresses in every way while something happens.
pub(crate) struct Watched {
    datagrams: Probe,
    held: Vec<(IpAddr, Held)>,
    watch: herald_e2e::Watch,
    asked: Ipv4Addr,
    owner: Option<Host>,
}

pub(crate) fn watched(cluster: &Cluster) -> Result<Watched> {
    three_services(cluster)?;
    let before = owners(cluster)?;
    until_lossless(cluster, SocketAddr::new(lan(11), 9999))?;
    for last in [11, 12, 13] {
        cluster.answering_pods(lan(last), 3)?;
    }
    let held = [11, 12, 13]
        .map(lan)
        .into_iter()
        .map(|address| Ok((address, Held::open(cluster, (address, 80).into(), CONNECTIONS)?)));
    let held = held.collect::<Result<_>>()?;
    let asked = Ipv4Addr::new(192, 168, 56, 11);
    Ok(Watched {
        held,
        datagrams: Probe::start(cluster, SocketAddr::new(lan(11), 9999), PACE)?,
        watch: cluster.watch_announcers(asked)?,
        asked,
        owner: before.get(&lan(11)).copied(),
    })
}

impl Watched {
    /// Nothing moved, nothing broke, nothing was lost, and who asked anew was answered.
    pub(crate) fn finish(self, cluster: &Cluster, what: &str) -> Result<()> {
        let (datagrams, sights) = (self.datagrams.finish(), self.watch.finish(cluster)?);
        let broken: Vec<(IpAddr, Vec<String>)> =
            self.held.into_iter().map(|(address, held)| (address, held.finish())).collect();
        let elsewhere: Vec<&Sight> =
            sights.iter().filter(|sight| sight.hosts.iter().any(|host| Some(*host) != self.owner)).collect();
        ensure!(elsewhere.is_empty(), "{what}: {} stays at {:?}; {elsewhere:?}", self.asked, self.owner);
        ensure!(broken.iter().all(|(_, errors)| errors.is_empty()), "{what}: no connection breaks; {broken:?}");
        ensure!(datagrams.lost == 0, "{what}: no datagram is lost; {} of {} were", datagrams.lost, datagrams.sent);
        let answered: Vec<Instant> =
            sights.iter().filter(|sight| !sight.hosts.is_empty()).map(|sight| sight.at).collect();
        let silence = answered.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max();
        eprintln!("  {what}: {} of {} looks answered, {silence:?} apart at most", answered.len(), sights.len());
        // A client's kernel asks again after a second.
        ensure!(
            silence.is_some_and(|silence| silence < Duration::from_secs(1)),
            "{what}: broadcast requests stay answered; {silence:?} without an answer"
        );
        Ok(())
    }
}

fn rolling_update(cluster: &Cluster) -> Result<()> {
    let watched = watched(cluster)?;
    let before = owners(cluster)?;
    let restarted = cluster
        .lab()
        .kubectl(&["-n", HERALD_NAMESPACE, "rollout", "restart", "daemonset/herald-speaker"])
        .and_then(|_| {
            let args = ["-n", HERALD_NAMESPACE, "rollout", "status", "daemonset/herald-speaker", "--timeout=120s"];
            cluster.lab().kubectl(&args)
        });
    thread::sleep(Duration::from_secs(2));
    watched.finish(cluster, "rolling update of the speakers")?;
    restarted?;
    ensure!(owners(cluster)? == before, "every address is where it was");
    Ok(())
}

/// The speaker's processes on a node.
pub(crate) fn speaker_pids(cluster: &Cluster, host: Host) -> Result<Vec<i32>> {
    let pods = cluster.herald_pods("speaker")?;
    let pod = pods.iter().find(|(_, node)| **node == host).map(|(name, _)| name.clone());
    let pod = pod.ok_or_else(|| missing(&format!("a speaker on {host}")))?;
    Ok(cluster.lab().container_pids(HERALD_NAMESPACE, &pod, "speaker")?)
}

pub(crate) fn signal(name: &str, pids: &[i32]) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    ensure!(!pids.is_empty(), "the speaker has a process");
    let killed = Command::new("kill").arg(format!("-{name}")).args(&pids).status();
    ensure!(killed.is_ok_and(|status| status.success()), "signal {name} reaches {pids:?}");
    Ok(())
}

fn killed_and_frozen(cluster: &Cluster) -> Result<()> {
    let watched = watched(cluster)?;
    let owner = watched.owner.ok_or_else(|| missing("the owner of .11"))?;
    signal("KILL", &speaker_pids(cluster, owner)?)?;
    // Until kubelet has started another one, and that one took over from who stood in for it.
    thread::sleep(Duration::from_secs(8));
    eventually("a ready speaker again", PATIENCE, || {
        Ok(if cluster.herald_pods("speaker")?.values().any(|host| *host == owner) {
            Ok(())
        } else {
            Err("none yet".to_owned())
        })
    })?;
    let pids = speaker_pids(cluster, owner)?;
    signal("STOP", &pids)?;
    // Below what its liveness probe allows.
    thread::sleep(Duration::from_secs(10));
    signal("CONT", &pids)?;
    thread::sleep(Duration::from_secs(3));
    watched.finish(cluster, "a killed and a frozen speaker")
}

fn dies_frozen(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let before = owners(cluster)?;
    let worker = before.iter().find(|(_, host)| **host != Host::ControlPlane);
    let (address, owner) = worker.map(|(address, host)| (*address, *host)).ok_or_else(|| missing("an owner"))?;
    signal("STOP", &speaker_pids(cluster, owner)?)?;
    thread::sleep(Duration::from_secs(1));
    let kept = cluster.await_announcer(address, owner);
    cluster.lab().power_off(owner)?;
    let moved = eventually("another node to answer", PATIENCE, || {
        let now: BTreeSet<Host> = cluster.announcers(address)?;
        Ok(if now.len() == 1 && !now.contains(&owner) { Ok(()) } else { Err(format!("{now:?}")) })
    });
    cluster.lab().power_on(owner)?;
    kept?;
    moved?;
    cluster.await_announcer(address, owner)
}
