//! What the cluster's administrator configured, checked: the same types whatever the source (ConfigMap today, custom resources too).

mod bgp;

pub use bgp::{BfdProfile, BgpAdvertisement, BgpPeer, Community, InvalidCommunity, Password, PeerAsn, PeerEndpoint};

use crate::{
    AdvertisementName, LinkName, PoolName,
    labels::{Labels, Selector, any_matches},
    net::{Family, IpRange},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A complete, valid configuration. Pool names are unique and no two ranges overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Pool>,
    /// How pools are announced by ARP and NDP.
    pub l2_advertisements: BTreeMap<AdvertisementName, L2Advertisement>,
    /// How pools are announced by BGP: parsed and validated; not announced yet.
    pub bgp_advertisements: BTreeMap<AdvertisementName, BgpAdvertisement>,
    /// BGP neighbours by name.
    pub bgp_peers: BTreeMap<Box<str>, BgpPeer>,
    /// BFD profiles by name.
    pub bfd_profiles: BTreeMap<Box<str>, BfdProfile>,
}

/// A pool of addresses. Without an advertisement that names or selects it, its addresses are given and nobody announces them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PoolChoice {
    /// By name; unknown names are no error.
    pub names: BTreeSet<PoolName>,
    /// By label: one of these.
    pub selectors: Vec<Selector>,
}

/// Who announces by ARP and NDP, and where. The default: every pool, every Service, every node, every link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
