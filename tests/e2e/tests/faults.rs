//! Nodes that die, lose their cable, or are not heard any more.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use herald_e2e::{Cluster, PATIENCE, Probe, Result, Sight, ensure, eventually};
use herald_lab::{Host, Lan, Port};

use crate::Journey;
use crate::allocation::away_from_its_announcer;
use crate::restarts::{owners, three_services, until_lossless};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("power_off_and_on", power_off_and_on),
    ("cable_cut_and_healed", cable_cut),
    ("silenced_and_healed", silenced),
    ("silenced_while_etcd_is_stopped", without_etcd),
    ("switch_that_restarts_moves_nothing_for_good", switch_restart),
];

const PACE: Duration = Duration::from_millis(5);
/// Two may answer at once only while a move is being noticed: that takes some 150 ms, this is generous.
const OVERLAP: Duration = Duration::from_secs(2);

/// Another node than `old` answers, alone.
fn taken_over(cluster: &Cluster, address: IpAddr, old: Host) -> Result<Host> {
    eventually(&format!("another node than {old} to answer for {address}"), PATIENCE, || {
        let now = cluster.announcers(address)?;
        let other = now.iter().find(|host| **host != old && now.len() == 1).copied();
        Ok(other.ok_or_else(|| format!("{now:?}")))
    })
}

/// How long two answered at once, as far as the looks show it, is within the bound; the last look shows `owner` alone.
fn mostly_one(sights: &[Sight], owner: Host) -> Result<()> {
    let split: Vec<&Sight> = sights.iter().filter(|sight| sight.hosts.len() > 1).collect();
    if let (Some(first), Some(last)) = (split.first(), split.last()) {
        let long = last.at.saturating_duration_since(first.at);
        eprintln!("  {} of {} looks saw two announcers, over {long:?}", split.len(), sights.len());
        ensure!(long < OVERLAP, "two announce at once for less than {OVERLAP:?}, not {long:?}: {split:?}");
    }
    let last = sights.last().map(|sight| sight.hosts.clone()).unwrap_or_default();
    ensure!(last == BTreeSet::from([owner]), "in the end {owner} alone answers, not {last:?}");
    Ok(())
}

/// A fault of the announcing node and its end, with a client that keeps asking.
fn fault(
    cluster: &Cluster,
    what: &str,
    begin: impl FnOnce(Host) -> herald_lab::Result<()>,
    end: impl FnOnce(Host) -> herald_lab::Result<()>,
) -> Result<()> {
    let (address, owner) = away_from_its_announcer(cluster, "faulty")?;
    let to = SocketAddr::new(address, 9999);
    until_lossless(cluster, to)?;
    let probe = Probe::start(cluster, to, PACE)?;
    thread::sleep(Duration::from_millis(500));
    begin(owner)?;
    let next = taken_over(cluster, address, owner)?;
    thread::sleep(Duration::from_secs(1));
    let seen = probe.finish();
    let gap = seen.longest_gap.as_secs_f64() * 1e3;
    eprintln!("  {what} of {owner}: {next} took over, longest gap {gap:.0} ms, {} of {} lost", seen.lost, seen.sent);
    ensure!(seen.lost > 0, "{what} of the announcer is noticed; else it did not carry the traffic");
    ensure!(
        seen.longest_gap < Duration::from_secs(5),
        "after {what} of the announcer the address answers again within 5 s, not {:?}",
        seen.longest_gap
    );
    cluster.answering_pods(address, 2)?;

    let IpAddr::V4(asked) = address else { return Ok(()) };
    let watch = cluster.watch_announcers(asked)?;
    end(owner)?;
    let returned = cluster.await_announcer(address, owner);
    // Long enough for a second thought to show.
    thread::sleep(Duration::from_secs(3));
    let sights = watch.finish(cluster)?;
    returned?;
    mostly_one(&sights, owner)?;
    cluster.answering_pods(address, 2)?;
    Ok(())
}

/// Power loss of the announcer: another node takes over; when the power returns, so does the address.
fn power_off_and_on(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    fault(cluster, "power loss", |host| lab.power_off(host), |host| lab.power_on(host))
}

/// The announcer loses its carrier.
fn cable_cut(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    fault(cluster, "a cut cable", |host| lab.cut(host), |host| lab.heal(host))
}

/// The switch drops all frames of the announcer, which notices nothing and believes to be alone: both sides announce, and
/// after healing one does.
fn silenced(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    fault(cluster, "silence", |host| lab.silence(host), |host| lab.heal(host))
}

/// The API server runs and has nothing to say.
fn without_etcd(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    let begin = |host| {
        lab.hold(Host::ControlPlane, "etcd")?;
        lab.silence(host)
    };
    let end = |host| {
        lab.release(Host::ControlPlane, "etcd")?;
        lab.start_api()?;
        lab.heal(host)
    };
    fault(cluster, "silence without etcd", begin, end)
}

/// Every port of the switch, the client's too, has no carrier for a second.
fn switch_restart(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let (lab, before) = (cluster.lab(), owners(cluster)?);
    let all = |state| lab.hosts().into_iter().try_for_each(|host| lab.set_port(host, Lan::First, state));
    let restarted = all(Port::Cut).and_then(|()| {
        thread::sleep(Duration::from_secs(1));
        all(Port::Up)
    });
    restarted?;
    for (address, owner) in &before {
        cluster.await_announcer(*address, *owner)?;
    }
    // Long enough for a second thought to show.
    thread::sleep(Duration::from_secs(3));
    ensure!(owners(cluster)? == before, "every address is where it was");
    for address in before.keys() {
        cluster.answering_pods(*address, 2)?;
    }
    Ok(())
}
