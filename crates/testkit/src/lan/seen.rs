//! What is to be seen on the simulated LAN, and what its nodes told.

use super::{Host, Lan};
use herald_core::{
    LinkName, NodeName, ServiceKey,
    announce::conflict::Withheld,
    membership::Change,
    ownership::HandOver,
    speaker::{Cause, Claim, Link, Speaker},
    time::Moment,
};
use herald_wire::{Mac, hello::Hello};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

impl Lan {
    /// The machine of a node.
    #[must_use]
    pub fn speaker(&self, node: &str) -> Option<&Speaker> {
        self.hosts.get(&NodeName::from(node))?.speaker.as_ref()
    }

    /// How often a node said an address unasked.
    #[must_use]
    pub fn gratuitous(&self, node: &str, address: IpAddr) -> usize {
        self.hosts.get(&NodeName::from(node)).and_then(|host| host.gratuitous.get(&address)).copied().unwrap_or(0)
    }

    /// Where the address is, as answers to a broadcast request say now, if the request reached everybody.
    #[must_use]
    pub fn answering(&self, segment: usize, address: IpAddr) -> BTreeSet<NodeName> {
        self.claims(segment, address).into_iter().map(|(_, at)| at).collect()
    }

    /// Who says so, and where the address is then.
    #[must_use]
    pub fn claims(&self, segment: usize, address: IpAddr) -> BTreeSet<(NodeName, NodeName)> {
        let owner_of = |mac: Mac| {
            let has = |host: &Host| host.links.iter().any(|(_, link)| link.mac == mac);
            self.hosts.iter().find(|(_, host)| has(host)).map(|(node, _)| node.clone())
        };
        self.answers(segment, address).into_iter().filter_map(|(by, _, mac)| Some((by, owner_of(mac)?))).collect()
    }

    /// Who would answer, for itself or for another node.
    #[must_use]
    pub fn answerers(&self, segment: usize, address: IpAddr) -> BTreeSet<NodeName> {
        self.answers(segment, address).into_iter().map(|(node, ..)| node).collect()
    }

    /// The same, with the links that they answer on.
    #[must_use]
    pub fn answering_links(&self, segment: usize, address: IpAddr) -> BTreeSet<(NodeName, LinkName)> {
        self.answers(segment, address).into_iter().map(|(node, link, _)| (node, link)).collect()
    }

    /// Who answers, on which link, and the MAC address that the answer gives.
    pub(super) fn answers(&self, segment: usize, address: IpAddr) -> Vec<(NodeName, LinkName, Mac)> {
        let claim = |host: &Host, link: &Link| {
            let good =
                host.speaker.as_ref().and_then(|s| s.good_until(&link.name)).is_some_and(|until| self.now <= until);
            let claim = host.answers.get(&link.name)?.get(&address).filter(|_| host.paused_until.is_none() && good)?;
            match claim {
                Claim::Own => Some(link.mac),
                Claim::For(mac) => Some(*mac),
                Claim::Unicast | Claim::Withheld => None,
            }
        };
        let of = |(node, host): (&NodeName, &Host)| -> Vec<(NodeName, LinkName, Mac)> {
            // No request reaches who receives nothing.
            let here = host.links.iter().filter(|(own, _)| *own == segment && !self.deaf.contains(node));
            here.filter_map(|(_, link)| Some((node.clone(), link.name.clone(), claim(host, link)?))).collect()
        };
        self.watching(address).flat_map(of).collect()
    }

    /// Who answers a unicast request for the address that is sent to it.
    #[must_use]
    pub fn answers_unicast(&self, node: &str, address: IpAddr) -> bool {
        let Some(host) = self.hosts.get(&NodeName::from(node)) else { return false };
        let says = |claim: Option<&Claim>| claim.is_some_and(|claim| *claim != Claim::Withheld);
        host.speaker.is_some() && host.answers.values().any(|answers| says(answers.get(&address)))
    }

    /// What became of planned moves at a node since this was last asked.
    pub fn take_hand_overs(&mut self, node: &str) -> Vec<HandOver> {
        let host = self.hosts.get_mut(&NodeName::from(node));
        host.map(|host| std::mem::take(&mut host.handed_over)).unwrap_or_default()
    }

