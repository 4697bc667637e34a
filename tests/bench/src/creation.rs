//! How long a new Service takes: until it has its EXTERNAL-IP, until ARP gives the address a place, until HTTP answers.

use crate::{
    Error, Result,
    api::{self, HTTP_PORT},
    arp::{ArpPort, node_of},
    cluster::{self, LAN_POOL},
    report::{Figure, Stat, Unit},
    stats::millis,
};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::{Cluster, NAMESPACE};
use herald_lab::{Host, Lab};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "clock starts when the request that creates the Service is sent on an open connection (no kubectl), pods run already; EXTERNAL-IP: the event \
of a watch opened before; created: the answer to the request, until when nobody else knows of the Service; ARP: the client asks for the address that comes next every 2 ms; HTTP: then connects every 5 ms; \
kube-proxy: connections from the announcing node itself to the address, from the ARP answer on, which needs no ARP: until one is accepted, \
kube-proxy there has not got the rule. Services stay until the end, so that no address is used twice";

/// Between two ARP requests.
const ARP_PAUSE: Duration = Duration::from_millis(2);
/// For one connection; then the next is tried.
const CONNECT: Duration = Duration::from_millis(5);
/// For anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// kube-proxy collects changes for a second after it has written rules (minSyncPeriod): a sample must not wait for the one before.
const PAUSE: Duration = Duration::from_millis(1500);

/// Addresses of the LAN pool.
const POOL: usize = 80;

/// When each thing was first seen.
struct OnLan {
    arp: Instant,
    http: Instant,
    kube_proxy: Instant,
}

fn connects(to: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&to, CONNECT).ok()
}

fn answers_http(to: SocketAddr) -> bool {
    let Some(mut stream) = connects(to) else { return false };
    let mut answer = [0; 12];
    let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n").is_ok();
    asked && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}

/// In a host's network: when `works` did for the first time.
fn first_time(lab: &Lab, host: Host, what: &str, works: impl Fn() -> bool + Send + Sync) -> Result<Instant> {
    let seen = lab.in_netns(host, || {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let tried = Instant::now();
            if works() {
                return Some(Instant::now());
            }
            // A refusal comes at once.
            thread::sleep(CONNECT.saturating_sub(tried.elapsed()));
        }
        None
    })?;
    seen.ok_or_else(|| Error::NotSeen(what.to_owned()))
}

fn look(lab: &Lab, port: &ArpPort, ip: Ipv4Addr) -> Result<OnLan> {
    let answer = port.ask_until_answered(ip, ARP_PAUSE, PATIENCE)?;
    let answer = answer.ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?;
    let node = node_of(lab, answer.mac)
        .ok_or_else(|| Error::NotSeen(format!("a node with {}, which answers for {ip}", answer.mac)))?;
    let to = SocketAddr::from((ip, HTTP_PORT));
    thread::scope(|scope| {
        let local = scope.spawn(move || first_time(lab, node, "a connection on the node", || connects(to).is_some()));
        let http = first_time(lab, Host::Client, "an HTTP answer", || answers_http(to))?;
        let kube_proxy = local.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(OnLan { arp: answer.at, http, kube_proxy })
    })
}

/// A new Service: when the request left, when it was answered, when the EXTERNAL-IP was seen, and which it is.
struct Created {
    sent: Instant,
    answered: Instant,
    assigned: Instant,
    ip: Ipv4Addr,
}

async fn create(services: &Api<Service>, name: &str) -> Result<Created> {
    let version = services.list(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let watch = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let mut events = services.watch(&watch, &version).await?.boxed();
    // The watch has taken the connection that was open: the next request opens one, and that must not be the one that is timed.
    services.list_metadata(&ListParams::default().limit(1)).await?;
    let (service, post) = (api::load_balancer(name, LAN_POOL.0), PostParams::default());
    let sent = Instant::now();
    let created = async { services.create(&post, &service).await.map(|_| Instant::now()).map_err(Error::from) };
    let assigned = async {
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Added(service) | WatchEvent::Modified(service) = event
                && let Some(ip) = api::external_ip(&service)
            {
                return Ok((Instant::now(), ip));
            }
        }
        Err(Error::NotSeen(format!("the EXTERNAL-IP of {name}")))
    };
    let (answered, (assigned, ip)) = futures::try_join!(created, assigned)?;
    Ok(Created { sent, answered, assigned, ip })
}

/// Milliseconds since the request, one entry a sample.
#[derive(Default)]
struct Samples {
    created: Vec<f64>,
    assigned: Vec<f64>,
    arp: Vec<f64>,
    http: Vec<f64>,
    kube_proxy: Vec<f64>,
    rest: Vec<f64>,
}

async fn sample<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    lab: &'env Lab,
    client: Client,
    count: usize,
) -> Result<Samples> {
    let services: Api<Service> = Api::namespaced(client, NAMESPACE);
    let base: u32 = Ipv4Addr::new(192, 168, 56, 20).into();
    let mut all = Samples::default();
    for number in 0..count {
        // The lowest free address of the pool is given first, so the next one is known.
        let expected = Ipv4Addr::from(base + u32::try_from(number).unwrap_or_default());
        let port = ArpPort::open(lab)?;
        let (ready, is_ready) = mpsc::channel();
        let lan = scope.spawn(move || {
            // The receiver waits for this.
            let _ = ready.send(());
            look(lab, &port, expected)
        });
        // Nothing else runs on this thread that could be kept waiting, here and below.
        let _ = is_ready.recv();
        let Created { sent, answered, assigned, ip } = create(&services, &format!("creation-{number}")).await?;
        if ip != expected {
            return Err(Error::NotSeen(format!(
                "{expected} for a new Service, which is the next free address (it got {ip})"
            )));
        }
        let lan = lan.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let since = |from: Instant, to: Instant| millis(to.saturating_duration_since(from));
        all.created.push(since(sent, answered));
        all.assigned.push(since(sent, assigned));
        all.arp.push(since(sent, lan.arp));
        all.http.push(since(sent, lan.http));
        all.kube_proxy.push(since(lan.arp, lan.kube_proxy));
        all.rest.push(since(lan.kube_proxy, lan.http));
        eprintln!(
            "  {:>2} of {count}: {ip} assigned after {:.0} ms, ARP {:.0} ms, HTTP {:.0} ms",
            number + 1,
            since(sent, assigned),
            since(sent, lan.arp),
            since(sent, lan.http)
        );
        tokio::time::sleep(PAUSE).await;
    }
    Ok(all)
}

/// Measures.
///
/// # Errors
/// Something of it did not happen.
pub fn measure(cluster: &Cluster, count: usize) -> Result<Vec<Figure>> {
    cluster::clean_services(cluster)?;
    let lab = cluster.lab();
    let all = thread::scope(|scope| api::run(lab, |client| sample(scope, lab, client, count.min(POOL))))?;
    cluster::clean_services(cluster)?;
    Ok(vec![
        Figure::new("Service created -> EXTERNAL-IP", Unit::Millis, &all.assigned)?.target(Stat::P50, 50.0),
        Figure::new("- of it until the API server has created it", Unit::Millis, &all.created)?,
        Figure::new("Service created -> first ARP answer", Unit::Millis, &all.arp)?.target(Stat::P50, 300.0),
        Figure::new("Service created -> first HTTP answer", Unit::Millis, &all.http)?,
        Figure::new("- kube-proxy's share: ARP answer -> its rule", Unit::Millis, &all.kube_proxy)?,
        Figure::new("- the rest: kube-proxy's rule -> HTTP answer", Unit::Millis, &all.rest)?,
    ])
}
