//! Tests of the allocator, on a small cluster that applies effects as the API server would.

mod basics;
mod changes;
mod dual_stack;
mod histories;
mod quarantine;
mod refusals;
mod scopes;
mod sharing;

use super::{Assignment, Broken, Effect, Event, Facts, Note, Outcome, Plan, Refusal, effects, same_terms};
use crate::{
    PoolName, ServiceKey, Set,
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

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().copied().map(ip).collect()
}

pub(super) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

pub(super) fn pool(ranges: &[&str]) -> Pool {
    Pool { ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(), auto_assign: true, ..Pool::default() }
}

pub(super) fn config(pools: &[(&str, Pool)]) -> Config {
    let pools = pools.iter().map(|(name, pool)| (PoolName::new(*name), pool.clone()));
    Config { pools: pools.collect(), ..Config::default() }
}

/// A classic Service: IPv4, Cluster policy, port 80.
pub(super) fn service(name: &str) -> Service {
    Service {
        key: key(name),
        labels: Labels::default(),
        created: 0,
        is_load_balancer: true,
        cluster_families: BTreeSet::from([Family::V4]),
        family_policy: FamilyPolicy::SingleStack,
        primary_family: Family::V4,
        request: Ok(Request::default()),
        sharing_key: None,
        traffic_policy: TrafficPolicy::Cluster,
        selector: format!("app={name}"),
        ports: Set::from([tcp(80)]),
        ingress: Vec::new(),
        ingress_has_other: false,
        allocated_from: None,
    }
}

pub(super) fn dual(name: &str, policy: FamilyPolicy) -> Service {
    Service { cluster_families: BTreeSet::from(Family::BOTH), family_policy: policy, ..service(name) }
}

pub(super) fn tcp(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}

pub(super) fn request(addresses: &[&str], pool: Option<&str>) -> Request {
    Request { addresses: ips(addresses), pool: pool.map(PoolName::new) }
}

/// Configuration, namespaces, Services as the API server has them, and what was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    pub(super) config: Config,
    pub(super) namespaces: Namespaces,
    pub(super) services: Services,
    pub(super) changed_terms: BTreeMap<ServiceKey, u64>,
    pub(super) broken: Broken,
    pub(super) quarantined: BTreeSet<IpAddr>,
    pub(super) told: Plan,
}

impl Cluster {
    pub(super) fn new(pools: &[(&str, Pool)]) -> Self {
        Self { config: config(pools), ..Self::default() }
    }

    pub(super) fn pools(&mut self, pools: &[(&str, Pool)]) {
        self.config = config(pools);
    }

    pub(super) fn add(&mut self, service: Service) {
        self.services.insert(service.key.clone(), Arc::new(service));
    }

    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Service)) {
        let service = Arc::make_mut(self.services.get_mut(&key(name)).unwrap());
        let before = service.clone();
        change(service);
        if !before.ingress.is_empty() && !same_terms(&before, service) {
            let last = self.changed_terms.values().max().copied().unwrap_or(0);
            self.changed_terms.insert(key(name), last + 1);
        }
    }

    pub(super) fn label_namespace(&mut self, namespace: &str, labels: &[(&str, &str)]) {
        self.namespaces.insert(namespace.into(), labels.iter().copied().collect());
    }

    pub(super) fn plan(&self) -> Plan {
        super::plan(Facts {
            config: &self.config,
            namespaces: &self.namespaces,
            services: &self.services,
            changed_terms: &self.changed_terms,
            broken: &self.broken,
            quarantined: &self.quarantined,
        })
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.services.remove(&key(name));
    }

    pub(super) fn restart(&mut self) {
        self.told = Plan::default();
        self.changed_terms.clear();
    }

    /// Plans and applies everything once.
    pub(super) fn step(&mut self) -> Vec<Effect> {
        let plan = self.plan();
        let effects = effects(&self.services, &self.told, &plan);
        for effect in &effects {
            apply(&mut self.services, effect);
        }
        self.told = plan;
        effects
    }

    /// Steps until nothing is left to do; everything that was done.
    pub(super) fn settle(&mut self) -> Vec<Effect> {
        let mut all = Vec::new();
        // Every further step serves somebody who waited for an address given back in the one before.
        for _ in 0..=2 * self.services.len() + 2 {
            let effects = self.step();
            if effects.is_empty() {
                return all;
            }
            all.extend(effects);
        }
        panic!("never settles: {:#?}", self.step());
    }

    pub(super) fn addresses(&self, name: &str) -> Vec<String> {
        self.services[&key(name)].ingress.iter().map(ToString::to_string).collect()
    }

    pub(super) fn outcome(&self, name: &str) -> &Outcome {
        &self.told.decisions[&key(name)].outcome
    }

    pub(super) fn notes(&self, name: &str) -> &[Note] {
        &self.told.decisions[&key(name)].notes
    }

    /// Why the Service waits.
    pub(super) fn refusal(&self, name: &str) -> &Refusal {
        match self.outcome(name) {
            Outcome::Waiting(why) => why,
            other => panic!("{name} does not wait: {other:?}"),
        }
    }
}

