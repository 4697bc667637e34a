//! What the endpoints of a dead node cost: new connections that fail until they have left, with and without `deadNodeFencing`.

use crate::{
    Error, Result,
    api::{self, HTTP_PORT},
    arp::{ArpPort, node_of},
    cluster::{LAN_POOL, PATIENCE},
    failures::count,
    faults::Fault,
    report::{Figure, Stat, Unit},
    stage::Stage,
};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::{Deployment, NAMESPACE};
use herald_lab::Host;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout, timeout_at},
};

/// How it is measured.
pub const METHOD: &str = "three pods, one on each worker, behind one Service (externalTrafficPolicy Cluster); a worker that neither announces its address nor \
runs the controller is powered off for a minute and longer. The client opens a new connection every 50 ms, whatever became of those before, from a port of its own, and sends one request on it; \
failed: no whole answer within 1 s. Endpoints: the event of an EndpointSlice watch that shows none of the dead node as ready. Kubernetes' own times are its \
defaults (node-monitor-grace-period). A trial lasts more than a minute, hence few of them";

/// Chart value that switches it on.
const FENCING: &str = "controller.deadNodeFencing.enabled=true";
/// The Service, its Deployment, and its pods' label.
const NAME: &str = "spread";
/// Below those that a kernel chooses by itself.
const FIRST_PORT: u16 = 2048;
const PORTS: u16 = 30_000;
/// Between two new connections.
const PACE: Duration = Duration::from_millis(50);
/// For connecting and the whole answer.
const LIMIT: Duration = Duration::from_secs(1);
/// All works for so long before.
const BEFORE: Duration = Duration::from_secs(2);
/// Before all of that nothing happens for so long: what fails then fails of itself.
const UNDISTURBED: Duration = Duration::from_secs(30);
/// What the share is of.
const WINDOW: Duration = Duration::from_secs(60);

/// One connection: when it was opened, and whether its request was answered.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    sent: Instant,
    answered: bool,
}

/// From a port that was not used before: while a connection to a dead endpoint waits in the announcing node's connection tracking (two minutes), one from
/// the same port follows it, and a client of many connections comes to that by itself.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS
}

async fn ask(to: SocketAddr) -> std::io::Result<bool> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port()).into())?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// In the client's network: a new connection at every tick, none waiting for another.
async fn attempts(to: SocketAddr, stop: &AtomicBool) -> Vec<Attempt> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut open, mut all) = (JoinSet::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        open.spawn(async move {
            let sent = Instant::now();
            let answered = timeout(LIMIT, ask(to)).await.is_ok_and(|answer| answer.unwrap_or_default());
            Attempt { sent, answered }
        });
        while let Some(ended) = open.try_join_next() {
            all.extend(ended);
        }
    }
    all.extend(open.join_all().await);
    all
}

/// Nodes with a ready endpoint, by slice.
type Serving = BTreeMap<String, BTreeSet<String>>;

