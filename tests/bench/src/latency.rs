//! How fast a speaker answers ARP.

use crate::{
    Error, Result, api,
    arp::{ArpPort, mac_of},
    cluster::{self, LAN_POOL},
    report::{Figure, Stat, Unit},
    stats::micros,
    thousand, waiting,
};
use herald_e2e::{Cluster, NAMESPACE};
use herald_lab::{Host, Lan};
use herald_wire::Mac;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::PostParams};
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "a raw socket of the LAN client sends one request, waits for the answer, sends the next: 20,000 times, the addresses in \
turn; time from before the send to the answer's arrival at the client's card (kernel timestamp). Broadcast: the other \
speakers' filters drop it in the kernel. Unicast: it reaches the owner only. Kernel: the same for a node's own address, which no process answers";

/// Requests of one measurement.
const REQUESTS: usize = 20_000;
/// Before a request counts as lost.
const LOST: Duration = Duration::from_millis(500);
/// For the cluster to be done with what was created: Herald paces the events about a thousand Services over minutes.
const QUIET: Duration = Duration::from_secs(60);

/// Microseconds to each answer.
struct Trips {
    /// On the wire.
    wire: Vec<f64>,
    /// As the asking process saw it.
    seen: Vec<f64>,
}

/// Round trips: each target with the MAC to send to.
fn ping_pong(port: &ArpPort, what: &str, targets: &[(Ipv4Addr, Mac)]) -> Result<Trips> {
    let mut trips = Trips { wire: Vec::with_capacity(REQUESTS), seen: Vec::with_capacity(REQUESTS) };
    let mut lost = 0;
    for (ip, destination) in targets.iter().cycle().take(REQUESTS) {
        let start = Instant::now();
        match port.ask(*ip, *destination, LOST)? {
            Some(answer) => {
                trips.wire.push(micros(answer.wire));
                trips.seen.push(micros(answer.at.saturating_duration_since(start)));
            }
            None => lost += 1,
        }
    }
    eprintln!("  {what}: {} answers, {lost} lost", trips.wire.len());
    if lost > REQUESTS / 100 {
        return Err(Error::NotSeen(format!("answers to {lost} of {REQUESTS} requests ({what})")));
    }
    Ok(trips)
}

fn broadcast(ips: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Mac)> {
    ips.iter().map(|ip| (*ip, Mac::BROADCAST)).collect()
}

/// The addresses with the MACs that answer for them.
fn owners(port: &ArpPort, ips: &[Ipv4Addr]) -> Result<Vec<(Ipv4Addr, Mac)>> {
    let owner = |ip: &Ipv4Addr| {
        let answer = port.ask(*ip, Mac::BROADCAST, LOST)?;
        Ok((*ip, answer.ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?.mac))
    };
    ips.iter().map(owner).collect()
}

/// Measures.
///
/// # Errors
/// An address is not answered for.
pub fn measure(cluster: &Cluster) -> Result<Vec<Figure>> {
    let lab = cluster.lab();
    let port = ArpPort::open(lab)?;
    let many = thousand::ensure(cluster)?;
    waiting::all_answered(&port, &many)?;
    eprintln!("  waiting for {} s: events about so many Services are written at leisure", QUIET.as_secs());
    thread::sleep(QUIET);
    let all = ping_pong(&port, "1,000 addresses, broadcast", &broadcast(&many))?;
    let unicast = ping_pong(&port, "1,000 addresses, unicast", &owners(&port, &many)?)?;
    cluster::clean_services(cluster)?;

    api::run(lab, |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        services.create(&PostParams::default(), &api::load_balancer("single", LAN_POOL.0)).await?;
        Ok(())
    })?;
    let single: Vec<Ipv4Addr> = cluster::external_ips(cluster, 1)?.into_values().collect();
    waiting::all_answered(&port, &single)?;
    thread::sleep(Duration::from_secs(10));
    let node = Host::Worker(1);
    let kernel = ping_pong(&port, "kernel", &[(node.ipv4(Lan::First), mac_of(node))])?;
    let one = ping_pong(&port, "1 address, broadcast", &broadcast(&single))?;
    cluster::clean_services(cluster)?;
    Ok(vec![
        Figure::new("ARP request -> answer, 1,000 addresses", Unit::Micros, &all.wire)?.target(Stat::P99, 100.0),
        Figure::new("- with the wake-up of the asking process", Unit::Micros, &all.seen)?,
        Figure::new("- 1,000 addresses, unicast request", Unit::Micros, &unicast.wire)?,
        Figure::new("- 1 address", Unit::Micros, &one.wire)?,
        Figure::new("- the kernel's own answer, unicast", Unit::Micros, &kernel.wire)?,
    ])
}