/// A selector for one label with one value.
pub(super) fn selector(key: &str, value: &str) -> Selector {
    let operator = Operator::In([value.into()].into());
    Selector { requirements: [Requirement { key: key.into(), operator }].into() }
}

/// The pool, kept for these namespaces and Services.
pub(super) fn kept(pool: Pool, priority: u32, namespaces: &[Selector], services: &[Selector]) -> Pool {
    let allocation = ServiceAllocation {
        priority,
        namespace_selectors: namespaces.to_vec(),
        service_selectors: services.to_vec(),
        ..ServiceAllocation::default()
    };
    Pool { allocation: Some(allocation), ..pool }
}

/// A plan for Services that never changed, in a namespace without labels.
pub(super) fn plan(config: &Config, services: &Services) -> Plan {
    let namespaces = Namespaces::from([("default".into(), Labels::default())]);
    let changed_terms = BTreeMap::new();
    super::plan(Facts {
        config,
        namespaces: &namespaces,
        services,
        changed_terms: &changed_terms,
        broken: &Broken::default(),
        quarantined: &BTreeSet::new(),
    })
}

/// What the API server makes of an effect.
pub(super) fn apply(services: &mut Services, effect: &Effect) {
    let Effect::WriteStatus { service, assignment } = effect else { return };
    let Some(service) = services.get_mut(service).map(Arc::make_mut) else { return };
    service.ingress_has_other = false;
    service.ingress = assignment.as_ref().map(|assignment| assignment.addresses.clone()).unwrap_or_default();
    service.allocated_from = assignment.as_ref().map(|assignment| assignment.pool.clone());
}

/// The Services that are written, in order, with what they get.
pub(super) fn writes(effects: &[Effect]) -> Vec<(String, Vec<String>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::WriteStatus { service, assignment } => {
                let addresses = assignment.iter().flat_map(|assignment| &assignment.addresses);
                Some((service.name.to_string(), addresses.map(ToString::to_string).collect()))
            }
            Effect::Event { .. } => None,
        })
        .collect()
}

/// The events, in order.
pub(super) fn events(effects: &[Effect]) -> Vec<(String, Event)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Event { service, event } => Some((service.name.to_string(), event.clone())),
            Effect::WriteStatus { .. } => None,
        })
        .collect()
}

/// Pairs of Services whose statuses show a common address that they may not share.
pub(super) fn conflicts(services: &Services) -> BTreeSet<(IpAddr, ServiceKey, ServiceKey)> {
    let mut holders: BTreeMap<IpAddr, Vec<&Service>> = BTreeMap::new();
    for service in services.values() {
        for &address in &service.ingress {
            holders.entry(address).or_default().push(service);
        }
    }
    let mut all = BTreeSet::new();
    for (address, holders) in holders {
        for (index, one) in holders.iter().enumerate() {
            for two in &holders[index + 1..] {
                if !may_share(one, two) {
                    all.insert((address, one.key.clone(), two.key.clone()));
                }
            }
        }
    }
    all
}

/// The sharing rules once more, in other words than the allocator's.
fn may_share(one: &Service, two: &Service) -> bool {
    let local = |service: &Service| service.traffic_policy == TrafficPolicy::Local;
    one.sharing_key.is_some()
        && one.sharing_key == two.sharing_key
        && local(one) == local(two)
        && (!local(one) || one.selector == two.selector)
        && !one.ports.iter().any(|port| two.ports.contains(port))
}
