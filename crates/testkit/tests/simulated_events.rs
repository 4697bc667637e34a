//! The event nodeAssigned: the last one about a Service names who announces it, and what nobody else had meanwhile is not told again.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{HOLD_OFF, NODES, SETTLE, cluster, lan, owners, vips};
use herald_core::{NodeName, ServiceKey};
use herald_testkit::lan::{Lan, Random};
use std::{collections::BTreeMap, time::Duration};

const LONG: Duration = Duration::from_secs(60);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Who is said to announce each Service, by the last event about it; they are named in the order of their addresses.
fn assigned(lan: &Lan) -> Vec<NodeName> {
    let last: BTreeMap<&ServiceKey, &NodeName> = lan.events().iter().map(|(service, node)| (service, node)).collect();
    last.into_values().cloned().collect()
}

#[test]
fn planned_moves_and_dead_nodes_are_told_once() {
    for seed in 0..10 {
        let mut lan = lan(seed);
        lan.run(HOLD_OFF * 2, |_| {});
        lan.count_moves();
        let before = lan.events().len();
        let mut excluded = cluster(&NODES);
        excluded.nodes.get_mut(&NodeName::from("w2-k8s")).unwrap().excluded = true;
        lan.set_snapshot(excluded);
        lan.run(LONG, |_| {});
        lan.set_snapshot(cluster(&NODES));
        lan.run(LONG, |_| {});
        lan.power_off("w3-k8s");
        lan.run(LONG, |_| {});
        lan.power_on("w3-k8s");
        lan.run(LONG, |_| {});
        assert_eq!(assigned(&lan), owners(&lan), "seed {seed}");
        let began = lan.count_moves().0;
        assert!(began > 8, "{began} moved");
        assert_eq!(lan.events().len() - before, began, "seed {seed}");
    }
}

#[test]
fn all_without_processor_time_for_seconds_tell_little_again() {
    let (mut told, mut taken_back) = (0, 0);
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        lan.run(SETTLE * 2, |_| {});
        let before = lan.events().len();
        assert_eq!(before, vips().len(), "one for each Service");
        let owners_before = owners(&lan);
        lan.count_moves();
        for _ in 0..3 {
            for node in NODES {
                lan.run(ms(random.below(100)), |_| {});
                lan.pause(node, ms(2500 + random.below(3000)));
            }
            lan.run(LONG, |_| {});
        }
        assert_eq!(owners(&lan), owners_before, "seed {seed}: nobody else had anything in the end");
        assert_eq!(assigned(&lan), owners_before, "seed {seed}");
        told += lan.events().len() - before;
        taken_back += lan.count_moves().0;
    }
    assert!(taken_back > vips().len() * 20, "{taken_back}: they gave up what they had, and took it back");
    // The rest: somebody was away at that moment who might have had it.
    assert!(told * 3 < taken_back, "{told} of {taken_back}");
}

/// Its peers do not notice, or keep its place, or take over: that depends on for how long, and on who else is away.
#[test]
fn whoever_was_away_the_last_event_names_who_announces() {
    let (mut told, mut taken, mut wrong) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        lan.run(SETTLE * 2, |_| {});
        let before = lan.events().len();
        lan.count_moves();
        for _ in 0..3 {
            let first = usize::try_from(random.below(4)).unwrap();
            let count = usize::try_from(1 + random.below(4)).unwrap();
            for node in NODES.iter().cycle().skip(first).take(count) {
                lan.run(ms(random.below(1500)), |_| {});
                let away = ms(2100 + random.below(6000));
                if random.below(2) == 0 { lan.pause(node, away) } else { lan.suspend(node, away) }
            }
            lan.run(LONG, |_| {});
        }
        wrong += assigned(&lan).iter().zip(&owners(&lan)).filter(|(said, is)| said != is).count();
        told += lan.events().len() - before;
        taken += lan.count_moves().0;
    }
    assert!(0 < told && told < taken, "{told} of {taken}");
    // Who took over while the owner was away may be away itself before the owner hears of it, and give it back without having said a word.
    assert!(wrong * 500 < taken, "{wrong} of {taken}");
}
