//! What follows from a snapshot alone, and the ladder on top of it.

use super::{
    Announceable, Dropped, Group, Silent, Snapshot, Verdict,
    advertise::{ByPool, Reach},
    groups::{self, Announced},
    rank,
};
use crate::{
    LinkName, NodeName, ServiceKey,
    membership::Member,
    node::{Evacuation, Node},
    service::TrafficPolicy,
};
use herald_wire::hello::DataPlane;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Everything that follows from a snapshot alone, computed once for it: the groups, and which advertisements are for whom.
#[derive(Debug, Default)]
pub struct Plan {
    snapshot: Arc<Snapshot>,
    groups: Vec<Arc<Group>>,
    /// In the order of the snapshot's advertisements.
    reaches: Vec<Reach>,
    silent: BTreeMap<ServiceKey, Silent>,
}

/// Whose a group is on a link, as seen from one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That node.
    This,
    /// Another one.
    Other,
    /// Nobody can.
    Nobody,
}

/// Somebody who may own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) node: &'a NodeName,
    /// How many Services of the group it can announce.
    services: usize,
    /// Of preferences: the highest wins.
    pub(super) score: Score,
    /// Whether it is to give its addresses away.
    evacuation: Option<Evacuation>,
    /// How its data plane is.
    pub(super) data_plane: DataPlane,
}

/// What speaks for a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// A Service of the group is to be there.
    moved: bool,
    /// Of the preferences of advertisements, summed up.
    weight: u32,
}

