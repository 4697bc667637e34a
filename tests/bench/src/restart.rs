//! How long Herald's daemons need to be themselves again when they are killed in a large cluster.

use crate::{
    Error, Result, api,
    cluster::{PATIENCE, herald_processes},
    faults::signal,
    many::Many,
    report::{Figure, Unit},
};
use herald_e2e::{Cluster, NAMESPACE};
use herald_lab::Host;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use nix::sys::signal::Signal;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// For one question about readiness.
const ANSWER: Duration = Duration::from_secs(1);
/// Where a speaker tells whether it is ready: on its node only.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 17472);
/// The program of both daemons.
const PROGRAM: &str = "herald";

/// Seconds from the kill: until kubelet had started another process, and until that was itself again.
#[derive(Debug, Clone, Copy)]
struct Restart {
    started: f64,
    done: f64,
}

fn is_ready() -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&HEALTH, ANSWER) else { return false };
    let mut answer = [0; 12];
    let asked = stream.set_read_timeout(Some(ANSWER)).is_ok()
        && stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok();
    asked && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}

/// Waits for something; when that was.
fn first(what: &str, mut seen: impl FnMut() -> bool) -> Result<Instant> {
    let start = Instant::now();
    while !seen() {
        if start.elapsed() > PATIENCE {
            return Err(Error::NotSeen(what.to_owned()));
        }
        thread::sleep(LOOK);
    }
    Ok(Instant::now())
}

/// Kills a process; when, and when its host had another one of the same program than before.
fn kill(cluster: &Cluster, host: Host, pid: i32) -> Result<(Instant, Instant)> {
    let lab = cluster.lab();
    let before = lab.program_pids(host, PROGRAM);
    let killed = Instant::now();
    signal(&[pid], Signal::SIGKILL);
    // Its last answer must not be taken for the next one's.
    let process = PathBuf::from(format!("/proc/{pid}"));
    first("the end of a process that was killed", || !process.exists())?;
    let started = first("the process that follows one that was killed", || {
        lab.program_pids(host, PROGRAM).iter().any(|pid| !before.contains(pid))
    })?;
    Ok((killed, started))
}

fn since(killed: Instant, started: Instant, done: Instant) -> Restart {
    let seconds = |at: Instant| at.saturating_duration_since(killed).as_secs_f64();
    Restart { started: seconds(started), done: seconds(done) }
}

/// The speakers, one after the other.
fn speakers(cluster: &Cluster) -> Result<Vec<Restart>> {
    let hosts = cluster.running_herald_pods("speaker")?;
    let restart = |(pod, pid): (String, i32)| {
        let host = *hosts.get(&pod).ok_or_else(|| Error::NotSeen(format!("the node of {pod}")))?;
        let (killed, started) = kill(cluster, host, pid)?;
        let ready = cluster.lab().in_netns(host, || first(&format!("readiness of {pod}"), is_ready))??;
        let restart = since(killed, started, ready);
        eprintln!(
            "  speaker on {host}: another process after {:.2} s, ready after {:.2} s",
            restart.started, restart.done
        );
        Ok(restart)
    };
    herald_processes(cluster, "speaker")?.into_iter().map(restart).collect()
}

/// The Service that a controller which leads again has to serve: that it does after it has found all others as they were.
const LATE: &str = "late";

/// The controller, and a Service created while it is away.
fn controller(cluster: &Cluster, many: Many) -> Result<Restart> {
    let hosts = cluster.running_herald_pods("controller")?;
    let (pod, pid) = herald_processes(cluster, "controller")?
        .pop_first()
        .ok_or_else(|| Error::NotSeen("a process of the controller".into()))?;
    let host = *hosts.get(&pod).ok_or_else(|| Error::NotSeen(format!("the node of {pod}")))?;
    let (killed, started) = kill(cluster, host, pid)?;
    let served = api::run(cluster.lab(), |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        services.create(&PostParams::default(), &many.service(LATE)).await?;
        let start = Instant::now();
        while api::external_ip(&services.get(LATE).await?).is_none() {
            if start.elapsed() > PATIENCE {
                return Err(Error::NotSeen("an EXTERNAL-IP from a controller that was killed".into()));
            }
            tokio::time::sleep(LOOK).await;
        }
        let served = Instant::now();
        services.delete(LATE, &DeleteParams::default()).await?;
        Ok(served)
    })?;
    let restart = since(killed, started, served);
    eprintln!(
        "  controller: another process after {:.2} s, a new Service served after {:.2} s",
        restart.started, restart.done
    );
    Ok(restart)
}

/// Kills each speaker and the controller once.
///
/// # Errors
/// One does not come back.
pub fn measure(cluster: &Cluster, many: Many) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, restarts) in [
        ("speaker killed -> ready", speakers(cluster)?),
        ("controller killed -> leads, a new Service has its EXTERNAL-IP", vec![controller(cluster, many)?]),
    ] {
        let all = |value: fn(&Restart) -> f64| restarts.iter().map(value).collect::<Vec<f64>>();
        figures.extend([
            Figure::new(format!("{what}, {} Services", many.words()), Unit::Seconds, &all(|it| it.done))?,
            Figure::new("- from the start of its process", Unit::Seconds, &all(|it| it.done - it.started))?,
        ]);
    }
    Ok(figures)
}
