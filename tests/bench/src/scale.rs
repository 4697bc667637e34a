//! A large cluster: what Herald needs to make it, at rest, while endpoints come and go, and to restart in it.

use crate::{
    Error, Result,
    arp::ArpPort,
    churn,
    cluster::{self, herald_processes},
    failures::count,
    latency,
    many::Many,
    memory, processor,
    report::{Figure, Stat, Unit},
    requests::{self, Requests},
    restart, waiting,
};
use herald_e2e::Cluster;
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How a cluster that stands is measured.
pub const METHOD: &str = "1,000 Services; requests as the API server counts them (Priority and Fairness, one FlowSchema for each of Herald's service accounts; \
watches when they begin, renewals of leases included), those of the speakers divided by their number; \
at rest: half a minute without any change; then 50 endpoints a second become ready or not ready, in 200 EndpointSlices without pods of 200 Services, for half a minute. \
Restarts: each speaker is killed once and asked on its node's loopback every 10 ms whether it is ready; the controller is killed, and a Service is created that \
only a controller which leads and knows all others serves. kubelet's own time until it starts another process is in the first figure and not in the second";

/// How a larger one is.
pub const METHOD_LARGE: &str = "Services without node ports, kube-proxy stopped on all nodes (it is not measured here, and four of them write rules for each on the \
same processors: it would take many minutes); all wait for a pool, which appears: until each has its EXTERNAL-IP, and until each address was answered by ARP (all of them, no sample). \
Told: until Herald's requests, among them events and statuses that it paces, fall below two a second. Then as in `churn`, with a minute at rest; \
VmRSS before the endpoints change and right after; 10,000: then ARP round trips as in `arp`";

/// At rest.
const REST: Duration = Duration::from_secs(30);
/// The same in a larger cluster, as it was always measured there.
const MINUTE: Duration = Duration::from_secs(60);
/// Nothing is left to be told when Herald makes fewer requests a second.
const FEW: f64 = 2.0;
/// Between two looks at that.
const LOOK: Duration = Duration::from_secs(10);
/// Longest time for it.
const TOLD: Duration = Duration::from_secs(3600);

const COMPONENTS: [&str; 2] = ["controller", "speaker"];

/// Processor seconds of the processes of a component so far.
fn seconds(pids: &[i32]) -> Result<Vec<f64>> {
    pids.iter().map(|pid| processor::of_process(*pid)).collect()
}

fn nodes(cluster: &Cluster) -> f64 {
    count(cluster.lab().nodes().len())
}

/// Processor time and requests while something is done.
fn load(cluster: &Cluster, when: &str, work: impl FnOnce() -> Result<()>) -> Result<Vec<Figure>> {
    let pids = COMPONENTS.map(|component| herald_processes(cluster, component).map(|all| all.into_values().collect()));
    let [controller, speakers]: [Result<Vec<i32>>; 2] = pids;
    let pids = [controller?, speakers?];
    let (asked, start) = (requests::so_far(cluster)?, Instant::now());
    let spent: Vec<Vec<f64>> = pids.iter().map(|pids| seconds(pids)).collect::<Result<_>>()?;
    work()?;
    let after: Vec<Vec<f64>> = pids.iter().map(|pids| seconds(pids)).collect::<Result<_>>()?;
    let time = start.elapsed().as_secs_f64();
    let asked = requests::so_far(cluster)?.since(asked);
    let asked = [asked.controller, asked.speakers / nodes(cluster)];
    let mut figures = Vec::new();
    for (((component, before), after), asked) in COMPONENTS.into_iter().zip(spent).zip(after).zip(asked) {
        let share: Vec<f64> = before.iter().zip(after).map(|(before, after)| (after - before) / time * 100.0).collect();
        figures.extend([
            Figure::new(format!("{component}, {when}: processor time, of one core"), Unit::Percent, &share)?,
            Figure::new("- API requests a second, each", Unit::Pieces, &[asked / time])?,
        ]);
    }
    Ok(figures)
}

/// VmRSS of both components.
fn resident(cluster: &Cluster, many: Many, when: &str) -> Result<Vec<Figure>> {
    let figure = |component: &str| {
        memory::resident(cluster, component, &format!("{component}: VmRSS, {} Services, {when}", many.words()))
    };
    let (speaker, controller) = (figure("speaker")?, figure("controller")?);
    let is_budgeted = many.count == Many::TEN_THOUSAND.count;
    Ok(vec![if is_budgeted { speaker.target(Stat::Max, 32.0) } else { speaker }, controller])
}

