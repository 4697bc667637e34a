//! Lost frames: how often somebody is taken for dead who is not, and how soon a dead node is replaced all the same.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{NODES, SETTLE, cluster, lan, owner, started, vips};
use herald_core::{
    membership::{Change, Gone},
    time::Timing,
};
use herald_testkit::lan::Lan;
use std::time::Duration;

/// How often anybody was taken for dead.
fn false_deaths(lan: &Lan) -> usize {
    let changes = NODES.iter().flat_map(|node| lan.changes(node));
    changes.filter(|(_, change)| matches!(change, Change::Left(_, Gone::Silent))).count()
}

#[test]
fn lost_frames_take_nobody_for_dead() {
    // Ten minutes each. docs/failover.md has the figures for a day.
    for (loss, most) in [(10_u32, 0), (100, 0), (300, 2)] {
        let mut lan = lan(u64::from(loss));
        lan.loss_per_mille = u64::from(loss);
        lan.run(Duration::from_secs(600), |_| {});
        let deaths = false_deaths(&lan);
        assert!(deaths <= most, "{deaths} times in ten minutes at {loss} of 1,000 lost");
    }
}

#[test]
fn two_nodes_alone_have_nobody_to_vouch_and_still_ask() {
    for (loss, most) in [(100_u32, 0), (300, 4)] {
        let mut lan = Lan::new(Timing::default(), cluster(&NODES[..2]), u64::from(loss));
        lan.loss_per_mille = u64::from(loss);
        for (number, node) in (101..).zip(&NODES[..2]) {
            lan.add(node, vec![herald_testkit::build::link(0, number)]);
        }
        lan.run(Duration::from_secs(600), |_| {});
        let deaths = false_deaths(&lan);
        assert!(deaths <= most, "{deaths} times in ten minutes at {loss} of 1,000 lost");
    }
}

#[test]
fn a_dead_node_is_replaced_on_a_lossy_link_too() {
    for (loss, bound) in [(10, 300), (100, 500), (300, 1200)] {
        for seed in 0..10 {
            let mut lan = lan(seed);
            lan.loss_per_mille = loss;
            lan.run(SETTLE * 2, |_| {});
            let address = vips()[usize::try_from(seed).unwrap()];
            let victim = lan.answering(0, address).into_iter().next().unwrap();
            lan.power_off(victim.as_str());
            lan.run(Duration::from_millis(bound), |_| {});
            lan.loss_per_mille = 0;
            lan.run(Duration::from_millis(60), |_| {});
            assert_ne!(owner(&lan, address), victim, "{loss} of 1,000 lost");
        }
    }
}

#[test]
fn one_that_nobody_hears_is_kept_while_others_hear_it() {
    let mut lan = started(Lan::new(Timing::default(), cluster(&NODES), 6));
    lan.run(SETTLE, |_| {});
    let before: Vec<_> = vips().into_iter().map(|address| owner(&lan, address)).collect();
    lan.cut_one_way(NODES[0], NODES[1]);
    lan.run(SETTLE, |lan| {
        for (address, owner) in vips().into_iter().zip(&before) {
            assert_eq!(lan.answering(0, address), [owner.clone()].into());
        }
    });
    assert_eq!(false_deaths(&lan), 0);
}
