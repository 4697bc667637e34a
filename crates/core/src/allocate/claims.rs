//! Who claims which address, and who may join: MetalLB's sharing rules.

use super::{Refusal, Unshareable};
use crate::{
    ServiceKey,
    net::{Family, to_number},
    service::{Port, Service, TrafficPolicy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    pub(super) ports: &'a BTreeSet<Port>,
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

/// The claims on one address, summed up so that joining an address with a thousand holders costs no thousand comparisons.
#[derive(Debug, Default)]
struct Claims<'a> {
    /// By key and backend; more than one entry only while Services that may not share still stand on the address.
    groups: BTreeMap<(Option<&'a str>, Option<&'a str>), BTreeSet<&'a ServiceKey>>,
    ports: BTreeMap<&'a Port, BTreeSet<&'a ServiceKey>>,
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
        let terms = Terms::of(service);
        let addresses = match Family::of(address) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let claims = addresses.entry(to_number(address)).or_default();
        claims.groups.entry((terms.key, terms.backend)).or_default().insert(&service.key);
        for port in terms.ports {
            claims.ports.entry(port).or_default().insert(&service.key);
        }
    }

    /// Whether the Service may have the address beside everybody else who claims it; its own claims do not stand in its way.
    pub(super) fn admits(&self, address: IpAddr, service: &Service) -> Result<(), Refusal> {
        let Some(claims) = self.family(Family::of(address)).get(&to_number(address)) else { return Ok(()) };
        let mine = Terms::of(service);
        let refuse = |holder: &ServiceKey, why| Err(Refusal::InUse { address, holder: holder.clone(), why });
        for (&(key, backend), holders) in &claims.groups {
            let Some(holder) = other(holders, &service.key) else { continue };
            if mine.key.is_none() {
                return refuse(holder, Unshareable::NoKeyHere);
            } else if key.is_none() {
                return refuse(holder, Unshareable::NoKeyThere);
            } else if key != mine.key {
                return refuse(holder, Unshareable::KeysDiffer);
            } else if backend != mine.backend {
                return refuse(holder, Unshareable::BackendsDiffer);
            }
        }
        for port in mine.ports {
            if let Some(holder) = claims.ports.get(port).and_then(|holders| other(holders, &service.key)) {
                let why = Unshareable::PortTaken { protocol: port.protocol.clone(), number: port.number };
                return refuse(holder, why);
            }
        }
        Ok(())
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

/// The first of the holders that is not the Service itself.
fn other<'k>(holders: &BTreeSet<&'k ServiceKey>, service: &ServiceKey) -> Option<&'k ServiceKey> {
    holders.iter().copied().find(|&holder| holder != service)
}
