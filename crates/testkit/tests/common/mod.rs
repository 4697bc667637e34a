//! What the tests on the simulated LAN share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use herald_core::{NodeName, ownership::Snapshot, time::Timing};
use herald_testkit::{build, lan::Lan};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

pub(crate) const NODES: [&str; 4] = ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"];
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

/// For so long a node that returned waits before it gets addresses back.
pub(crate) const HOLD_OFF: Duration = Duration::from_secs(10);

pub(crate) fn vips() -> Vec<IpAddr> {
    (11..=22).map(|last| IpAddr::from([192, 168, 56, last])).collect()
}

pub(crate) fn cluster(nodes: &[&str]) -> Snapshot {
    let mut snapshot = build::snapshot(nodes);
    for (number, address) in vips().iter().enumerate() {
        build::announce(&mut snapshot, &format!("s{number:02}"), &[&address.to_string()]);
    }
    snapshot
}

pub(crate) fn lan(seed: u64) -> Lan {
    started(Lan::new(Timing::default(), cluster(&NODES), seed))
}

pub(crate) fn started(mut lan: Lan) -> Lan {
    for (number, node) in (101..).zip(NODES) {
        lan.add(node, vec![build::link(0, number)]);
    }
    lan
}

pub(crate) fn owner(lan: &Lan, address: IpAddr) -> NodeName {
    let answering = lan.answering(0, address);
    assert_eq!(answering.len(), 1, "{address} is answered by {answering:?}");
    answering.into_iter().next().unwrap()
}

/// Watches for two who hear each other and answer for one address longer than the bound.
pub(crate) struct Watch {
    since: std::collections::BTreeMap<IpAddr, herald_core::time::Moment>,
    bound: Duration,
    pub(crate) worst: Duration,
}

impl Watch {
    pub(crate) fn new(bound: Duration) -> Self {
        Self { since: Default::default(), bound, worst: Duration::ZERO }
    }

    pub(crate) fn look(&mut self, lan: &Lan) {
        for address in vips() {
            let answering = lan.claims(0, address);
            let contradict = |(a, at): &(NodeName, NodeName), (b, other): &(NodeName, NodeName)| {
                at != other && lan.hear_each_other(a, b)
            };
            let two = answering.iter().any(|a| answering.iter().any(|b| contradict(a, b)));
            if !two {
                self.since.remove(&address);
                continue;
            }
            let since = *self.since.entry(address).or_insert(lan.now);
            self.worst = self.worst.max(lan.now.since(since));
            assert!(self.worst <= self.bound, "{address} answered by {answering:?} for {:?}", self.worst);
        }
    }
}

pub(crate) fn bound() -> Duration {
    Timing::default().overlap_bound()
}

/// Who has each address.
pub(crate) fn owners(lan: &Lan) -> Vec<NodeName> {
    vips().into_iter().map(|address| owner(lan, address)).collect()
}

/// Watches that no address is anywhere but where it was, and for how long at most nobody answers for one.
pub(crate) struct Steady {
    before: Vec<NodeName>,
    silent: std::collections::BTreeMap<IpAddr, herald_core::time::Moment>,
    pub(crate) silence: Duration,
}

impl Steady {
    pub(crate) fn new(lan: &Lan) -> Self {
        Self { before: owners(lan), silent: Default::default(), silence: Duration::ZERO }
    }

    pub(crate) fn look(&mut self, lan: &Lan) {
        for (address, owner) in vips().into_iter().zip(&self.before) {
            let answering: BTreeSet<NodeName> = lan.answering(0, address);
            assert!(
                answering.iter().all(|node| node == owner),
                "{address} moved from {owner} to {answering:?} at {}",
                lan.now
            );
            if answering.is_empty() {
                let since = *self.silent.entry(address).or_insert(lan.now);
                self.silence = self.silence.max(lan.now.since(since));
            } else {
                self.silent.remove(&address);
            }
        }
    }

    /// Lets time pass, and looks after everything that happens.
    pub(crate) fn run(&mut self, lan: &mut Lan, how_long: Duration) {
        lan.run(how_long, |lan| self.look(lan));
    }
}
