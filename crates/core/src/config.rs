//! What the cluster's administrator configured, checked: the same types whatever the source (ConfigMap today, custom resources too).

use crate::{
    PoolName,
    net::{Family, IpRange},
};
use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr};

/// A complete, valid configuration. Pool names are unique and no two ranges overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Pool>,
}

/// A pool of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// How its addresses are announced.
    pub protocol: Protocol,
    /// Its ranges in the order of the configuration: allocation follows it.
    pub ranges: Vec<IpRange>,
    /// Whether a Service that names no pool may get an address from it.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255: some old devices drop them.
    pub avoid_buggy_ips: bool,
}

/// How the addresses of a pool become known to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// ARP and NDP on the link.
    Layer2,
    /// BGP: parsed, validated and allocated from; not announced yet.
    Bgp,
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
