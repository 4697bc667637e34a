//! What a change costs a speaker among many Services: the plan of a snapshot, and a decision about all groups on one link.
//!
//! `cargo bench -p herald-core --bench ownership`. The cost must grow with Services and nodes, not with their squares.
#![allow(missing_docs, reason = "a benchmark exports nothing")]

use divan::Bencher;
use herald_core::{
    LinkName, NodeName, ServiceKey,
    config::{Config, L2Advertisement, Pool, Preference},
    labels::{Labels, Operator, Requirement, Selector},
    membership::Member,
    node::Node,
    ownership::{Announceable, Electorate, Plan, Snapshot},
    service::{Serving, TrafficPolicy},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Services and nodes.
const SIZES: [(u32, u32); 4] = [(100, 4), (1_000, 4), (1_000, 100), (10_000, 100)];

fn main() {
    divan::main();
}

fn selector(key: &str, value: &str) -> Selector {
    let operator = Operator::In([value.into()].into());
    Selector { requirements: [Requirement { key: key.into(), operator }].into() }
}

/// Every advertisement has selectors of all kinds.
fn snapshot((services, nodes): (u32, u32)) -> Arc<Snapshot> {
    let pool = Pool { ranges: "10.0.0.0/16".parse().into_iter().collect(), ..Pool::default() };
    let advertisement = |number: u32| L2Advertisement {
        service_selectors: vec![selector("app", &format!("app-{number}"))],
        node_selectors: vec![selector("zone", "a"), selector("zone", &format!("zone-{number}"))],
        interfaces: [LinkName::from("eth0"), LinkName::from("eth1")].into(),
        preferred_nodes: vec![Preference { weight: 10, selector: selector("zone", &format!("zone-{number}")) }],
        ..L2Advertisement::default()
    };
    let config = Config {
        pools: [("pool".into(), pool)].into(),
        l2_advertisements: (0..20).map(|n| (format!("l2-{n}").as_str().into(), advertisement(n))).collect(),
        ..Config::default()
    };
    let node = |number: u32| Node {
        name: format!("node-{number}").as_str().into(),
        labels: [("zone", format!("zone-{}", number % 20))].into_iter().collect::<Labels>(),
        excluded: false,
        network_unavailable: false,
        evacuation: None,
        internal_ips: Vec::new(),
    };
    let serving = Arc::new(Serving { any: true, ..Serving::default() });
    let service = |number: u32| {
        let announceable = Announceable {
            uid: "uid".into(),
            labels: [("app", format!("app-{}", number % 20))].into_iter().collect(),
            addresses: [IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))].into(),
            traffic_policy: TrafficPolicy::Cluster,
            serving: Arc::clone(&serving),
            moved: None,
        };
        (ServiceKey::new("ns", format!("service-{number:05}")), announceable)
    };
    Arc::new(Snapshot {
        config: Arc::new(config),
        services: (0..services).map(service).collect(),
        nodes: (0..nodes).map(node).map(|node| (node.name.clone(), node)).collect(),
        ..Snapshot::default()
    })
}

#[divan::bench(args = SIZES)]
fn plan(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    let snapshot = snapshot(size);
    bencher.bench(|| Plan::new(Arc::clone(&snapshot)));
}

#[divan::bench(args = SIZES)]
fn decide(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    let plan = Plan::new(snapshot(size));
    let member = Member { ready: true, links: [LinkName::from("eth0")].into(), ..Member::default() };
    let members: BTreeMap<NodeName, Member> =
        plan.snapshot().nodes.keys().map(|node| (node.clone(), member.clone())).collect();
    let (here, me) = (LinkName::from("eth0"), NodeName::from("node-1"));
    bencher.bench(|| {
        let electorate = Electorate::new(&plan, &here, &members);
        plan.groups().iter().filter(|group| electorate.owns(group, &me)).count()
    });
}
