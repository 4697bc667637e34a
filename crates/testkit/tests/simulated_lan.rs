//! DESIGN section 3, invariants 3 to 5, on a simulated LAN with loss, delay, partition, pause and restart.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{HOLD_OFF, NODES, SETTLE, Watch, bound, cluster, lan, owner, started, vips};
use herald_core::{
    LinkName, NodeName,
    config::L2Advertisement,
    ownership::Snapshot,
    speaker::{Cause, Input, Link},
    time::Timing,
};
use herald_testkit::{
    build,
    lan::{Lan, Random},
};
use herald_wire::Mac;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

#[test]
fn everybody_agrees_and_the_addresses_are_spread() {
    let mut lan = lan(1);
    lan.run(SETTLE, |_| {});
    let owners: BTreeSet<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
    assert!(owners.len() >= 3, "twelve addresses lie on {owners:?} only");
}

#[test]
fn nobody_answers_before_listening() {
    let mut lan = lan(2);
    lan.run(Timing::default().listen() - Duration::from_millis(1), |lan| {
        for address in vips() {
            assert!(lan.answering(0, address).is_empty());
        }
    });
}

#[test]
fn listening_without_the_key_does_not_count() {
    let mut lan = lan(12);
    lan.run(SETTLE, |_| {});
    let node = NODES[0];
    lan.power_off(node);
    lan.run(SETTLE, |_| {});
    lan.power_on(node);
    lan.input(node, Input::Key(false));
    lan.run(SETTLE, |_| {});
    lan.input(node, Input::Key(true));
    lan.run(Timing::default().listen() - Duration::from_millis(1), |lan| {
        for address in vips() {
            assert!(!lan.answering(0, address).contains(&node.into()), "{address} is answered by who just got the key");
        }
    });
}

#[test]
fn a_dead_node_is_replaced_and_only_its_addresses_move() {
    let mut lan = lan(3);
    lan.run(SETTLE, |_| {});
    let before: Vec<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
    let victim = before[0].clone();
    lan.power_off(victim.as_str());
    let timing = Timing::default();
    lan.run(timing.hold() + timing.interval(), |_| {});
    for (address, old) in vips().into_iter().zip(&before) {
        let new = owner(&lan, address);
        assert_eq!(new != *old, *old == victim, "{address}: {old} -> {new}");
        if *old == victim {
            assert!(lan.gratuitous(new.as_str(), address) >= 1, "nobody told the neighbours about {address}");
        }
    }
    lan.power_on(victim.as_str());
    lan.run(SETTLE + HOLD_OFF, |_| {});
    let after: Vec<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
    assert_eq!(after, before, "the same owners again");
}

#[test]
fn what_moved_a_service_is_told() {
    let mut lan = lan(3);
    lan.run(SETTLE, |_| {});
    let victim = owner(&lan, vips()[0]);
    let others: Vec<&str> = NODES.into_iter().filter(|node| *node != victim.as_str()).collect();
    let told = |lan: &mut Lan| -> BTreeSet<(bool, Cause)> {
        lan.run(SETTLE + HOLD_OFF, |_| {});
        others.iter().flat_map(|node| lan.take_moves(node)).collect()
    };
    // Everybody began, and asked who might have had it before.
    assert_eq!(told(&mut lan), [(true, Cause::HandOver)].into());
    assert!(!lan.take_moves(victim.as_str()).is_empty());
    lan.power_off(victim.as_str());
    assert_eq!(told(&mut lan), [(true, Cause::MemberLeft)].into());
    lan.power_on(victim.as_str());
    assert_eq!(told(&mut lan), [(false, Cause::HandOver)].into());
    assert_eq!(lan.take_moves(victim.as_str()), [(true, Cause::HandOver)].into());
    let mut snapshot = cluster(&NODES);
    snapshot.nodes.get_mut(&victim).unwrap().excluded = true;
    lan.set_snapshot(snapshot);
    assert_eq!(told(&mut lan), [(true, Cause::HandOver)].into());
    assert_eq!(lan.take_moves(victim.as_str()), [(false, Cause::HandOver)].into());
}

