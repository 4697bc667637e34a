//! 1,000 Services that wait for their pool, and then it appears.

use crate::{
    Error, Result, api,
    arp::ArpPort,
    cluster::{self, LAN_POOL, herald_processes},
    failures::count,
    many::{LABEL, Many},
    processor,
    report::{Figure, Stat, Unit},
    requests,
    stats::millis,
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
The kube-proxies of all four nodes (mode nftables) write rules for each Service at the same time on the same processors";

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who else works while Services get their addresses: label and programs.
const OTHERS: [(&str, &[&str]); 3] = [
    ("API server and etcd", &["kube-apiserver", "etcd"]),
    ("kube-proxies", &["kube-proxy"]),
    ("controller manager and kubelets", &["kube-controller-manager", "kubelet"]),
];

/// Processor seconds so far, by process.
type Seconds = BTreeMap<i32, f64>;

/// Those of Herald's components, of [`OTHERS`], and of the whole machine, which has number 0.
fn processor_seconds(cluster: &Cluster) -> Result<Vec<(&'static str, Seconds)>> {
    let mut all = Vec::new();
    let mut add = |label, pids: Vec<i32>| -> Result<()> {
        let seconds = pids.into_iter().map(|pid| Ok((pid, processor::of_process(pid)?)));
        all.push((label, seconds.collect::<Result<_>>()?));
        Ok(())
    };
    add("controller", herald_processes(cluster, "controller")?.into_values().collect())?;
    add("all speakers", herald_processes(cluster, "speaker")?.into_values().collect())?;
    for (label, programs) in OTHERS {
        let lab = cluster.lab();
        let of = |host| programs.iter().flat_map(move |program| lab.program_pids(host, program));
        add(label, lab.nodes().into_iter().flat_map(of).collect())?;
    }
    all.push(("the whole machine", [(0, processor::of_machine()?)].into()));
    Ok(all)
}

/// What was spent between two looks, by those that were there both times.
fn spent(before: &Seconds, after: &Seconds) -> f64 {
    after.iter().filter_map(|(pid, after)| Some(after - before.get(pid)?)).sum()
}

/// How many of Herald's processes are others than before; why they ended is printed.
fn restarted(cluster: &Cluster, before: &[(&str, Seconds)], after: &[(&str, Seconds)]) -> Result<usize> {
    let herald = before.iter().zip(after).take(2);
    let gone =
        herald.flat_map(|((_, before), (_, after))| before.keys().filter(|pid| !after.contains_key(pid))).count();
    if gone > 0 {
        let why =
            r#"jsonpath={range .items[*]}{.metadata.name}{" "}{.status.containerStatuses[*].lastState}{"\n"}{end}"#;
        let why = cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "get", "pods", "-o", why])?;
        eprintln!("  {gone} of Herald's processes ended:\n{why}");
    }
    Ok(gone)
}

/// What was seen of one.
#[derive(Debug)]
pub struct Trial {
    /// Milliseconds until each Service had its EXTERNAL-IP, ascending.
    pub assigned: Vec<f64>,
    /// Seconds until every address was answered by ARP.
    pub announced: f64,
    /// Until all were assigned: percent of the processor time that was Herald's own.
    pub share: f64,
    /// Herald's processes that ended and were started again meanwhile.
    pub restarted: usize,
    /// Milliseconds that the API server took to write a status, and those of it that it waited for etcd; means.
    pub writes: [f64; 2],
}

impl Trial {
    /// Seconds until all were assigned.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.assigned.last().copied().unwrap_or_default() / 1e3
    }
}

/// EXTERNAL-IPs with the moment when each was first seen.
type Seen = BTreeMap<Ipv4Addr, Instant>;

