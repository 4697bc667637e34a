//! What nobody may notice: speakers that restart, die, stand still, are updated, or get no processor time.

use crate::{
    Error, Result,
    claims::{Claims, ClaimsSeen},
    failures::count,
    faults::signal,
    meter::{FAILURES, LATE, Meter, Reading},
    report::{Figure, Stat, Unit},
    stage::Stage,
    stats::millis,
};
use herald_lab::Host;
use herald_wire::Mac;
use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How the speakers' own faults are measured.
pub const SPEAKERS: &str = "the speaker of the node that announces is killed (SIGKILL; kubelet starts it again), its pod deleted (another one comes), and \
stopped for 1.5 seconds (SIGSTOP, SIGCONT), one after the other, while the client asks every 5 ms by UDP and every 50 ms on each of 20 TCP connections. \
Addresses moved: claims of the addresses of all nodes for another MAC address, seen by a client that listens and asks for each every 100 ms";
/// How a rolling update is measured.
pub const ROLLOUT: &str =
    "kubectl rollout restart of the speakers' DaemonSet, until all are ready again; seen as in `speakers`";
/// How busy cores are measured.
pub const BUSY: &str = "as many threads as processors calculate without pause, at the priority of everything else; seen as in `speakers`, the \
addresses asked for every second";
/// How a processor limit is measured.
pub const LIMITED: &str =
    "all speakers run with a CPU limit of 100m (a tenth of a core, resources.limits); seen as in `busy`";

/// Between two questions for the same address.
const ASK: Duration = Duration::from_millis(100);
/// The same over a long time.
const ASK_SELDOM: Duration = Duration::from_secs(1);
/// A speaker stands still.
const FROZEN: Duration = Duration::from_millis(1500);
/// Watched after the end of what is done.
const AFTER: Duration = Duration::from_millis(700);
/// Watched while kubelet starts a container or a pod.
const RESTART: Duration = Duration::from_millis(2000);

/// What was seen of one event, and what was to be kept.
struct Seen {
    reading: Reading,
    claims: ClaimsSeen,
}

/// Where every watched address is, and stays.
type Owners = BTreeMap<Ipv4Addr, Mac>;

/// The client is at work and listens while something is done.
fn watch(
    stage: &Stage,
    ip: Ipv4Addr,
    owners: &Owners,
    ask: Duration,
    work: impl FnOnce() -> Result<()>,
) -> Result<Seen> {
    let meter = Meter::start(stage.lab(), stage.subject.client, ip, FAILURES)?;
    let claims = Claims::watch(stage.lab(), stage.subject.client, owners.clone(), ask)?;
    thread::sleep(Duration::from_millis(300));
    let done = work();
    let seen = Seen { reading: meter.finish(LATE), claims: claims.finish()? };
    done.map(|()| seen)
}

fn figures(what: &str, seen: &[Seen]) -> Result<Vec<Figure>> {
    let all = |value: fn(&Seen) -> f64| seen.iter().map(value).collect::<Vec<f64>>();
    Ok(vec![
        Figure::new(format!("{what}: addresses moved"), Unit::Pieces, &all(|seen| count(seen.claims.moves)))?
            .target(Stat::Max, 0.0),
        Figure::new("- connections broken, of 20", Unit::Pieces, &all(|seen| count(seen.reading.lines.broken)))?
            .target(Stat::Max, 0.0),
        Figure::new("- datagrams lost", Unit::Pieces, &all(|seen| count(seen.reading.lost)))?,
        Figure::new("- longest silence of the flow", Unit::Millis, &all(|seen| millis(seen.reading.silence)))?,
        Figure::new(
            "- longest time without an answer to broadcast requests",
            Unit::Millis,
            &all(|seen| millis(seen.claims.longest_unanswered)),
        )?,
    ])
}

fn tell(what: &str, seen: &Seen) {
    eprintln!(
        "  {what}: {} moved, {} of {} connections broken, {} of {} datagrams lost, unanswered for {:.0} ms at most",
        seen.claims.moves,
        seen.reading.lines.broken,
        seen.reading.lines.opened,
        seen.reading.lost,
        seen.reading.sent,
        millis(seen.claims.longest_unanswered)
    );
}

fn delete_pod(stage: &Stage, node: Host) -> Result<()> {
    let pods = stage.subject.pods(stage.lab())?;
    if let Some(pod) = pods.get(&node) {
        stage.lab().kubectl(&["-n", &stage.subject.namespace, "delete", "pod", pod, "--wait=false"])?;
    }
    Ok(())
}

