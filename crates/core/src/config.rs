//! What the cluster's administrator configured, checked: the same types whatever the source (ConfigMap today, custom resources too).

mod bgp;

pub use bgp::{BfdProfile, BgpAdvertisement, BgpPeer, Community, InvalidCommunity, Password, PeerAsn, PeerEndpoint};

use crate::{
    AdvertisementName, LinkName, PoolName,
    labels::{Labels, Selector, any_matches},
    net::{Family, IpRange},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A complete, valid configuration. Pool names are unique and no two ranges overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Pool>,
    /// How pools are announced by ARP and NDP.
    pub l2_advertisements: BTreeMap<AdvertisementName, L2Advertisement>,
    /// How pools are announced by BGP: parsed and validated; not announced yet. What is about BGP is not read back: passwords are not written.
    #[serde(skip_deserializing)]
    pub bgp_advertisements: BTreeMap<AdvertisementName, BgpAdvertisement>,
    /// BGP neighbours by name.
    #[serde(skip_deserializing)]
    pub bgp_peers: BTreeMap<Box<str>, BgpPeer>,
    /// BFD profiles by name.
    #[serde(skip_deserializing)]
    pub bfd_profiles: BTreeMap<Box<str>, BfdProfile>,
}

/// A pool of addresses. Without an advertisement that names or selects it, its addresses are given and nobody announces them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its ranges in the order of the configuration: allocation follows it.
    pub ranges: Vec<IpRange>,
    /// Whether a Service that names no pool may get an address from it.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255: some old devices drop them.
    pub avoid_buggy_ips: bool,
    /// Its own labels: advertisements select by them.
    pub labels: Labels,
    /// Which Services it is for; `None` = any. A pool with this ("pinned") comes before those without.
    pub allocation: Option<ServiceAllocation>,
}

/// Which Services a pool is for: the namespace fits and the Service fits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAllocation {
    /// Lower numbers are preferred; 0 = least preferred of all.
    pub priority: u32,
    /// Namespaces by name. Empty together with `namespace_selectors` = all namespaces; a selector that chooses none restricts to none.
    pub namespaces: BTreeSet<Box<str>>,
    /// Namespaces by their labels: one of these, or by name.
    pub namespace_selectors: Vec<Selector>,
    /// Services by their labels: one of these; empty = all.
    pub service_selectors: Vec<Selector>,
}

/// Which pools an advertisement is for: by name or by the pool's labels; neither given = all pools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChoice {
    /// By name; unknown names are no error.
    pub names: BTreeSet<PoolName>,
    /// By label: one of these.
    pub selectors: Vec<Selector>,
}

/// Who announces by ARP and NDP, and where. The default: every pool, every Service, every node, every link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct L2Advertisement {
    /// Which pools.
    pub pools: PoolChoice,
    /// Which Services of these pools: one of the selectors; empty = all.
    pub service_selectors: Vec<Selector>,
    /// Which nodes: one of the selectors; empty = all.
    pub node_selectors: Vec<Selector>,
    /// On which links; empty = all.
    pub interfaces: BTreeSet<LinkName>,
    /// Which of these nodes are preferred: the weights of all that match are added.
    pub preferred_nodes: Vec<Preference>,
}

/// A preference for nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Preference {
    /// 1 to 100.
    pub weight: u8,
    /// For these nodes; empty = all that the advertisement allows.
    pub selector: Selector,
}

impl PoolChoice {
    /// Exactly this pool.
    #[must_use]
    pub fn only(pool: PoolName) -> Self {
        Self { names: BTreeSet::from([pool]), selectors: Vec::new() }
    }

    /// Whether the pool is meant.
    #[must_use]
    pub fn includes(&self, name: &PoolName, pool: &Pool) -> bool {
        let open = self.names.is_empty() && self.selectors.is_empty();
        open || self.names.contains(name) || any_matches(&self.selectors, &pool.labels)
    }
}

impl Pool {
    /// Whether the pool may hand out this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address)) && !(self.avoid_buggy_ips && is_buggy(address))
    }

    /// Whether the pool has a range of this family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.ranges.iter().any(|range| range.family() == family)
    }
}

impl Config {
    /// This configuration, and beside it the pools that a mistake keeps from being in force, with nothing but the addresses that Services hold
    /// from them (each with its pool, as the Service's annotation says). So a speaker that starts while a pool is wrong announces what those
    /// who knew it before go on announcing. Of pools that are not even known by name (`unread`: the ConfigMap cannot be read, or no object is
    /// there at all) nobody can say how they are announced: by ARP and NDP, as most are.
    #[must_use]
    pub fn with_held<'a>(
        &self,
        broken: &BTreeMap<PoolName, Labels>,
        unread: bool,
        held: impl Iterator<Item = (&'a PoolName, IpAddr)>,
    ) -> Self {
        let mut all = self.clone();
        for (name, address) in held {
            let labels = broken.get(name);
            if self.pools.contains_key(name) || self.pool_of(address).is_some() || (labels.is_none() && !unread) {
                continue;
            }
            let new = || Pool { labels: labels.cloned().unwrap_or_default(), ..Pool::default() };
            all.pools.entry(name.clone()).or_insert_with(new).ranges.extend(IpRange::new(address, address));
            if labels.is_none() {
                let advertisement = L2Advertisement { pools: PoolChoice::only(name.clone()), ..Default::default() };
                all.l2_advertisements.entry(AdvertisementName::new(name.as_str())).or_insert(advertisement);
            }
        }
        all
    }

    /// The pool that may hand out this address: at most one, as pools do not overlap.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<(&PoolName, &Pool)> {
        self.pools.iter().find(|(_, pool)| pool.contains(address))
    }
}

/// Whether `avoid-buggy-ips` leaves this address out: IPv4, last octet 0 or 255, whatever the prefix length (as MetalLB).
#[must_use]
pub fn is_buggy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_from_pools_that_are_not_in_force() {
        let pool = |range: &str| Pool { ranges: vec![range.parse().unwrap()], ..Pool::default() };
        let config = Config { pools: [("good".into(), pool("10.0.0.0/24"))].into(), ..Config::default() };
        let labels: Labels = [("zone", "a")].into_iter().collect();
        let broken = BTreeMap::from([(PoolName::from("wrong"), labels.clone())]);
        let held = [("good", "10.0.9.1"), ("wrong", "10.0.1.1"), ("wrong", "10.0.0.7"), ("gone", "10.0.2.1")];
        let held: Vec<(PoolName, IpAddr)> = held.map(|(name, ip)| (name.into(), ip.parse().unwrap())).into();
        let with = |unread| config.with_held(&broken, unread, held.iter().map(|(name, address)| (name, *address)));

        let known = with(false);
        assert_eq!(known.pools.len(), 2, "neither one that has none, nor other addresses of one in force");
        let wrong = &known.pools[&"wrong".into()];
        assert_eq!((&wrong.labels, wrong.ranges.len()), (&labels, 1), "an address in force belongs to its pool");
        assert!(known.l2_advertisements.is_empty(), "advertisements choose it by name and labels");
        assert_eq!(known.pools[&"good".into()], config.pools[&"good".into()]);

        let unread = with(true);
        assert_eq!(unread.pools.len(), 3);
        assert_eq!(unread.l2_advertisements[&"gone".into()].pools, PoolChoice::only("gone".into()));
    }
}
