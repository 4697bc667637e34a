//! Services that must have one owner together.

use super::{Announceable, Snapshot, advertise::Chosen};
use crate::{ServiceKey, Set, service::TrafficPolicy};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

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

/// Those that can be announced, with their advertisements.
pub(super) type Announced<'a> = BTreeMap<&'a ServiceKey, (&'a Announceable, Chosen)>;

/// The groups of these Services, ordered by their lowest address.
pub(super) fn groups(announced: &Announced<'_>) -> Vec<Group> {
    let mut by_address: BTreeMap<IpAddr, Vec<&ServiceKey>> = BTreeMap::new();
    for (key, (service, _)) in announced {
        for address in &*service.addresses {
            by_address.entry(*address).or_default().push(key);
        }
    }
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut groups = Vec::new();
    for start in by_address.keys() {
        if seen.contains(start) {
            continue;
        }
        let (mut addresses, mut services) = (BTreeSet::new(), BTreeSet::new());
        let mut open = vec![*start];
        while let Some(address) = open.pop() {
            if !addresses.insert(address) {
                continue;
            }
            for key in by_address.get(&address).into_iter().flatten() {
                if services.insert((*key).clone()) {
                    open.extend(announced.get(key).into_iter().flat_map(|(service, _)| &*service.addresses));
                }
            }
        }
        seen.extend(&addresses);
        let key = key_of(announced, &addresses, &services, *start);
        let chosen = services.iter().filter_map(|key| announced.get(key)).map(|(_, chosen)| Chosen::clone(chosen));
        let everywhere = lone(announced, &services).is_some_and(|(service, _)| {
            service.traffic_policy == TrafficPolicy::Cluster && service.serving.any && service.moved.is_none()
        });
        groups.push(Group {
            key,
            everywhere,
            chosen: chosen.collect(),
            addresses: addresses.into_iter().collect(),
            services: services.into_iter().collect(),
        });
    }
    groups
}

fn lone<'a>(announced: &'a Announced<'a>, services: &BTreeSet<ServiceKey>) -> Option<&'a (&'a Announceable, Chosen)> {
    services.first().filter(|_| services.len() == 1).and_then(|key| announced.get(key))
}

fn key_of(
    announced: &Announced<'_>,
    addresses: &BTreeSet<IpAddr>,
    services: &BTreeSet<ServiceKey>,
    lowest: IpAddr,
) -> IpAddr {
    let lone = lone(announced, services);
    // IpAddr orders every IPv4 address before every IPv6 one.
    lone.and_then(|(service, _)| service.addresses.first()).or_else(|| addresses.first()).copied().unwrap_or(lowest)
}

impl Group {
    /// Its Services, as the snapshot has them that the group was made from, with their advertisements.
    pub(super) fn members<'a>(&'a self, snapshot: &'a Snapshot) -> Vec<(&'a Announceable, &'a [usize])> {
        let services = self.services.iter().zip(&self.chosen);
        services.filter_map(|(key, chosen)| Some((snapshot.services.get(key)?, &**chosen))).collect()
    }
}
