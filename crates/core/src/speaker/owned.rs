//! What this node answers for: its own, and what it stands in for.

use super::{Announced, Announcing, Speaker, segments};
use crate::{
    LinkName, NodeName, ServiceKey,
    announce::Place,
    membership::{Member, Membership},
    ownership::{Group, Holder, Plan, Role, Share, StandIn, View},
    time::Moment,
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
    /// Of these, what is not said unasked: the node that gave it away still drains.
    pub(super) quiet: BTreeSet<Place>,
    /// What it gave away, while it drains.
    pub(super) drained: BTreeSet<Place>,
    /// Of restarting owners, with where they are.
    pub(super) stood_in: BTreeMap<Place, Mac>,
    /// What another node owns, on each link in order.
    pub(super) others: BTreeMap<LinkName, Vec<IpAddr>>,
    /// Of these, what this node asked for just now, and nobody had: nobody has looked either whether a foreign station has it.
    pub(super) free: BTreeSet<Place>,
    /// Links on which this node takes part from now on and goes on where it was: peers kept its place while its speaker was away, so the
    /// neighbours know where its addresses are.
    pub(super) resumed: BTreeSet<LinkName>,
    /// For which Service a place is owned, and the link that is of record for it.
    records: Vec<(ServiceKey, Place, Option<LinkName>)>,
}

impl Owned {
    /// What is announced of each Service, where it may be. Thousands of them are made anew for each decision: without small pieces in between.
    pub(super) fn announcing(&mut self, may: impl Fn(&Place) -> bool) -> Announcing {
        self.records.retain(|(_, place, _)| may(place));
        self.records.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let announced = |records: &[(ServiceKey, Place, Option<LinkName>)]| {
            let (key, ..) = records.first()?;
            let addresses = records.iter().map(|(_, (_, address), _)| *address).collect();
            let links = records.iter().filter_map(|(.., link)| link.clone()).collect();
            Some((key.clone(), Announced { addresses, links }))
        };
        self.records.chunk_by(|(a, ..), (b, ..)| a == b).filter_map(announced).collect()
    }
}

impl Speaker {
    /// Everything this node holds now, and for which Services; and what it answers for on behalf of others.
    pub(super) fn owned(&mut self, now: Moment) -> Owned {
        // Taken out, as what is settled on is the rest.
        let mut holders = std::mem::take(&mut self.holders);
        let owned = self.settle(&mut holders, now);
        self.holders = holders;
        owned
    }

    fn settle(&self, holders: &mut BTreeMap<LinkName, Holder>, now: Moment) -> Owned {
        let mut owned = Owned::default();
        let takes_part = |link: &LinkName| self.memberships.get(link).is_some_and(Membership::takes_part);
        holders.retain(|link, _| takes_part(link) && self.can_own());
        let Some(plan) = self.plan.as_ref().filter(|_| self.can_own()) else { return owned };
        let segments = segments::of(&self.links, &self.memberships);
        let all: Vec<LinkName> = self.links.keys().cloned().collect();
        for (name, membership) in self.memberships.iter().filter(|(name, _)| takes_part(name)) {
            let segment = segments.names(name);
            let members = self.members(membership, segment);
            // Only who comes back goes on where it was. Who is here has lost a few hellos on the way when peers keep its place: what it gets
            // now, from a node that died, is new to the neighbours. And where others start as well, those who keep places know little more
            // than this node.
            let view = self.view((plan, name), &members, now);
            let resumes = !holders.contains_key(name) && membership.was_kept(now) && !view.others_start();
            if resumes {
                owned.resumed.insert(name.clone());
            }
            let view = View { kept: resumes, ..view };
            let holder = holders.entry(name.clone()).or_insert_with(|| Holder::new(self.moves, now));
            holder.begin(&view);
            // While others start as well, who is ready is no more than the first of them.
            let stands_in = members.values().any(|member| member.restarting) && !holder.awaits_others(&view);
            let mut others = Vec::new();
            for (position, group) in plan.groups().iter().enumerate() {
                let role = holder.step(&view, (position, group));
                if matches!(role, Role::Elsewhere | Role::Draining) {
                    others.extend_from_slice(&group.addresses);
                }
                if holder.was_free(group) {
                    owned.free.extend(group.addresses.iter().map(|address| (name.clone(), *address)));
                }
                if !matches!(role, Role::Holder { .. }) {
                    if stands_in
                        && !holder.is_held_by_another(group, &members)
                        && let Some(stand_in) = view.electorate.stand_in(group)
                    {
                        self.stand_in(&mut owned, (plan, group), &stand_in, (name, membership, segment), &members);
                    }
                    if role != Role::Draining {
                        continue;
                    }
                }
                if matches!(role, Role::Holder { owner: true, .. }) {
                    let shares = plan.announced(group, &self.me.node, &all);
                    self.hold(&mut owned, (plan, group), shares, (name, segment), role);
                } else {
                    let shares = plan.served(group, &self.me.node, &all);
                    self.hold(&mut owned, (plan, group), shares, (name, segment), role);
                }
            }
            holder.finish(&view);
            others.sort_unstable();
            owned.others.insert(name.clone(), others);
        }
        owned
    }

    /// What it has of a group on this link.
    fn hold<'a>(
        &self,
        owned: &mut Owned,
        (plan, group): (&Plan, &Group),
        shares: impl Iterator<Item = Share<'a>>,
        (name, segment): (&LinkName, &BTreeSet<LinkName>),
        role: Role,
    ) {
        let holds = |link: &LinkName, address: IpAddr| self.links.get(link).is_some_and(|link| link.holds(address));
        for share in shares {
            let here: Vec<&LinkName> = share.links.iter().copied().filter(|link| segment.contains(*link)).collect();
            for address in share.addresses.iter().copied() {
                // On a segment that two of its links are on, the node announces on one of them.
                if segments::preferred(&self.links, &here, address) != Some(name) {
                    continue;
                }
                let place = (name.clone(), address);
                let Role::Holder { quiet, .. } = role else {
                    owned.drained.insert(place);
                    continue;
                };
                if quiet {
                    owned.quiet.insert(place.clone());
                }
                // Of record, for events, metrics and status, is the allowed link whose subnet holds the address; where none of them
                // does, every one is: somebody answers on each, also on one that no other node shares.
                if holds(name, address) || !share.links.iter().any(|link| holds(link, address)) {
                    let limited = plan.is_limited(group, share.key, &self.me.node);
                    owned.records.push((share.key.clone(), place.clone(), limited.then(|| name.clone())));
                }
                owned.places.insert(place);
            }
        }
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