#[test]
fn who_leaves_for_good_is_replaced_at_once() {
    let mut lan = lan(4);
    lan.run(SETTLE, |_| {});
    let address = vips()[0];
    let old = owner(&lan, address);
    lan.stop(old.as_str(), true);
    lan.run(Duration::from_millis(5), |_| {});
    assert_ne!(owner(&lan, address), old);
}

#[test]
fn a_partition_has_one_announcer_on_each_side_and_heals_to_one() {
    for seed in 0..20 {
        let mut lan = lan(seed);
        lan.run(SETTLE, |_| {});
        let before: Vec<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
        lan.partition(&["m-k8s", "w1-k8s"]);
        lan.run(SETTLE, |_| {});
        for address in vips() {
            let answering = lan.answering(0, address);
            let left = answering.iter().filter(|node| ["m-k8s", "w1-k8s"].contains(&node.as_str())).count();
            assert_eq!((left, answering.len()), (1, 2), "{address}: {answering:?}");
        }
        lan.heal();
        let mut watch = Watch::new(bound());
        lan.run(Timing::default().hold(), |lan| watch.look(lan));
        let after: Vec<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
        assert_eq!(after, before);
    }
}

#[test]
fn who_slept_does_not_answer_on_waking() {
    let mut lan = lan(5);
    lan.run(SETTLE, |_| {});
    let address = vips()[0];
    let old = owner(&lan, address);
    lan.suspend(old.as_str(), Duration::from_secs(20));
    lan.run(Duration::from_secs(19), |_| {});
    let new = owner(&lan, address);
    assert_ne!(new, old);
    // From its waking on there is never a second one who hears the first.
    let mut watch = Watch::new(bound());
    lan.run(SETTLE + HOLD_OFF, |lan| watch.look(lan));
    assert_eq!(owner(&lan, address), old, "and it gets back what is its own");
}

#[test]
fn a_pause_shorter_than_the_hold_time_moves_nothing() {
    let mut lan = lan(6);
    lan.run(SETTLE, |_| {});
    let before: Vec<NodeName> = vips().into_iter().map(|address| owner(&lan, address)).collect();
    let victim = before[0].clone();
    lan.pause(victim.as_str(), Timing::default().hold() - Timing::default().interval() * 3 / 2);
    lan.run(SETTLE, |lan| {
        for (address, old) in vips().into_iter().zip(&before) {
            assert!(lan.answering(0, address).iter().all(|node| node == old), "{address} moved");
        }
    });
}

#[test]
fn who_hears_but_is_not_heard_falls_silent() {
    let mut lan = lan(7);
    lan.run(SETTLE, |_| {});
    let address = vips()[0];
    let old = owner(&lan, address);
    for other in NODES.iter().filter(|node| **node != old.as_str()) {
        lan.cut_one_way(old.as_str(), other);
    }
    lan.run(SETTLE, |_| {});
    assert_ne!(owner(&lan, address), old);
    lan.heal();
    lan.run(SETTLE, |_| {});
    assert_eq!(owner(&lan, address), old);
}

#[test]
fn a_filtering_switch_does_not_make_everybody_an_announcer() {
    // No hello passes, but addresses answer asks: the presumed rule keeps everybody's view equal.
    let mut lan = Lan::new(Timing::default(), cluster(&NODES), 8);
    lan.drop_hellos = true;
    let mut lan = started(lan);
    lan.run(SETTLE, |_| {});
    for address in vips() {
        owner(&lan, address);
    }
    let victim = owner(&lan, vips()[0]);
    lan.power_off(victim.as_str());
    lan.run(Duration::from_secs(5), |_| {});
    assert_ne!(owner(&lan, vips()[0]), victim, "a presumed peer that answers no ask is gone");
}

#[test]
fn a_lone_node_takes_everything_within_a_second() {
    let mut lan = Lan::new(Timing::default(), cluster(&NODES), 9);
    lan.add("w2-k8s", vec![build::link(0, 103)]);
    // The others' pods are shown as running, but nobody is there.
    lan.run(Duration::from_secs(1), |_| {});
    for address in vips() {
        assert_eq!(owner(&lan, address).as_str(), "w2-k8s");
    }
}

