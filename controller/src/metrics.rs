//! The controller's metrics: MetalLB's allocator gauges, and Herald's own.

use herald_core::{
    PoolName, ServiceKey,
    allocate::{Outcome, Plan},
    config::{Config, Pool, is_buggy},
    net::{Family, IpRange, from_number},
};
use herald_runtime::metrics::{
    ClientMetrics, Collect, Counter, Gauge, Histogram,
    text::{Exposition, Kind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How the writes of a Service status end, as labels.
const RESULTS: [&str; 3] = ["done", "refused", "unresolved"];

/// All of them. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) client: ClientMetrics,
    planned: Arc<Mutex<Planned>>,
    writes: [Counter; RESULTS.len()],
    pub(crate) plan_seconds: Histogram,
    pub(crate) queued: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) leader: Gauge,
    pub(crate) standby: Gauge,
}

/// What follows from the configuration and the plan; nothing on a replica that does not lead.
#[derive(Debug, Default)]
struct Planned {
    pools: BTreeMap<PoolName, PoolUse>,
    /// Addresses that Services have, with the pool; the same address once for each Service that shares it.
    addresses: BTreeSet<(ServiceKey, IpAddr, PoolName)>,
    /// Services with and without what they want; `None` before the first plan.
    services: Option<(usize, usize)>,
}

