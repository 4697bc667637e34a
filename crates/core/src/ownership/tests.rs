mod advertisements;
mod electorate;
mod hand_over;

use super::*;
use crate::{
    LinkName,
    config::{BgpAdvertisement, L2Advertisement, Pool, PoolChoice},
    labels::Labels,
    membership::Member,
    node::Evacuation,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn order(nodes: &[&str], key: &str) -> Vec<String> {
    let mut nodes: Vec<NodeName> = nodes.iter().map(|n| NodeName::from(*n)).collect();
    nodes.sort_by_key(|node| rank(node, key));
    nodes.iter().map(ToString::to_string).collect()
}

#[test]
fn rank_is_metallbs() {
    // Vectors that agree with MetalLB's unit test (speaker/layer2_controller_test.go).
    assert_eq!(
        order(&["a", "b", "c"].map(|n| ["node-", n].concat()).each_ref().map(String::as_str), "10.0.0.1"),
        ["node-b", "node-a", "node-c"]
    );
    assert_eq!(order(&["node-a", "node-b", "node-c"], "10.0.0.2"), ["node-b", "node-c", "node-a"]);
    assert_eq!(order(&["iris1", "iris2"], "10.20.30.1")[0], "iris2");
    assert_eq!(order(&["node1", "node2", "node3"], "192.168.1.240"), ["node3", "node1", "node2"]);
    assert_eq!(order(&["node1", "node2", "node3"], "2001:db8::1"), ["node3", "node2", "node1"]);
}

/// Three nodes; a layer2 pool and a bgp pool.
fn snapshot() -> Snapshot {
    let pool = |ranges: &[&str]| Pool {
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        auto_assign: true,
        ..Pool::default()
    };
    let node = |name: &str| Node {
        name: name.into(),
        labels: Labels::default(),
        excluded: false,
        network_unavailable: false,
        evacuation: None,
        internal_ips: vec![],
    };
    let (l2, bgp) = (PoolChoice::only("lan".into()), PoolChoice::only("wan".into()));
    Snapshot {
        config: Arc::new(Config {
            pools: BTreeMap::from([
                ("lan".into(), pool(&["192.0.2.0/24", "fd00::/64"])),
                ("wan".into(), pool(&["198.51.100.0/24"])),
            ]),
            l2_advertisements: [("lan".into(), L2Advertisement { pools: l2, ..L2Advertisement::default() })].into(),
            bgp_advertisements: [("wan".into(), BgpAdvertisement { pools: bgp, ..Default::default() })].into(),
            ..Config::default()
        }),
        nodes: ["a", "b", "c"].map(|n| (n.into(), node(n))).into(),
        ..Snapshot::default()
    }
}

fn service(addresses: &[&str], policy: TrafficPolicy, nodes: &[&str]) -> Announceable {
    Announceable {
        uid: "uid".into(),
        labels: Labels::default(),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        traffic_policy: policy,
        serving: Arc::new(Serving {
            any: !nodes.is_empty(),
            nodes: nodes.iter().map(|n| NodeName::from(*n)).collect(),
        }),
        moved: None,
    }
}

fn with(services: &[(&str, Announceable)]) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.services = services.iter().map(|(name, s)| (ServiceKey::new("ns", *name), s.clone())).collect();
    snapshot
}

fn everybody() -> BTreeMap<NodeName, Member> {
    ["a", "b", "c"].map(|n| (n.into(), Member { ready: true, ..Member::default() })).into()
}

fn plan(snapshot: &Snapshot) -> Plan {
    Plan::new(Arc::new(snapshot.clone()))
}

/// The verdict on the only group, on `eth0`; the short cut of who owns it must agree.
fn verdict(snapshot: &Snapshot, members: &BTreeMap<NodeName, Member>) -> Verdict {
    let plan = plan(snapshot);
    assert_eq!(plan.groups().len(), 1, "{:?}", plan.groups());
    decide(&plan, &plan.groups()[0], members)
}

fn decide(plan: &Plan, group: &Group, members: &BTreeMap<NodeName, Member>) -> Verdict {
    let here = LinkName::from("eth0");
    let verdict = plan.desired(group, &here, members);
    let electorate = Electorate::new(plan, &here, members);
    for node in plan.snapshot().nodes.keys() {
        assert_eq!(electorate.owns(group, node), verdict.owner.as_ref() == Some(node), "{node} {verdict:?}");
    }
    verdict
}

