//! Where addresses may be taken from: pools by address, and the lowest address that a Service may have in a pool.
//!
//! Within one plan claims only grow, so what was passed over once never has to be looked at again; every search resumes where the last
//! one of its kind ended. That keeps a plan for ten thousand Services, waiting ones included, far from quadratic.

use super::claims::{Space, Terms};
use crate::{
    PoolName,
    config::{Config, Pool, is_buggy},
    net::{Family, IpRange, from_number, to_number},
    service::Service,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A place in a pool; places are tried in this order: ranges as listed, addresses ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    range: usize,
    number: u128,
}

const START: Position = Position { range: 0, number: 0 };

/// A pool with its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a PoolName,
    pub(super) pool: &'a Pool,
}

/// A range, its place in its pool, and the pool.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    range: IpRange,
    index: usize,
    pool: Named<'a>,
}

/// Pools with what is claimed in them.
#[derive(Debug)]
pub(super) struct Pools<'a> {
    /// Every range by family and first address; ranges do not overlap.
    ranges: BTreeMap<(Family, u128), Entry<'a>>,
    /// Nobody gets these without asking for them.
    quarantined: &'a BTreeSet<IpAddr>,
    /// Everything that any status shows, and everything that this plan gave away.
    claimed: Space<'a>,
    /// Nothing is free before this place; `None` when nothing is free at all.
    free: BTreeMap<(&'a PoolName, Family), Option<Position>>,
    /// How many pools at the front of a rung, by its number, have nothing free.
    exhausted: BTreeMap<(usize, Family), usize>,
    /// Addresses on which a Service with that sharing key stands.
    keyed: BTreeMap<(&'a PoolName, Family, &'a str), BTreeSet<Position>>,
    /// Nothing can be shared on these terms before this place.
    refused: BTreeMap<(&'a PoolName, Family, Terms<'a>), Position>,
}

impl<'a> Pools<'a> {
    pub(super) fn new(config: &'a Config, quarantined: &'a BTreeSet<IpAddr>) -> Self {
        let mut ranges = BTreeMap::new();
        for (name, pool) in &config.pools {
            for (index, &range) in pool.ranges.iter().enumerate() {
                ranges.insert((range.family(), range.first()), Entry { range, index, pool: Named { name, pool } });
            }
        }
        Self {
            ranges,
            quarantined,
            claimed: Space::default(),
            free: BTreeMap::new(),
            exhausted: BTreeMap::new(),
            keyed: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn entry(&self, address: IpAddr) -> Option<Entry<'a>> {
        let (family, number) = (Family::of(address), to_number(address));
        let (_, &entry) = self.ranges.range((family, 0)..=(family, number)).next_back()?;
        let skipped = entry.pool.pool.avoid_buggy_ips && is_buggy(address);
        (entry.range.contains(address) && !skipped).then_some(entry)
    }

    /// The pool that may hand out this address.
    pub(super) fn pool_of(&self, address: IpAddr) -> Option<Named<'a>> {
        self.entry(address).map(|entry| entry.pool)
    }

    /// Counts the address as taken by this Service from now on.
    pub(super) fn claim(&mut self, address: IpAddr, service: &'a Service) {
        self.claimed.claim(address, service);
        if let (Some(key), Some(entry)) = (service.sharing_key.as_deref(), self.entry(address)) {
            let position = Position { range: entry.index, number: to_number(address) };
            self.keyed.entry((entry.pool.name, Family::of(address), key)).or_default().insert(position);
        }
    }

    /// What everybody claims.
    pub(super) const fn claimed(&self) -> &Space<'a> {
        &self.claimed
    }

    /// How many of the rung's leading pools have nothing free of that family: nobody without a sharing key need look at them again.
    pub(super) fn exhausted(&mut self, rung: usize, pools: &[Named<'a>], family: Family) -> usize {
        let mut count = self.exhausted.get(&(rung, family)).copied().unwrap_or(0);
        while pools.get(count).is_some_and(|&pool| self.lowest_free(pool, family).is_none()) {
            count += 1;
        }
        self.exhausted.insert((rung, family), count);
        count
    }

    /// The lowest address of that family that the Service may have in the pool, free or shared, whichever comes first (as MetalLB: a lower
    /// free address goes before a higher shared one, and the other way round).
    pub(super) fn lowest(&mut self, named: Named<'a>, family: Family, service: &'a Service) -> Option<IpAddr> {
        let free = self.lowest_free(named, family);
        let shared = self.lowest_shared(named, family, service, free);
        from_number(family, shared.or(free)?.number)
    }

    fn lowest_free(&mut self, named: Named<'a>, family: Family) -> Option<Position> {
        let known = self.free.entry((named.name, family)).or_insert(Some(START));
        let from = (*known)?;
        let quarantined = self.quarantined;
        let skip = |number| {
            let bad = |address| named.pool.avoid_buggy_ips && is_buggy(address) || quarantined.contains(&address);
            (named.pool.avoid_buggy_ips || !quarantined.is_empty()) && from_number(family, number).is_some_and(bad)
        };
        let ranges = named.pool.ranges.iter().enumerate().skip(from.range);
        let found = ranges.filter(|(_, range)| range.family() == family).find_map(|(index, range)| {
            let first = if index == from.range { from.number.max(range.first()) } else { range.first() };
            let number = self.claimed.gap(family, first, range.last(), skip)?;
            Some(Position { range: index, number })
        });
        *known = found;
        found
    }

    /// The lowest address below `end` on which the Service may join others. An address is never opened to a key later: its claims only
    /// grow, and the first claim on a free one comes from the front or is asked for by name, beyond everything passed over.
    fn lowest_shared(
        &mut self,
        named: Named<'a>,
        family: Family,
        service: &'a Service,
        end: Option<Position>,
    ) -> Option<Position> {
        let terms = Terms::of(service);
        let keyed = self.keyed.get(&(named.name, family, terms.key?))?;
        let from = self.refused.entry((named.name, family, terms)).or_insert(START);
        for &position in keyed.range(*from..) {
            if end.is_some_and(|end| position >= end) {
                break;
            }
            let address = from_number(family, position.number)?;
            if !self.quarantined.contains(&address) && self.claimed.admits(address, service).is_ok() {
                return Some(position);
            }
            *from = position;
        }
        None
    }
}
