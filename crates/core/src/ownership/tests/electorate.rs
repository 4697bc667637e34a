//! The short cuts about all groups say what the whole ladder says about each.

use super::*;
use herald_wire::hello::DataPlane;
use proptest::{collection::vec, prelude::*};
use std::cmp::Reverse;

const NODES: u8 = 12;

/// One Service on an address; some share an address, some are Local, some prefer nodes.
fn cluster(services: &[(u8, bool, u16)]) -> Snapshot {
    let mut snapshot = snapshot();
    let node = snapshot.nodes.values().next().unwrap().clone();
    let name = |number: u8| NodeName::new(format!("node-{number:02}"));
    snapshot.nodes = (0..NODES)
        .map(|number| {
            let labels = [("half", if number % 2 == 0 { "even" } else { "odd" }.to_owned())].into_iter().collect();
            let evacuation = (number == 7).then_some(crate::node::Evacuation::Tainted);
            (name(number), Node { name: name(number), labels, evacuation, ..node.clone() })
        })
        .collect();
    for (number, (address, local, nodes)) in services.iter().enumerate() {
        let policy = if *local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let here = (0..NODES).filter(|number| nodes & (1 << number) != 0).map(name);
        let mut service = service(&[&format!("192.0.2.{address}")], policy, &["anywhere"]);
        service.serving = Arc::new(Serving { any: true, nodes: here.collect() });
        if nodes % 5 == 0 {
            let to = name(address % NODES);
            service.moved = Some(crate::service::Moved { to, until: 0 });
        }
        service.labels = [("app", if address % 3 == 0 { "web" } else { "db" }.to_owned())].into_iter().collect();
        snapshot.services.insert(ServiceKey::new("ns", format!("s{number}")), service);
    }
    let requirement = |key: &str, value: &str| crate::labels::Selector {
        requirements: [crate::labels::Requirement {
            key: key.into(),
            operator: crate::labels::Operator::In([value.into()].into()),
        }]
        .into(),
    };
    let preferring = L2Advertisement {
        pools: PoolChoice::only("lan".into()),
        service_selectors: vec![requirement("app", "web")],
        preferred_nodes: vec![crate::config::Preference { weight: 5, selector: requirement("half", "odd") }],
        ..L2Advertisement::default()
    };
    Arc::make_mut(&mut snapshot.config).l2_advertisements.insert("web".into(), preferring);
    snapshot
}

/// Who is there: absent, ready, not ready, restarting, or ready with a data plane that is not, or has failed.
fn members(states: &[u8]) -> BTreeMap<NodeName, Member> {
    let there = (0..NODES).zip(states).filter(|(_, state)| **state != 0);
    let plane = |state: u8| match state {
        4 => DataPlane::NotReady,
        5 => DataPlane::Failed,
        _ => DataPlane::Ready,
    };
    let member = |state: u8| {
        let (ready, restarting) = (state != 2, state == 3);
        Member { ready, restarting, data_plane: plane(state), ..Member::default() }
    };
    there.map(|(number, state)| (NodeName::new(format!("node-{number:02}")), member(*state))).collect()
}

/// As it is said in words: everybody in order, the first one is the owner.
fn stand_in(plan: &Plan, group: &Group, here: &LinkName, members: &BTreeMap<NodeName, Member>) -> Option<StandIn> {
    let live = |node: &NodeName| members.get(node).is_some_and(|member| member.ready && !member.restarting);
    let key = group.key.to_string();
    let mut candidates = plan.candidates(group, here, members, &mut |_, _| {});
    candidates.sort_by_cached_key(|candidate| (Reverse(candidate.score), rank(candidate.node, &key)));
    let owner = candidates.first().map(|first| first.node).filter(|owner| !live(owner))?;
    let by = candidates.iter().map(|candidate| candidate.node).find(|node| live(node));
    let any = || members.keys().filter(|node| live(node)).min_by_key(|node| rank(node, &key));
    Some(StandIn { owner: owner.clone(), by: by.or_else(any).cloned() })
}