#[test]
fn each_step_of_the_ladder_drops_with_its_reason() {
    use TrafficPolicy::{Cluster, Local};
    let dropped = |snapshot: &Snapshot, members: &BTreeMap<NodeName, Member>| {
        verdict(snapshot, members).dropped.get(&"a".into()).copied()
    };
    let plain = with(&[("s", service(&["192.0.2.1"], Cluster, &["b"]))]);
    assert_eq!(dropped(&plain, &everybody()), None, "Cluster policy needs no endpoint of its own");

    let mut excluded = plain.clone();
    excluded.nodes.get_mut(&"a".into()).unwrap().excluded = true;
    assert_eq!(dropped(&excluded, &everybody()), Some(Dropped::Excluded));
    excluded.ignore_exclude_label = true;
    assert_eq!(dropped(&excluded, &everybody()), None);

    let mut unavailable = plain.clone();
    unavailable.nodes.get_mut(&"a".into()).unwrap().network_unavailable = true;
    assert_eq!(dropped(&unavailable, &everybody()), Some(Dropped::NetworkUnavailable));

    let local = with(&[("s", service(&["192.0.2.1"], Local, &["b", "c"]))]);
    assert_eq!(dropped(&local, &everybody()), Some(Dropped::NoLocalEndpoint));

    let mut members = everybody();
    members.get_mut(&"a".into()).unwrap().ready = false;
    assert_eq!(dropped(&plain, &members), Some(Dropped::NotReady));
    members.remove(&"a".into());
    assert_eq!(dropped(&plain, &members), Some(Dropped::NotAMember));
}

#[test]
fn who_gives_its_addresses_away_keeps_what_nobody_else_can_have() {
    use TrafficPolicy::{Cluster, Local};
    let evacuated = |mut snapshot: Snapshot, nodes: &[&str]| {
        for node in nodes {
            snapshot.nodes.get_mut(&NodeName::from(*node)).unwrap().evacuation = Some(Evacuation::Tainted);
        }
        snapshot
    };
    let plain = with(&[("s", service(&["192.0.2.1"], Cluster, &["a"]))]);
    let one = verdict(&evacuated(plain.clone(), &["a"]), &everybody());
    assert_eq!(one.dropped.get(&"a".into()), Some(&Dropped::Evacuated(Evacuation::Tainted)));
    assert_eq!(one.others.len(), 1);
    let everyone = verdict(&evacuated(plain.clone(), &["a", "b", "c"]), &everybody());
    assert_eq!(everyone, verdict(&plain, &everybody()), "nobody is left, so it counts for nothing");
    let local = with(&[("s", service(&["192.0.2.1"], Local, &["a"]))]);
    assert_eq!(verdict(&evacuated(local, &["a"]), &everybody()).owner, Some("a".into()));
    let mut members = everybody();
    members.get_mut(&"b".into()).unwrap().ready = false;
    members.remove(&"c".into());
    assert_eq!(verdict(&evacuated(plain, &["a"]), &members).owner, Some("a".into()), "nobody else is ready");
    // Rather fewer Services than a node that is about to go.
    let two = [("s", service(&["192.0.2.1"], Local, &["a", "b"])), ("t", service(&["192.0.2.1"], Local, &["a"]))];
    assert_eq!(verdict(&evacuated(with(&two), &["a"]), &everybody()).owner, Some("b".into()));
}

#[test]
fn a_service_is_where_it_was_moved_to_if_that_node_can_have_it() {
    for to in ["a", "b", "c"] {
        let moved = Some(Moved { to: to.into(), until: 1 });
        let snapshot =
            with(&[("s", Announceable { moved, ..service(&["192.0.2.1"], TrafficPolicy::Cluster, &["a"]) })]);
        assert_eq!(verdict(&snapshot, &everybody()).owner, Some(to.into()));
        let mut without = snapshot.clone();
        without.nodes.get_mut(&NodeName::from(to)).unwrap().excluded = true;
        assert!(verdict(&without, &everybody()).owner.is_some_and(|owner| owner.as_str() != to));
    }
}

#[test]
fn without_a_candidate_there_is_no_owner() {
    let plain = with(&[("s", service(&["192.0.2.1"], TrafficPolicy::Cluster, &["b"]))]);
    let verdict = verdict(&plain, &BTreeMap::new());
    assert_eq!(verdict.owner, None);
    assert_eq!(verdict.dropped.len(), 3);
}

#[test]
fn removing_a_node_moves_only_what_it_owned() {
    let addresses: Vec<String> = (1..=50).map(|n| format!("192.0.2.{n}")).collect();
    let services: Vec<(String, Announceable)> =
        addresses.iter().map(|a| (a.clone(), service(&[a], TrafficPolicy::Cluster, &["a"]))).collect();
    let snapshot = with(&services.iter().map(|(n, s)| (n.as_str(), s.clone())).collect::<Vec<_>>());
    let mut fewer = everybody();
    fewer.remove(&"b".into());
    let mut moved = 0;
    let plan = plan(&snapshot);
    for group in plan.groups() {
        let before = decide(&plan, group, &everybody()).owner;
        let after = decide(&plan, group, &fewer).owner;
        assert_eq!(before == Some("b".into()), before != after, "{:?}", group.key);
        moved += usize::from(before != after);
    }
    assert!((5..=30).contains(&moved), "{moved} of 50 lay on one of three nodes");
}

#[test]
fn who_cannot_be_announced_says_why() {
    let snapshot = snapshot();
    let why = |s: Announceable| silent(&snapshot.config, &s);
    let cluster = TrafficPolicy::Cluster;
    assert_eq!(why(service(&[], cluster, &["a"])), Some(Silent::NoAddress));
    assert_eq!(why(service(&["203.0.113.1"], cluster, &["a"])), Some(Silent::NotInAnyPool(ip("203.0.113.1"))));
    assert_eq!(why(service(&["198.51.100.1"], cluster, &["a"])), Some(Silent::Bgp("wan".into())));
    assert_eq!(why(service(&["192.0.2.1"], cluster, &[])), Some(Silent::NoEndpoints));
    assert_eq!(why(service(&["192.0.2.1"], cluster, &["a"])), None);
}