    /// What a node saw become of its peers, in order.
    #[must_use]
    pub fn changes(&self, node: &str) -> &[(Moment, Change)] {
        self.hosts.get(&NodeName::from(node)).map_or(&[], |host| &host.changes)
    }

    /// Why a node began (`true`) or ceased to announce Services since this was last asked.
    pub fn take_moves(&mut self, node: &str) -> BTreeSet<(bool, Cause)> {
        let host = self.hosts.get_mut(&NodeName::from(node));
        host.map(|host| std::mem::take(&mut host.moves)).into_iter().flatten().collect()
    }

    /// The events nodeAssigned so far: which node said so of which Service.
    #[must_use]
    pub fn events(&self) -> &[(ServiceKey, NodeName)] {
        &self.events
    }

    /// Which Services a node said to lack an interface, in order.
    #[must_use]
    pub fn lacking(&self, node: &str) -> Vec<ServiceKey> {
        self.hosts.get(&NodeName::from(node)).map(|host| host.lacking.clone()).unwrap_or_default()
    }

    /// How many frames were sent so far, counted once per receiver.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.frames
    }

    /// How many hellos were said so far.
    #[must_use]
    pub fn hellos(&self) -> u64 {
        self.hellos
    }

    /// How often a kernel was asked so far.
    #[must_use]
    pub fn asks(&self) -> u64 {
        self.asks
    }

    /// What a node said last.
    #[must_use]
    pub fn last_hello(&self, node: &str) -> Option<&Hello> {
        self.hosts.get(&NodeName::from(node))?.said.as_deref()
    }

    /// How often nodes began, and ceased, to announce a Service, since this was last asked.
    pub fn count_moves(&mut self) -> (usize, usize) {
        let moves: Vec<bool> =
            self.hosts.values_mut().flat_map(|host| std::mem::take(&mut host.moves)).map(|(began, _)| began).collect();
        let began = moves.iter().filter(|began| **began).count();
        (began, moves.len() - began)
    }

    /// Everything that is answered with the own MAC address on a segment now, in no particular order.
    pub fn held(&self, segment: usize) -> impl Iterator<Item = (IpAddr, &NodeName)> {
        let good = |host: &Host, link: &LinkName| {
            let until = host.speaker.as_ref().and_then(|speaker| speaker.good_until(link));
            host.paused_until.is_none() && until.is_some_and(|until| self.now <= until)
        };
        self.hosts.iter().flat_map(move |(node, host)| {
            let here = host.links.iter().filter(move |(own, link)| *own == segment && good(host, &link.name));
            let answers = here.filter_map(|(_, link)| host.answers.get(&link.name)).flatten();
            answers.filter(|(_, claim)| **claim == Claim::Own).map(move |(address, _)| (*address, node))
        })
    }

    /// Time (of the real clock) that the machines of all nodes took so far, without the simulated LAN around them.
    #[must_use]
    pub fn time_in_speakers(&self) -> Duration {
        self.in_speakers
    }

    /// How many moments were simulated so far at which something happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether the two hear each other.
    #[must_use]
    pub fn hear_each_other(&self, a: &NodeName, b: &NodeName) -> bool {
        self.passes(a, b, false) && self.passes(b, a, false)
    }

    /// Who said last, unasked, where the address is: what neighbours believe.
    #[must_use]
    pub fn believed(&self, segment: usize, address: IpAddr) -> Option<&NodeName> {
        self.believed.get(&(segment, address))
    }

    /// What a node told of conflicts, in order; `None`: it is over.
    #[must_use]
    pub fn conflicts(&self, node: &str) -> &[(IpAddr, Option<Withheld>)] {
        self.hosts.get(&NodeName::from(node)).map_or(&[], |host| &host.conflicts)
    }

    /// How often a node defended an address.
    #[must_use]
    pub fn defended(&self, node: &str) -> usize {
        self.hosts.get(&NodeName::from(node)).map_or(0, |host| host.defended)
    }
}