impl Plan {
    /// The plan for a snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self::after(&[], snapshot)
    }

    fn after(before: &[Arc<Group>], snapshot: Arc<Snapshot>) -> Self {
        let mut by_pool = ByPool::new(&snapshot.config);
        let mut silent = BTreeMap::new();
        let mut announced: Vec<Announced<'_>> = Vec::with_capacity(snapshot.services.len());
        for (key, service) in &snapshot.services {
            match by_pool.choose(service) {
                Ok(chosen) => announced.push((key, service, chosen)),
                Err(why) => {
                    silent.insert(key.clone(), why);
                }
            }
        }
        let groups = groups::groups(&announced, before);
        drop(announced);
        let reaches = snapshot.config.l2_advertisements.values().map(|l2| Reach::of(l2, &snapshot)).collect();
        Self { groups, reaches, silent, snapshot }
    }

    /// Takes a newer snapshot; gives back what there was before when anything that ownership depends on is other now.
    pub fn follow(&mut self, snapshot: Arc<Snapshot>) -> Option<Self> {
        if same_but_stamp(&self.snapshot, &snapshot) {
            self.snapshot = snapshot;
            return None;
        }
        let next = Self::after(&self.groups, snapshot);
        Some(std::mem::replace(self, next))
    }

    /// The snapshot that it was made from.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The groups of all Services that can be announced, ordered by their lowest address.
    #[must_use]
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// Why this Service is announced by nobody; `None` when it can be.
    #[must_use]
    pub fn silent(&self, service: &ServiceKey) -> Option<&Silent> {
        self.silent.get(service)
    }

    /// The owner of a group on a link with these members (this speaker included). `here` is what this node calls the link: members of which
    /// no name is known are taken to call it the same.
    #[must_use]
    pub fn desired(&self, group: &Group, here: &LinkName, members: &BTreeMap<NodeName, Member>) -> Verdict {
        let mut dropped = BTreeMap::new();
        let mut drop = |node: &NodeName, reason| {
            dropped.insert(node.clone(), reason);
        };
        let candidates = self.candidates(group, here, members, &mut drop);
        let best = candidates.iter().map(|candidate| candidate.score).max();
        let key = group.key.to_string();
        let first = candidates
            .iter()
            .filter(|candidate| Some(candidate.score) == best)
            .min_by_key(|candidate| rank(candidate.node, &key))
            .map(|candidate| candidate.node.clone());
        let others = candidates.iter().map(|candidate| candidate.node);
        let others = others.filter(|node| first.as_ref() != Some(*node)).cloned().collect();
        Verdict { owner: first, others, dropped }
    }

    /// The group with this key.
    pub(super) fn group(&self, key: IpAddr) -> Option<&Group> {
        let lowest = self.groups.binary_search_by_key(&Some(&key), |group| group.addresses.first());
        let lowest = lowest.ok().and_then(|at| self.groups.get(at)).filter(|group| group.key == key);
        lowest.or_else(|| self.groups.iter().find(|group| group.key == key)).map(|group| &**group)
    }

    /// Steps 1 to 11.
    pub(super) fn candidates(
        &self,
        group: &Group,
        here: &LinkName,
        members: &BTreeMap<NodeName, Member>,
        drop: &mut impl FnMut(&NodeName, Dropped),
    ) -> Vec<Candidate<'_>> {
        let services = group.members(&self.snapshot);
        let here = std::slice::from_ref(here);
        let mut candidates = Vec::new();
        for node in self.snapshot.nodes.values() {
            match self.judge(&services, here, node, members.get(&node.name)) {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => drop(&node.name, reason),
            }
        }
        // The last ones keep what nobody else can have: so it is with the next step, too.
        let failed = |candidate: &Candidate<'_>| candidate.data_plane == DataPlane::Failed;
        if candidates.iter().any(failed) && !candidates.iter().all(failed) {
            candidates.retain(|candidate| {
                let fails = failed(candidate);
                if fails {
                    drop(candidate.node, Dropped::DataPlaneFailed);
                }
                !fails
            });
        }
        if candidates.iter().any(|candidate| candidate.evacuation.is_none()) {
            candidates.retain(|candidate| {
                candidate.evacuation.map(|why| drop(candidate.node, Dropped::Evacuated(why))).is_none()
            });
        }
        let most = candidates.iter().map(|candidate| candidate.services).max();
        candidates.retain(|candidate| {
            let keep = Some(candidate.services) == most;
            if !keep {
                drop(candidate.node, Dropped::FewerServices);
            }
            keep
        });
        candidates
    }

    /// Steps 2 to 8.
    fn judge<'a>(
        &self,
        services: &[(&Announceable, &[usize])],
        here: &[LinkName],
        node: &'a Node,
        member: Option<&Member>,
    ) -> Result<Candidate<'a>, Dropped> {
        let name = &node.name;
        if !services.iter().any(|(_, chosen)| self.selecting(chosen, name).next().is_some()) {
            return Err(Dropped::NotSelected);
        }
        if node.excluded && !self.snapshot.ignore_exclude_label {
            return Err(Dropped::Excluded);
        }
        if node.network_unavailable {
            return Err(Dropped::NetworkUnavailable);
        }
        let serves = |(service, chosen): &&(&Announceable, &[usize])| {
            can_serve(service, name) && self.selecting(chosen, name).next().is_some()
        };
        if !services.iter().any(|service| serves(&service)) {
            return Err(Dropped::NoLocalEndpoint);
        }
        let member = member.ok_or(Dropped::NotAMember)?;
        let links = if member.links.is_empty() { here } else { &*member.links };
        let allowed = |(_, chosen): &&(&Announceable, &[usize])| self.allowing(chosen, name, links).next().is_some();
        let able = services.iter().filter(serves).filter(allowed).count();
        if able == 0 {
            return Err(Dropped::NoInterface);
        }
        if !member.ready {
            return Err(Dropped::NotReady);
        }
        // Every advertisement once, whatever the number of Services that it is for.
        let weight = match services {
            [(_, chosen)] => self.allowing(chosen, name, links).map(|reach| reach.score(name)).sum(),
            _ => {
                let all: BTreeSet<usize> = services.iter().flat_map(|(_, chosen)| *chosen).copied().collect();
                let all: Vec<usize> = all.into_iter().collect();
                self.allowing(&all, name, links).map(|reach| reach.score(name)).sum()
            }
        };
        let wanted = |service: &Announceable| service.moved.as_ref().is_some_and(|moved| moved.to == *name);
        let score = Score { moved: services.iter().any(|(service, _)| wanted(service)), weight };
        let data_plane = member.data_plane;
        Ok(Candidate { node: name, services: able, score, evacuation: node.evacuation, data_plane })
    }

    /// Of these advertisements those that select the node.
    fn selecting<'a>(&'a self, chosen: &'a [usize], node: &'a NodeName) -> impl Iterator<Item = &'a Reach> {
        chosen.iter().filter_map(|index| self.reaches.get(*index)).filter(|reach| reach.selects(node))
    }

    /// Of these advertisements those that select the node and allow one of its links.
    fn allowing<'a>(
        &'a self,
        chosen: &'a [usize],
        node: &'a NodeName,
        links: &'a [LinkName],
    ) -> impl Iterator<Item = &'a Reach> {
        self.selecting(chosen, node).filter(|reach| reach.allows(links))
    }

    /// The Services of a group that a node, once it owns the group there, announces on one of these links: each with its addresses and the
    /// links among these that its advertisements allow.
    pub fn announced<'a>(
        &'a self,
        group: &'a Group,
        node: &'a NodeName,
        links: &'a [LinkName],
    ) -> impl Iterator<Item = Share<'a>> {
        let services = group.services.iter().zip(&group.chosen);
        services.filter_map(move |(key, chosen)| {
            let service = self.snapshot.services.get(key)?;
            let allows = |link: &&LinkName| self.allowing(chosen, node, std::slice::from_ref(*link)).next().is_some();
            let links: Vec<&LinkName> = links.iter().filter(allows).collect();
            let share = Share { key, addresses: &service.addresses, links };
            (!share.links.is_empty() && can_serve(service, node)).then_some(share)
        })
    }

    /// Whether a node can serve any Service of the group.
    #[must_use]
    pub fn can_serve(&self, group: &Group, node: &NodeName) -> bool {
        group.services.iter().filter_map(|key| self.snapshot.services.get(key)).any(|service| can_serve(service, node))
    }

    /// What a node that is not the owner goes on serving on one of these links, whatever the advertisements say about it now.
    pub fn served<'a>(
        &'a self,
        group: &'a Group,
        node: &'a NodeName,
        links: &'a [LinkName],
    ) -> impl Iterator<Item = Share<'a>> {
        let services = group.services.iter().filter_map(|key| Some((key, self.snapshot.services.get(key)?)));
        let share = |(key, service): (_, &'a Announceable)| Share {
            key,
            addresses: &service.addresses,
            links: links.iter().collect(),
        };
        services.filter(|(_, service)| can_serve(service, node)).map(share)
    }

    /// Whether on this node the advertisements of a Service name interfaces: all that select the node do.
    #[must_use]
    pub fn is_limited(&self, group: &Group, service: &ServiceKey, node: &NodeName) -> bool {
        let index = group.services.binary_search(service).ok();
        let chosen = index.and_then(|index| group.chosen.get(index));
        chosen.is_some_and(|chosen| self.selecting(chosen, node).all(|reach| !reach.links.is_empty()))
    }

    /// Services for which no node has an interface that their advertisements name, with the node that would announce them: the first by
    /// preference and rank. `links` are the interfaces of every node that is heard, wherever they are.
    #[must_use]
    pub fn without_interface(
        &self,
        links: &BTreeMap<NodeName, Vec<LinkName>>,
        ready: &BTreeSet<NodeName>,
    ) -> BTreeMap<ServiceKey, NodeName> {
        let mut found = BTreeMap::new();
        for group in self.groups.iter().filter(|group| self.could_lack(group)) {
            for (key, chosen) in group.services.iter().zip(&group.chosen) {
                let Some(service) = self.snapshot.services.get(key) else { continue };
                let reached =
                    |(node, links): (&NodeName, &Vec<LinkName>)| self.allowing(chosen, node, links).next().is_some();
                if links.iter().any(reached) {
                    continue;
                }
                let pair = [(service, &**chosen)];
                let eligible = ready.iter().filter(|name| {
                    let node = self.snapshot.nodes.get(*name);
                    let member = Member { ready: true, ..Member::default() };
                    // With the interface step left out, nothing but it may be in the way.
                    node.is_some_and(|node| {
                        self.judge(&pair, &[], node, Some(&member)).err() == Some(Dropped::NoInterface)
                    })
                });
                let score = |node: &NodeName| -> u32 { self.selecting(chosen, node).map(|r| r.score(node)).sum() };
                let text = group.key.to_string();
                if let Some(node) = eligible.min_by_key(|node| (std::cmp::Reverse(score(node)), rank(node, &text))) {
                    found.insert(key.clone(), node.clone());
                }
            }
        }
        found
    }

    /// Whether any advertisement names interfaces.
    #[must_use]
    pub fn names_interfaces(&self) -> bool {
        self.reaches.iter().any(|reach| !reach.links.is_empty())
    }

    /// Whether a Service of the group has only advertisements that name interfaces.
    fn could_lack(&self, group: &Group) -> bool {
        let named = |index: &usize| self.reaches.get(*index).is_some_and(|reach| !reach.links.is_empty());
        group.chosen.iter().any(|chosen| chosen.iter().all(named))
    }
}

/// What an owner announces of one Service.
#[derive(Debug)]
pub struct Share<'a> {
    /// The Service.
    pub key: &'a ServiceKey,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// The links that its advertisements allow, never none.
    pub links: Vec<&'a LinkName>,
}

/// Equal in everything that ownership depends on.
fn same_but_stamp(a: &Snapshot, b: &Snapshot) -> bool {
    let Snapshot { config, services, nodes, speakers, ignore_exclude_label, stamp: _, saved_at: _ } = a;
    *config == b.config
        && *services == b.services
        && *nodes == b.nodes
        && *speakers == b.speakers
        && *ignore_exclude_label == b.ignore_exclude_label
}

fn can_serve(service: &Announceable, node: &NodeName) -> bool {
    match service.traffic_policy {
        TrafficPolicy::Cluster => service.serving.any,
        TrafficPolicy::Local => service.serving.nodes.contains(node),
    }
}
