//! How much of each pool is in use.

use super::{Outcome, Plan};
use crate::{
    PoolName,
    config::{Config, Pool, is_buggy},
    net::{Family, IpRange, from_number},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// From this size on a range counts as endless (as MetalLB: 62 host bits).
const ENDLESS: u128 = 1 << 62;

/// Addresses of a pool by family. Numbers that are too large are `i64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// IPv4.
    pub v4: Count,
    /// IPv6.
    pub v6: Count,
}

/// Addresses of one family of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All that may be given.
    pub total: i64,
    /// Given; an address that Services share counts once.
    pub assigned: i64,
}

impl Count {
    /// Still free.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.total.saturating_sub(self.assigned)
    }
}

/// The usage of every configured pool under a plan.
#[must_use]
pub fn usage(config: &Config, plan: &Plan) -> BTreeMap<PoolName, Usage> {
    let mut used: BTreeMap<&PoolName, BTreeSet<IpAddr>> = BTreeMap::new();
    for decision in plan.decisions.values() {
        if let Outcome::Assigned(assignment) = &decision.outcome {
            used.entry(&assignment.pool).or_default().extend(&assignment.addresses);
        }
    }
    let of = |(name, pool): (&PoolName, &Pool)| {
        let used = used.get(name);
        let count = |family| Count {
            total: capacity(pool, family),
            assigned: used.map_or(0, |all| {
                let count = all.iter().filter(|address| Family::of(**address) == family).count();
                i64::try_from(count).unwrap_or(i64::MAX)
            }),
        };
        (name.clone(), Usage { v4: count(Family::V4), v6: count(Family::V6) })
    };
    config.pools.iter().map(of).collect()
}

/// How many addresses of a family the pool may give.
fn capacity(pool: &Pool, family: Family) -> i64 {
    let sum = pool.ranges.iter().filter(|range| range.family() == family).fold(0, |sum: u128, range| {
        let left_out = if pool.avoid_buggy_ips { buggy(range) } else { 0 };
        let size = if range.size() >= ENDLESS { u128::MAX } else { range.size() - left_out };
        sum.saturating_add(size)
    });
    i64::try_from(sum).unwrap_or(i64::MAX)
}

/// How many addresses of the range end in .0 or .255.
fn buggy(range: &IpRange) -> u128 {
    if range.family() == Family::V6 {
        return 0;
    }
    // Whole blocks of 256 have two; the ends are looked at one by one.
    let (first, last) = (range.first(), range.last());
    let (from, to) = (first.next_multiple_of(256), (last + 1) / 256 * 256);
    let single = |numbers: std::ops::Range<u128>| {
        numbers.filter_map(|number| from_number(Family::V4, number)).filter(|address| is_buggy(*address)).count()
            as u128
    };
    if from >= to {
        return single(first..last + 1);
    }
    single(first..from) + (to - from) / 256 * 2 + single(to..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ServiceKey,
        allocate::{Assignment, Decision, tests::pool},
    };

    fn careful(ranges: &[&str]) -> Pool {
        Pool { avoid_buggy_ips: true, ..pool(ranges) }
    }

    #[test]
    fn capacity_as_metallb_counts_it() {
        let both = ["192.0.2.0/24", "198.51.100.0/25"];
        assert_eq!(capacity(&pool(&both), Family::V4), 384);
        assert_eq!(capacity(&careful(&both), Family::V4), 381);
        assert_eq!(capacity(&careful(&["192.0.2.250-192.0.4.3"]), Family::V4), 6 + 256 + 4 - 4);
        assert_eq!(capacity(&careful(&["192.0.2.1-192.0.2.9"]), Family::V4), 9);
        assert_eq!(capacity(&pool(&["2001:db8::/32", "fd00::/120"]), Family::V6), i64::MAX);
        assert_eq!(capacity(&pool(&["2001:db8::/66"]), Family::V6), i64::MAX);
        assert_eq!(capacity(&pool(&["2001:db8::/67"]), Family::V6), 1 << 61);
    }

    #[test]
    fn buggy_addresses_are_counted_as_one_by_one() {
        for (first, last) in [(0_u32, 0), (1, 254), (255, 256), (0, 1023), (200, 800), (511, 512), (3, 700)] {
            let base = u32::from(std::net::Ipv4Addr::new(10, 0, 0, 0));
            let at = |n: u32| IpAddr::V4((base + n).into());
            let range = IpRange::new(at(first), at(last)).unwrap();
            let slow = (first..=last).filter(|&n| is_buggy(at(n))).count() as u128;
            assert_eq!(buggy(&range), slow, "{first}-{last}");
        }
    }

    #[test]
    fn shared_addresses_count_once_and_every_pool_is_there() {
        let config = Config {
            pools: [("a".into(), pool(&["192.0.2.0/30", "2001:db8::/32"])), ("b".into(), pool(&["192.0.2.4/30"]))]
                .into(),
            ..Config::default()
        };
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).to_vec();
        let decision =
            Decision { outcome: Outcome::Assigned(Assignment { pool: "a".into(), addresses }), notes: Vec::new() };
        let plan = Plan {
            decisions: ["x", "y"].map(|name| (ServiceKey::new("ns", name), decision.clone())).into_iter().collect(),
        };
        let usage = usage(&config, &plan);
        let v4 = Count { total: 4, assigned: 1 };
        assert_eq!(usage[&PoolName::new("a")], Usage { v4, v6: Count { total: i64::MAX, assigned: 1 } });
        assert_eq!(v4.available(), 3);
        assert_eq!(usage[&PoolName::new("a")].v6.available(), i64::MAX - 1);
        assert_eq!(usage[&PoolName::new("b")], Usage { v4: Count { total: 4, assigned: 0 }, v6: Count::default() });
    }
}
