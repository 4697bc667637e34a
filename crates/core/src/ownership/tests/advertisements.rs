//! Who announces what, where: pools, selectors, interfaces, preferences, and all of it with sharing.

use super::*;
use crate::{
    config::Preference,
    labels::{Operator, Requirement, Selector},
};

const NONE: &[&str] = &[];

fn selector(key: &str, value: &str) -> Selector {
    let operator = Operator::In([value.into()].into());
    Selector { requirements: [Requirement { key: key.into(), operator }].into() }
}

/// Selects nodes by name.
fn nodes(names: &[&str]) -> Vec<Selector> {
    names.iter().map(|name| selector("name", name)).collect()
}

fn services(names: &[&str]) -> Vec<Selector> {
    names.iter().map(|name| selector("app", name)).collect()
}

fn interfaces(names: &[&str]) -> BTreeSet<LinkName> {
    names.iter().map(|name| LinkName::from(*name)).collect()
}

fn prefer(weight: u8, node: &str) -> Preference {
    Preference { weight, selector: selector("name", node) }
}

/// Nodes a, b and c with label `name`; Services of policy Cluster with label `app`, all in pool `lan`; exactly these advertisements.
fn world(list: &[(&str, &[&str])], advertisements: Vec<L2Advertisement>) -> Snapshot {
    let mut snapshot = with(&[]);
    for (name, node) in &mut snapshot.nodes {
        node.labels = [("name", name.as_str())].into_iter().collect();
    }
    for (name, addresses) in list {
        let labels = [("app", *name)].into_iter().collect();
        let service = Announceable { labels, ..service(addresses, TrafficPolicy::Cluster, &["a"]) };
        snapshot.services.insert(ServiceKey::new("ns", *name), service);
    }
    let named = (0..).zip(advertisements).map(|(n, l2)| (format!("l2-{n}").as_str().into(), l2));
    Arc::make_mut(&mut snapshot.config).l2_advertisements = named.collect();
    snapshot
}

fn lone(advertisements: Vec<L2Advertisement>) -> Snapshot {
    world(&[("s", &["192.0.2.1"])], advertisements)
}

/// Everybody, with these names of their links.
fn on_links(links: [&[&str]; 3]) -> BTreeMap<NodeName, Member> {
    let member = |links: &[&str]| Member {
        ready: true,
        links: links.iter().map(|link| LinkName::from(*link)).collect(),
        ..Member::default()
    };
    ["a", "b", "c"].into_iter().zip(links).map(|(node, links)| (node.into(), member(links))).collect()
}

/// What a node announces on a link of this name, when it owns it.
fn announced(snapshot: &Snapshot, node: &str, link: &str) -> Vec<String> {
    let plan = plan(snapshot);
    let (node, links) = (NodeName::from(node), [LinkName::from(link)]);
    plan.groups()
        .iter()
        .flat_map(|group| plan.announced(group, &node, &links))
        .map(|s| s.key.name.to_string())
        .collect()
}

fn dropped(verdict: &Verdict, node: &str) -> Option<Dropped> {
    verdict.dropped.get(&node.into()).copied()
}

#[test]
fn pools_by_name_by_label_or_all() {
    let why = |choice: PoolChoice| {
        let mut snapshot = lone(vec![L2Advertisement { pools: choice, ..L2Advertisement::default() }]);
        let config = Arc::make_mut(&mut snapshot.config);
        config.pools.get_mut(&"lan".into()).unwrap().labels = [("zone", "z1")].into_iter().collect();
        config.bgp_advertisements.clear();
        plan(&snapshot).silent(&ServiceKey::new("ns", "s")).cloned()
    };
    let by_label = |value: &str| PoolChoice { selectors: vec![selector("zone", value)], ..PoolChoice::default() };
    let not_advertised = Some(Silent::NotAdvertised("lan".into()));
    assert_eq!(why(PoolChoice::default()), None, "neither names nor selectors: all pools");
    assert_eq!(why(PoolChoice::only("lan".into())), None);
    assert_eq!(why(PoolChoice::only("nosuch".into())), not_advertised);
    assert_eq!(why(by_label("z1")), None);
    assert_eq!(why(by_label("z2")), not_advertised);
    assert_eq!(
        why(PoolChoice { names: ["nosuch".into()].into(), ..by_label("z1") }),
        None,
        "names and selectors add up"
    );
}

