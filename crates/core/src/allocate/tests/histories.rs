//! Random histories: DESIGN's invariants 1 and 2 after every single write, whichever writes happen and in which order.

use super::*;
use proptest::{collection::vec, prelude::*, sample::Index};

/// Something that happens to the cluster.
#[derive(Debug, Clone)]
enum Happening {
    Create(u8, Box<Service>),
    Delete(u8),
    /// The Service's wishes change; its age and status stay.
    Change(u8, Box<Service>),
    /// Only its sharing terms change.
    Terms(u8, Option<String>, Set<Port>),
    Pools(usize),
    /// The namespace's labels change: tenant or not.
    Tenant(bool),
    /// Foreign hosts have these addresses.
    Quarantine(Vec<&'static str>),
    Restart,
    /// Everything planned is written.
    All,
    /// Only these writes succeed, in this order; nothing of the rest (a slow API server, conflicts, a crash).
    Some(Vec<Index>),
}

/// Pool layouts over the same few addresses, so that edits cut, merge, rename and shrink.
fn layouts() -> Vec<Config> {
    let shy = |pool: Pool| Pool { auto_assign: false, ..pool };
    let careful = |pool: Pool| Pool { avoid_buggy_ips: true, ..pool };
    vec![
        config(&[("p", pool(&["10.0.0.254-10.0.1.2", "fd00::1-fd00::3"]))]),
        config(&[("p", careful(pool(&["10.0.0.254-10.0.1.2"]))), ("q", pool(&["fd00::1-fd00::3"]))]),
        config(&[
            ("p", pool(&["10.0.1.0-10.0.1.2", "10.0.0.254/32"])),
            ("q", shy(pool(&["10.0.0.255/32", "fd00::2/127"]))),
        ]),
        config(&[("q", pool(&["fd00::1/128", "10.0.0.254/31"])), ("r", pool(&["10.0.1.0/31", "fd00::2/128"]))]),
        config(&[("r", pool(&["10.0.0.255/32"]))]),
        // Kept for a tenant, for Services with a label, for nobody's namespace, by priority.
        config(&[
            ("p", kept(pool(&["10.0.0.254-10.0.0.255", "fd00::1/128"]), 2, &[selector("tenant", "yes")], &[])),
            ("q", kept(pool(&["10.0.1.0-10.0.1.1"]), 1, &[], &[selector("tier", "gold")])),
            ("r", kept(pool(&["10.0.1.2-10.0.1.3"]), 0, &[selector("tenant", "never")], &[])),
            ("s", pool(&["fd00::2-fd00::3"])),
        ]),
        Config::default(),
    ]
}

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

prop_compose! {
    fn wishes()(
        is_load_balancer in prop::bool::weighted(0.9),
        families in prop_oneof![4 => Just(vec![Family::V4]), 1 => Just(vec![Family::V6]), 4 => Just(Family::BOTH.to_vec()), 1 => Just(vec![])],
        family_policy in prop_oneof![Just(FamilyPolicy::SingleStack), Just(FamilyPolicy::PreferDualStack), Just(FamilyPolicy::RequireDualStack)],
        primary_family in prop_oneof![Just(Family::V4), Just(Family::V6)],
        request in prop_oneof![
            6 => Just(request(&[], None)),
            1 => Just(request(&[], Some("p"))),
            1 => Just(request(&[], Some("q"))),
            1 => Just(request(&["10.0.1.1"], None)),
            1 => Just(request(&["10.0.0.255"], Some("r"))),
            1 => Just(request(&["10.0.1.0", "fd00::2"], None)),
            1 => Just(request(&["172.16.0.1"], None)),
        ],
        invalid in prop::bool::weighted(0.05),
        sharing_key in sharing_key(),
        local in any::<bool>(),
        selector in prop_oneof![Just("x".to_owned()), Just("y".to_owned())],
        ports in ports(),
        created in 0i64..4,
        gold in any::<bool>(),
    ) -> Service {
        let request = if invalid {
            Err(crate::service::InvalidRequest::AskedTwice { annotation: "x".to_owned() })
        } else {
            Ok(request)
        };
        Service {
            created, is_load_balancer, family_policy, primary_family, request, sharing_key, selector, ports,
            cluster_families: families.into_iter().collect(),
            labels: gold.then_some(("tier", "gold")).into_iter().collect(),
            traffic_policy: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            ..service("template")
        }
    }
}

fn sharing_key() -> impl Strategy<Value = Option<String>> {
    prop_oneof![1 => Just(None), 3 => Just(Some("k".to_owned())), 1 => Just(Some("l".to_owned()))]
}

fn ports() -> impl Strategy<Value = Set<Port>> {
    prop::collection::vec((1u16..5).prop_map(tcp), 1..3).prop_map(Set::from_iter)
}

fn happening() -> impl Strategy<Value = Happening> {
    let name = 0..u8::try_from(NAMES.len()).unwrap();
    prop_oneof![
        5 => (name.clone(), wishes()).prop_map(|(name, wishes)| Happening::Create(name, Box::new(wishes))),
        1 => name.clone().prop_map(Happening::Delete),
        3 => (name.clone(), sharing_key(), ports()).prop_map(|(name, key, ports)| Happening::Terms(name, key, ports)),
        3 => (name, wishes()).prop_map(|(name, wishes)| Happening::Change(name, Box::new(wishes))),
        2 => (0..layouts().len()).prop_map(Happening::Pools),
        1 => any::<bool>().prop_map(Happening::Tenant),
        1 => prop::sample::subsequence(vec!["10.0.0.254", "10.0.1.0", "10.0.1.1", "fd00::1", "fd00::3"], 0..4).prop_map(Happening::Quarantine),
        1 => Just(Happening::Restart),
        3 => Just(Happening::All),
        3 => vec(any::<Index>(), 0..4).prop_map(Happening::Some),
    ]
}

fn happen(cluster: &mut Cluster, happening: &Happening) {
    match happening {
        Happening::Create(name, wishes) => {
            let name = NAMES[usize::from(*name)];
            if !cluster.services.contains_key(&key(name)) {
                cluster.add(Service { key: key(name), ..(**wishes).clone() });
            }
        }
        Happening::Delete(name) => cluster.remove(NAMES[usize::from(*name)]),
        Happening::Change(name, wishes) => {
            let name = NAMES[usize::from(*name)];
            if cluster.services.contains_key(&key(name)) {
                cluster.edit(name, |service| {
                    *service = Service {
                        key: service.key.clone(),
                        created: service.created,
                        ingress: service.ingress.clone(),
                        allocated_from: service.allocated_from.clone(),
                        ..(**wishes).clone()
                    };
                });
            }
        }
        Happening::Terms(name, key_now, ports) => {
            let name = NAMES[usize::from(*name)];
            if cluster.services.contains_key(&key(name)) {
                cluster.edit(name, |service| {
                    service.sharing_key.clone_from(key_now);
                    service.ports.clone_from(ports);
                });
            }
        }
        Happening::Pools(index) => cluster.config = layouts()[*index].clone(),
        Happening::Tenant(tenant) => {
            cluster.label_namespace("default", if *tenant { &[("tenant", "yes")] } else { &[] });
        }
        Happening::Quarantine(addresses) => cluster.quarantined = ips(addresses).into_iter().collect(),
        Happening::Restart => cluster.restart(),
        Happening::All => write(cluster, None),
        Happening::Some(which) => write(cluster, Some(which)),
    }
}

/// Plans and writes all, or some in any order, looking after every write.
fn write(cluster: &mut Cluster, which: Option<&[Index]>) {
    let plan = cluster.plan();
    let mut effects = effects(&cluster.services, &cluster.told, &plan);
    if let Some(which) = which {
        effects = if effects.is_empty() {
            Vec::new()
        } else {
            which.iter().map(|index| index.get(&effects).clone()).collect()
        };
    }
    let mut before = conflicts(&cluster.services);
    for effect in &effects {
        apply(&mut cluster.services, effect);
        let after = conflicts(&cluster.services);
        assert!(after.is_subset(&before), "{effect:?} made a conflict: {after:?}, before {before:?}");
        before = after;
        if let Effect::WriteStatus { assignment: Some(assignment), .. } = effect {
            for &address in &assignment.addresses {
                let pool = cluster.config.pool_of(address).map(|(name, _)| name);
                assert_eq!(pool, Some(&assignment.pool), "{effect:?} is outside its pool");
            }
        }
    }
    cluster.told = plan;
}

/// The rule of serviceAllocation once more, for these layouts and one namespace.
fn may_use(cluster: &Cluster, service: &Service, pool: &PoolName) -> bool {
    let Some(allocation) = &cluster.config.pools[pool].allocation else { return true };
    let labels = &cluster.namespaces["default"];
    (allocation.namespace_selectors.is_empty() || allocation.namespace_selectors.iter().any(|it| it.matches(labels)))
        && (allocation.service_selectors.is_empty()
            || allocation.service_selectors.iter().any(|it| it.matches(&service.labels)))
}

/// A cluster with the first layout.
fn begin() -> Cluster {
    let mut cluster = Cluster { config: layouts()[0].clone(), ..Cluster::default() };
    cluster.label_namespace("default", &[]);
    cluster
}

/// What holds once nothing is left to do.
fn assert_settled(cluster: &Cluster) {
    let none = BTreeSet::new();
    assert_eq!(conflicts(&cluster.services), none);
    let again = cluster.plan();
    assert_eq!(again, cluster.told, "planning twice differs");
    for (key, service) in &cluster.services {
        let decision = &again.decisions[key];
        match &decision.outcome {
            Outcome::Assigned(assignment) => {
                assert_eq!(assignment.addresses, service.ingress);
                assert_eq!(service.allocated_from.as_ref(), Some(&assignment.pool));
                for &address in &service.ingress {
                    assert_eq!(cluster.config.pool_of(address).map(|(name, _)| name), Some(&assignment.pool));
                }
                assert!(may_use(cluster, service, &assignment.pool), "{service:?} is in a pool kept for others");
                let families: BTreeSet<Family> = service.ingress.iter().copied().map(Family::of).collect();
                assert_eq!(families.len(), service.ingress.len());
                let enough = families == service.cluster_families
                    || (service.family_policy == FamilyPolicy::PreferDualStack
                        && families.is_subset(&service.cluster_families));
                assert!(enough, "{service:?}");
            }
            Outcome::Waiting(_) | Outcome::NotWanted => assert_eq!(service.ingress, [] as [IpAddr; 0]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_every_write(happenings in vec(happening(), 1..30)) {
        let mut cluster = begin();
        for happening in &happenings {
            happen(&mut cluster, happening);
        }
        cluster.settle();
        assert_settled(&cluster);
    }

    #[test]
    fn a_restart_of_a_settled_cluster_writes_nothing(happenings in vec(happening(), 1..20)) {
        let mut cluster = begin();
        for happening in &happenings {
            happen(&mut cluster, happening);
        }
        cluster.settle();
        cluster.restart();
        prop_assert_eq!(writes(&cluster.settle()), []);
    }

    /// Whoever comes or goes: a settled Service whose own object and pools did not change keeps its addresses, in order.
    #[test]
    fn others_move_nobody(happenings in vec(happening(), 1..20), newcomers in vec(wishes(), 1..4), leaves in any::<Index>()) {
        let mut cluster = begin();
        for happening in &happenings {
            happen(&mut cluster, happening);
        }
        // Who has to stay on an address in quarantine moves when another one comes free.
        cluster.quarantined.clear();
        // A request that could not be met may be met later: such a Service moves because of what it asks itself.
        for service in cluster.services.values_mut().map(Arc::make_mut) {
            service.request = Ok(Request::default());
        }
        cluster.settle();
        let before = cluster.services.clone();
        if !before.is_empty() {
            let leaver = leaves.get(&before.keys().cloned().collect::<Vec<_>>()).clone();
            cluster.services.remove(&leaver);
        }
        for (index, newcomer) in newcomers.into_iter().enumerate() {
            cluster.add(Service { key: key(&format!("new{index}")), created: -1, ..newcomer });
        }
        cluster.settle();
        for (key, service) in &cluster.services {
            if let Some(before) = before.get(key) {
                prop_assert!(service.ingress.starts_with(&before.ingress), "{:?} then {:?}", before.ingress, service.ingress);
            }
        }
    }

    /// Path independence: whenever the configuration and the namespace come to be known, and however often is planned and written on the way,
    /// the Services, which appear in the order of their creation, end with the same addresses.
    #[test]
    fn the_way_does_not_matter(
        services in vec(wishes(), 1..7),
        layout in 0..layouts().len(),
        tenant in any::<bool>(),
        config_at in 0usize..7,
        namespace_at in 0usize..7,
        steps in vec(0usize..3, 7),
    ) {
        let labels: &[(&str, &str)] = if tenant { &[("tenant", "yes")] } else { &[] };
        let named: Vec<Service> = (0..)
            .zip(services)
            .zip(NAMES)
            .map(|((created, service), name)| Service { key: key(name), created, ..service })
            .collect();
        let mut at_once = Cluster { config: layouts()[layout].clone(), ..Cluster::default() };
        at_once.label_namespace("default", labels);
        named.iter().cloned().for_each(|service| at_once.add(service));
        at_once.settle();

        let mut cluster = Cluster::default();
        for (index, service) in named.into_iter().enumerate() {
            if index == config_at {
                cluster.config = layouts()[layout].clone();
            }
            if index == namespace_at {
                cluster.label_namespace("default", labels);
            }
            cluster.add(service);
            for _ in 0..steps[index] {
                cluster.step();
            }
        }
        cluster.config = layouts()[layout].clone();
        cluster.label_namespace("default", labels);
        cluster.settle();
        prop_assert_eq!(&cluster.services, &at_once.services);
    }

    /// The plan depends on the state and not on how Services are named or when they came to be known: only age and key order decide.
    #[test]
    fn a_plan_is_a_function_of_the_state(services in vec(wishes(), 1..7), layout in 0..layouts().len(), order in any::<u64>()) {
        let config = &layouts()[layout];
        let named: Vec<Service> = services
            .into_iter()
            .zip(NAMES)
            .map(|(service, name)| Service { key: key(name), ..service })
            .collect();
        let forward: Services = named.iter().cloned().map(|service| (service.key.clone(), Arc::new(service))).collect();
        let mut shuffled = named;
        let turn = usize::try_from(order % 7).unwrap() % shuffled.len();
        shuffled.rotate_left(turn);
        if order % 2 == 0 {
            shuffled.reverse();
        }
        let other: Services = shuffled.into_iter().map(|service| (service.key.clone(), Arc::new(service))).collect();
        prop_assert_eq!(plan(config, &forward), plan(config, &other));

        // With distinct ages, names decide nothing.
        let aged = |rename: &dyn Fn(usize) -> String| -> Vec<Vec<IpAddr>> {
            let services: Services = forward
                .values()
                .enumerate()
                .map(|(index, service)| {
                    let key = key(&rename(index));
                    let created = i64::try_from(index).unwrap();
                    (key.clone(), Arc::new(Service { key, created, ..Service::clone(service) }))
                })
                .collect();
            let plan = plan(config, &services);
            (0..services.len())
                .map(|index| match &plan.decisions[&key(&rename(index))].outcome {
                    Outcome::Assigned(assignment) => assignment.addresses.clone(),
                    _ => Vec::new(),
                })
                .collect()
        };
        prop_assert_eq!(aged(&|index| format!("s{index}")), aged(&|index| format!("s{}", 9 - index)));
    }
}