/// Kills, deletes and freezes speakers.
///
/// # Errors
/// A speaker did not come back.
pub fn speakers(stage: &mut Stage) -> Result<Vec<Figure>> {
    let (homes, owners, trials) = (stage.homes()?, stage.owners()?, stage.effort.cycles);
    let stage = &*stage;
    let (mut killed, mut deleted, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..trials {
        let Some((node, ip)) = homes.iter().nth(number % homes.len()) else { break };
        let pids = stage.subject.pids(stage.lab(), *node)?;
        let seen = watch(stage, *ip, &owners, ASK, || {
            signal(&pids, Signal::SIGKILL);
            thread::sleep(RESTART);
            Ok(())
        })?;
        tell(&format!("{:>2} of {trials}, {node} killed ", number + 1), &seen);
        killed.push(seen);
        // A new pod also ends kubelet's growing pause before it restarts a container that died often.
        let seen = watch(stage, *ip, &owners, ASK, || {
            delete_pod(stage, *node)?;
            thread::sleep(RESTART);
            Ok(())
        })?;
        tell(&format!("{:>2} of {trials}, {node} deleted", number + 1), &seen);
        deleted.push(seen);
        let pids = stage.subject.pids(stage.lab(), *node)?;
        let seen = watch(stage, *ip, &owners, ASK, || {
            signal(&pids, Signal::SIGSTOP);
            thread::sleep(FROZEN);
            signal(&pids, Signal::SIGCONT);
            thread::sleep(AFTER);
            Ok(())
        })?;
        tell(&format!("{:>2} of {trials}, {node} frozen ", number + 1), &seen);
        frozen.push(seen);
    }
    let mut all = figures("speaker killed", &killed)?;
    all.extend(figures("speaker's pod deleted", &deleted)?);
    all.extend(figures("speaker frozen", &frozen)?);
    Ok(all)
}

/// Updates all speakers.
///
/// # Errors
/// kubectl's.
pub fn rollout(stage: &mut Stage) -> Result<Vec<Figure>> {
    let (homes, owners, rollouts) = (stage.homes()?, stage.owners()?, stage.effort.rollouts);
    let stage = &*stage;
    let mut all = Vec::new();
    for number in 0..rollouts {
        let Some((_, ip)) = homes.iter().nth(number % homes.len()) else { break };
        let seen = watch(stage, *ip, &owners, ASK, || {
            stage.subject.roll_out(stage.lab())?;
            thread::sleep(AFTER);
            Ok(())
        })?;
        tell(&format!("{} of {rollouts}", number + 1), &seen);
        all.push(seen);
    }
    figures("rolling update of the speakers", &all)
}

/// Where everything is before a time under load begins.
struct Calm {
    ip: Ipv4Addr,
    owners: Owners,
}

fn calm(stage: &mut Stage) -> Result<Calm> {
    let (homes, owners) = (stage.homes()?, stage.owners()?);
    let ip = homes.values().next().copied().ok_or_else(|| Error::NotSeen("a node that announces".into()))?;
    Ok(Calm { ip, owners })
}

/// Watches for the whole time, telling every minute that it goes on.
fn soak(stage: &Stage, calm: &Calm, what: &str) -> Result<Vec<Figure>> {
    let time = stage.effort.soak;
    let seen = watch(stage, calm.ip, &calm.owners, ASK_SELDOM, || {
        let start = Instant::now();
        while start.elapsed() < time {
            let left = time.saturating_sub(start.elapsed());
            eprintln!("  {} s to go", left.as_secs());
            thread::sleep(left.min(Duration::from_secs(60)));
        }
        Ok(())
    })?;
    tell(what, &seen);
    figures(&format!("{what} for {} s", time.as_secs()), &[seen])
}

/// With every processor busy.
///
/// # Errors
/// The client's.
pub fn busy(stage: &mut Stage) -> Result<Vec<Figure>> {
    // Before the load: to create and remove Services takes long under it, and is no part of what is watched.
    let calm = calm(stage)?;
    let stop = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut turns = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    turns = std::hint::black_box(turns.wrapping_add(1));
                }
            });
        }
        let figures = soak(stage, &calm, "all processors busy");
        stop.store(true, Ordering::Relaxed);
        figures
    })
}

/// With the speakers limited to a tenth of a core.
///
/// # Errors
/// helm's, the client's.
pub fn limited(stage: &mut Stage) -> Result<Vec<Figure>> {
    let calm = calm(stage)?;
    soak(stage, &calm, "speakers limited to 10 % of a core")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_move_or_broken_connection_misses_the_budget() {
        let reading =
            Reading { silence: FROZEN, lost: 0, sent: 9, pause: ASK, lines: crate::lines::LinesSeen::default() };
        let seen = |moves| {
            let claims = ClaimsSeen { moves, longest_unanswered: ASK, last: BTreeMap::new() };
            Seen { reading: reading.clone(), claims }
        };
        assert_eq!(figures("it", &[seen(0), seen(0)]).unwrap()[0].verdict(), "ok");
        assert_eq!(figures("it", &[seen(0), seen(1)]).unwrap()[0].verdict(), "MISSED");
        assert!(figures("it", &[]).is_err());
    }
}