/// Follows the Services until all have an EXTERNAL-IP.
async fn follow(services: &Api<Service>, mut version: String, count: usize, seen: &mut Seen) -> Result<()> {
    let note = |seen: &mut Seen, service: &Service| {
        if let Some(ip) = api::external_ip(service) {
            seen.entry(ip).or_insert_with(Instant::now);
        }
    };
    let params = WatchParams::default().labels(LABEL).timeout(290);
    loop {
        let mut events = services.watch(&params, &version).await?.boxed();
        while seen.len() < count {
            match events.try_next().await {
                Ok(Some(WatchEvent::Modified(service))) => note(seen, &service),
                Ok(Some(WatchEvent::Added(_) | WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => {}
                // An API server short of processors ends the watches of clients that it could not serve in time.
                Ok(None | Some(WatchEvent::Error(_))) | Err(_) => break,
            }
        }
        if seen.len() >= count {
            return Ok(());
        }
        eprintln!("  the API server ended the watch after {} Services; listing and watching again", seen.len());
        let list = services.list(&ListParams::default().labels(LABEL)).await?;
        list.items.iter().for_each(|service| note(seen, service));
        version = list.metadata.resource_version.unwrap_or_default();
    }
}

/// Lets the pool appear; when that was, and when each Service was seen with its address.
async fn appear(client: kube::Client, many: Many) -> Result<(Instant, Seen)> {
    let count = many.count;
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(client, HERALD_NAMESPACE);
    let version = services.list(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let patch = json!({"data": {"config": cluster::config(&[LAN_POOL, many.pool])}});
    let (patch, params) = (Patch::Merge(&patch), PatchParams::default());
    let mut seen = Seen::new();
    let sent = Instant::now();
    let patched = async { maps.patch("config", &params, &patch).await.map_err(Error::from) };
    let outcome = tokio::time::timeout(PATIENCE, async {
        futures::try_join!(patched, follow(&services, version, count, &mut seen))
    });
    match outcome.await {
        Ok(done) => _ = done?,
        Err(_) => return Err(Error::NotSeen(format!("{count} EXTERNAL-IPs in {PATIENCE:?} ({} came)", seen.len()))),
    }
    Ok((sent, seen))
}

/// Seconds and number of the status writes that the API server has done so far, and of their requests to etcd.
fn writes(cluster: &Cluster) -> Result<[[f64; 2]; 2]> {
    let metrics = requests::metrics(cluster)?;
    let of = |name: &str, labels: &[(&str, &str)]| {
        ["sum", "count"].map(|part| requests::sum(&metrics, &format!("{name}_{part}"), labels).unwrap_or_default())
    };
    Ok([
        of(
            "apiserver_request_duration_seconds",
            &[("verb", "PATCH"), ("resource", "services"), ("subresource", "status")],
        ),
        of("etcd_request_duration_seconds", &[("operation", "update"), ("resource", "services")]),
    ])
}

/// Creates them without their pool, lets it appear, and waits for all addresses.
///
/// # Errors
/// Not all Services got an address, or not all addresses an answer.
pub fn trial(cluster: &Cluster, many: Many) -> Result<Trial> {
    let lab = cluster.lab();
    cluster::clean_services(cluster)?;
    cluster::configure(cluster, &[LAN_POOL])?;
    many.create(cluster)?;
    many.await_endpoints(cluster)?;
    // kube-proxies write rules for them a while longer.
    thread::sleep(Duration::from_secs(5));
    let port = ArpPort::open(lab)?;
    let written = writes(cluster)?;
    let before = processor_seconds(cluster)?;
    let (sent, seen) = api::run(lab, |client| appear(client, many))?;
    let after = processor_seconds(cluster)?;
    let restarted = restarted(cluster, &before, &after)?;
    let spent: Vec<(&str, f64)> =
        after.iter().zip(&before).map(|((label, after), (_, before))| (*label, spent(before, after))).collect();
    let words: Vec<String> = spent.iter().map(|(label, spent)| format!("{label} {spent:.1}")).collect();
    eprintln!("  processor seconds meanwhile: {}", words.join(", "));
    let [controller, speakers, .., machine] = spent.as_slice() else {
        return Err(Error::NotSeen("processor time".into()));
    };
    let share = (controller.1 + speakers.1) / machine.1 * 100.0;
    for ip in seen.keys() {
        port.ask_until_answered(*ip, Duration::from_millis(20), PATIENCE)?
            .ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?;
    }
    let announced = sent.elapsed().as_secs_f64();
    let mut assigned: Vec<f64> = seen.values().map(|at| millis(at.saturating_duration_since(sent))).collect();
    assigned.sort_by(f64::total_cmp);
    let [status, etcd] = writes(cluster)?;
    let mean =
        |[seconds, count]: [f64; 2], [before, counted]: [f64; 2]| (seconds - before) / (count - counted).max(1.0) * 1e3;
    let writes = [mean(status, written[0]), mean(etcd, written[1])];
    Ok(Trial { assigned, announced, share, restarted, writes })
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
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    for number in 0..trials {
        let trial = trial(cluster, Many::THOUSAND)?;
        eprintln!(
            "  trial {} of {trials}: all assigned after {:.2} s, all answered by ARP after {:.2} s; a status write took the API server {:.0} ms, {:.1} ms of it etcd",
            number + 1,
            trial.end(),
            trial.announced,
            trial.writes[0],
            trial.writes[1]
        );
        all.extend(trial.assigned.iter().copied());
        seen.push(trial);
    }
    let of = |value: fn(&Trial) -> f64| seen.iter().map(value).collect::<Vec<f64>>();
    // They stay: the next benchmark looks at the cluster that has them.
    Ok(vec![
        Figure::new("1,000 waiting Services: pool appears -> all assigned", Unit::Seconds, &of(Trial::end))?
            .target(Stat::Max, 3.0),
        Figure::new("- each of them", Unit::Millis, &all)?,
        Figure::new("- pool appears -> all answered by ARP", Unit::Seconds, &of(|it| it.announced))?,
        Figure::new(
            "- Herald's share of the processor time until all are assigned",
            Unit::Percent,
            &of(|it| it.share),
        )?,
        Figure::new("- processes of Herald that ended meanwhile", Unit::Pieces, &of(|it| count(it.restarted)))?
            .target(Stat::Max, 0.0),
        Figure::new("- the API server's own time for a status write, mean", Unit::Millis, &of(|it| it.writes[0]))?,
        Figure::new("- of it for etcd, mean", Unit::Millis, &of(|it| it.writes[1]))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_restarted_spent_nothing_that_is_known() {
        let (before, after) = (Seconds::from([(1, 40.0), (2, 3.0)]), Seconds::from([(2, 4.5), (3, 0.2)]));
        assert!((spent(&before, &after) - 1.5).abs() < f64::EPSILON);
    }
}
