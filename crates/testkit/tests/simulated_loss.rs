//! Lost frames: how often somebody is taken for dead who is not, and how soon a dead node is replaced all the same.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{NODES, SETTLE, cluster, lan, owner, started, vips};
use herald_core::{
    NodeName,
    membership::{Change, Gone},
    time::{Moment, Timing},
};
use herald_testkit::lan::Lan;
use std::{collections::BTreeMap, time::Duration};

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

/// A speaker that lost two hellos of another asks its node and keeps its place: to that one it looks as if it had just restarted.
#[test]
fn who_takes_over_says_so_at_once_though_peers_just_kept_its_place() {
    for seed in 0..10 {
        let mut lan = lan(seed);
        lan.run(SETTLE * 2, |_| {});
        let address = vips()[usize::try_from(seed).unwrap()];
        let victim = owner(&lan, address);
        // Everybody but the victim is silent long enough to be asked, and not long enough for anything else.
        for node in NODES.iter().filter(|node| **node != victim.as_str()) {
            lan.pause(node, Duration::from_millis(150));
        }
        lan.run(Duration::from_millis(100), |_| {});
        let before = NODES.map(|node| lan.gratuitous(node, address));
        lan.power_off(victim.as_str());
        lan.run(Duration::from_millis(400), |_| {});
        let next = owner(&lan, address);
        assert_ne!(next, victim);
        let position = NODES.iter().position(|node| *node == next.as_str()).unwrap();
        assert!(lan.gratuitous(next.as_str(), address) > before[position], "{next} took {address} and did not say so");
    }
}

#[test]
fn who_takes_over_on_a_lossy_link_says_so_at_once() {
    for seed in 0..60 {
        let mut lan = lan(seed);
        lan.loss_per_mille = 300;
        lan.run(SETTLE * 2, |_| {});
        let address = vips()[usize::try_from(seed % 12).unwrap()];
        let Some(victim) = lan.answering(0, address).into_iter().next() else { continue };
        let before: BTreeMap<&str, usize> = NODES.map(|node| (node, lan.gratuitous(node, address))).into();
        lan.power_off(victim.as_str());
        let mut taken: Option<(NodeName, Moment)> = None;
        lan.run(Duration::from_millis(1500), |lan| {
            let others = lan.claims(0, address).into_iter().find(|(by, at)| by == at && *at != victim);
            if let (Some((by, _)), None) = (others, &taken) {
                taken = Some((by, lan.now));
            }
            if let Some((by, when)) = &taken
                && lan.now.since(*when) >= Duration::from_millis(10)
            {
                let said = lan.gratuitous(by.as_str(), address);
                assert!(said > before[by.as_str()], "{by} took {address} and did not say so (seed {seed})");
            }
        });
        assert!(taken.is_some(), "seed {seed}");
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
