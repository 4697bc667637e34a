//! How long an address is away when the node that announces it loses its power.

use crate::{
    Error, Result,
    api::{self, UDP_PORT},
    cluster::{self, LAN_POOL},
    report::{Figure, Stat, Unit},
    stats::millis,
};
use herald_e2e::{Cluster, NAMESPACE, Outage, Probe};
use herald_lab::Host;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::PostParams};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "the node that answers ARP for the address is powered off (its switch port first, then SIGKILL of everything) \
while one UDP flow of the LAN client asks every 5 ms; the only endpoint is on the control plane, which stays on and never announces; \
figure: longest time between two answers. Workers take turns; each is back, its speaker heard and its addresses returned before the next trial";

/// Between two datagrams.
const INTERVAL: Duration = Duration::from_millis(5);
/// Services to choose from, so that every worker announces one.
const SERVICES: usize = 16;

/// The time between two answers, as the client lives through it: datagrams that waited in its own neighbour queue count when answered.
fn longest_silence(outage: &Outage) -> Duration {
    let mut answered: Vec<Instant> = outage.samples.iter().filter_map(|sample| sample.answered).collect();
    answered.sort_unstable();
    answered.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default()
}

/// For each worker an address that it announces.
fn addresses(cluster: &Cluster) -> Result<BTreeMap<Host, Ipv4Addr>> {
    api::run(cluster.lab(), |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        for number in 0..SERVICES {
            let service = api::load_balancer(&format!("takeover-{number}"), LAN_POOL.0);
            services.create(&PostParams::default(), &service).await?;
        }
        Ok(())
    })?;
    let mut chosen = BTreeMap::new();
    for ip in cluster::external_ips(cluster, SERVICES)?.into_values() {
        chosen.entry(cluster.announcer(ip.into())?).or_insert(ip);
    }
    match cluster.lab().workers().into_iter().find(|worker| !chosen.contains_key(worker)) {
        Some(idle) => Err(Error::NotSeen(format!("an address that {idle} announces, among {SERVICES}"))),
        None => Ok(chosen),
    }
}

struct Trial {
    silence: Duration,
    lost: usize,
    pause: Duration,
}

/// The client asks anew who has the address: what it knows from the last trial may be a node that handed it over and still drains.
fn forget(cluster: &Cluster, ip: Ipv4Addr) -> Result<()> {
    let argv = ["ip", "neigh", "flush", "to", &ip.to_string()];
    cluster.lab().net_command(Host::Client, &argv)?.status().map_err(Error::io("ip neigh flush"))?;
    Ok(())
}

fn trial(cluster: &Cluster, victim: Host, ip: Ipv4Addr) -> Result<Trial> {
    forget(cluster, ip)?;
    let probe = Probe::start(cluster, (ip, UDP_PORT).into(), INTERVAL)?;
    // Long enough for a flow that works, at a moment of the hello interval that nothing here decides.
    thread::sleep(Duration::from_millis(700));
    cluster.lab().power_off(victim)?;
    thread::sleep(Duration::from_millis(2500));
    let outage = probe.finish();
    cluster.lab().power_on(victim)?;
    let last = outage.samples.iter().rev().take(20).filter(|sample| sample.answered.is_some()).count();
    if last < 15 {
        return Err(Error::NotSeen(format!("answers on {ip} after {victim} was switched off")));
    }
    // Its address returns to it, after the hold-off: it is a member again.
    cluster.await_announcer(IpAddr::V4(ip), victim)?;
    Ok(Trial { silence: longest_silence(&outage), lost: outage.lost, pause: outage.longest_pause })
}

/// Measures.
///
/// # Errors
/// An address was not taken over at all, or not returned.
pub fn measure(cluster: &Cluster, trials: usize) -> Result<Vec<Figure>> {
    let addresses = addresses(cluster)?;
    let (mut silences, mut pauses) = (Vec::new(), Vec::new());
    for number in 0..trials {
        let Some((victim, ip)) = addresses.iter().nth(number % addresses.len()) else { break };
        let Trial { silence, lost, pause } = trial(cluster, *victim, *ip)?;
        eprintln!(
            "  trial {:>2} of {trials}: {victim} off, {ip} silent for {:.0} ms, {lost} datagrams lost, client's own longest pause {:.0} ms",
            number + 1,
            millis(silence),
            millis(pause)
        );
        silences.push(millis(silence));
        pauses.push(millis(pause));
    }
    cluster::clean_services(cluster)?;
    Ok(vec![
        Figure::new("take-over after power loss", Unit::Millis, &silences)?
            .target(Stat::P50, 450.0)
            .target(Stat::Max, 800.0),
        Figure::new("- the client's own longest pause", Unit::Millis, &pauses)?,
    ])
}
