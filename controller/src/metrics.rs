//! The controller's metrics: MetalLB's allocator gauges, and Herald's own.

use herald_core::{
    allocate::{Outcome, Plan},
    config::{Config, Pool, is_buggy},
    net::{Family, IpRange, from_number},
};
use herald_runtime::metrics::ClientMetrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family as Metric, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Label `pool`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PoolLabel {
    pool: String,
}

/// Label `result`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabel {
    result: &'static str,
}

/// Label `state`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StateLabel {
    state: &'static str,
}

type PoolGauge = Metric<PoolLabel, Gauge>;

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) client: ClientMetrics,
    total: PoolGauge,
    total_v4: PoolGauge,
    total_v6: PoolGauge,
    in_use: PoolGauge,
    in_use_v4: PoolGauge,
    in_use_v6: PoolGauge,
    services: Metric<StateLabel, Gauge>,
    writes: Metric<ResultLabel, Counter>,
    pub(crate) plan_seconds: Histogram,
    pub(crate) queued: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) leader: Gauge,
    pub(crate) standby: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            client: ClientMetrics::register(registry),
            total: PoolGauge::default(),
            total_v4: PoolGauge::default(),
            total_v6: PoolGauge::default(),
            in_use: PoolGauge::default(),
            in_use_v4: PoolGauge::default(),
            in_use_v6: PoolGauge::default(),
            services: Metric::default(),
            writes: Metric::default(),
            plan_seconds: Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
            queued: Gauge::default(),
            in_flight: Gauge::default(),
            leader: Gauge::default(),
            standby: Gauge::default(),
        };
        // Gauges although their names end in _total: these are MetalLB's names.
        for (name, help, gauge) in [
            ("addresses_total", "Number of usable IP addresses, per pool", &metrics.total),
            ("ipv4_addresses_total", "Number of usable IPv4 addresses, per pool", &metrics.total_v4),
            ("ipv6_addresses_total", "Number of usable IPv6 addresses, per pool", &metrics.total_v6),
            ("addresses_in_use_total", "Number of IP addresses in use, per pool", &metrics.in_use),
            ("ipv4_addresses_in_use_total", "Number of IPv4 addresses in use, per pool", &metrics.in_use_v4),
            ("ipv6_addresses_in_use_total", "Number of IPv6 addresses in use, per pool", &metrics.in_use_v6),
        ] {
            registry.register(format!("metallb_allocator_{name}"), help, gauge.clone());
        }
        let own = registry.sub_registry_with_prefix("herald_controller");
        own.register("services", "Services by what they have", metrics.services.clone());
        own.register("status_writes", "Writes of Service status by how they ended", metrics.writes.clone());
        own.register("plan_duration_seconds", "Time to decide for all Services", metrics.plan_seconds.clone());
        own.register("writes_queued", "Status writes that wait", metrics.queued.clone());
        own.register("writes_in_flight", "Status writes under way", metrics.in_flight.clone());
        own.register("leader", "1 while this replica leads", metrics.leader.clone());
        own.register("standby", "1 while MetalLB runs in the cluster and Herald stands by", metrics.standby.clone());
        for result in ["done", "unresolved", "refused"] {
            let _ = metrics.writes.get_or_create(&ResultLabel { result });
        }
        metrics
    }

    /// Counts a write.
    pub(crate) fn wrote(&self, result: &'static str) {
        self.writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// Sets what follows from the configuration and the plan.
    pub(crate) fn planned(&self, config: &Config, plan: &Plan) {
        let gauges = [&self.total, &self.total_v4, &self.total_v6, &self.in_use, &self.in_use_v4, &self.in_use_v6];
        for gauge in gauges {
            // Pools that are gone go.
            gauge.clear();
        }
        let mut used: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let (mut assigned, mut waiting) = (0, 0);
        for decision in plan.decisions.values() {
            match &decision.outcome {
                Outcome::Assigned(assignment) => {
                    used.entry(assignment.pool.as_str()).or_default().extend(&assignment.addresses);
                    assigned += 1;
                }
                Outcome::Waiting(_) => waiting += 1,
                Outcome::NotWanted => {}
            }
        }
        for (state, count) in [("assigned", assigned), ("waiting", waiting)] {
            self.services.get_or_create(&StateLabel { state }).set(count);
        }
        for (name, pool) in &config.pools {
            let label = PoolLabel { pool: name.to_string() };
            let [v4, v6] = Family::BOTH.map(|family| capacity(pool, family));
            self.total.get_or_create(&label).set(gauge(v4.saturating_add(v6)));
            self.total_v4.get_or_create(&label).set(gauge(v4));
            self.total_v6.get_or_create(&label).set(gauge(v6));
            let used = used.get(name.as_str());
            let count = |family| used.map_or(0, |all| all.iter().filter(|it| Family::of(**it) == family).count());
            let [v4, v6] = Family::BOTH.map(|family| gauge(count(family) as u128));
            self.in_use.get_or_create(&label).set(v4.saturating_add(v6));
            self.in_use_v4.get_or_create(&label).set(v4);
            self.in_use_v6.get_or_create(&label).set(v6);
        }
    }
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
    use herald_core::{
        ServiceKey,
        allocate::{Assignment, Decision},
        config::Protocol,
    };
    use herald_runtime::metrics::encode;

    fn pool(ranges: &[&str], avoid_buggy_ips: bool) -> Pool {
        Pool {
            protocol: Protocol::Layer2,
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            auto_assign: true,
            avoid_buggy_ips,
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
        let metrics = Metrics::register(&mut registry);
        let config = |names: &[&str]| Config {
            pools: names.iter().map(|name| ((*name).into(), pool(&["192.0.2.0/30"], false))).collect(),
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
        let text = encode(&registry).unwrap();
        for line in [
            r#"metallb_allocator_addresses_total{pool="a"} 4"#,
            r#"metallb_allocator_addresses_in_use_total{pool="a"} 1"#,
            r#"metallb_allocator_ipv4_addresses_in_use_total{pool="a"} 1"#,
            r#"metallb_allocator_addresses_in_use_total{pool="b"} 0"#,
            r#"metallb_allocator_ipv6_addresses_total{pool="b"} 0"#,
            r#"herald_controller_services{state="assigned"} 2"#,
            r#"herald_controller_status_writes_total{result="done"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        metrics.planned(&config(&["b"]), &Plan::default());
        let text = encode(&registry).unwrap();
        assert!(!text.contains(r#"pool="a""#), "{text}");
    }
}
