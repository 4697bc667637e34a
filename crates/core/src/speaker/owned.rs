//! What this node answers for: its own, and what it stands in for.

use super::{Speaker, segments};
use crate::{
    LinkName, NodeName, ServiceKey,
    announce::Place,
    membership::{Member, Membership, Standing},
    ownership::{Group, Plan, StandIn},
};
use herald_wire::Mac;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What a node owns.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) places: BTreeSet<Place>,
    /// Of restarting owners, with where they are.
    pub(super) stood_in: BTreeMap<Place, Mac>,
    pub(super) services: BTreeMap<ServiceKey, Recorded>,
}

/// What is announced of a Service on links of record; the links only where its advertisements name some.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) links: BTreeSet<LinkName>,
}

impl Owned {
    fn record(&mut self, service: &ServiceKey, address: IpAddr, link: Option<&LinkName>) {
        if !self.services.contains_key(service) {
            self.services.insert(service.clone(), Recorded::default());
        }
        if let Some(recorded) = self.services.get_mut(service) {
            recorded.addresses.insert(address);
            recorded.links.extend(link.cloned());
        }
    }
}

impl Speaker {
    /// Everything this node owns now, and for which Services; and what it answers for on behalf of others.
    pub(super) fn owned(&self) -> Owned {
        let mut owned = Owned::default();
        let Some(plan) = self.plan.as_ref().filter(|_| self.can_own()) else { return owned };
        let me = &self.me.node;
        let segments = segments::of(&self.links, &self.memberships);
        let all: Vec<LinkName> = self.links.keys().cloned().collect();
        let holds = |link: &LinkName, address: IpAddr| self.links.get(link).is_some_and(|link| link.holds(address));
        for (name, membership) in &self.memberships {
            if membership.standing() != Standing::Present {
                continue;
            }
            let segment = segments.names(name);
            let members = self.members(membership, segment);
            let restarting = members.values().any(|member| member.restarting);
            for group in plan.groups() {
                if !plan.owns(group, name, &members, me) {
                    if restarting && let Some(stand_in) = plan.stand_in(group, name, &members) {
                        self.stand_in(&mut owned, (plan, group), &stand_in, (name, membership, segment), &members);
                    }
                    continue;
                }
                for share in plan.announced(group, me, &all) {
                    let here: Vec<&LinkName> =
                        share.links.iter().copied().filter(|link| segment.contains(*link)).collect();
                    for address in share.addresses.iter().copied() {
                        // On a segment that two of its links are on, the node announces on one of them.
                        if segments::preferred(&self.links, &here, address) != Some(name) {
                            continue;
                        }
                        owned.places.insert((name.clone(), address));
                        // Of record, for events, metrics and status, is the allowed link whose subnet holds the address; where none of them
                        // does, every one is: somebody answers on each, also on one that no other node shares.
                        if holds(name, address) || !share.links.iter().any(|link| holds(link, address)) {
                            let limited = plan.is_limited(group, share.key, me);
                            owned.record(share.key, address, limited.then_some(name));
                        }
                    }
                }
            }
        }
        owned
    }

    /// What the owner would answer for on this link, with its MAC address.
    fn stand_in(
        &self,
        owned: &mut Owned,
        (plan, group): (&Plan, &Group),
        stand_in: &StandIn,
        (name, membership, segment): (&LinkName, &Membership, &BTreeSet<LinkName>),
        members: &BTreeMap<NodeName, Member>,
    ) {
        let owner = &stand_in.owner;
        if stand_in.by.as_ref() != Some(&self.me.node) {
            return;
        }
        // A member of which no name is known calls its link as this node does, as everywhere.
        let links = members.get(owner).map(|member| member.links.to_vec()).filter(|links| !links.is_empty());
        let links = links.unwrap_or_else(|| vec![name.clone()]);
        let here: Vec<&LinkName> = segment.iter().collect();
        for share in plan.announced(group, owner, &links) {
            for address in share.addresses.iter().copied() {
                if segments::preferred(&self.links, &here, address) != Some(name) {
                    continue;
                }
                let subnet = self.links.get(name).and_then(|link| link.subnet_of(address));
                let prefers = |own: IpAddr| subnet.is_some_and(|subnet| subnet.contains(own));
                if let Some(mac) = membership.mac_of(owner, &share.links, prefers) {
                    owned.stood_in.insert((name.clone(), address), mac);
                }
            }
        }
    }
}
