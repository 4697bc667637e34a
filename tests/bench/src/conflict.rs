//! How soon a foreign host that has one of the addresses is named.

use crate::{
    Error, Result, api,
    arp::ArpPort,
    report::{Figure, Stat, Unit},
    stage::{SERVICES, Stage},
    stats::millis,
};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::NAMESPACE;
use herald_lab::Lab;
use herald_wire::Mac;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};
use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "a host of the LAN says by gratuitous ARP, again every 200 ms, that it has an address which is announced; until a watch opened before shows \
an event about the Service with that host's MAC address. Each time another address and another MAC address";

/// Between two claims.
const AGAIN: Duration = Duration::from_millis(200);
/// For the event.
const PATIENCE: Duration = Duration::from_secs(20);

/// From the first claim to the event that names the host.
async fn named(events: &Api<Event>, port: &ArpPort, service: &str, ip: Ipv4Addr, mac: Mac) -> Result<Duration> {
    let version = events.list(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let params = WatchParams::default().fields(&format!("involvedObject.name={service}")).timeout(60);
    let mut watch = events.watch(&params, &version).await?.boxed();
    // The watch has taken the open connection.
    events.list(&ListParams::default().limit(1)).await?;
    let (start, text) = (Instant::now(), mac.to_string());
    let event = async {
        while let Some(event) = watch.try_next().await? {
            if let WatchEvent::Added(event) | WatchEvent::Modified(event) = event
                && event.message.is_some_and(|message| message.contains(&text))
            {
                return Ok(start.elapsed());
            }
        }
        Err(Error::NotSeen(format!("an event about {service} that names {text}")))
    };
    let claims = async {
        loop {
            port.claim(ip, mac)?;
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        seen = event => seen,
        failed = claims => failed,
        () = tokio::time::sleep(PATIENCE) => Err(Error::NotSeen(format!("an event about {service} that names {text}"))),
    }
}

async fn all(lab: &Lab, client: kube::Client, addresses: &[(String, Ipv4Addr)]) -> Result<Vec<f64>> {
    let events: Api<Event> = Api::namespaced(client, NAMESPACE);
    let port = ArpPort::open(lab)?;
    let mut times = Vec::new();
    for (number, (service, ip)) in (1..).zip(addresses) {
        // Locally administered, and of no host of the lab.
        let time = named(&events, &port, service, *ip, Mac([0x06, 0, 0, 0, 1, number])).await?;
        eprintln!("  {number:>2} of {}: {ip} of {service} after {:.0} ms", addresses.len(), millis(time));
        times.push(millis(time));
    }
    Ok(times)
}

/// Measures.
///
/// # Errors
/// The host was not named.
pub fn measure(stage: &mut Stage) -> Result<Vec<Figure>> {
    stage.homes()?;
    let ips = stage.cluster.all_ips()?.into_iter();
    let ips = ips.filter_map(|(name, ips)| Some((name, ips.first()?.to_string().parse().ok()?)));
    let addresses: Vec<(String, Ipv4Addr)> = ips.take(stage.effort.trials.min(SERVICES)).collect();
    let lab = stage.lab();
    let times = api::run(lab, |client| all(lab, client, &addresses))?;
    Ok(vec![
        Figure::new("foreign host claims an address -> event that names it", Unit::Millis, &times)?
            .target(Stat::Max, 1000.0),
    ])
}
