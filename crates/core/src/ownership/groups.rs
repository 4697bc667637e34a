//! Services that must have one owner together.

use super::{Announceable, Snapshot, silent};
use crate::{ServiceKey, Set};
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
}

/// The groups of all Services that can be announced, ordered by their lowest address.
#[must_use]
pub fn groups(snapshot: &Snapshot) -> Vec<Group> {
    let announced: BTreeMap<&ServiceKey, &Announceable> =
        snapshot.services.iter().filter(|(_, service)| silent(&snapshot.config, service).is_none()).collect();
    let mut by_address: BTreeMap<IpAddr, Vec<&ServiceKey>> = BTreeMap::new();
    for (key, service) in &announced {
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
                    open.extend(announced.get(key).into_iter().flat_map(|service| &*service.addresses));
                }
            }
        }
        seen.extend(&addresses);
        let key = key_of(&announced, &addresses, &services, *start);
        groups.push(Group {
            key,
            addresses: addresses.into_iter().collect(),
            services: services.into_iter().collect(),
        });
    }
    groups
}

fn key_of(
    announced: &BTreeMap<&ServiceKey, &Announceable>,
    addresses: &BTreeSet<IpAddr>,
    services: &BTreeSet<ServiceKey>,
    lowest: IpAddr,
) -> IpAddr {
    let lone = services.first().filter(|_| services.len() == 1).and_then(|key| announced.get(key));
    // IpAddr orders every IPv4 address before every IPv6 one.
    lone.and_then(|service| service.addresses.first()).or_else(|| addresses.first()).copied().unwrap_or(lowest)
}
