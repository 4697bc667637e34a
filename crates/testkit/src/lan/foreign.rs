//! Hosts that are no nodes, and probing for addresses.

use super::{Host, Lan, frames::Delivery};
use herald_core::{LinkName, NodeName, speaker::Claim};
use herald_wire::Mac;
use std::net::IpAddr;

impl Lan {
    /// Whoever has the address answers a probe; to somebody who is not sure of it either, the probe is a claim.
    pub(super) fn probed(&mut self, by: &NodeName, on: &LinkName, address: IpAddr) {
        let Some(segment) = self.hosts.get(by).and_then(|host| host.segment_of(on)) else { return };
        let mac_of = |host: &Host, name: &LinkName| {
            host.links.iter().find(|(_, link)| link.name == *name).map(|(_, link)| link.mac)
        };
        let prober = self.hosts.get(by).and_then(|host| mac_of(host, on));
        let has = |(_, (there, _, its)): &(&NodeName, &(usize, Mac, IpAddr))| *there == segment && *its == address;
        let mut answers: Vec<(NodeName, Mac)> =
            self.foreign.iter().filter(has).map(|(name, (_, mac, _))| (name.clone(), *mac)).collect();
        let ours = self.answers(segment, address).into_iter().filter(|(node, ..)| node != by);
        answers.extend(ours.map(|(node, _, mac)| (node, mac)));
        for (from, mac) in answers {
            self.send(&from, by.clone(), Delivery::Answer { link: on.clone(), address, from: mac });
        }
        if let Some(prober) = prober {
            self.tell_withholding(by, segment, address, prober);
        }
    }

    fn tell_withholding(&mut self, by: &NodeName, segment: usize, address: IpAddr, mac: Mac) {
        let mut to = Vec::new();
        for (node, host) in self.watching(address).filter(|(node, host)| *node != by && host.power) {
            let here = host.links.iter().filter(|(there, _)| *there == segment).map(|(_, link)| link.name.clone());
            let withholds = |link: &LinkName| {
                host.answers.get(link).and_then(|answers| answers.get(&address)) == Some(&Claim::Withheld)
            };
            to.extend(here.filter(withholds).map(|link| (node.clone(), link)));
        }
        for (node, link) in to {
            self.send(by, node, Delivery::Answer { link, address, from: mac });
        }
    }

    /// A host that is no node comes up with this address, without a word; its MAC address.
    pub fn add_foreign(&mut self, name: &str, segment: usize, address: IpAddr) -> Mac {
        let number = u8::try_from(self.foreign.len()).unwrap_or(u8::MAX);
        let mac = Mac([2, 0xff, 0, 0, 0, number]);
        self.foreign.insert(name.into(), (segment, mac, address));
        mac
    }

    /// Such a host goes.
    pub fn remove_foreign(&mut self, name: &str) {
        self.foreign.remove(&NodeName::from(name));
    }

    /// Such a host says to everybody where its address is.
    pub fn foreign_announces(&mut self, name: &str) {
        let name = NodeName::from(name);
        let Some((segment, from, address)) = self.foreign.get(&name).copied() else { return };
        let mut to = Vec::new();
        for (node, host) in self.hosts.iter().filter(|(_, host)| host.power) {
            let here = host.links.iter().filter(|(there, _)| *there == segment);
            to.extend(here.map(|(_, link)| (node.clone(), link.name.clone())));
        }
        for (node, link) in to {
            self.send(&name, node, Delivery::Answer { link, address, from });
        }
    }

    /// A station that is no node probes for an address, as one does that is about to use it.
    pub fn foreign_probes(&mut self, name: &str, segment: usize, address: IpAddr) {
        self.tell_withholding(&name.into(), segment, address, Mac([2, 0xfe, 0, 0, 0, 1]));
    }
}
