//! 1,000 Services that wait for their pool, and then it appears.

use crate::{
    Error, Result, api,
    arp::ArpPort,
    cluster::{self, LAN_POOL, WIDE_POOL},
    report::{Figure, Stat, Unit},
    stats::millis,
    thousand::{self, COUNT, LABEL},
};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::{Cluster, HERALD_NAMESPACE, NAMESPACE};
use herald_wire::Mac;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "1,000 Services ask for a pool that does not exist; clock starts when the request that adds it to the ConfigMap is sent; \
EXTERNAL-IPs: the events of a watch opened before; ARP: then the client asks for every address until each has been answered. \
The kube-proxies of all four nodes write rules for each Service at the same time on the same processors";

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(120);

struct Trial {
    /// Milliseconds until each Service had its EXTERNAL-IP, ascending.
    assigned: Vec<f64>,
    /// Seconds until every address was answered by ARP.
    announced: f64,
}

/// Lets the pool appear; when that was, and when each Service was seen with its address.
async fn appear(client: kube::Client) -> Result<(Instant, BTreeMap<Ipv4Addr, Instant>)> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(client, HERALD_NAMESPACE);
    let version = services.list(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let mut events = services.watch(&WatchParams::default().labels(LABEL).timeout(120), &version).await?.boxed();
    let patch = json!({"data": {"config": cluster::config(&[LAN_POOL, WIDE_POOL])}});
    let (patch, params) = (Patch::Merge(&patch), PatchParams::default());
    let sent = Instant::now();
    let patched = async { maps.patch("config", &params, &patch).await.map_err(Error::from) };
    let assigned = async {
        let mut seen = BTreeMap::new();
        while seen.len() < COUNT {
            match events.try_next().await? {
                Some(WatchEvent::Modified(service)) => {
                    if let Some(ip) = api::external_ip(&service) {
                        seen.entry(ip).or_insert_with(Instant::now);
                    }
                }
                Some(WatchEvent::Error(error)) => return Err(kube::Error::Api(error).into()),
                Some(_) => {}
                None => return Err(Error::NotSeen(format!("{COUNT} EXTERNAL-IPs ({} came)", seen.len()))),
            }
        }
        Ok(seen)
    };
    let (_, seen) = futures::try_join!(patched, assigned)?;
    Ok((sent, seen))
}

fn trial(cluster: &Cluster) -> Result<Trial> {
    let lab = cluster.lab();
    cluster::clean_services(cluster)?;
    cluster::configure(cluster, &[LAN_POOL])?;
    thousand::create(cluster)?;
    // kube-proxy and the controllers of Kubernetes are done with the new Services.
    thread::sleep(Duration::from_secs(5));
    let port = ArpPort::open(lab)?;
    let (sent, seen) = api::run(lab, appear)?;
    for ip in seen.keys() {
        port.ask_until_answered(*ip, Duration::from_millis(20), PATIENCE)?
            .ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?;
    }
    let announced = sent.elapsed().as_secs_f64();
    let mut assigned: Vec<f64> = seen.values().map(|at| millis(at.saturating_duration_since(sent))).collect();
    assigned.sort_by(f64::total_cmp);
    Ok(Trial { assigned, announced })
}

/// Every address of `ips` has an answer.
///
/// # Errors
/// One has none.
pub fn all_answered(port: &ArpPort, ips: &[Ipv4Addr]) -> Result<()> {
    for ip in ips {
        let mut answered = false;
        let start = Instant::now();
        while !answered && start.elapsed() < PATIENCE {
            answered = port.ask(*ip, Mac::BROADCAST, Duration::from_millis(50))?.is_some();
        }
        if !answered {
            return Err(Error::NotSeen(format!("an ARP answer for {ip}")));
        }
    }
    Ok(())
}

/// Measures.
///
/// # Errors
/// Not all Services got an address, or not all addresses an answer.
pub fn measure(cluster: &Cluster, trials: usize) -> Result<Vec<Figure>> {
    let (mut all, mut last, mut announced) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..trials {
        let trial = trial(cluster)?;
        let end = trial.assigned.last().copied().unwrap_or_default() / 1e3;
        eprintln!(
            "  trial {} of {trials}: all assigned after {end:.2} s, all answered by ARP after {:.2} s",
            number + 1,
            trial.announced
        );
        last.push(end);
        announced.push(trial.announced);
        all.extend(trial.assigned);
    }
    cluster::clean_services(cluster)?;
    Ok(vec![
        Figure::new("1,000 waiting Services: pool appears -> all assigned", Unit::Seconds, &last)?
            .target(Stat::Max, 5.0),
        Figure::new("- each of them", Unit::Millis, &all)?,
        Figure::new("- pool appears -> all answered by ARP", Unit::Seconds, &announced)?,
    ])
}