#[test]
fn standby_says_nothing() {
    let mut lan = lan(10);
    lan.run(SETTLE, |_| {});
    for node in NODES {
        lan.input(node, Input::Standby(true));
    }
    let frames = lan.frames_sent();
    lan.run(SETTLE, |lan| {
        for address in vips() {
            assert!(lan.answering(0, address).is_empty());
        }
    });
    assert_eq!(lan.frames_sent(), frames);
    for node in NODES {
        lan.input(node, Input::Standby(false));
    }
    lan.run(SETTLE, |_| {});
    for address in vips() {
        owner(&lan, address);
    }
}

#[test]
fn a_second_link_is_decided_on_its_own_and_one_segment_twice_is_one_link() {
    let mut lan = Lan::new(Timing::default(), cluster(&NODES), 11);
    for (number, node) in (101..).zip(NODES) {
        // w3 has no second NIC.
        let second = (node != "w3-k8s").then(|| build::link(1, number));
        lan.add(node, [build::link(0, number)].into_iter().chain(second).collect());
    }
    lan.run(SETTLE, |_| {});
    for address in vips() {
        assert_eq!(lan.answering(0, address).len(), 1);
        let second = lan.answering(1, address);
        assert_eq!(second.len(), 1);
        assert!(!second.contains(&"w3-k8s".into()));
    }
}

/// A snapshot with one Service on the first address, announced on these interfaces only.
fn limited(interfaces: &[&str]) -> Snapshot {
    let mut snapshot = build::snapshot(&NODES);
    build::announce(&mut snapshot, "s", &[&vips()[0].to_string()]);
    let l2 = L2Advertisement {
        interfaces: interfaces.iter().map(|name| LinkName::from(*name)).collect(),
        ..L2Advertisement::default()
    };
    Arc::make_mut(&mut snapshot.config).l2_advertisements = [("l2".into(), l2)].into();
    snapshot
}

/// A link of this name on segment 0.
fn called(name: &str, number: u8) -> (usize, Link) {
    (0, Link { name: name.into(), ..build::link(0, number) })
}

#[test]
fn a_node_whose_interface_is_called_otherwise_is_no_candidate_for_anybody() {
    // Whoever comes first by rank does not win where its interface is not meant, and everybody knows.
    let names = ["eth1", "ens5", "ens5", "eth1"];
    for interfaces in [&["eth1"][..], &["ens5"], &["eth1", "ens5"]] {
        let mut lan = Lan::new(Timing::default(), limited(interfaces), 21);
        for ((number, node), name) in (101..).zip(NODES).zip(names) {
            lan.add_on(node, vec![called(name, number)]);
        }
        lan.run(SETTLE, |_| {});
        let mut left: BTreeSet<&str> = NODES.into();
        // One after the other dies: the next one that may takes over, and in the end nobody.
        for turn in 0..names.iter().filter(|name| interfaces.contains(name)).count() {
            let owner = owner(&lan, vips()[0]);
            let index = NODES.iter().position(|node| *node == owner.as_str()).unwrap();
            assert!(interfaces.contains(&names[index]), "turn {turn}: {owner} has {}", names[index]);
            left.remove(owner.as_str());
            lan.power_off(owner.as_str());
            lan.run(SETTLE, |_| {});
        }
        assert!(lan.answering(0, vips()[0]).is_empty());
        assert!(NODES.iter().all(|node| left.contains(node) || lan.speaker(node).is_none()));
    }
}

#[test]
fn an_interface_that_nobody_has_is_said_once_by_the_node_that_would_announce() {
    let mut lan = Lan::new(Timing::default(), limited(&["eth9"]), 22);
    for (number, node) in (101..).zip(NODES) {
        lan.add_on(node, vec![called("eth1", number)]);
    }
    lan.run(SETTLE, |lan| assert!(lan.answering(0, vips()[0]).is_empty()));
    let said: Vec<&str> = NODES.into_iter().flat_map(|node| vec![node; lan.lacking(node).len()]).collect();
    assert_eq!(said.len(), 1, "{said:?}");

    // The advertisement is corrected, and the interface is taken away again: that is news.
    lan.set_snapshot(limited(&["eth1"]));
    lan.run(SETTLE, |_| {});
    assert_eq!(owner(&lan, vips()[0]).as_str(), said[0], "who complained is who announces");
    lan.set_snapshot(limited(&["eth9"]));
    lan.run(SETTLE, |_| {});
    assert_eq!(NODES.into_iter().map(|node| lan.lacking(node).len()).sum::<usize>(), 2);
}

