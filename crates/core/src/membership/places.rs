//! Where a peer is: its links, and which of them are on this segment.

use crate::{LinkName, time::Moment};
use herald_wire::{
    Mac,
    hello::{Hello, IfName},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// One of its links, on this segment.
#[derive(Debug, Clone)]
struct Here {
    name: Option<IfName>,
    mac: Mac,
    addresses: Vec<IpAddr>,
    heard: Moment,
}

/// The links of a peer.
#[derive(Debug, Default)]
pub(super) struct Places {
    here: Vec<Here>,
    /// Names of all its links, those that it said.
    links: Vec<IfName>,
    /// Of all its links: answers to asks come from one of them.
    macs: Vec<Mac>,
}

impl Places {
    /// Takes what a hello says of them; whether they or their names are other than before.
    pub(super) fn take(&mut self, hello: &Hello, from: Mac, now: Moment) -> bool {
        let mut changed = false;
        if let Some(link) = hello.links.get(usize::from(hello.link)) {
            let here = Here { name: link.name, mac: from, addresses: link.addresses.clone(), heard: now };
            if let Some(known) = self.here.iter_mut().find(|known| known.name == link.name) {
                changed = known.mac != from;
                *known = here;
            } else {
                self.here.push(here);
                self.here.sort_unstable_by_key(|here| here.name);
                changed = true;
            }
        }
        let names = || hello.links.iter().filter_map(|link| link.name);
        if !names().eq(self.links.iter().copied()) {
            self.links = names().collect();
            changed = true;
        }
        self.macs.clear();
        self.macs.extend(hello.links.iter().map(|link| link.mac).chain([from]));
        changed
    }

    /// Another process speaks for the peer: it says anew which of its links are here.
    pub(super) fn forget(&mut self) {
        self.here.clear();
    }

    /// Forgets those that are silent here for so long; whether there were such.
    pub(super) fn expire(&mut self, hold: Duration, now: Moment) -> bool {
        let before = self.here.len();
        self.here.retain(|here| now.since(here.heard) < hold);
        before != self.here.len()
    }

    /// When the first of several is silent for so long.
    pub(super) fn expires(&self, hold: Duration) -> Option<Moment> {
        let several = self.here.len() > 1;
        self.here.iter().filter(|_| several).map(|here| here.heard + hold).min()
    }

    /// Names of its links on this segment; empty when it does not say them.
    pub(super) fn names(&self) -> impl Iterator<Item = IfName> {
        self.here.iter().filter_map(|here| here.name)
    }

    /// Names of all its links, as far as said.
    pub(super) fn links(&self) -> &[IfName] {
        &self.links
    }

    /// Whether one of its links has this MAC address.
    pub(super) fn has(&self, mac: Mac) -> bool {
        self.macs.contains(&mac)
    }

    /// Whether one of its links on this segment has this address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.here.iter().any(|here| here.addresses.contains(&address))
    }

    /// Where on this segment it has what it announces: of these links (any, when it says no names) the one that `prefers`, then the first.
    pub(super) fn mac(&self, links: &[&LinkName], prefers: impl Fn(IpAddr) -> bool) -> Option<Mac> {
        let allowed =
            |here: &&Here| here.name.is_none_or(|name| links.iter().any(|link| link.as_str() == name.as_str()));
        let mut candidates = self.here.iter().filter(allowed);
        let first = candidates.clone().next();
        candidates.find(|here| here.addresses.iter().copied().any(&prefers)).or(first).map(|here| here.mac)
    }

    /// The address that its kernel is asked for: the one that the API names, then an IPv4 one, then a link-local one.
    pub(super) fn asked_for(&self, named: Option<IpAddr>) -> Option<(IpAddr, Mac)> {
        let all = || self.here.iter().flat_map(|here| here.addresses.iter().map(|address| (*address, here.mac)));
        let link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(&v6));
        all()
            .find(|(address, _)| Some(*address) == named)
            .or_else(|| all().find(|(address, _)| address.is_ipv4()))
            .or_else(|| all().find(|(address, _)| link_local(*address)))
    }
}
