//! What a node's kube-proxy has to do with where addresses are: nothing while it restarts, and they do not move to a node where it is not there.

use std::thread;
use std::time::Duration;

use herald_e2e::{Cluster, PATIENCE, Result, ensure, eventually};
use herald_lab::Host;

use crate::restarts::{EXCLUDE, owners, three_services};
use crate::unnoticed::watched;
use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("rolling_update_of_kube_proxy_moves_nothing", rolling_update),
    ("an_address_waits_for_the_kube_proxy_of_its_new_owner", waits),
];

const KUBE_PROXY: &str = "kube-proxy";

/// The speaker of a node says this of the node's data plane.
fn await_health(cluster: &Cluster, host: Host, wanted: &str) -> Result<()> {
    eventually(&format!("the data plane of {host} to be {wanted}"), PATIENCE, || {
        let plane = cluster.speaker_state(host)?["dataPlane"].clone();
        Ok(if plane["health"] == wanted && plane["hasAnswered"] == true { Ok(()) } else { Err(plane.to_string()) })
    })
}

/// Each kube-proxy is away for some seconds, one after the other, and then all at once.
fn rolling_update(cluster: &Cluster) -> Result<()> {
    let (lab, nodes) = (cluster.lab(), cluster.lab().nodes());
    for host in &nodes {
        await_health(cluster, *host, "ready")?;
    }
    let watched = watched(cluster)?;
    let before = owners(cluster)?;
    let away = || -> Result<()> {
        for host in &nodes {
            lab.hold(*host, KUBE_PROXY)?;
            await_health(cluster, *host, "notReady")?;
            lab.release(*host, KUBE_PROXY)?;
            await_health(cluster, *host, "ready")?;
        }
        nodes.iter().try_for_each(|host| lab.hold(*host, KUBE_PROXY))?;
        nodes.iter().try_for_each(|host| await_health(cluster, *host, "notReady"))?;
        thread::sleep(Duration::from_secs(20));
        Ok(())
    };
    let away = away();
    nodes.iter().try_for_each(|host| lab.release(*host, KUBE_PROXY))?;
    away?;
    nodes.iter().try_for_each(|host| await_health(cluster, *host, "ready"))?;
    watched.finish(cluster, "kube-proxys that restart")?;
    ensure!(owners(cluster)? == before, "every address is where it was");
    Ok(())
}

/// A label takes .11 away from its owner; when the label goes, the owner's kube-proxy is not there.
fn waits(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let (lab, owner) = (cluster.lab(), cluster.announcer(lan(11))?);
    await_health(cluster, owner, "ready")?;
    lab.kubectl(&["label", "node", &owner.to_string(), &format!("{EXCLUDE}=")])?;
    let moved = eventually("another node to announce", PATIENCE, || {
        let now = cluster.announcers(lan(11))?;
        let other = now.iter().find(|host| **host != owner && now.len() == 1).copied();
        Ok(other.ok_or_else(|| format!("{now:?}")))
    });
    let hold = || -> Result<()> {
        lab.hold(owner, KUBE_PROXY)?;
        await_health(cluster, owner, "notReady")
    };
    let held = hold();
    // Whatever came of it: the next journey needs the node.
    lab.kubectl(&["label", "node", &owner.to_string(), &format!("{EXCLUDE}-")])?;
    let stays = || -> Result<()> {
        let next = moved?;
        held?;
        agreed(cluster, owner)?;
        // Asked for once a second.
        thread::sleep(Duration::from_secs(10));
        let now = cluster.announcers(lan(11))?;
        ensure!(now == [next].into(), "{next} goes on while {owner} waits for its kube-proxy; {now:?} answer");
        Ok(())
    };
    let stays = stays();
    lab.release(owner, KUBE_PROXY)?;
    stays?;
    cluster.await_announcer(lan(11), owner)?;
    await_health(cluster, owner, "ready")?;
    cluster.answering_pods(lan(11), 3)?;
    Ok(())
}

/// All take the owner for the one that is to have .11: it is not for want of knowing that it waits.
fn agreed(cluster: &Cluster, owner: Host) -> Result<()> {
    eventually(&format!("all speakers to take {owner} for the owner"), PATIENCE, || {
        for host in cluster.lab().nodes() {
            let state = cluster.speaker_state(host)?;
            let groups = state["groups"].as_array().cloned().unwrap_or_default();
            let address = lan(11).to_string();
            let group = groups
                .iter()
                .find(|group| group["addresses"].as_array().is_some_and(|all| all.contains(&address.clone().into())));
            let seen = group.map(|group| group["links"]["eth0"]["owner"].clone()).unwrap_or_default();
            if seen != owner.to_string() {
                return Ok(Err(format!("{host} says {seen}")));
            }
        }
        Ok(Ok(()))
    })
}