#[test]
fn an_interface_on_another_lan_is_no_lack() {
    // Only w3 has eth9, on a LAN of its own: it announces there, and nobody complains.
    let mut lan = Lan::new(Timing::default(), limited(&["eth9"]), 23);
    for (number, node) in (101..).zip(NODES) {
        let other = (9, Link { name: "eth9".into(), ..build::link(9, number) });
        let more = (node == "w3-k8s").then_some(other);
        lan.add_on(node, [called("eth1", number)].into_iter().chain(more).collect());
    }
    lan.run(SETTLE, |_| {});
    assert_eq!(lan.answering(9, vips()[0]), ["w3-k8s".into()].into());
    assert!(NODES.into_iter().all(|node| lan.lacking(node).is_empty()));
    let announcing = lan.speaker("w3-k8s").unwrap().announcing();
    assert_eq!(
        announcing.values().next().unwrap().links,
        ["eth9".into()].into(),
        "of record, as no allowed link holds it"
    );
}

#[test]
fn two_links_of_a_node_on_one_segment_are_one_candidate_and_answer_on_the_allowed_one() {
    for interfaces in [&["eth0"][..], &["eth1"], &["eth0", "eth1"], &[]] {
        let mut lan = Lan::new(Timing::default(), limited(interfaces), 24);
        for (number, node) in (101..).zip(NODES) {
            let both = [called("eth0", number), (0, Link { name: "eth1".into(), ..build::link(0, number + 100) })];
            let both = both.map(|(segment, link)| {
                let mac = Mac([2, 0, 0, 0, if link.name.as_str() == "eth1" { 1 } else { 0 }, number]);
                (segment, Link { mac, ..link })
            });
            let single = [called("ens5", number)];
            lan.add_on(node, if node == "m-k8s" { single.to_vec() } else { both.to_vec() });
        }
        lan.run(SETTLE, |_| {});
        for _ in 0..3 {
            let answering = lan.answering_links(0, vips()[0]);
            assert_eq!(answering.len(), 1, "{interfaces:?}: {answering:?}");
            let (node, link) = answering.into_iter().next().unwrap();
            let first = if node.as_str() == "m-k8s" { "ens5" } else { "eth0" };
            assert_eq!(link.as_str(), interfaces.first().copied().unwrap_or(first));
            lan.power_off(node.as_str());
            lan.run(SETTLE, |_| {});
        }
    }
}

/// Random disturbance on a lossy LAN: whatever happens, an overlap between two who hear each other is short, and in the end there is exactly one.
#[test]
fn random_disturbance_never_leaves_two_announcers() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        lan.loss_per_mille = [0, 10, 100][usize::try_from(seed % 3).unwrap()];
        lan.max_delay = Duration::from_millis(1 + random.below(20));
        lan.run(SETTLE, |_| {});
        let mut off = BTreeSet::new();
        let mut watch = Watch::new(bound());
        for _ in 0..12 {
            let node = NODES[usize::try_from(random.below(4)).unwrap()];
            match random.below(7) {
                0 if off.len() < 3 && off.insert(node) => lan.power_off(node),
                1 if off.remove(node) => lan.power_on(node),
                2 if !off.contains(node) => lan.pause(node, Duration::from_millis(random.below(3000))),
                3 => lan.partition(&[node]),
                4 => lan.heal(),
                5 if !off.contains(node) => {
                    lan.stop(node, false);
                    lan.power_on(node);
                }
                6 => lan.cut_one_way(node, NODES[usize::try_from(random.below(4)).unwrap()]),
                _ => {}
            }
            // Right after healing both sides announce; the bound starts when they can hear each other.
            lan.run(Duration::from_millis(random.below(1500)), |lan| watch.look(lan));
        }
        lan.heal();
        lan.loss_per_mille = 0;
        lan.run(Duration::from_secs(5), |lan| watch.look(lan));
        for address in vips() {
            owner(&lan, address);
        }
    }
}
