//! Planned moves: what is handed over breaks nothing and loses nothing.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use herald_e2e::{Cluster, Error, Held, PATIENCE, Probe, Result, ensure, eventually};
use herald_lab::Host;

use crate::explain::install_plugin;
use crate::restarts::{EXCLUDE, three_services, until_lossless};
use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("planned_move_by_a_label_is_unnoticed", label),
    ("evacuating_a_node_and_moving_an_address_is_unnoticed", commands),
];

const PACE: Duration = Duration::from_millis(1);
const CONNECTIONS: usize = 20;
/// `speaker.drain`, and the burst that follows.
const DRAINED: Duration = Duration::from_secs(36);

/// A client that uses .11 all the time.
struct Used {
    datagrams: Probe,
    held: Held,
}

impl Used {
    fn start(cluster: &Cluster) -> Result<(Host, Self)> {
        three_services(cluster)?;
        let owner = cluster.announcer(lan(11))?;
        until_lossless(cluster, SocketAddr::new(lan(11), 9999))?;
        cluster.answering_pods(lan(11), 3)?;
        let held = Held::open(cluster, (lan(11), 80).into(), CONNECTIONS)?;
        Ok((owner, Self { held, datagrams: Probe::start(cluster, SocketAddr::new(lan(11), 9999), PACE)? }))
    }
}

fn unbroken(held: Held, what: &str) -> Result<()> {
    let broken = held.finish();
    ensure!(broken.is_empty(), "{what}: no connection breaks while the old owner drains; {broken:?}");
    Ok(())
}

fn lossless(datagrams: Probe, what: &str) -> Result<()> {
    let seen = datagrams.finish();
    eprintln!("  {what}: {} of {} datagrams lost, longest gap {:?}", seen.lost, seen.sent, seen.longest_gap);
    ensure!(seen.lost == 0, "{what}: no datagram is lost; {} of {} were", seen.lost, seen.sent);
    Ok(())
}

/// Another node than `old` answers, alone.
fn moved(cluster: &Cluster, address: IpAddr, old: Host) -> Result<Host> {
    eventually(&format!("another node than {old} to answer for {address}"), PATIENCE, || {
        let now = cluster.announcers(address)?;
        let other = now.iter().find(|host| **host != old && now.len() == 1).copied();
        Ok(other.ok_or_else(|| format!("{now:?}")))
    })
}

/// A label takes the addresses away from a node: connections live until it has drained, and no datagram is lost then either.
fn label(cluster: &Cluster) -> Result<()> {
    let (owner, Used { datagrams, held }) = Used::start(cluster)?;
    let name = owner.to_string();
    cluster.lab().kubectl(&["label", "node", &name, &format!("{EXCLUDE}=")])?;
    let next = moved(cluster, lan(11), owner);
    thread::sleep(Duration::from_secs(2));
    let unbroken = unbroken(held, "excluded by a label");
    thread::sleep(DRAINED);
    let lossless = lossless(datagrams, "excluded by a label, drained, and announced by the next");
    // Whatever came of it: the next journey needs the node.
    cluster.lab().kubectl(&["label", "node", &name, &format!("{EXCLUDE}-")])?;
    next?;
    unbroken?;
    lossless?;
    cluster.await_announcer(lan(11), owner)
}

fn herald(cluster: &Cluster, args: &[&str]) -> Result<String> {
    let args: Vec<&str> = ["herald"].iter().chain(args).copied().collect();
    let output = cluster.lab().kubectl_command(&args)?.output().map_err(Error::io("kubectl herald"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "kubectl {args:?} succeeds: {out} {err}");
    Ok(out.into_owned())
}

/// `herald status` shows this line for a time.
fn shown(cluster: &Cluster, line: &str) -> Result<()> {
    eventually(&format!("herald status to say {line:?}"), PATIENCE, || {
        let status = herald(cluster, &["status"])?;
        Ok(if status.contains(line) { Ok(()) } else { Err(status) })
    })
}

/// The commands, there and back, within one drain: the client never has to leave the first owner.
fn commands(cluster: &Cluster) -> Result<()> {
    install_plugin(cluster)?;
    let (owner, Used { datagrams, held }) = Used::start(cluster)?;
    let (name, address) = (owner.to_string(), lan(11).to_string());
    let moves = || {
        herald(cluster, &["evacuate", &name, "--for", "10m"])?;
        let next = moved(cluster, lan(11), owner)?;
        shown(cluster, &format!("node {name}"))?;
        herald(cluster, &["evacuate", "--end", &name])?;
        cluster.await_announcer(lan(11), owner)?;
        // Not the one that would be next anyhow.
        let workers = cluster.lab().workers();
        let to = workers.into_iter().find(|host| *host != owner && *host != next).unwrap_or(next);
        herald(cluster, &["move", &address, &to.to_string(), "--for", "10m"])?;
        cluster.await_announcer(lan(11), to)?;
        shown(cluster, &format!("is to be on {to}"))?;
        herald(cluster, &["move", "--end", &address])?;
        cluster.await_announcer(lan(11), owner)?;
        // And one that ends by itself.
        herald(cluster, &["move", &address, &to.to_string(), "--for", "3s"])?;
        cluster.await_announcer(lan(11), to)?;
        cluster.await_announcer(lan(11), owner)
    };
    let moves = moves();
    let unbroken = unbroken(held, "moved there and back");
    let lossless = lossless(datagrams, "moved there and back");
    herald(cluster, &["evacuate", "--end", &name])?;
    moves?;
    unbroken?;
    lossless
}