/// Processor time, memory and requests at rest and under churn, then restarts.
fn observe(cluster: &Cluster, many: Many, rest: Duration) -> Result<Vec<Figure>> {
    let words = many.words();
    churn::begin(cluster)?;
    eprintln!("  at rest for {} s", rest.as_secs());
    // The EndpointSlices that were just made are no part of it.
    thread::sleep(Duration::from_secs(3));
    let mut figures = load(cluster, &format!("{words} Services at rest"), || {
        thread::sleep(rest);
        Ok(())
    })?;
    figures.extend(resident(cluster, many, "at rest")?);
    eprintln!("  endpoints change for {} s", churn::TIME.as_secs());
    let mut pace = 0.0;
    figures.extend(load(cluster, &format!("{words} Services, 50 endpoint updates a second"), || {
        pace = churn::run(cluster)?;
        Ok(())
    })?);
    figures.push(Figure::new("- updates a second that the API server took", Unit::Pieces, &[pace])?);
    figures.extend(resident(cluster, many, "after endpoint updates")?);
    churn::end(cluster)?;
    let before = requests::so_far(cluster)?;
    figures.extend(restart::measure(cluster, many)?);
    let Requests { speakers, .. } = requests::so_far(cluster)?.since(before);
    figures.push(Figure::new(
        "- API requests of a speaker that starts, and of a quiet one meanwhile",
        Unit::Pieces,
        &[speakers / nodes(cluster)],
    )?);
    Ok(figures)
}

/// Measures the cluster of 1,000 Services, which is made when it is not there.
///
/// # Errors
/// The API server's; something did not come back.
pub fn measure(cluster: &Cluster) -> Result<Vec<Figure>> {
    requests::begin(cluster)?;
    let (_, new) = Many::THOUSAND.ensure(cluster)?;
    if new {
        eprintln!("  waiting until all is told");
        await_told(cluster)?;
    }
    let figures = observe(cluster, Many::THOUSAND, REST);
    cluster::clean_services(cluster)?;
    figures
}

/// Waits until Herald has nothing left to tell; how long that took.
///
/// # Errors
/// The API server's; it does not end.
pub(crate) fn await_told(cluster: &Cluster) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let before = requests::so_far(cluster)?;
        thread::sleep(LOOK);
        let asked = requests::so_far(cluster)?.since(before);
        let pace = (asked.controller + asked.speakers / nodes(cluster)) / LOOK.as_secs_f64();
        if pace < FEW {
            return Ok(start.elapsed().saturating_sub(LOOK));
        }
        if start.elapsed() > TOLD {
            return Err(Error::NotSeen(format!("an end of what is told ({pace:.1} requests a second)")));
        }
    }
}

/// Measures a larger one, which is made and removed.
///
/// # Errors
/// The API server's; something did not come back.
pub fn measure_large(cluster: &Cluster, many: Many) -> Result<Vec<Figure>> {
    let lab = cluster.lab();
    cluster::clean_services(cluster)?;
    for node in lab.nodes() {
        lab.hold(node, "kube-proxy")?;
    }
    let measured = large(cluster, many);
    cluster::clean_services(cluster)?;
    for node in lab.nodes() {
        lab.release(node, "kube-proxy")?;
    }
    measured
}

fn large(cluster: &Cluster, many: Many) -> Result<Vec<Figure>> {
    requests::begin(cluster)?;
    let words = many.words();
    let before = requests::so_far(cluster)?;
    let trial = waiting::trial(cluster, many)?;
    let end = trial.end();
    eprintln!(
        "  all assigned after {end:.1} s, all answered by ARP after {:.1} s; waiting until all is told",
        trial.announced
    );
    let told = await_told(cluster)?.as_secs_f64() + trial.announced;
    let asked = requests::so_far(cluster)?.since(before);
    eprintln!("  all told after {told:.0} s");
    let mut figures = vec![
        Figure::new(format!("{words} waiting Services: pool appears -> all assigned"), Unit::Seconds, &[end])?,
        Figure::new("- pool appears -> all answered by ARP", Unit::Seconds, &[trial.announced])?,
        Figure::new("- pool appears -> all told", Unit::Seconds, &[told])?,
        Figure::new("- API requests of the controller meanwhile", Unit::Pieces, &[asked.controller])?,
        Figure::new("- API requests of all speakers meanwhile", Unit::Pieces, &[asked.speakers])?,
    ];
    figures.extend(observe(cluster, many, MINUTE)?);
    if many.count == Many::TEN_THOUSAND.count {
        let ips: Vec<Ipv4Addr> = cluster::external_ips(cluster, many.count)?.into_values().collect();
        waiting::all_answered(&ArpPort::open(cluster.lab())?, &ips)?;
        figures.extend(latency::compare(cluster, &ips, "ARP request -> answer, 10,000 addresses")?);
    }
    Ok(figures)
}