/// As it is said in words: everybody in order; when the first one's data plane is not ready, the first whose is.
fn meanwhile<'a>(
    plan: &'a Plan,
    group: &Group,
    here: &LinkName,
    members: &BTreeMap<NodeName, Member>,
) -> Option<Meanwhile<'a>> {
    let key = group.key.to_string();
    let mut candidates = plan.candidates(group, here, members, &mut |_, _| {});
    candidates.sort_by_cached_key(|candidate| (Reverse(candidate.score), rank(candidate.node, &key)));
    let ready = |node: &NodeName| members[node].data_plane == DataPlane::Ready;
    let owner = candidates.first().map(|first| first.node).filter(|node| !ready(node))?;
    let by = candidates.iter().map(|candidate| candidate.node).find(|node| ready(node) && !members[*node].restarting);
    by.map(|by| Meanwhile { owner, by })
}

#[test]
fn a_data_plane_that_has_failed_is_a_reason_unless_all_have() {
    let snapshot = with(&[("s", service(&["192.0.2.1"], TrafficPolicy::Cluster, &["a"]))]);
    let all = |planes: [DataPlane; 3]| {
        let member = |data_plane| Member { ready: true, data_plane, ..Member::default() };
        ["a", "b", "c"].into_iter().zip(planes).map(|(node, plane)| (node.into(), member(plane))).collect()
    };
    use DataPlane::{Failed, NotReady, Ready};
    let healthy = verdict(&snapshot, &all([Ready; 3]));
    for plane in [NotReady, Failed] {
        assert_eq!(verdict(&snapshot, &all([plane; 3])), healthy, "no filter when it is the same for all");
    }
    let one = |node: &str, plane| {
        let mut planes = all([Ready; 3]);
        planes.get_mut(&NodeName::from(node)).unwrap().data_plane = plane;
        verdict(&snapshot, &planes)
    };
    let owner = healthy.owner.clone().unwrap();
    assert_eq!(one(owner.as_str(), NotReady), healthy, "who has it keeps it");
    let failed = one(owner.as_str(), Failed);
    assert_eq!(failed.dropped.get(&owner), Some(&Dropped::DataPlaneFailed));
    assert!(healthy.others.contains(&failed.owner.unwrap()));
}

proptest! {
    #[test]
    fn it_says_what_the_ladder_says(
        services in vec((1..30_u8, prop::bool::weighted(0.3), any::<u16>()), 1..25),
        history in vec((vec(0..6_u8, usize::from(NODES)), 0..25_usize), 1..6),
    ) {
        let here = LinkName::from("eth0");
        // Remembered over the whole history, as a holder does.
        let mut ahead: BTreeMap<NodeName, Vec<Ahead>> = BTreeMap::new();
        let mut before: Option<Plan> = None;
        for (states, count) in history {
            let plan = plan(&cluster(services.get(..count).unwrap_or(&services)));
            for known in ahead.values_mut() {
                *known = Ahead::carry_over(known, before.as_ref().unwrap(), &plan);
            }
            let members = members(&states);
            let electorate = Electorate::new(&plan, &here, &members);
            for (position, group) in plan.groups().iter().enumerate() {
                prop_assert_eq!(plan.group(group.key), Some(&**group));
                let owner = plan.desired(group, &here, &members).owner;
                prop_assert_eq!(electorate.owner(group), owner.as_ref(), "{}", group.key);
                for node in plan.snapshot().nodes.keys() {
                    let whose = match &owner {
                        None => Whose::Nobody,
                        Some(owner) if owner == node => Whose::This,
                        Some(_) => Whose::Other,
                    };
                    prop_assert_eq!(electorate.owns(group, node), whose == Whose::This, "{} of {}", group.key, node);
                    let known = ahead.entry(node.clone()).or_default();
                    known.resize(plan.groups().len(), Ahead::default());
                    prop_assert_eq!(electorate.whose(group, node, &mut known[position]), whose, "{} of {}", group.key, node);
                }
                prop_assert_eq!(electorate.meanwhile(group), meanwhile(&plan, group, &here, &members), "{}", group.key);
                prop_assert_eq!(electorate.stand_in(group), stand_in(&plan, group, &here, &members), "{}", group.key);
            }
            before = Some(plan);
        }
    }
}