/// Addresses of a pool, IPv4 and IPv6.
#[derive(Debug, Default)]
struct PoolUse {
    total: [i64; 2],
    in_use: [i64; 2],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            client: ClientMetrics::default(),
            planned: Arc::default(),
            writes: Default::default(),
            plan_seconds: Histogram::new(&[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
            queued: Gauge::default(),
            in_flight: Gauge::default(),
            leader: Gauge::default(),
            standby: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Counts a write.
    pub(crate) fn wrote(&self, result: &'static str) {
        let counters = RESULTS.iter().zip(&self.writes);
        counters.filter(|(name, _)| **name == result).for_each(|(_, counter)| counter.inc());
    }

    /// Takes over what follows from the configuration and the plan: what is gone goes.
    pub(crate) fn planned(&self, config: &Config, plan: &Plan) {
        let mut now = Planned::default();
        let (mut assigned, mut waiting) = (0, 0);
        let mut used: BTreeMap<&PoolName, BTreeSet<IpAddr>> = BTreeMap::new();
        for (service, decision) in &plan.decisions {
            match &decision.outcome {
                Outcome::Assigned(assignment) => {
                    assigned += 1;
                    used.entry(&assignment.pool).or_default().extend(&assignment.addresses);
                    let series = assignment.addresses.iter();
                    now.addresses.extend(series.map(|ip| (service.clone(), *ip, assignment.pool.clone())));
                }
                Outcome::Waiting(_) => waiting += 1,
                Outcome::NotWanted => {}
            }
        }
        now.services = Some((assigned, waiting));
        for (name, pool) in &config.pools {
            let used = used.get(name);
            let count = |family| used.map_or(0, |all| all.iter().filter(|it| Family::of(**it) == family).count());
            let pool = PoolUse {
                total: [Family::V4, Family::V6].map(|family| gauge(capacity(pool, family))),
                in_use: [Family::V4, Family::V6].map(|family| gauge(count(family) as u128)),
            };
            now.pools.insert(name.clone(), pool);
        }
        *self.lock() = now;
    }

    /// This replica does not lead any more: what it once planned is not the state of anything.
    pub(crate) fn forget(&self) {
        *self.lock() = Planned::default();
    }

    /// A panic elsewhere leaves a whole plan behind.
    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type OfPool = fn(&PoolUse) -> i64;

/// MetalLB's names: gauges, though they end in _total.
const POOL_GAUGES: [(&str, &str, OfPool); 6] = [
    ("metallb_allocator_addresses_total", "Number of usable IP addresses, per pool.", |pool| sum(pool.total)),
    ("metallb_allocator_addresses_in_use_total", "Number of IP addresses in use, per pool.", |pool| sum(pool.in_use)),
    ("metallb_allocator_ipv4_addresses_total", "Number of usable IPv4 addresses, per pool.", |pool| pool.total[0]),
    ("metallb_allocator_ipv4_addresses_in_use_total", "Number of IPv4 addresses in use, per pool.", |pool| {
        pool.in_use[0]
    }),
    ("metallb_allocator_ipv6_addresses_total", "Number of usable IPv6 addresses, per pool.", |pool| pool.total[1]),
    ("metallb_allocator_ipv6_addresses_in_use_total", "Number of IPv6 addresses in use, per pool.", |pool| {
        pool.in_use[1]
    }),
];

impl Collect for Metrics {
    fn collect(&self, out: &mut Exposition) {
        self.client.collect(out);
        let planned = self.lock();
        for (name, help, value) in POOL_GAUGES {
            let mut family = out.family(Kind::Gauge, name, help);
            planned.pools.iter().for_each(|(name, pool)| family.sample(&[("pool", name)], value(pool)));
        }
        let mut family = out.family(
            Kind::Gauge,
            "herald_controller_address_assigned",
            "1 for every address that a Service has, from the replica that leads.",
        );
        for (service, ip, pool) in &planned.addresses {
            family.sample(&[("service", service), ("ip", ip), ("pool", pool)], 1);
        }
        let mut family = out.family(
            Kind::Gauge,
            "herald_controller_services",
            "Services by whether they have the addresses that they want, from the replica that leads.",
        );
        if let Some((assigned, waiting)) = planned.services {
            family.sample(&[("state", &"assigned")], assigned);
            family.sample(&[("state", &"waiting")], waiting);
        }
        drop(planned);
        let mut family = out.family(
            Kind::Counter,
            "herald_controller_status_writes_total",
            "Writes of Service status by how they ended.",
        );
        RESULTS.iter().zip(&self.writes).for_each(|(name, count)| family.sample(&[("result", name)], count.get()));
        self.plan_seconds.write(out, "herald_controller_plan_duration_seconds", "Time to decide for all Services.");
        for (name, help, gauge) in [
            ("herald_controller_writes_queued", "Status writes that wait.", &self.queued),
            ("herald_controller_writes_in_flight", "Status writes under way.", &self.in_flight),
            ("herald_controller_leader", "1 while this replica leads.", &self.leader),
            ("herald_controller_standby", "1 while MetalLB runs in the cluster and Herald stands by.", &self.standby),
        ] {
            out.single(Kind::Gauge, name, help, gauge.get());
        }
    }
}

const fn sum([v4, v6]: [i64; 2]) -> i64 {
    v4.saturating_add(v6)
}

/// As MetalLB: what is too large is the largest.
fn gauge(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How many addresses of a family the pool may hand out.
fn capacity(pool: &Pool, family: Family) -> u128 {
    pool.ranges.iter().filter(|range| range.family() == family).fold(0, |sum: u128, range| {
        let left_out = if pool.avoid_buggy_ips { buggy(range) } else { 0 };
        sum.saturating_add(range.size() - left_out)
    })
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
    use herald_core::allocate::{Assignment, Decision};
    use herald_runtime::metrics::Registry;

    fn pool(ranges: &[&str], avoid_buggy_ips: bool) -> Pool {
        Pool {
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            auto_assign: true,
            avoid_buggy_ips,
            ..Pool::default()
        }
    }

    #[test]
    fn capacity_as_metallb_counts_it() {
        let both = ["192.0.2.0/24", "198.51.100.0/25"];
        assert_eq!(capacity(&pool(&both, false), Family::V4), 384);
        assert_eq!(capacity(&pool(&both, true), Family::V4), 381);
        assert_eq!(capacity(&pool(&["192.0.2.250-192.0.4.3"], true), Family::V4), 6 + 256 + 4 - 4);
        assert_eq!(capacity(&pool(&["192.0.2.1-192.0.2.9"], true), Family::V4), 9);
        assert_eq!(gauge(capacity(&pool(&["2001:db8::/32"], false), Family::V6)), i64::MAX);
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
    fn every_pool_is_there_with_zero_and_a_gone_one_is_not() {
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        registry.add(metrics.clone());
        let config = |names: &[&str]| Config {
            pools: names.iter().map(|name| ((*name).into(), pool(&["192.0.2.0/30"], false))).collect(),
            ..Config::default()
        };
        let assignment = Assignment { pool: "a".into(), addresses: vec!["192.0.2.1".parse().unwrap()] };
        let decision = Decision { outcome: Outcome::Assigned(assignment), notes: vec![] };
        // Two that share one address use one address.
        let plan = Plan {
            decisions: [("x", decision.clone()), ("y", decision)]
                .map(|(name, decision)| (ServiceKey::new("ns", name), decision))
                .into(),
        };
        metrics.planned(&config(&["a", "b"]), &plan);
        let text = registry.encode();
        for line in [
            r#"metallb_allocator_addresses_total{pool="a"} 4"#,
            r#"metallb_allocator_addresses_in_use_total{pool="a"} 1"#,
            r#"metallb_allocator_ipv4_addresses_in_use_total{pool="a"} 1"#,
            r#"metallb_allocator_addresses_in_use_total{pool="b"} 0"#,
            r#"metallb_allocator_ipv6_addresses_total{pool="b"} 0"#,
            r#"herald_controller_address_assigned{service="ns/x",ip="192.0.2.1",pool="a"} 1"#,
            r#"herald_controller_address_assigned{service="ns/y",ip="192.0.2.1",pool="a"} 1"#,
            r#"herald_controller_services{state="assigned"} 2"#,
            "# TYPE metallb_allocator_addresses_in_use_total gauge",
            "# TYPE herald_controller_status_writes_total counter",
            r#"herald_controller_status_writes_total{result="done"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        metrics.planned(&config(&["b"]), &Plan::default());
        let text = registry.encode();
        assert!(!text.contains(r#"pool="a""#), "{text}");
        metrics.forget();
        let text = registry.encode();
        assert!(!text.contains("pool=") && !text.contains("state="), "{text}");
    }
}
