//! What one change costs among many Services: a plan for all of them, and the effects that follow from it.
//!
//! `cargo bench -p herald-core`. The cost must grow with the number of Services, not with its square.
#![allow(missing_docs, reason = "a benchmark exports nothing")]

use divan::Bencher;
use herald_core::{
    ServiceKey, Set,
    allocate::{Broken, Effect, Facts, Plan, effects, plan},
    config::{Config, Pool, ServiceAllocation},
    labels::{Labels, Operator, Requirement, Selector},
    net::Family,
    service::{FamilyPolicy, Namespaces, Port, Protocol, Request, Service, Services, TrafficPolicy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

const SIZES: [u16; 3] = [100, 1_000, 10_000];

fn main() {
    divan::main();
}

fn pool(ranges: &[&str]) -> Pool {
    Pool {
        ranges: ranges.iter().filter_map(|range| range.parse().ok()).collect(),
        auto_assign: true,
        ..Pool::default()
    }
}

fn service(number: u16) -> Service {
    Service {
        key: ServiceKey::new(format!("team-{}", number % 50), format!("service-{number:05}")),
        labels: [("app", format!("app-{}", number % 20))].into_iter().collect(),
        created: i64::from(number),
        is_load_balancer: true,
        cluster_families: Family::BOTH.into(),
        family_policy: FamilyPolicy::PreferDualStack,
        primary_family: Family::V4,
        request: Ok(Request::default()),
        sharing_key: None,
        traffic_policy: TrafficPolicy::Local,
        selector: format!("app=app-{}", number % 20),
        ports: Set::from([Port { protocol: Protocol::Tcp, number: 80 }]),
        ingress: Vec::new(),
        ingress_has_other: false,
        allocated_from: None,
    }
}

/// A cluster at one moment.
struct World {
    config: Config,
    namespaces: Namespaces,
    services: Services,
    changed_terms: BTreeMap<ServiceKey, u64>,
    broken: Broken,
    quarantined: BTreeSet<IpAddr>,
    told: Plan,
}

impl World {
    fn new(pools: Vec<(String, Pool)>, services: impl Iterator<Item = Service>) -> Self {
        let pools = pools.into_iter().map(|(name, pool)| (name.as_str().into(), pool)).collect();
        let team = |number: u16| [("team", number.to_string())].into_iter().collect::<Labels>();
        Self {
            config: Config { pools, ..Config::default() },
            namespaces: (0..50).map(|number| (format!("team-{number}").into(), team(number))).collect(),
            services: services.map(|service| (service.key.clone(), Arc::new(service))).collect(),
            changed_terms: BTreeMap::new(),
            broken: Broken::default(),
            quarantined: BTreeSet::new(),
            told: Plan::default(),
        }
    }

    fn decide(&self) -> (Plan, Vec<Effect>) {
        let Self { config, namespaces, services, changed_terms, broken, quarantined, told } = self;
        let plan = plan(Facts { config, namespaces, services, changed_terms, broken, quarantined });
        let effects = effects(services, told, &plan);
        (plan, effects)
    }

    /// Everything planned is written.
    fn settle(&mut self) {
        let (plan, effects) = self.decide();
        for effect in effects {
            if let Effect::WriteStatus { service, assignment: Some(assignment) } = effect
                && let Some(service) = self.services.get_mut(&service).map(Arc::make_mut)
            {
                service.ingress = assignment.addresses;
                service.allocated_from = Some(assignment.pool);
            }
        }
        self.told = plan;
    }

    fn add(&mut self, service: Service) {
        self.services.insert(service.key.clone(), Arc::new(service));
    }
}

fn wide() -> Vec<(String, Pool)> {
    vec![("wide".to_owned(), pool(&["10.0.0.0/16", "fd00::/64"]))]
}

/// Everybody has addresses; one more Service appears.
#[divan::bench(args = SIZES)]
fn one_more(bencher: Bencher<'_, '_>, size: u16) {
    let mut world = World::new(wide(), (0..size).map(service));
    world.settle();
    world.add(service(size));
    bencher.bench_local(|| world.decide());
}

/// Nobody has an address, all are served at once: a pool appeared, or a cluster was restored.
#[divan::bench(args = SIZES)]
fn all_at_once(bencher: Bencher<'_, '_>, size: u16) {
    let world = World::new(wide(), (0..size).map(service));
    bencher.bench_local(|| world.decide());
}

/// The pool is full, everybody else waits; one address became free.
#[divan::bench(args = SIZES)]
fn all_wait(bencher: Bencher<'_, '_>, size: u16) {
    let pools = vec![("small".to_owned(), pool(&["10.0.0.0/28"]))];
    let mut world = World::new(pools, (0..size).map(service));
    world.settle();
    world.services.pop_first();
    bencher.bench_local(|| world.decide());
}

/// A hundred pools kept by labels of namespaces and Services, most of them full; one more Service appears.
#[divan::bench(args = SIZES)]
fn kept_pools(bencher: Bencher<'_, '_>, size: u16) {
    let selector = |key: &str, value: String| {
        let operator = Operator::In([value.into()].into());
        Selector { requirements: [Requirement { key: key.into(), operator }].into() }
    };
    let mut pools: Vec<(String, Pool)> = (0..100_u16)
        .map(|number| {
            let allocation = ServiceAllocation {
                priority: u32::from(number % 7),
                namespace_selectors: vec![selector("team", (number % 50).to_string())],
                service_selectors: (0..10)
                    .map(|app| selector("app", format!("app-{}", app * 2 + number % 2)))
                    .collect(),
                ..ServiceAllocation::default()
            };
            let range = format!("10.{number}.0.0/28");
            (format!("kept-{number:03}"), Pool { allocation: Some(allocation), ..pool(&[&range]) })
        })
        .collect();
    pools.extend(wide().into_iter().map(|(name, _)| (name, pool(&["192.168.0.0/19", "fd00::/64"]))));
    let mut world = World::new(pools, (0..size).map(service));
    world.settle();
    world.add(service(size));
    bencher.bench_local(|| world.decide());
}

/// Everybody shares: fifty Services on an address, each with a port of its own; one more Service appears.
#[divan::bench(args = SIZES)]
fn sharing(bencher: Bencher<'_, '_>, size: u16) {
    let sharer = |number: u16| Service {
        sharing_key: Some("one-key".to_owned()),
        traffic_policy: TrafficPolicy::Cluster,
        ports: Set::from([Port { protocol: Protocol::Tcp, number: 1_000 + number % 50 }]),
        ..service(number)
    };
    let mut world = World::new(wide(), (0..size).map(sharer));
    world.settle();
    world.add(sharer(size));
    bencher.bench_local(|| world.decide());
}
