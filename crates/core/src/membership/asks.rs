//! Peers that are expected but never heard: they are asked.

use super::Standing;
use crate::{
    NodeName,
    time::{Moment, Timing},
};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// How often a presumed peer is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Two asks may be lost.
const PRESUMED_FOR: Duration = Duration::from_millis(2500);
/// So many asks without an answer mean that nobody is there.
const TRIES: u32 = 3;

#[derive(Debug)]
struct Ask {
    address: IpAddr,
    asked: u32,
    last: Option<Moment>,
    /// When it last answered; `Some` is presumed present.
    answered: Option<Moment>,
}

#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<NodeName, Ask>);

impl Asks {
    /// Takes who is expected now; gives back who was presumed and is not expected any more.
    pub(super) fn expect(
        &mut self,
        expected: &BTreeMap<NodeName, IpAddr>,
        ever_heard: impl Fn(&NodeName) -> bool,
    ) -> Vec<NodeName> {
        let mut dropped = Vec::new();
        self.0.retain(|node, ask| {
            let keep = expected.get(node) == Some(&ask.address) && !ever_heard(node);
            if !keep && ask.answered.is_some() {
                dropped.push(node.clone());
            }
            keep
        });
        for (node, address) in expected.iter().filter(|(node, _)| !ever_heard(node)) {
            self.0.entry(node.clone()).or_insert(Ask { address: *address, asked: 0, last: None, answered: None });
        }
        dropped
    }

    /// Its hellos come after all.
    pub(super) fn heard(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    pub(super) fn answered(&mut self, address: IpAddr, now: Moment) -> Vec<(NodeName, bool)> {
        let mut presumed = Vec::new();
        for (node, ask) in self.0.iter_mut().filter(|(_, ask)| ask.address == address && ask.last.is_some()) {
            if ask.answered.replace(now).is_none() {
                presumed.push((node.clone(), true));
            }
        }
        presumed
    }

    /// Takes back the presumption of who does not answer any more.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<NodeName> {
        let mut silent = Vec::new();
        for (node, ask) in &mut self.0 {
            if ask.answered.is_some_and(|answered| now.since(answered) >= PRESUMED_FOR) {
                ask.answered = None;
                silent.push(node.clone());
            }
        }
        silent
    }

    /// While listening, asks go out every interval until each is resolved; later once a second.
    fn pause(ask: &Ask, timing: Timing) -> Duration {
        if ask.asked < TRIES { timing.interval().min(ASK_EVERY) } else { ASK_EVERY }
    }

    pub(super) fn due(&mut self, now: Moment, timing: Timing, standing: Standing) -> Vec<IpAddr> {
        // Hellos of a peer that is there come within an interval; it is asked only when they did not.
        let patience = if standing == Standing::Listening { timing.interval() } else { Duration::ZERO };
        let mut due = Vec::new();
        for ask in self.0.values_mut() {
            match ask.last {
                None if !patience.is_zero() && ask.asked == 0 => {
                    // The first round only notes the time: hellos get one interval to arrive.
                    ask.last = Some(now);
                }
                Some(last) if now.since(last) < Self::pause(ask, timing) => {}
                _ => {
                    ask.last = Some(now);
                    ask.asked = ask.asked.saturating_add(1);
                    due.push(ask.address);
                }
            }
        }
        due
    }

    pub(super) fn next(&self, timing: Timing) -> Option<Moment> {
        self.0.values().filter_map(|ask| ask.last.map(|last| last + Self::pause(ask, timing))).min()
    }

    /// Whether of everybody expected it is known whether it is there.
    pub(super) fn resolved(&self, now: Moment, timing: Timing) -> bool {
        self.0.values().all(|ask| {
            ask.answered.is_some()
                || (ask.asked >= TRIES && ask.last.is_some_and(|last| now.since(last) >= timing.interval()))
        })
    }

    /// Who is presumed present.
    pub(super) fn present(&self) -> impl Iterator<Item = &NodeName> {
        self.0.iter().filter(|(_, ask)| ask.answered.is_some()).map(|(node, _)| node)
    }
}
