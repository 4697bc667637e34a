//! Who claims which address, and who may join: MetalLB's sharing rules.

use super::{Refusal, Unshareable};
use crate::{
    ServiceKey, Set,
    net::{Family, to_number},
    service::{Port, Service, TrafficPolicy},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

/// What decides whether a Service may share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms<'a> {
    /// Only Services with equal sharing keys share.
    pub(super) key: Option<&'a str>,
    /// Cluster (`None`) shares with Cluster, Local only with an equal selector: the owner of an address must have endpoints of both.
    pub(super) backend: Option<&'a str>,
    /// No port may be opened twice.
    pub(super) ports: &'a Set<Port>,
}

impl<'a> Terms<'a> {
    pub(super) fn of(service: &'a Service) -> Self {
        Self {
            key: service.sharing_key.as_deref(),
            backend: match service.traffic_policy {
                TrafficPolicy::Cluster => None,
                TrafficPolicy::Local => Some(&service.selector),
            },
            ports: &service.ports,
        }
    }
}

/// Whether the two Services share addresses on the same terms: equal sharing key, policy, ports, and for Local policy selector.
#[must_use]
pub fn same_terms(one: &Service, two: &Service) -> bool {
    Terms::of(one) == Terms::of(two)
}

/// The claims on one address.
#[derive(Debug)]
enum Claims<'a> {
    /// Nearly every address: kept small.
    Sole(&'a Service),
    /// Summed up, so that joining an address with a thousand holders costs no thousand comparisons.
    Several(Box<Summary<'a>>),
}

#[derive(Debug, Default)]
struct Summary<'a> {
    /// By key and backend; more than one entry only while Services that may not share still stand on the address.
    groups: BTreeMap<(Option<&'a str>, Option<&'a str>), BTreeSet<&'a ServiceKey>>,
    ports: BTreeMap<&'a Port, BTreeSet<&'a ServiceKey>>,
}

impl<'a> Summary<'a> {
    fn add(&mut self, service: &'a Service) {
        let terms = Terms::of(service);
        self.groups.entry((terms.key, terms.backend)).or_default().insert(&service.key);
        for port in terms.ports {
            self.ports.entry(port).or_default().insert(&service.key);
        }
    }
}

/// Claimed addresses by family. An address without claims has no entry.
#[derive(Debug, Default)]
pub(super) struct Space<'a> {
    v4: BTreeMap<u128, Claims<'a>>,
    v6: BTreeMap<u128, Claims<'a>>,
}

impl<'a> Space<'a> {
    fn family(&self, family: Family) -> &BTreeMap<u128, Claims<'a>> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Adds a claim; claiming twice is claiming once.
    pub(super) fn claim(&mut self, address: IpAddr, service: &'a Service) {
        let addresses = match Family::of(address) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        match addresses.entry(to_number(address)) {
            Entry::Vacant(free) => {
                free.insert(Claims::Sole(service));
            }
            Entry::Occupied(mut taken) => match taken.get_mut() {
                Claims::Sole(holder) if holder.key == service.key => {}
                Claims::Sole(holder) => {
                    let mut summary = Box::<Summary<'a>>::default();
                    summary.add(holder);
                    summary.add(service);
                    taken.insert(Claims::Several(summary));
                }
                Claims::Several(summary) => summary.add(service),
            },
        }
    }

    /// Whether the Service may have the address beside everybody else who claims it; its own claims do not stand in its way.
    pub(super) fn admits(&self, address: IpAddr, service: &Service) -> Result<(), Refusal> {
        let mine = Terms::of(service);
        let conflict = match self.family(Family::of(address)).get(&to_number(address)) {
            None => None,
            Some(Claims::Sole(holder)) if holder.key == service.key => None,
            Some(Claims::Sole(holder)) => {
                let theirs = Terms::of(holder);
                let ports = || mine.ports.iter().find(|port| theirs.ports.contains(port)).map(port_taken);
                differ(&mine, theirs.key, theirs.backend).or_else(ports).map(|why| (&holder.key, why))
            }
            Some(Claims::Several(summary)) => {
                let others = |holders| other(holders, &service.key);
                let groups = summary
                    .groups
                    .iter()
                    .find_map(|(&(key, backend), holders)| Some((others(holders)?, differ(&mine, key, backend)?)));
                groups.or_else(|| {
                    mine.ports.iter().find_map(|port| Some((others(summary.ports.get(port)?)?, port_taken(port))))
                })
            }
        };
        match conflict {
            Some((holder, why)) => Err(Refusal::InUse { address, holder: holder.clone(), why }),
            None => Ok(()),
        }
    }

    /// The lowest unclaimed number from `from` to `last` that is not skipped: the next gap, found by walking over what is claimed.
    pub(super) fn gap(&self, family: Family, from: u128, last: u128, skip: impl Fn(u128) -> bool) -> Option<u128> {
        if from > last {
            return None;
        }
        let mut number = from;
        let mut claimed = self.family(family).range(from..=last).map(|(&number, _)| number).peekable();
        loop {
            let taken = claimed.next_if_eq(&number).is_some();
            if !taken && !skip(number) {
                return Some(number);
            }
            number = number.checked_add(1).filter(|&next| next <= last)?;
        }
    }
}

/// What speaks against sharing with somebody of this key and backend, ports aside.
fn differ(mine: &Terms<'_>, key: Option<&str>, backend: Option<&str>) -> Option<Unshareable> {
    match (mine.key, key) {
        (None, _) => Some(Unshareable::NoKeyHere),
        (_, None) => Some(Unshareable::NoKeyThere),
        (Some(mine), Some(theirs)) if mine != theirs => Some(Unshareable::KeysDiffer),
        _ => (mine.backend != backend).then_some(Unshareable::BackendsDiffer),
    }
}

fn port_taken(port: &Port) -> Unshareable {
    Unshareable::PortTaken { protocol: port.protocol, number: port.number }
}

/// The first of the holders that is not the Service itself.
fn other<'k>(holders: &BTreeSet<&'k ServiceKey>, service: &ServiceKey) -> Option<&'k ServiceKey> {
    holders.iter().copied().find(|&holder| holder != service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{allocate::tests::service, net::from_number};
    use proptest::prelude::*;

    proptest! {
        /// The walk finds what counting one by one finds, also at the end of the address space.
        #[test]
        fn the_gap_is_the_lowest_free_number(
            taken in proptest::collection::btree_set(0u128..24, 0..24),
            from in 0u128..24,
            length in 0u128..25,
            skipped in 0u128..24,
            at_the_end in any::<bool>(),
        ) {
            let (family, base) = if at_the_end { (Family::V6, u128::MAX - 47) } else { (Family::V4, 0) };
            let holder = service("holder");
            let mut space = Space::default();
            for number in &taken {
                space.claim(from_number(family, base + number).unwrap(), &holder);
            }
            let last = from + length;
            let found = space.gap(family, base + from, base + last, |number| number == base + skipped);
            let expected = (from..=last).find(|number| !taken.contains(number) && *number != skipped);
            prop_assert_eq!(found, expected.map(|number| base + number));
        }
    }

    #[test]
    fn nothing_is_free_in_an_empty_stretch() {
        assert_eq!(Space::default().gap(Family::V4, 5, 4, |_| false), None);
    }
}