fn note(serving: &mut Serving, slice: EndpointSlice) {
    let ready = slice.endpoints.into_iter().filter(|endpoint| {
        // Unknown counts as ready, by the API's own words.
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let nodes = ready.filter_map(|endpoint| endpoint.node_name).collect();
    serving.insert(slice.metadata.name.unwrap_or_default(), nodes);
}

/// Follows the Service's EndpointSlices until the node is among those that serve, or is not; when that was seen.
async fn follow(client: Client, node: Host, serves: bool) -> Result<Instant> {
    let (name, slices): (_, Api<EndpointSlice>) = (node.to_string(), Api::namespaced(client, NAMESPACE));
    let selector = format!("kubernetes.io/service-name={NAME}");
    let is_so = |serving: &Serving| serving.values().any(|nodes| nodes.contains(&name)) == serves;
    let all = async {
        loop {
            let list = slices.list(&ListParams::default().labels(&selector)).await?;
            let mut serving = Serving::new();
            list.items.into_iter().for_each(|slice| note(&mut serving, slice));
            if is_so(&serving) {
                return Ok(Instant::now());
            }
            let version = list.metadata.resource_version.unwrap_or_default();
            let mut events = slices.watch(&WatchParams::default().labels(&selector), &version).await?.boxed();
            while let Some(event) = events.try_next().await? {
                match event {
                    WatchEvent::Added(slice) | WatchEvent::Modified(slice) => note(&mut serving, slice),
                    WatchEvent::Deleted(slice) => drop(serving.remove(&slice.metadata.name.unwrap_or_default())),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(_) => break,
                }
                if is_so(&serving) {
                    return Ok(Instant::now());
                }
            }
        }
    };
    let what = format!("the endpoint on {node} {}", if serves { "serving" } else { "leaving" });
    timeout(PATIENCE, all).await.unwrap_or_else(|_| Err(Error::NotSeen(what)))
}

/// What was seen of one power loss.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Percent of the connections of [`WINDOW`].
    failed: f64,
    /// Seconds until those were opened that failed though the endpoints had left.
    late: Vec<f64>,
    /// Seconds until the last of them was opened.
    last_failure: f64,
    /// Seconds until the endpoints had left.
    left: f64,
}

impl Seen {
    /// # Errors
    /// Not all of it worked before.
    fn of(attempts: &[Attempt], died: Instant, left: Instant) -> Result<Self> {
        if let Some(early) = attempts.iter().find(|it| !it.answered && it.sent + LIMIT < died) {
            let before = died.saturating_duration_since(early.sent);
            return Err(Error::NotSeen(format!("all connections answered before ({before:?} before one was not)")));
        }
        let after: Vec<&Attempt> = attempts.iter().filter(|it| it.sent >= died && it.sent < died + WINDOW).collect();
        let failed: Vec<f64> = after
            .iter()
            .filter(|it| !it.answered)
            .map(|it| it.sent.saturating_duration_since(died).as_secs_f64())
            .collect();
        let left = left.saturating_duration_since(died).as_secs_f64();
        Ok(Self {
            late: failed.iter().copied().filter(|at| *at > left).collect(),
            failed: count(failed.len()) / count(after.len().max(1)) * 100.0,
            last_failure: failed.iter().copied().fold(0.0, f64::max),
            left,
        })
    }
}

/// A worker that neither announces the address nor runs the controller.
fn victim(stage: &Stage, ip: Ipv4Addr) -> Result<Host> {
    let port = ArpPort::open_on(stage.lab(), stage.subject.client)?;
    let announcer = node_of(stage.lab(), crate::claims::owner(&port, ip)?);
    let controllers = stage.cluster.herald_pods("controller")?;
    let free = |node: &Host| Some(*node) != announcer && controllers.values().all(|on| on != node);
    let found = stage.subject.nodes.iter().copied().find(free);
    found.ok_or_else(|| Error::NotSeen("a node without the controller that does not announce".into()))
}

/// Percent of connections that fail while nothing does.
fn undisturbed(stage: &Stage, ip: Ipv4Addr) -> Result<f64> {
    let (lab, stop) = (stage.lab(), AtomicBool::new(false));
    let to = SocketAddr::from((ip, HTTP_PORT));
    let attempts = thread::scope(|scope| {
        let asking = scope.spawn(|| api::run_at(lab, stage.subject.client, || async { Ok(attempts(to, &stop).await) }));
        thread::sleep(UNDISTURBED);
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let failed = attempts.iter().filter(|it| !it.answered).count();
    eprintln!("  nothing happens: {failed} of {} connections failed", attempts.len());
    Ok(count(failed) / count(attempts.len().max(1)) * 100.0)
}

fn trial(stage: &Stage, ip: Ipv4Addr) -> Result<Seen> {
    // Also that of the node which was away: a majority of them is asked.
    stage.subject.await_ready(stage.lab())?;
    let (lab, node, stop) = (stage.lab(), victim(stage, ip)?, AtomicBool::new(false));
    let to = SocketAddr::from((ip, HTTP_PORT));
    let seen = thread::scope(|scope| {
        let asking = scope.spawn(|| api::run_at(lab, stage.subject.client, || async { Ok(attempts(to, &stop).await) }));
        // It watches when the node dies.
        let watching = scope.spawn(|| api::run(lab, |api| follow(api, node, false)));
        thread::sleep(BEFORE);
        let died = Instant::now();
        let begun = Fault::PowerLoss.begin(lab, node);
        let left = watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if left.is_ok() {
            thread::sleep((died + WINDOW).saturating_duration_since(Instant::now()));
        }
        stop.store(true, Ordering::Relaxed);
        let attempts = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        begun.and(Seen::of(&attempts, died, left?))
    });
    Fault::PowerLoss.end(lab, node)?;
    stage.subject.await_running(lab, node)?;
    api::run(lab, |api| follow(api, node, true))?;
    await_answers(stage, ip)?;
    seen.inspect(|seen| {
        eprintln!(
            "  {node}: {:.2} % of the connections of a minute failed, the last after {:.2} s; its endpoint left after {:.2} s; failed since then: {:.2?}",
            seen.failed, seen.last_failure, seen.left, seen.late
        );
    })
}

/// Creates pods and Service; its address, when every new connection is answered.
fn serve(stage: &Stage) -> Result<Ipv4Addr> {
    let workers = u32::try_from(stage.subject.nodes.len()).unwrap_or(u32::MAX);
    let mut spread = Deployment::new(NAME, workers).on(&stage.subject.nodes).object();
    if let Some(rule) = spread.pointer_mut("/spec/template/spec/topologySpreadConstraints/0") {
        // The share of the dead node is to be the same in each trial.
        rule["whenUnsatisfiable"] = "DoNotSchedule".into();
    }
    stage.cluster.apply(&[spread])?;
    let target = format!("deployment/{NAME}");
    stage.lab().kubectl(&["-n", NAMESPACE, "rollout", "status", &target, "--timeout=120s"])?;
    let ip = api::run(stage.lab(), |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        let mut service = api::load_balancer(NAME, LAN_POOL.0);
        if let Some(spec) = service.spec.as_mut() {
            spec.selector = Some(BTreeMap::from([("app".into(), NAME.into())]));
        }
        services.create(&PostParams::default(), &service).await?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(ip) = api::external_ip(&services.get(NAME).await?) {
                return Ok(ip);
            }
            sleep(PACE).await;
        }
        Err(Error::NotSeen(format!("the EXTERNAL-IP of {NAME}")))
    })?;
    let runs_on: BTreeSet<Host> = stage.cluster.nodes_of(NAME)?.into_values().collect();
    if let Some(without) = stage.subject.nodes.iter().find(|node| !runs_on.contains(node)) {
        return Err(Error::NotSeen(format!("a pod of {NAME} on {without}")));
    }
    await_answers(stage, ip)?;
    Ok(ip)
}

/// So many in a row, before a Service counts as one that works.
const IN_A_ROW: usize = 20;

fn await_answers(stage: &Stage, ip: Ipv4Addr) -> Result<()> {
    let to = SocketAddr::from((ip, HTTP_PORT));
    api::run_at(stage.lab(), stage.subject.client, || async {
        let (mut in_a_row, end) = (0, tokio::time::Instant::now() + PATIENCE);
        while in_a_row < IN_A_ROW {
            let asked = timeout_at(end, timeout(LIMIT, ask(to))).await;
            let asked = asked.map_err(|_| Error::NotSeen(format!("{IN_A_ROW} answers of {to} in a row")))?;
            in_a_row = if matches!(asked, Ok(Ok(true))) { in_a_row + 1 } else { 0 };
            sleep(PACE / 5).await;
        }
        Ok(())
    })
}

fn figures(how: &str, seen: &[Seen]) -> Result<[Figure; 3]> {
    let all = |value: fn(&Seen) -> f64| seen.iter().map(value).collect::<Vec<f64>>();
    Ok([
        Figure::new(
            format!("{how}: new connections that fail in the minute after a power loss"),
            Unit::Percent,
            &all(|seen| seen.failed),
        )?,
        Figure::new("- power loss -> the last of them", Unit::Seconds, &all(|seen| seen.last_failure))?,
        Figure::new(
            format!("{how}: power loss -> the node's endpoints have left"),
            Unit::Seconds,
            &all(|seen| seen.left),
        )?,
    ])
}

/// Measures with these chart values besides.
///
/// # Errors
/// The endpoints of a dead node never left, or did not come back.
pub fn measure(stage: &mut Stage, values: &[&str]) -> Result<Vec<Figure>> {
    let fencing: Vec<&str> = values.iter().copied().chain([FENCING]).collect();
    stage.install(&fencing)?;
    let (with, without) = (stage.effort.fenced, stage.effort.unfenced);
    let measured = serve(stage).and_then(|ip| {
        let nothing = undisturbed(stage, ip)?;
        let fenced = (0..with).map(|_| trial(stage, ip)).collect::<Result<Vec<_>>>()?;
        stage.install(values)?;
        let unfenced = (0..without).map(|_| trial(stage, ip)).collect::<Result<Vec<_>>>()?;
        Ok((nothing, fenced, unfenced))
    });
    stage.lab().kubectl(&["-n", NAMESPACE, "delete", "service,deployment", NAME])?;
    let (nothing, fenced, unfenced) = measured?;
    let [share, last, left] = figures("with fencing", &fenced)?;
    let nothing = Figure::new("nothing happens for 30 s: new connections that fail", Unit::Percent, &[nothing])?;
    let mut all = vec![nothing, share, last, left.target(Stat::Max, 2.0)];
    all.extend(figures("without fencing", &unfenced)?);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection every half second from two before the power loss on.
    fn minute(fails: impl Fn(f64) -> bool) -> (Vec<Attempt>, Instant) {
        let start = Instant::now();
        let died = start + BEFORE;
        let at = |number: u32| f64::from(number) * 0.5 - BEFORE.as_secs_f64();
        let all = (0..200)
            .map(|number| Attempt { sent: start + Duration::from_millis(500) * number, answered: !fails(at(number)) });
        (all.collect(), died)
    }

    #[test]
    fn only_the_minute_after_counts() {
        let (attempts, died) = minute(|at| (0.0..6.0).contains(&at) || at >= 60.0);
        let seen = Seen::of(&attempts, died, died + Duration::from_secs(7)).unwrap();
        assert_eq!(seen, Seen { late: vec![], failed: 10.0, last_failure: 5.5, left: 7.0 });
    }

    #[test]
    fn what_failed_before_is_no_effect_of_it() {
        let (attempts, died) = minute(|at| at < -1.5);
        assert!(Seen::of(&attempts, died, died).is_err());
        // One that was under way may have been caught by it.
        let (attempts, died) = minute(|at| (-0.5..0.0).contains(&at));
        assert!(Seen::of(&attempts, died, died).unwrap().failed < f64::EPSILON);
    }

    #[tokio::test]
    async fn one_that_hangs_holds_up_nobody() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, stop) = (listener.local_addr().unwrap(), AtomicBool::new(false));
        let server = async {
            let mut held = Vec::new();
            for number in 0..8 {
                let (mut stream, _) = listener.accept().await.unwrap();
                if number % 2 == 0 {
                    held.push(stream);
                } else {
                    assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nme\n").await.unwrap();
                }
            }
            stop.store(true, Ordering::Relaxed);
            // Until their time is over.
            sleep(LIMIT * 2).await;
        };
        let (mut all, ()) = tokio::join!(attempts(to, &stop), server);
        all.sort_by_key(|attempt| attempt.sent);
        let answered: Vec<bool> = all.iter().take(8).map(|attempt| attempt.answered).collect();
        assert_eq!(answered, [false, true, false, true, false, true, false, true]);
    }
}
