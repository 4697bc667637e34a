//! Links that lose their carrier: all at once, as when a switch restarts, and one of several.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{HOLD_OFF, NODES, SETTLE, Watch, bound, cluster, lan, owner, owners, vips};
use herald_core::{LinkName, NodeName, ownership::Moves, time::Timing};
use herald_testkit::{build, lan::Lan};
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_switch_that_restarts_moves_nothing_for_good() {
    let eth0 = LinkName::from("eth0");
    for (seed, away) in [(1, 20), (2, 150), (3, 400), (4, 1000), (5, 2000), (6, 60_000)] {
        let mut lan = lan(seed);
        lan.run(SETTLE + HOLD_OFF, |_| {});
        let before = owners(&lan);
        NODES.iter().for_each(|node| lan.set_carrier(node, &eth0, false));
        let mut watch = Watch::new(bound());
        lan.run(ms(away), |lan| {
            watch.look(lan);
            assert!(vips().into_iter().all(|address| lan.answering(0, address).is_empty()), "there is no network");
        });
        let said: Vec<usize> =
            vips().into_iter().zip(&before).map(|(address, owner)| lan.gratuitous(owner.as_str(), address)).collect();
        for node in NODES {
            lan.set_carrier(node, &eth0, true);
            // Ports come up one after the other.
            lan.run(ms(15), |lan| watch.look(lan));
        }
        // All listen, and then who was up first has given back what the others were not ready for.
        lan.run(ms(1000), |lan| watch.look(lan));
        assert_eq!(owners(&lan), before, "{away} ms without a network");
        // Until the drain of who was up first is over: then at the latest it is said again.
        lan.run(Moves::default().drain + SETTLE, |lan| watch.look(lan));
        assert_eq!(owners(&lan), before, "nor later");
        for ((address, owner), said) in vips().into_iter().zip(&before).zip(said) {
            assert!(lan.gratuitous(owner.as_str(), address) > said, "{owner} says again where {address} is");
        }
    }
}

#[test]
fn carrier_lost_on_one_of_two_links_moves_what_is_there_and_nothing_else() {
    let mut lan = Lan::new(Timing::default(), cluster(&NODES), 7);
    for (number, node) in (101..).zip(NODES) {
        lan.add(node, vec![build::link(0, number), build::link(1, number)]);
    }
    lan.run(SETTLE, |_| {});
    let on = |lan: &Lan, segment| -> Vec<NodeName> {
        vips().into_iter().map(|address| lan.answering(segment, address).into_iter().next().unwrap()).collect()
    };
    let (first, second) = (on(&lan, 0), on(&lan, 1));
    let victim = owner(&lan, vips()[0]);
    let eth1 = LinkName::from("eth1");
    lan.set_carrier(victim.as_str(), &eth1, false);
    lan.run(SETTLE, |lan| assert_eq!(on(lan, 0), first, "the first link does not notice"));
    for (was, is) in second.iter().zip(on(&lan, 1)) {
        assert_eq!(is != *was, *was == victim, "on the second one only its own move: {was} -> {is}");
    }
    lan.set_carrier(victim.as_str(), &eth1, true);
    lan.run(SETTLE + HOLD_OFF, |lan| assert_eq!(on(lan, 0), first));
    assert_eq!(on(&lan, 1), second, "and come back");
}
