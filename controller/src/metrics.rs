//! The controller's metrics: MetalLB's allocator gauges, and Herald's own.

use herald_api::sources::Problem;
use herald_core::{
    PoolName, ServiceKey,
    allocate::{Outcome, Plan, Usage},
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
    /// Problems of the configuration by kind, reason, and whether they may end by themselves.
    problems: Arc<Mutex<BTreeMap<OfProblem, u64>>>,
    writes: [Counter; RESULTS.len()],
    pub(crate) plan_seconds: Histogram,
    pub(crate) queued: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) quarantined: Gauge,
    pub(crate) leader: Gauge,
    pub(crate) fenced: Gauge,
    pub(crate) standby: Gauge,
}

/// Kind and reason of a problem, and whether it may end by itself.
type OfProblem = (&'static str, &'static str, bool);

/// What follows from the configuration and the plan; nothing on a replica that does not lead.
#[derive(Debug, Default)]
struct Planned {
    pools: BTreeMap<PoolName, Usage>,
    /// Addresses that Services have, with the pool; the same address once for each Service that shares it.
    addresses: BTreeSet<(ServiceKey, IpAddr, PoolName)>,
    /// Services with and without what they want; `None` before the first plan.
    services: Option<(usize, usize)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            client: ClientMetrics::default(),
            planned: Arc::default(),
            problems: Arc::default(),
            writes: Default::default(),
            plan_seconds: Histogram::new(&[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
            queued: Gauge::default(),
            in_flight: Gauge::default(),
            quarantined: Gauge::default(),
            leader: Gauge::default(),
            fenced: Gauge::default(),
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
    pub(crate) fn planned(&self, plan: &Plan, usage: &BTreeMap<PoolName, Usage>) {
        let mut now = Planned { pools: usage.clone(), ..Planned::default() };
        let (mut assigned, mut waiting) = (0, 0);
        for (service, decision) in &plan.decisions {
            match &decision.outcome {
                Outcome::Assigned(assignment) => {
                    assigned += 1;
                    let series = assignment.addresses.iter();
                    now.addresses.extend(series.map(|ip| (service.clone(), *ip, assignment.pool.clone())));
                }
                Outcome::Waiting(_) => waiting += 1,
                Outcome::NotWanted => {}
            }
        }
        now.services = Some((assigned, waiting));
        *lock(&self.planned) = now;
    }

    /// Takes over what is wrong with the configuration.
    pub(crate) fn problems(&self, problems: &[Problem]) {
        let mut now = BTreeMap::new();
        for problem in problems {
            let series = (problem.object.kind.as_str(), problem.label(), problem.is_transient());
            *now.entry(series).or_insert(0) += 1;
        }
        *lock(&self.problems) = now;
    }

    /// This replica does not lead any more: what it once planned is not the state of anything.
    pub(crate) fn forget(&self) {
        *lock(&self.planned) = Planned::default();
    }
}

/// A panic elsewhere leaves a whole value behind.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type OfPool = fn(&Usage) -> i64;

/// MetalLB's names: gauges, though they end in _total.
const POOL_GAUGES: [(&str, &str, OfPool); 6] = [
    ("metallb_allocator_addresses_total", "Number of usable IP addresses, per pool.", |pool| {
        pool.v4.total.saturating_add(pool.v6.total)
    }),
    ("metallb_allocator_addresses_in_use_total", "Number of IP addresses in use, per pool.", |pool| {
        pool.v4.assigned + pool.v6.assigned
    }),
    ("metallb_allocator_ipv4_addresses_total", "Number of usable IPv4 addresses, per pool.", |pool| pool.v4.total),
    ("metallb_allocator_ipv4_addresses_in_use_total", "Number of IPv4 addresses in use, per pool.", |pool| {
        pool.v4.assigned
    }),
    ("metallb_allocator_ipv6_addresses_total", "Number of usable IPv6 addresses, per pool.", |pool| pool.v6.total),
    ("metallb_allocator_ipv6_addresses_in_use_total", "Number of IPv6 addresses in use, per pool.", |pool| {
        pool.v6.assigned
    }),
];

impl Collect for Metrics {
    fn collect(&self, out: &mut Exposition) {
        self.client.collect(out);
        let planned = lock(&self.planned);
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
            Kind::Gauge,
            "herald_controller_configuration_problems",
            "Mistakes in configuration objects by kind and reason; a transient one may end when another object comes.",
        );
        for ((kind, reason, transient), count) in &*lock(&self.problems) {
            family.sample(&[("kind", kind), ("reason", reason), ("transient", transient)], *count);
        }
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
            (
                "herald_controller_addresses_quarantined",
                "Addresses that are not assigned for a while, as a foreign host has them.",
                &self.quarantined,
            ),
            ("herald_controller_leader", "1 while this replica leads.", &self.leader),
            ("herald_controller_nodes_fenced", "Dead nodes whose endpoints were taken out.", &self.fenced),
            ("herald_controller_standby", "1 while MetalLB runs in the cluster and Herald stands by.", &self.standby),
        ] {
            out.single(Kind::Gauge, name, help, gauge.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_api::sources::{Fault, InForce, Kind as ObjectKind, ObjectId, Reason};
    use herald_core::allocate::{Assignment, Count, Decision};
    use herald_runtime::metrics::Registry;

    #[test]
    fn every_pool_is_there_with_zero_and_a_gone_one_is_not() {
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        registry.add(metrics.clone());
        let usage = |pools: &[(&str, i64)]| -> BTreeMap<PoolName, Usage> {
            let v4 = |assigned| Count { total: 4, assigned };
            pools
                .iter()
                .map(|&(name, assigned)| (name.into(), Usage { v4: v4(assigned), ..Usage::default() }))
                .collect()
        };
        let assignment = Assignment { pool: "a".into(), addresses: vec!["192.0.2.1".parse().unwrap()] };
        let decision = Decision { outcome: Outcome::Assigned(assignment), notes: vec![] };
        let plan = Plan {
            decisions: [("x", decision.clone()), ("y", decision)]
                .map(|(name, decision)| (ServiceKey::new("ns", name), decision))
                .into(),
        };
        metrics.planned(&plan, &usage(&[("a", 1), ("b", 0)]));
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
        metrics.planned(&Plan::default(), &usage(&[("b", 0)]));
        let text = registry.encode();
        assert!(!text.contains(r#"pool="a""#), "{text}");
        metrics.forget();
        let text = registry.encode();
        assert!(!text.contains("pool=") && !text.contains("state="), "{text}");
    }

    #[test]
    fn problems_are_counted_by_kind_and_reason_until_they_are_over() {
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        registry.add(metrics.clone());
        let problem = |name: &str| Problem {
            object: ObjectId::new(ObjectKind::IpAddressPool, name),
            uid: "".into(),
            fault: Fault::whole(Reason::Malformed("x".to_owned())),
            in_force: InForce::Nothing,
            nodes: Vec::new(),
        };
        metrics.problems(&[problem("a"), problem("b")]);
        let line =
            r#"herald_controller_configuration_problems{kind="IPAddressPool",reason="malformed",transient="false"} 2"#;
        assert!(registry.encode().lines().any(|it| it == line), "{}", registry.encode());
        metrics.problems(&[]);
        assert!(!registry.encode().contains("malformed"));
    }
}
