//! How frames get from one node to the others.

use super::{Host, Lan};
use herald_core::{LinkName, NodeName, speaker::Claim};
use herald_wire::{Mac, hello::Hello};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

/// A frame on its way to a link.
#[derive(Debug, Clone)]
pub(super) enum Delivery {
    Hello {
        link: LinkName,
        from_mac: Mac,
        by_datagram: bool,
        hello: Arc<Hello>,
    },
    /// Who has the address: only that station is asked, or everybody; the answer goes to that node's link.
    Asked {
        link: LinkName,
        address: IpAddr,
        to: Option<Mac>,
        by: (NodeName, LinkName),
    },
    Answer {
        link: LinkName,
        address: IpAddr,
        from: Mac,
    },
}

impl Delivery {
    pub(super) fn may_wait(&self) -> bool {
        matches!(self, Self::Hello { hello, .. } if hello.routine)
    }
}

impl Lan {
    /// A node answers for exactly these addresses on a link from now on.
    pub(super) fn answer(&mut self, node: &NodeName, link: LinkName, addresses: BTreeMap<IpAddr, Claim>) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        let before = host.answers.get(&link);
        let is_new = |address: &&IpAddr| before.is_none_or(|before| !before.contains_key(*address));
        for address in addresses.keys().filter(is_new) {
            self.watched.entry(*address).or_default().insert(node.clone());
        }
        let elsewhere =
            |address: &IpAddr| host.answers.iter().any(|(on, all)| *on != link && all.contains_key(address));
        for address in before.into_iter().flatten().map(|(address, _)| address) {
            if !addresses.contains_key(address)
                && !elsewhere(address)
                && let Some(nodes) = self.watched.get_mut(address)
            {
                nodes.remove(node);
            }
        }
        host.answers.insert(link, addresses);
    }

    /// Who may have an address in a table of its answers.
    pub(super) fn watching(&self, address: IpAddr) -> impl Iterator<Item = (&NodeName, &Host)> {
        let nodes = self.watched.get(&address).into_iter().flatten();
        nodes.filter_map(|node| self.hosts.get_key_value(node))
    }

    /// To every link on the segment but the one that it comes from: also to others of the same node.
    pub(super) fn broadcast(&mut self, from: &NodeName, on: &LinkName, delivery: impl Fn(LinkName) -> Delivery) {
        let all: Vec<NodeName> = self.hosts.keys().cloned().collect();
        self.deliver(from, on, &all, delivery);
    }

    /// The same, of no use to anybody but these nodes.
    pub(super) fn deliver(
        &mut self,
        from: &NodeName,
        on: &LinkName,
        whom: &[NodeName],
        delivery: impl Fn(LinkName) -> Delivery,
    ) {
        let Some(segment) = self.hosts.get(from).and_then(|host| host.segment_of(on)) else { return };
        let mut to: Vec<(NodeName, LinkName)> = Vec::new();
        for node in whom {
            let Some(host) = self.hosts.get(node).filter(|host| host.power) else { continue };
            let here = host.links.iter().filter(|(own, link)| {
                *own == segment && (node != from || link.name != *on) && !host.down.contains(&link.name)
            });
            to.extend(here.map(|(_, link)| (node.clone(), link.name.clone())));
        }
        for (node, link) in to {
            self.send(from, node, delivery(link));
        }
    }

    /// Everybody else on the segment who answers for the address, or watches over it, hears that it is said to be there.
    pub(super) fn claim(&mut self, node: &NodeName, on: &LinkName, address: IpAddr) {
        let Some(host) = self.hosts.get(node) else { return };
        let from = host.links.iter().find(|(_, link)| link.name == *on).map(|(_, link)| link.mac);
        let (Some(segment), Some(from)) = (host.segment_of(on), from) else { return };
        self.believed.insert((segment, address), node.clone());
        let watches = |host: &Host| host.answers.values().any(|answers| answers.contains_key(&address));
        let watching = self.watching(address).filter(|(other, host)| *other != node && watches(host));
        let watching: Vec<NodeName> = watching.map(|(other, _)| other.clone()).collect();
        self.deliver(node, on, &watching, |link| Delivery::Answer { link, address, from });
    }

    pub(super) fn send(&mut self, from: &NodeName, to: NodeName, delivery: Delivery) {
        if self.drop_hellos && matches!(delivery, Delivery::Hello { .. }) {
            return;
        }
        self.frames += 1;
        let multicast = matches!(delivery, Delivery::Hello { by_datagram: false, .. });
        if !self.passes(from, &to, multicast) || self.random.below(1000) < self.loss_per_mille {
            return;
        }
        let micros = u64::try_from(self.max_delay.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(1 + self.random.below(micros));
        self.in_flight.insert((self.now + delay, self.frames), (to, delivery));
    }

    /// What a kernel does, in no time: it answers for its own addresses on any of its links.
    pub(super) fn asked(
        &mut self,
        node: &NodeName,
        link: &LinkName,
        address: IpAddr,
        station: Option<Mac>,
        (by, on): (NodeName, LinkName),
    ) {
        let Some(host) = self.hosts.get(node).filter(|host| host.power && !host.suspended) else { return };
        let own = host.links.iter().any(|(_, link)| link.addresses.iter().any(|own| own.ip() == address));
        let here = host.links.iter().find(|(_, own)| own.name == *link).map(|(_, link)| link.mac);
        let Some(mac) = here.filter(|mac| {
            own && !host.down.contains(link) && !self.mute_kernels && station.is_none_or(|to| to == *mac)
        }) else {
            return;
        };
        self.send(&node.clone(), by, Delivery::Answer { link: on, address, from: mac });
    }
}
