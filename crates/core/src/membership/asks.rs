//! Peers that are expected but never heard: they are asked.
//!
//! With a ready speaker pod such a peer is *presumed* present: something on the way filters hellos. Without one, it is *awaited* for the grace of
//! a restart, and only by who starts at the same time: a cluster whose speakers all restart at once moves nothing.

use super::{
    Expected, GRACE, Standing, UNSHOWN,
    echo::{Echo, Loss, Pace, Verdict},
};
use crate::{
    NodeName,
    time::{Moment, Timing},
};
use herald_wire::Mac;
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// How often a presumed peer is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Nothing is known about the loss on the way to a peer that is never heard: as many as for a tenth.
const TRIES: u32 = 9;

#[derive(Debug)]
struct Ask {
    address: IpAddr,
    begun: Moment,
    echo: Echo,
    /// Where its answers come from; `None` while it does not answer.
    at: Option<Mac>,
    /// Since when the API shows no ready speaker there.
    unready: Option<Moment>,
    /// Since when it shows none at all.
    unshown: Option<Moment>,
}

/// A peer that is never heard and yet counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unheard<'a> {
    pub(super) node: &'a NodeName,
    /// Where it answers.
    pub(super) mac: Mac,
    /// Its speaker is not there yet: its place is kept.
    pub(super) awaited: bool,
}

#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<NodeName, Ask>);

impl Ask {
    fn pace(&self, timing: Timing) -> Pace {
        let every = if self.unready.is_some() { super::RESTARTING_EVERY } else { ASK_EVERY };
        Pace { tries: TRIES, ..Pace::new(every, timing, Loss::default()) }
    }

    /// When its place is not kept any longer, though it answers.
    fn ends(&self) -> Option<Moment> {
        let unready = self.unready.map(|since| since + GRACE);
        self.unshown.map(|since| since + UNSHOWN).into_iter().chain(unready).min()
    }
}

impl Asks {
    /// Takes who is expected now. Peers without a ready speaker are awaited only while `listening`.
    pub(super) fn expect(
        &mut self,
        expected: &BTreeMap<NodeName, Expected>,
        ever_heard: impl Fn(&NodeName) -> bool,
        listening: bool,
        now: Moment,
    ) {
        for (node, ask) in &mut self.0 {
            let pod = expected.get(node);
            ask.unshown = if pod.is_some() { None } else { ask.unshown.or(Some(now)) };
            ask.unready = if pod.is_some_and(|pod| pod.ready) { None } else { ask.unready.or(Some(now)) };
            if let Some(address) = pod.and_then(|pod| pod.address).filter(|address| *address != ask.address) {
                (ask.address, ask.at) = (address, None);
                ask.echo = Echo::default();
            }
        }
        for (node, pod) in expected.iter().filter(|(node, _)| !ever_heard(node)) {
            let Some(address) = pod.address.filter(|_| pod.ready || listening) else { continue };
            let unready = (!pod.ready).then_some(now);
            let ask = Ask { address, begun: now, echo: Echo::default(), at: None, unready, unshown: None };
            self.0.entry(node.clone()).or_insert(ask);
        }
    }

    /// Its hellos come after all; whether it counted before.
    pub(super) fn heard(&mut self, node: &NodeName) -> bool {
        self.0.remove(node).is_some_and(|ask| ask.at.is_some())
    }

    /// Takes an answer; gives back who is there now and was not, and whether it is only awaited.
    pub(super) fn answered(&mut self, address: IpAddr, from: Mac) -> Vec<(NodeName, bool)> {
        let mut there = Vec::new();
        for (node, ask) in self.0.iter_mut().filter(|(_, ask)| ask.address == address) {
            if ask.echo.answered() && ask.at.replace(from).is_none() {
                there.push((node.clone(), ask.unready.is_some()));
            }
        }
        there
    }

    /// Takes back the presence of who does not answer any more, or is not awaited any longer.
    pub(super) fn expire(&mut self, timing: Timing, listening: bool, now: Moment) -> Vec<NodeName> {
        let mut gone = Vec::new();
        self.0.retain(|node, ask| {
            let silent = ask.at.is_some() && ask.echo.verdict(ask.pace(timing), now) == Verdict::Silent;
            let over = ask.ends().is_some_and(|ends| ends <= now);
            if (silent || over) && ask.at.take().is_some() {
                gone.push(node.clone());
            }
            !over && (ask.at.is_some() || ask.unready.is_none() || listening)
        });
        gone
    }

    /// Awaits nobody but these: others take part already, and know better.
    pub(super) fn await_only(&mut self, awaited: impl Fn(&NodeName) -> bool) {
        self.0.retain(|node, ask| ask.unready.is_none() || awaited(node));
    }

    pub(super) fn due(&mut self, now: Moment, timing: Timing, standing: Standing) -> Vec<IpAddr> {
        // Hellos of a peer that is there come within an interval; it is asked only when they did not.
        let patience = if standing == Standing::Listening { timing.interval() } else { Duration::ZERO };
        let ready = self.0.values_mut().filter(|ask| ask.begun + patience <= now);
        ready.filter_map(|ask| ask.echo.due(ask.pace(timing), now).map(|_| ask.address)).collect()
    }

    pub(super) fn next(&self, timing: Timing, now: Moment) -> Option<Moment> {
        let wakes = |ask: &Ask| {
            let asks = ask.echo.wakes(ask.pace(timing), now).max(ask.begun + timing.interval());
            ask.ends().map_or(asks, |ends| ends.min(asks))
        };
        self.0.values().map(wakes).min()
    }

    /// Whether of everybody expected it is known whether it is there.
    pub(super) fn resolved(&self, now: Moment, timing: Timing) -> bool {
        let silent =
            |ask: &Ask| ask.echo.answers() == Some(false) || ask.echo.verdict(ask.pace(timing), now) == Verdict::Silent;
        self.0.values().all(|ask| ask.at.is_some() || silent(ask))
    }

    /// Who counts.
    pub(super) fn present(&self) -> impl Iterator<Item = Unheard<'_>> {
        self.0.iter().filter_map(|(node, ask)| Some(Unheard { node, mac: ask.at?, awaited: ask.unready.is_some() }))
    }
}
