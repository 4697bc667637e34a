//! What is this node's and yet not answered for: places that are probed, that a foreign station has, or that nobody may use.

use super::{Cause, Claim, Effect, Speaker, owned::Owned};
use crate::{
    LinkName, NodeName,
    announce::{
        Place,
        conflict::{Claimed, Guard, Origin, Policy, Withheld},
    },
    node::Node,
    time::Moment,
};
use herald_wire::{
    Mac,
    hello::{Conflict, Hello, MAX_CONFLICTS, peer_hash},
};
use ipnetwork::IpNetwork;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

impl Speaker {
    /// With this policy for claims by foreign stations.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.guard = Guard::new(policy, u64::from(peer_hash(self.me.cluster, self.me.node.as_str())));
        self
    }

    /// A member's hello names its MAC addresses: one that seemed foreign until now is ours. And it names what it withholds: who is to use
    /// that next does not begin with the same conflict.
    pub(super) fn learn(&mut self, link: &LinkName, hello: &Hello, now: Moment) {
        for link in &hello.links {
            if let Entry::Vacant(unknown) = self.ours.entry(link.mac) {
                unknown.insert(hello.node.as_str().into());
                self.guard.forgive(link.mac, now);
            }
        }
        let from = (link.clone(), hello.node.as_str().into());
        if hello.conflicts.is_empty() {
            self.known.remove(&from);
        } else {
            self.known.insert(from, hello.conflicts.iter().map(|conflict| (conflict.address, conflict.by)).collect());
        }
    }

    /// What this node withholds on a link because of foreign stations, for its hellos.
    pub(super) fn conflicts_on(&self, link: &LinkName) -> Vec<Conflict> {
        let here = self.guard.held().filter(|((name, _), _)| name == link);
        here.take(MAX_CONFLICTS).map(|((_, address), by)| Conflict { address: *address, by }).collect()
    }

    /// Whether a link of this node or of another one of the cluster has this MAC address.
    pub(super) fn is_ours(&self, mac: Mac) -> bool {
        self.ours.contains_key(&mac) || self.links.values().any(|link| link.mac == mac)
    }

    /// A station says that it has an address.
    pub(super) fn claimed(&mut self, place: &Place, from: Mac, now: Moment) {
        if !self.guard.watches(place) {
            return;
        }
        if self.is_of_a_member(&place.0, from) {
            // Whose it is, its hellos have said.
            let node = self.ours.get(&from);
            if node.is_some_and(|node| self.memberships.get(&place.0).is_some_and(|here| here.is_deaf(node))) {
                self.announcer.contradict(place, now);
            }
            return;
        }
        let (link, address) = place.clone();
        match self.guard.claimed(place, from, now) {
            Some(Claimed::Yielded) => {
                self.pending.push(Effect::Withheld { link, address, why: Withheld::Held(from) });
                self.decide_for(Cause::Conflict);
            }
            Some(Claimed::Defended) => {
                self.pending.push(Effect::Gratuitous { link: link.clone(), address });
                self.pending.push(Effect::Defended { link, address, from });
            }
            None => {}
        }
    }

    /// Probes what is due, and decides anew when something turned out to be free.
    pub(super) fn probe(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.standby {
            return;
        }
        let probed = self.guard.due(now);
        effects.extend(probed.over.into_iter().map(|(link, address)| {
            self.due = self.due.max(Some(Cause::Conflict));
            Effect::ConflictOver { link, address }
        }));
        if !probed.free.is_empty() {
            self.due = self.due.max(Some(self.probed_for));
        }
        effects.extend(probed.probes.into_iter().map(|(link, address)| Effect::Probe { link, address }));
    }

    /// Hands what was decided to the guard.
    pub(super) fn watch_over(&mut self, owned: &Owned, cause: Cause, now: Moment, effects: &mut Vec<Effect>) {
        let nodes = self.addresses_of_nodes();
        let all = owned.places.iter().chain(owned.stood_in.keys()).chain(&owned.drained);
        let refused: BTreeMap<Place, Withheld> =
            all.filter_map(|place| Some((place.clone(), self.refusal(place, &nodes)?))).collect();
        for ((link, address), why) in refused.iter().filter(|(place, why)| self.refused.get(*place) != Some(why)) {
            effects.push(Effect::Withheld { link: link.clone(), address: *address, why: why.clone() });
        }
        let elsewhere =
            |(link, address): &Place| self.others.get(link).is_some_and(|others| others.binary_search(address).is_ok());
        let origin = |place: &Place| {
            let continues = elsewhere(place) && !owned.free.contains(place) || owned.resumed.contains(&place.0);
            if continues { Origin::Continued } else { Origin::FirstUse }
        };
        // Nothing is drained that was withheld: nobody uses it.
        let drained = owned.drained.iter().filter(|place| self.guard.is_free(place));
        let mut wanted: BTreeMap<Place, Origin> = drained.map(|place| (place.clone(), Origin::Drained)).collect();
        wanted.extend(owned.stood_in.keys().map(|place| (place.clone(), Origin::StoodIn)));
        wanted.extend(owned.places.iter().map(|place| (place.clone(), origin(place))));
        wanted.retain(|place, _| !refused.contains_key(place));
        let known = |(link, address): &Place| {
            self.known.iter().find_map(|((name, _), held)| held.get(address).filter(|_| name == link).copied())
        };
        let still = self.guard.is_probing().then_some(self.probed_for);
        self.probed_for = still.map_or(cause, |still| still.max(cause));
        for ((link, address), by) in self.guard.set(&wanted, known, now) {
            effects.push(Effect::Withheld { link, address, why: Withheld::Held(by) });
        }
        self.refused = refused;
    }

    fn addresses_of_nodes(&self) -> BTreeMap<IpAddr, NodeName> {
        let nodes = self.snapshot().into_iter().flat_map(|snapshot| snapshot.nodes.values());
        let of = |node: &Node| node.internal_ips.iter().map(|ip| (*ip, node.name.clone())).collect::<Vec<_>>();
        let own = self.links.values().flat_map(|link| &link.addresses).map(|own| (own.ip(), self.me.node.clone()));
        nodes.flat_map(of).chain(own).collect()
    }

    /// Why a place is never used.
    fn refusal(&self, (link, address): &Place, nodes: &BTreeMap<IpAddr, NodeName>) -> Option<Withheld> {
        let link = self.links.get(link)?;
        if let Some(node) = nodes.get(address) {
            return Some(Withheld::OfNode(node.clone()));
        }
        // A link of two addresses or one has neither (RFC 3021).
        let (IpAddr::V4(v4), Some(IpNetwork::V4(subnet))) = (address, link.subnet_of(*address)) else { return None };
        if subnet.prefix() > 30 {
            None
        } else if *v4 == subnet.network() {
            Some(Withheld::Network(subnet))
        } else {
            (*v4 == subnet.broadcast()).then_some(Withheld::Broadcast(subnet))
        }
    }

    pub(super) fn is_free(&self, place: &Place) -> bool {
        self.guard.is_free(place)
    }

    /// What each link's responder is to answer.
    pub(super) fn answers_for(&self, owned: &Owned) -> BTreeMap<LinkName, BTreeMap<IpAddr, Claim>> {
        let mut answers: BTreeMap<LinkName, BTreeMap<IpAddr, Claim>> =
            self.links.keys().map(|name| (name.clone(), BTreeMap::new())).collect();
        let own = owned.places.iter().map(|place| (place, Claim::Own));
        let others = owned.stood_in.iter().map(|(place, mac)| (place, Claim::For(*mac)));
        let drained = owned.drained.iter().filter(|place| self.is_free(place)).map(|place| (place, Claim::Unicast));
        for (place, claim) in drained.chain(others).chain(own) {
            let claim = if self.is_free(place) { claim } else { Claim::Withheld };
            answers.entry(place.0.clone()).or_default().insert(place.1, claim);
        }
        answers
    }

    /// What is withheld where it is of record: on the link whose subnet holds the address, or on any when none does. Another LAN may well have
    /// a host of that address.
    pub fn conflicts_of_record(&self) -> impl Iterator<Item = (&Place, Withheld)> {
        let held = self.guard.held().map(|(place, by)| (place, Withheld::Held(by)));
        let refused = self.refused.iter().map(|(place, why)| (place, why.clone()));
        let holds = |link: &LinkName, address: IpAddr| self.links.get(link).is_some_and(|link| link.holds(address));
        held.chain(refused).filter(move |((link, address), _)| {
            holds(link, *address) || !self.links.keys().any(|link| holds(link, *address))
        })
    }

    /// What is withheld on a link, and why; what is only being probed is not.
    #[must_use]
    pub fn withheld(&self, link: &LinkName) -> BTreeMap<IpAddr, Withheld> {
        let held = self.guard.held().map(|(place, by)| (place, Withheld::Held(by)));
        let refused = self.refused.iter().map(|(place, why)| (place, why.clone()));
        held.chain(refused).filter(|((name, _), _)| name == link).map(|((_, address), why)| (*address, why)).collect()
    }
}
