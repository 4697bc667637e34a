//! Addresses that are moved on purpose.

use crate::{
    Error, Result,
    arp::{ArpPort, mac_of},
    claims,
    failures::count,
    meter::{LATE, MOVES, Meter, Reading},
    report::{Figure, Stat, Unit},
    stage::Stage,
    stats::millis,
};
use herald_lab::Host;
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "the node that announces gets the label node.kubernetes.io/exclude-from-external-load-balancers, and loses it again (n counts both moves) \
while the client asks every 1 ms by UDP, until half a second after the drain. Connections: 20 that ask every 50 ms from before the move until its drain is about to end";

/// MetalLB and Herald take no announcer that has it.
const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The drain that the chart values below set, and the time to return.
pub const DRAIN: Duration = Duration::from_secs(1);
/// For another node to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another node than before answers broadcast requests.
fn await_other(port: &ArpPort, ip: Ipv4Addr, old: Host, was: bool) -> Result<()> {
    let start = Instant::now();
    while (claims::owner(port, ip)? == mac_of(old)) == was {
        if start.elapsed() > PATIENCE {
            return Err(Error::NotSeen(format!("{ip} leaving or returning to {old}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// One move: away from the node, or back to it.
fn one(stage: &Stage, node: Host, ip: Ipv4Addr, away: bool) -> Result<Reading> {
    let (lab, client) = (stage.lab(), stage.subject.client);
    let port = ArpPort::open_on(lab, client)?;
    let mut meter = Meter::start(lab, client, ip, MOVES)?;
    thread::sleep(Duration::from_millis(300));
    let label = if away { format!("{LABEL}=") } else { format!("{LABEL}-") };
    lab.kubectl(&["label", "--overwrite", "node", &node.to_string(), &label])?;
    let moved = await_other(&port, ip, node, away);
    thread::sleep(DRAIN.mul_f64(0.6));
    meter.hang_up();
    thread::sleep(DRAIN);
    let reading = meter.finish(LATE);
    moved.map(|()| reading)
}

/// Measures.
///
/// # Errors
/// An address did not move.
pub fn measure(stage: &mut Stage) -> Result<Vec<Figure>> {
    let (homes, moves) = (stage.homes()?, stage.effort.trials);
    let mut readings = Vec::new();
    for number in 0..moves.div_ceil(2) {
        let Some((node, ip)) = homes.iter().nth(number % homes.len()) else { break };
        stage.await_home(*node, *ip)?;
        for away in [true, false] {
            let reading = one(stage, *node, *ip, away);
            if reading.is_err() {
                // Whatever came of it: nobody else needs the label.
                stage.lab().kubectl(&["label", "node", &node.to_string(), &format!("{LABEL}-")])?;
            }
            let reading = reading?;
            eprintln!(
                "  {} {} {node}: {} of {} datagrams lost, longest silence {:.0} ms, {} of {} connections broken",
                ip,
                if away { "away from" } else { "back to" },
                reading.lost,
                reading.sent,
                millis(reading.silence),
                reading.lines.broken,
                reading.lines.opened
            );
            readings.push(reading);
        }
    }
    let all = |value: fn(&Reading) -> f64| readings.iter().map(value).collect::<Vec<f64>>();
    Ok(vec![
        Figure::new("planned move: datagrams lost", Unit::Pieces, &all(|reading| count(reading.lost)))?
            .target(Stat::Max, 0.0),
        Figure::new(
            "- connections broken before the drain ends, of 20",
            Unit::Pieces,
            &all(|it| count(it.lines.broken)),
        )?
        .target(Stat::Max, 0.0),
        Figure::new("- longest silence of the flow", Unit::Millis, &all(|reading| millis(reading.silence)))?,
        Figure::new("- the client's own longest pause", Unit::Millis, &all(|reading| millis(reading.pause)))?,
    ])
}
