//! How fast a speaker answers ARP, beside the kernel, and beside the least that a process can do.

use crate::{
    Error, Result,
    arp::{ArpPort, mac_of},
    control::{self, Control},
    many::Many,
    report::{Figure, Stat, Unit},
    stats::micros,
    waiting,
};
use herald_e2e::Cluster;
use herald_lab::{Host, Lan};
use herald_wire::Mac;
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "a raw socket of the LAN client sends one request, waits for the answer, sends the next: 20,000 times, the addresses in \
turn; time from before the send to the answer's arrival at the client's card (kernel timestamp). Broadcast requests: the other \
speakers' filters drop them in the kernel. Unicast: only the owner receives them. Kernel: the same for a node's own address, which no process answers. \
Minimal program: one thread on a worker that sleeps in recv and answers for one address. All five take turns, a thousand requests each";

/// Requests of one measurement, and of one turn.
const REQUESTS: usize = 20_000;
const TURN: usize = 1000;
/// Before a request counts as lost.
const LOST: Duration = Duration::from_millis(500);
/// For the cluster to be done with what was created: Herald paces the events about a thousand Services over minutes.
const QUIET: Duration = Duration::from_secs(60);

type Target = (Ipv4Addr, Mac);

/// One kind of request: whom, and microseconds to each answer.
struct Trips {
    what: &'static str,
    targets: Vec<Target>,
    /// On the wire.
    wire: Vec<f64>,
    /// As the asking process saw it.
    seen: Vec<f64>,
    lost: usize,
}

impl Trips {
    fn new(what: &'static str, targets: Vec<Target>) -> Self {
        Self { what, targets, wire: Vec::with_capacity(REQUESTS), seen: Vec::with_capacity(REQUESTS), lost: 0 }
    }

    /// One turn, from where the last one ended.
    fn turn(&mut self, port: &ArpPort, turn: usize) -> Result<()> {
        for (ip, destination) in self.targets.iter().cycle().skip(turn * TURN % self.targets.len()).take(TURN) {
            let start = Instant::now();
            match port.ask(*ip, *destination, LOST)? {
                Some(answer) => {
                    self.wire.push(micros(answer.wire));
                    self.seen.push(micros(answer.at.saturating_duration_since(start)));
                }
                None => self.lost += 1,
            }
        }
        Ok(())
    }

    fn figure(&self) -> Result<Figure> {
        Figure::new(self.what, Unit::Micros, &self.wire)
    }
}

fn broadcast(ips: &[Ipv4Addr]) -> Vec<Target> {
    ips.iter().map(|ip| (*ip, Mac::BROADCAST)).collect()
}

/// The addresses with the MACs that answer for them.
fn owners(port: &ArpPort, ips: &[Ipv4Addr]) -> Result<Vec<Target>> {
    let owner = |ip: &Ipv4Addr| {
        let answer = port.ask(*ip, Mac::BROADCAST, LOST)?;
        Ok((*ip, answer.ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?.mac))
    };
    ips.iter().map(owner).collect()
}

/// The round trips to these addresses, and what they are compared with.
///
/// # Errors
/// More than a hundredth of the requests had no answer.
pub fn compare(cluster: &Cluster, ips: &[Ipv4Addr], name: &'static str) -> Result<Vec<Figure>> {
    let lab = cluster.lab();
    let port = ArpPort::open(lab)?;
    let node = Host::Worker(1);
    let _control = Control::start(lab, node)?;
    let kernel = node.ipv4(Lan::First);
    let mut all = [
        Trips::new(name, broadcast(ips)),
        Trips::new("- the kernel's own answer", broadcast(&[kernel])),
        Trips::new("- a minimal program's answer", broadcast(&[control::ADDRESS])),
        Trips::new("- unicast request", owners(&port, ips)?),
        Trips::new("- the kernel's own answer, unicast request", vec![(kernel, mac_of(node))]),
    ];
    for turn in 0..REQUESTS / TURN {
        all.iter_mut().try_for_each(|trips| trips.turn(&port, turn))?;
    }
    for trips in &all {
        eprintln!("  {}: {} answers, {} lost", trips.what, trips.wire.len(), trips.lost);
        if trips.lost > REQUESTS / 100 {
            let (what, lost) = (trips.what, trips.lost);
            return Err(Error::NotSeen(format!("answers to {lost} of {REQUESTS} requests ({what})")));
        }
    }
    let [own, kernel, rest @ ..] = &all;
    let (ours, kernels) = (own.figure()?, kernel.figure()?);
    let times = |name: &str, ours: f64, kernels: f64, limit: f64| {
        Ok::<_, Error>(Figure::new(name, Unit::Times, &[ours / kernels])?.target(Stat::Max, limit))
    };
    let (d, k) = (&ours.distribution, &kernels.distribution);
    let compared = [
        times("- p50, as a multiple of the kernel's", d.p50, k.p50, 1.3)?,
        times("- p99, as a multiple of the kernel's", d.p99, k.p99, 2.0)?,
    ];
    let mut figures = vec![ours];
    figures.extend(compared);
    figures.push(kernels);
    figures.extend(rest.iter().map(Trips::figure).collect::<Result<Vec<_>>>()?);
    figures.push(Figure::new("- with the wake-up of the asking process", Unit::Micros, &own.seen)?);
    Ok(figures)
}

/// Measures with 1,000 addresses.
///
/// # Errors
/// An address is not answered for.
pub fn measure(cluster: &Cluster) -> Result<Vec<Figure>> {
    let (ips, new) = Many::THOUSAND.ensure(cluster)?;
    waiting::all_answered(&ArpPort::open(cluster.lab())?, &ips)?;
    if new {
        eprintln!("  waiting for {} s: events about so many Services are written at leisure", QUIET.as_secs());
        thread::sleep(QUIET);
    }
    // They stay: the next benchmark looks at the cluster that has them.
    compare(cluster, &ips, "ARP request -> answer, 1,000 addresses")
}