#[test]
fn a_pool_without_advertisement_is_allocate_only() {
    let snapshot = lone(vec![]);
    let plan = plan(&snapshot);
    assert!(plan.groups().is_empty());
    let key = ServiceKey::new("ns", "s");
    assert_eq!(plan.silent(&key), Some(&Silent::NotAdvertised("lan".into())));
    assert_eq!(plan.silent(&key), silent(&snapshot.config, &snapshot.services[&key]).as_ref());
}

#[test]
fn service_selectors_choose_by_label_and_follow_changes() {
    let only = |names: &[&str]| L2Advertisement { service_selectors: services(names), ..L2Advertisement::default() };
    let mut snapshot = world(&[("s", &["192.0.2.1"]), ("t", &["192.0.2.2"])], vec![only(&["s", "other"])]);
    assert_eq!(announced(&snapshot, "a", "eth0"), ["s"]);
    let key = ServiceKey::new("ns", "t");
    assert_eq!(plan(&snapshot).silent(&key), Some(&Silent::NotSelected("lan".into())));
    snapshot.services.get_mut(&key).unwrap().labels = [("app", "other")].into_iter().collect();
    assert_eq!(announced(&snapshot, "a", "eth0"), ["s", "t"]);
}

#[test]
fn node_selectors_are_a_union_over_matching_advertisements_only() {
    let on = |names: &[&str], apps: &[&str]| L2Advertisement {
        node_selectors: nodes(names),
        service_selectors: services(apps),
        ..L2Advertisement::default()
    };
    // The rank of 192.0.2.1 decides among a, b, c; whoever is first must not win with an advertisement that is for another Service
    // (MetalLB before 0.16.0).
    for node in ["a", "b", "c"] {
        let snapshot = lone(vec![on(&[node], NONE), on(&["a", "b", "c"], &["another"])]);
        let verdict = verdict(&snapshot, &everybody());
        assert_eq!(verdict.owner, Some(node.into()));
        assert!(verdict.dropped.values().all(|reason| *reason == Dropped::NotSelected), "{verdict:?}");
    }
    let union = verdict(&lone(vec![on(&["a"], NONE), on(&["b"], NONE)]), &everybody());
    assert_eq!(union.dropped.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_node_without_the_interface_is_no_candidate() {
    // metallb: the interface filter is no part of the election there, and an elected node without it is an outage.
    let only = |names: &[&str]| L2Advertisement { interfaces: interfaces(names), ..L2Advertisement::default() };
    for holder in 0..3 {
        let mut links: [&[&str]; 3] = [&["ens5"], &["ens5"], &["ens5"]];
        links[holder] = &["eth1"];
        let verdict = verdict(&lone(vec![only(&["eth1"])]), &on_links(links));
        assert_eq!(verdict.owner, Some(["a", "b", "c"][holder].into()));
        assert!(verdict.dropped.values().all(|reason| *reason == Dropped::NoInterface));
    }
    let nobody = verdict(&lone(vec![only(&["eth1"])]), &on_links([&["eth0"], &["eth0"], &["eth0"]]));
    assert_eq!((nobody.owner, nobody.dropped.len()), (None, 3));

    // Two advertisements add up; one without the field means all.
    let both = lone(vec![only(&["eth1"]), only(&["eth2"])]);
    let verdict_of = |snapshot: &Snapshot| verdict(snapshot, &on_links([&["eth0"], &["eth1"], &["eth2"]]));
    assert_eq!(verdict_of(&both).dropped, [("a".into(), Dropped::NoInterface)].into());
    assert!(verdict_of(&lone(vec![only(&["eth1"]), only(NONE)])).dropped.is_empty());

    // But only where the advertisement that allows the interface selects the node, too.
    let there = L2Advertisement { node_selectors: nodes(&["a"]), ..only(&["eth0"]) };
    let elsewhere = L2Advertisement { node_selectors: nodes(&["b"]), ..only(&["eth1"]) };
    let verdict = verdict(&lone(vec![there, elsewhere]), &on_links([&["eth1"], &["eth1"], &["eth0"]]));
    assert_eq!(verdict.owner, Some("b".into()));
    assert_eq!(dropped(&verdict, "a"), Some(Dropped::NoInterface));
    assert_eq!(dropped(&verdict, "c"), Some(Dropped::NotSelected));
}

#[test]
fn a_node_with_two_links_on_the_segment_needs_one_of_them_and_unknown_names_are_as_ours() {
    let snapshot = lone(vec![L2Advertisement { interfaces: interfaces(&["eth0"]), ..L2Advertisement::default() }]);
    let verdict = verdict(&snapshot, &on_links([&["bond0", "eth0"], &["bond0"], &[]]));
    assert_eq!(verdict.dropped, [("b".into(), Dropped::NoInterface)].into());
}

#[test]
fn preferences_come_before_rank_and_add_up_over_advertisements_that_allow_the_node() {
    let order = |advertisements: Vec<L2Advertisement>| {
        let snapshot = lone(advertisements);
        let mut members = everybody();
        let mut order = Vec::new();
        while let Some(owner) = verdict(&snapshot, &members).owner {
            members.remove(&owner);
            order.push(owner.to_string());
        }
        order.concat()
    };
    let preferring =
        |preferred_nodes: Vec<Preference>| L2Advertisement { preferred_nodes, ..L2Advertisement::default() };
    let plain = order(vec![L2Advertisement::default()]);
    for first in ["a", "b", "c"] {
        let rest = plain.replace(first, "");
        assert_eq!(order(vec![preferring(vec![prefer(1, first)])]), format!("{first}{rest}"), "the rest by rank");
    }
    assert_eq!(order(vec![preferring(vec![prefer(10, "b"), prefer(20, "c")])]), "cba");
    assert_eq!(order(vec![preferring(vec![prefer(10, "b"), prefer(5, "c"), prefer(6, "c")])]), "cba", "within one");
    let sum =
        vec![preferring(vec![prefer(10, "b")]), preferring(vec![prefer(6, "c")]), preferring(vec![prefer(6, "c")])];
    assert_eq!(order(sum), "cba", "over several, also identical ones");
    let all = Preference { weight: 100, selector: Selector::default() };
    assert_eq!(order(vec![preferring(vec![all])]), plain, "an empty selector prefers everybody alike");

    // A preference is worth something only for nodes that the same advertisement allows.
    let elsewhere =
        L2Advertisement { node_selectors: nodes(&["a", "b"]), ..preferring(vec![prefer(100, "c"), prefer(1, "b")]) };
    assert_eq!(order(vec![L2Advertisement::default(), elsewhere]).chars().next(), Some('b'));
    let no_link = L2Advertisement { interfaces: interfaces(&["eth9"]), ..preferring(vec![prefer(100, "c")]) };
    assert_eq!(order(vec![L2Advertisement::default(), no_link]), plain);
}

#[test]
fn with_sharing_a_service_without_advertisement_silences_nobody_and_is_not_announced() {
    let only_s = L2Advertisement { service_selectors: services(&["s"]), ..L2Advertisement::default() };
    let snapshot = world(&[("s", &["192.0.2.1"]), ("t", &["192.0.2.1"])], vec![only_s]);
    assert!(verdict(&snapshot, &everybody()).owner.is_some());
    assert_eq!(announced(&snapshot, "a", "eth0"), ["s"]);
}

#[test]
fn with_sharing_the_group_goes_where_most_of_it_may_be_announced() {
    let on = |names: &[&str], app: &str| L2Advertisement {
        node_selectors: nodes(names),
        service_selectors: services(&[app]),
        ..L2Advertisement::default()
    };
    let shared = [("s", &["192.0.2.1"][..]), ("t", &["192.0.2.1"][..])];
    let common = world(&shared, vec![on(&["a", "b"], "s"), on(&["b", "c"], "t")]);
    let verdict_common = verdict(&common, &everybody());
    assert_eq!(verdict_common.owner, Some("b".into()));
    assert_eq!(dropped(&verdict_common, "a"), Some(Dropped::FewerServices));
    assert_eq!(announced(&common, "b", "eth0"), ["s", "t"]);
    // Without b the group has one owner, which announces only what it may.
    let mut fewer = everybody();
    fewer.remove(&"b".into());
    let owner = verdict(&common, &fewer).owner.unwrap();
    assert_eq!(announced(&common, owner.as_str(), "eth0"), [if owner.as_str() == "a" { "s" } else { "t" }]);

    let apart = world(&shared, vec![on(&["a"], "s"), on(&["c"], "t")]);
    let owner = verdict(&apart, &everybody()).owner.unwrap();
    assert_eq!(announced(&apart, owner.as_str(), "eth0").len(), 1);
}

#[test]
fn an_address_is_owned_only_for_a_service_that_may_be_announced_there() {
    // t has an address of its own beside the shared one; where t may not be announced, nobody answers for that address.
    let on_a = L2Advertisement {
        node_selectors: nodes(&["a"]),
        service_selectors: services(&["s", "u"]),
        ..L2Advertisement::default()
    };
    let on_b = L2Advertisement { node_selectors: nodes(&["b"]), service_selectors: services(&["t"]), ..on_a.clone() };
    let list = [("s", &["192.0.2.1"][..]), ("t", &["192.0.2.1", "fd00::1"][..]), ("u", &["192.0.2.1"][..])];
    let snapshot = world(&list, vec![on_a, on_b]);
    assert_eq!(verdict(&snapshot, &everybody()).owner, Some("a".into()), "two Services against one");
    let plan = plan(&snapshot);
    let (node, links) = (NodeName::from("a"), [LinkName::from("eth0")]);
    let addresses: BTreeSet<IpAddr> =
        plan.announced(&plan.groups()[0], &node, &links).flat_map(|share| share.addresses.iter().copied()).collect();
    assert_eq!(addresses, [ip("192.0.2.1")].into());
}

#[test]
fn whoever_would_announce_says_that_the_interface_is_missing() {
    let mut snapshot = lone(vec![L2Advertisement {
        interfaces: interfaces(&["eth7"]),
        preferred_nodes: vec![prefer(1, "b")],
        ..L2Advertisement::default()
    }]);
    let names = |list: [&[&str]; 3]| -> BTreeMap<NodeName, Vec<LinkName>> {
        let links = list.map(|links| links.iter().map(|link| LinkName::from(*link)).collect());
        ["a", "b", "c"].map(NodeName::from).into_iter().zip(links).collect()
    };
    let nowhere = names([&["eth0"], &["eth0"], &["eth0"]]);
    let ready: BTreeSet<NodeName> = nowhere.keys().cloned().collect();
    let missing = |snapshot: &Snapshot, links: &BTreeMap<NodeName, Vec<LinkName>>| {
        plan(snapshot).without_interface(links, &ready).into_values().map(|node| node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(missing(&snapshot, &nowhere), ["b"], "one node, the one that would be elected");
    // On whatever segment it is: somebody announces there.
    assert!(missing(&snapshot, &names([&["eth0"], &["eth0"], &["eth0", "eth7"]])).is_empty());
    snapshot.nodes.get_mut(&"b".into()).unwrap().excluded = true;
    assert_ne!(missing(&snapshot, &nowhere), ["b"]);
    let key = ServiceKey::new("ns", "s");
    snapshot.services.get_mut(&key).unwrap().serving = Arc::default();
    assert!(missing(&snapshot, &nowhere).is_empty(), "nothing to announce");
}

/// Whatever the advertisements, services and members: one owner at most, the same from every node's view, and never against a selector.
#[test]
fn every_node_decides_alike_whatever_the_advertisements() {
    let mut state = 7_u64;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let names = ["a", "b", "c"];
    for _ in 0..500 {
        let mut some =
            |all: &[&'static str]| -> Vec<&'static str> { all.iter().filter(|_| below(3) == 0).copied().collect() };
        let advertisements: Vec<L2Advertisement> = (0..3)
            .map(|_| L2Advertisement {
                node_selectors: nodes(&some(&names)),
                service_selectors: services(&some(&["s", "t"])),
                interfaces: interfaces(&some(&["eth0", "eth1"])),
                preferred_nodes: some(&names).iter().map(|node| prefer(3, node)).collect(),
                ..L2Advertisement::default()
            })
            .collect();
        let snapshot = world(&[("s", &["192.0.2.1"]), ("t", &["192.0.2.1", "fd00::1"])], advertisements);
        let members = on_links([&["eth0"], &["eth1"], &["eth0", "eth1"]]);
        let plan = plan(&snapshot);
        for group in plan.groups() {
            let verdict = decide(&plan, group, &members);
            let Some(owner) = verdict.owner else { continue };
            let links: Vec<LinkName> = members[&owner].links.to_vec();
            assert!(plan.announced(group, &owner, &links).next().is_some(), "an owner that announces nothing");
        }
    }
}
