//! Services that must have one owner together.

use super::{Announceable, Snapshot, advertise::Chosen};
use crate::{ServiceKey, Set, service::TrafficPolicy};
use serde::Serialize;
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

/// Services and addresses connected by sharing or dual stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What the rank is computed from: the first ingress address of a lone Service, as MetalLB; of a larger group its lowest IPv4 address,
    /// else its lowest IPv6 address (MetalLB elects twice there and can disagree with itself).
    pub key: IpAddr,
    /// Every address of the group.
    pub addresses: Set<IpAddr>,
    /// Every Service of the group.
    pub services: Set<ServiceKey>,
    /// The advertisements of each Service, in their order.
    #[serde(skip)]
    pub(super) chosen: Box<[Chosen]>,
    /// A lone Service that every node can serve and that nobody moved: nothing but its advertisements matters to who may own it, and with
    /// which score.
    #[serde(skip)]
    pub(super) everywhere: bool,
}

/// One that can be announced, with its advertisements.
pub(super) type Announced<'a> = (&'a ServiceKey, &'a Announceable, Chosen);

/// The groups of these Services, which are in the order of their keys; the groups in the order of their lowest address. Those that are as they
/// were `before`, nearly all, are kept and not made again: for a moment there are both, with ten thousand Services some MiB.
pub(super) fn groups(announced: &[Announced<'_>], before: &[Arc<Group>]) -> Vec<Arc<Group>> {
    let addresses = |(at, (_, service, _)): (usize, &Announced<'_>)| {
        let addresses: &[IpAddr] = &service.addresses;
        addresses.iter().map(|address| (*address, at)).collect::<Vec<_>>()
    };
    let mut by_address: Vec<(IpAddr, usize)> = announced.iter().enumerate().flat_map(addresses).collect();
    by_address.sort_unstable();
    let mut before = before.iter().peekable();
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut groups = Vec::with_capacity(before.len());
    for start in by_address.chunk_by(|a, b| a.0 == b.0).filter_map(|same| same.first()).map(|(address, _)| *address) {
        if seen.contains(&start) {
            continue;
        }
        let group = group(announced, &by_address, start);
        // No other one meets an address that is alone.
        if group.addresses.len() > 1 {
            seen.extend(&*group.addresses);
        }
        while before.next_if(|old| old.addresses.first() < group.addresses.first()).is_some() {}
        let kept = before.peek().copied().filter(|old| ***old == group);
        groups.push(kept.map_or_else(|| Arc::new(group), Arc::clone));
    }
    groups
}

/// The group of an address.
fn group(announced: &[Announced<'_>], by_address: &[(IpAddr, usize)], start: IpAddr) -> Group {
    let (mut addresses, mut services) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![start];
    while let Some(address) = open.pop() {
        if !addresses.insert(address) {
            continue;
        }
        let first = by_address.partition_point(|(other, _)| *other < address);
        let here = by_address.iter().skip(first).take_while(|(other, _)| *other == address);
        for at in here.map(|(_, at)| *at).filter(|at| services.insert(*at)) {
            open.extend(announced.get(at).into_iter().flat_map(|(_, service, _)| &*service.addresses));
        }
    }
    let members: Vec<&Announced<'_>> = services.into_iter().filter_map(|at| announced.get(at)).collect();
    let lone = if let [(_, service, _)] = *members { Some(*service) } else { None };
    // IpAddr orders every IPv4 address before every IPv6 one.
    let key =
        lone.and_then(|service| service.addresses.first()).or_else(|| addresses.first()).copied().unwrap_or(start);
    let everywhere = lone.is_some_and(|service| {
        service.traffic_policy == TrafficPolicy::Cluster && service.serving.any && service.moved.is_none()
    });
    Group {
        key,
        everywhere,
        chosen: members.iter().map(|(_, _, chosen)| Chosen::clone(chosen)).collect(),
        addresses: addresses.into_iter().collect(),
        services: members.iter().map(|(key, _, _)| ServiceKey::clone(key)).collect(),
    }
}

impl Group {
    /// Its Services, as the snapshot has them that the group was made from, with their advertisements.
    pub(super) fn members<'a>(&'a self, snapshot: &'a Snapshot) -> Vec<(&'a Announceable, &'a [usize])> {
        let services = self.services.iter().zip(&self.chosen);
        services.filter_map(|(key, chosen)| Some((snapshot.services.get(key)?, &**chosen))).collect()
    }
}
