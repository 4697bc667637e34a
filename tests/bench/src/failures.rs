//! How long an address is away when something happens to the node that announces it.

use crate::{
    Error, Result,
    arp::ArpPort,
    arp::mac_of,
    claims,
    faults::{Fault, Meanwhile, SWITCH_AWAY},
    meter::{FAILURES, Meter, Reading},
    report::{Figure, Unit},
    stage::Stage,
    stats::millis,
};
use herald_lab::Host;
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How it is measured; what is done stands before it.
pub const METHOD: &str = "while the client asks every 5 ms by one UDP flow and every 50 ms on each of 20 TCP connections. The only endpoint is on \
the control plane, which stays on and never announces. Outage: longest time between two answers of the UDP flow. Nodes take turns; an address \
is measured again when its node announces it again";

/// The flow works for so long before.
const BEFORE: Duration = Duration::from_millis(250);
/// The fault has shown by then.
const SHOWN: Duration = Duration::from_millis(100);
/// What is watched after the flow works again.
const AFTER: Duration = Duration::from_millis(250);
/// For the flow to work again: some need seconds.
const PATIENCE: Duration = Duration::from_secs(12);
/// Outages that do not end, before the rest of the trials is saved: they would say the same.
const ENOUGH: usize = 2;
/// For a node that was switched on to have started what it starts: its load would be part of the next trial.
const SETTLE: Duration = Duration::from_secs(1);

/// One trial.
struct Seen {
    reading: Reading,
    /// The outage was over within [`PATIENCE`]; otherwise its length is what was watched of it.
    is_over: bool,
    /// Another node answers after a fault that is to leave everything where it was.
    has_moved: bool,
}

/// Between the beginning of the fault and its end.
fn observe(stage: &Stage, fault: Fault, node: Host, ip: Ipv4Addr) -> Result<Seen> {
    let (lab, client) = (stage.lab(), stage.subject.client);
    let port = ArpPort::open_on(lab, client)?;
    let meter = Meter::start(lab, client, ip, FAILURES)?;
    // At a moment of the hello interval that nothing here decides.
    thread::sleep(BEFORE);
    let owner = claims::owner(&port, ip)?;
    if owner != mac_of(node) {
        return Err(Error::NotSeen(format!("{node} announcing {ip} right before the fault")));
    }
    fault.begin(lab, node)?;
    let began = Instant::now();
    thread::sleep(SHOWN);
    let is_over = meter.await_flow(PATIENCE);
    thread::sleep(AFTER);
    // What is late here is part of the outage, or not of it at all.
    let mut reading = meter.finish(SHOWN);
    if !is_over {
        reading.silence = reading.silence.max(began.elapsed());
    }
    let has_moved = fault == Fault::SwitchRestart && claims::owner(&port, ip)? != owner;
    if reading.lost == 0 {
        return Err(Error::NotSeen(format!("an effect of {fault:?} at {node} on {ip}: it did not carry the flow")));
    }
    Ok(Seen { reading, is_over, has_moved })
}

fn trial(stage: &Stage, fault: Fault, node: Host, ip: Ipv4Addr) -> Result<Seen> {
    stage.await_home(node, ip)?;
    let seen = observe(stage, fault, node, ip);
    fault.end(stage.lab(), node)?;
    if fault == Fault::PowerLoss {
        stage.subject.await_running(stage.lab(), node)?;
        thread::sleep(SETTLE);
    }
    seen
}

/// Measures. What a single trial does not show is told and left out; a benchmark of which a quarter is missing is none.
///
/// # Errors
/// An address was not taken over, or not returned.
pub fn measure(stage: &mut Stage, name: &str, fault: Fault, meanwhile: Meanwhile) -> Result<Vec<Figure>> {
    let (homes, trials) = (stage.homes()?, stage.effort.trials);
    let (mut readings, mut failed, mut endless, mut moved) = (Vec::new(), Vec::new(), 0, 0);
    let trouble = meanwhile.begin(stage.lab())?;
    for number in 0..trials {
        let Some((node, ip)) = homes.iter().nth(number % homes.len()) else { break };
        match trial(stage, fault, *node, *ip) {
            Ok(Seen { reading, is_over, has_moved }) => {
                eprintln!(
                    "  trial {:>2} of {trials}: {node}, {ip} silent for {:.0} ms{}, {} datagrams lost, {} of {} connections broken, client's own longest pause {:.0} ms",
                    number + 1,
                    millis(reading.silence),
                    if is_over { "" } else { " and not over" },
                    reading.lost,
                    reading.lines.broken,
                    reading.lines.opened,
                    millis(reading.pause)
                );
                readings.push(reading);
                moved += usize::from(has_moved);
                endless += usize::from(!is_over);
                if endless == ENOUGH {
                    break;
                }
            }
            Err(error) => {
                eprintln!("  trial {:>2} of {trials}: {error}", number + 1);
                failed.push(error);
                if failed.len() * 4 > trials {
                    break;
                }
            }
        }
    }
    drop(trouble);
    let missing = failed.len();
    if let Some(error) = failed.pop().filter(|_| missing * 4 > trials) {
        return Err(error);
    }
    let all = |value: fn(&Reading) -> f64| readings.iter().map(value).collect::<Vec<f64>>();
    let mut figures = vec![
        Figure::new(format!("outage: {name}"), Unit::Millis, &all(|reading| millis(reading.silence)))?,
        Figure::new("- the client's own longest pause", Unit::Millis, &all(|reading| millis(reading.pause)))?,
        Figure::new("- connections broken, of 20", Unit::Pieces, &all(|reading| count(reading.lines.broken)))?,
    ];
    if fault == Fault::SwitchRestart {
        let after = |reading: &Reading| millis(reading.silence.saturating_sub(SWITCH_AWAY));
        figures.push(Figure::new("- of it after the switch was back", Unit::Millis, &all(after))?);
        figures.push(Figure::new("- addresses that another node had afterwards", Unit::Pieces, &[count(moved)])?);
    }
    if missing > 0 {
        figures.push(Figure::new("- trials that showed nothing and are not counted", Unit::Pieces, &[count(missing)])?);
    }
    if endless > 0 {
        let name = format!("- outages that were not over after {} s, when the fault was undone", PATIENCE.as_secs());
        figures.push(Figure::new(name, Unit::Pieces, &[count(endless)])?);
    }
    Ok(figures)
}

/// A number of things.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub const fn count(things: usize) -> f64 {
    things as f64
}