#[test]
fn sharing_and_dual_stack_connect_services_to_one_group() {
    let cluster = TrafficPolicy::Cluster;
    let snapshot = with(&[
        ("dual", service(&["fd00::1", "192.0.2.9"], cluster, &["a"])),
        ("six", service(&["fd00::1"], cluster, &["a"])),
        ("other", service(&["192.0.2.1"], cluster, &["a"])),
    ]);
    let plan = plan(&snapshot);
    assert_eq!(plan.groups().len(), 2);
    let group = plan.groups().iter().find(|g| g.services.len() == 2).unwrap();
    assert_eq!(group.addresses, crate::Set::from([ip("192.0.2.9"), ip("fd00::1")]));
    assert_eq!(group.key, ip("192.0.2.9"), "the lowest IPv4 address of a larger group");
}

#[test]
fn a_plan_that_follows_is_the_one_made_anew_and_keeps_the_groups_that_are_as_before() {
    let cluster = TrafficPolicy::Cluster;
    let all: Vec<(String, Announceable)> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.5"]
        .map(|address| (address.to_owned(), service(&[address], cluster, &["a"])))
        .into();
    let with = |services: &[(String, Announceable)]| {
        with(&services.iter().map(|(name, service)| (name.as_str(), service.clone())).collect::<Vec<_>>())
    };
    let before = plan(&with(&all));
    for (change, kept) in [
        // One goes, one comes, one gets another policy, one gets another one's address besides.
        (all[1..].to_vec(), 3),
        ([all.clone(), vec![("192.0.2.4".to_owned(), service(&["192.0.2.4"], cluster, &["a"]))]].concat(), 4),
        ([&all[..3], &[(all[3].0.clone(), service(&["192.0.2.5"], TrafficPolicy::Local, &["a"]))]].concat(), 3),
        ([&all[..3], &[(all[3].0.clone(), service(&["192.0.2.5", "192.0.2.1"], cluster, &["a"]))]].concat(), 2),
        (Vec::new(), 0),
    ] {
        let snapshot = with(&change);
        let mut follows = plan(&with(&all));
        let old = follows.follow(Arc::new(snapshot.clone())).unwrap();
        assert_eq!(old.groups(), before.groups());
        assert_eq!(follows.groups(), plan(&snapshot).groups());
        let is_kept = |group: &&Arc<Group>| old.groups().iter().any(|other| Arc::ptr_eq(group, other));
        assert_eq!(follows.groups().iter().filter(is_kept).count(), kept);
    }
}

#[test]
fn a_lone_service_is_ranked_by_its_first_address() {
    let snapshot = with(&[("dual", service(&["fd00::1", "192.0.2.9"], TrafficPolicy::Cluster, &["a"]))]);
    assert_eq!(plan(&snapshot).groups()[0].key, ip("fd00::1"));
}

#[test]
fn a_group_goes_where_most_of_its_services_can_be_served() {
    let snapshot = with(&[
        ("s", service(&["192.0.2.1"], TrafficPolicy::Local, &["a", "b"])),
        ("t", service(&["192.0.2.1"], TrafficPolicy::Local, &["b", "c"])),
    ]);
    assert_eq!(verdict(&snapshot, &everybody()).owner, Some("b".into()));
}

#[test]
fn a_service_without_endpoints_does_not_silence_the_one_it_shares_with() {
    let snapshot = with(&[
        ("empty", service(&["192.0.2.1"], TrafficPolicy::Cluster, &[])),
        ("full", service(&["192.0.2.1"], TrafficPolicy::Cluster, &["a"])),
    ]);
    assert!(verdict(&snapshot, &everybody()).owner.is_some());
}

#[test]
fn the_next_in_order_stands_in_for_a_restarting_owner_and_nobody_for_a_live_one() {
    let snapshot = with(&[("web", service(&["192.0.2.1"], TrafficPolicy::Local, &["a", "b"]))]);
    let plan = plan(&snapshot);
    let (group, here) = (&plan.groups()[0], LinkName::from("eth0"));
    let mut members = everybody();
    let owner = plan.desired(group, &here, &members).owner.unwrap();
    assert_eq!(Electorate::new(&plan, &here, &members).stand_in(group), None);
    let other = NodeName::from(if owner.as_str() == "a" { "b" } else { "a" });
    for (away, by) in [(&owner, Some(other.clone())), (&other, Some("c".into())), (&"c".into(), None)] {
        members.get_mut(away).unwrap().restarting = true;
        let stand_in = Electorate::new(&plan, &here, &members).stand_in(group);
        assert_eq!(stand_in, Some(StandIn { owner: owner.clone(), by }), "{away} restarts, too");
        assert_eq!(plan.desired(group, &here, &members).owner.as_ref(), Some(&owner), "its place is kept");
    }
}
