//! DESIGN section 3, invariant 6: a restart, upgrade, freeze or crash of a speaker moves nothing; a dead node is replaced.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{HOLD_OFF, NODES, SETTLE, Steady, cluster, lan, owner, owners, started, vips};
use herald_core::{
    NodeName,
    membership::{Change, GRACE_WITH_POD, Gone, UNSHOWN},
    node::SpeakerPod,
    ownership::Snapshot,
    time::Timing,
};
use herald_testkit::lan::{Lan, Random};
use std::time::Duration;

/// What happens to the process of a speaker, while its node lives.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Sigterm,
    /// Its last words are lost.
    SigtermUnheard,
    Sigkill,
    Sigstop,
}

const FAULTS: [Fault; 4] = [Fault::Sigterm, Fault::SigtermUnheard, Fault::Sigkill, Fault::Sigstop];
/// Until somebody stands in for a speaker that said nothing: suspicion, one ask and its answer, a hello's jitter.
const UNANSWERED: Duration = Duration::from_millis(115);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Ends the process, or freezes it for so long.
fn strike(lan: &mut Lan, fault: Fault, node: &str, away: Duration) {
    match fault {
        Fault::Sigterm => lan.stop(node, false),
        Fault::SigtermUnheard => {
            lan.loss_per_mille = 1000;
            lan.stop(node, false);
            lan.loss_per_mille = 0;
        }
        Fault::Sigkill => lan.kill(node),
        Fault::Sigstop => lan.pause(node, away),
    }
}

/// The cluster with this node's pod in another state: ready, there, or none.
fn with_pod(nodes: &[&str], pod: Option<bool>) -> Snapshot {
    let mut snapshot = cluster(&NODES);
    for node in nodes {
        snapshot.speakers.remove(&NodeName::from(*node));
        if let Some(ready) = pod {
            snapshot.speakers.insert((*node).into(), SpeakerPod { node: (*node).into(), ready });
        }
    }
    snapshot
}

fn left(lan: &Lan, node: &str) -> Vec<Gone> {
    let gone = NODES.iter().flat_map(|other| lan.changes(other)).filter_map(|(_, change)| match change {
        Change::Left(left, why) if left.as_str() == node => Some(*why),
        _ => None,
    });
    gone.collect()
}

#[test]
fn a_speaker_that_is_away_moves_nothing_and_its_addresses_stay_answered() {
    for fault in FAULTS {
        for (seed, away) in [(1, 60), (2, 150), (3, 400), (4, 3000), (5, 15_000)] {
            for victim in NODES.into_iter().skip(seed % 3).take(2) {
                let mut lan = lan(u64::try_from(seed).unwrap());
                // The burst of the start is over.
                lan.run(SETTLE * 2, |_| {});
                let mut steady = Steady::new(&lan);
                let mine: Vec<_> = vips().into_iter().filter(|ip| owner(&lan, *ip).as_str() == victim).collect();
                let by_others = |lan: &Lan, ip| -> usize {
                    NODES.iter().filter(|node| **node != victim).map(|node| lan.gratuitous(node, ip)).sum()
                };
                let said: Vec<_> = mine.iter().map(|ip| (lan.gratuitous(victim, *ip), by_others(&lan, *ip))).collect();
                strike(&mut lan, fault, victim, ms(away));
                steady.run(&mut lan, ms(away));
                if !matches!(fault, Fault::Sigstop) {
                    lan.power_on(victim);
                }
                steady.run(&mut lan, ms(7000));
                let bound = if matches!(fault, Fault::Sigterm) { ms(1) } else { UNANSWERED };
                assert!(steady.silence <= bound, "{fault:?} for {away} ms: {:?} without an answer", steady.silence);
                for (ip, said) in mine.iter().zip(said) {
                    assert_eq!(lan.answerers(0, *ip), [victim.into()].into(), "the owner answers itself again");
                    assert_eq!(by_others(&lan, *ip), said.1, "nobody else ever announced it");
                    let burst = lan.gratuitous(victim, *ip) - said.0;
                    // Too short to be noticed by others, its answers stop for a moment: no harm, and no storm.
                    assert!(burst <= 1 || away < 110, "{fault:?} for {away} ms: said {burst} times");
                }
            }
        }
    }
}

#[test]
fn a_rolling_update_moves_nothing() {
    for seed in 0..5 {
        let mut lan = lan(seed);
        lan.loss_per_mille = 10;
        lan.run(SETTLE, |_| {});
        let mut steady = Steady::new(&lan);
        for node in NODES {
            // The old pod terminates, there is none for a moment, the new one is pending and then ready.
            lan.set_snapshot(with_pod(&[node], Some(false)));
            strike(&mut lan, Fault::Sigterm, node, Duration::ZERO);
            steady.run(&mut lan, ms(700));
            lan.set_snapshot(with_pod(&[node], None));
            steady.run(&mut lan, ms(900));
            lan.set_snapshot(with_pod(&[node], Some(false)));
            steady.run(&mut lan, ms(1500));
            lan.power_on(node);
            steady.run(&mut lan, ms(2000));
            lan.set_snapshot(cluster(&NODES));
        }
        assert!(steady.silence <= UNANSWERED, "{:?}", steady.silence);
    }
}

/// The wall clock is no input of any rule: a speaker that runs does not notice. One that starts makes its incarnation of it.
#[test]
fn a_clock_that_was_set_back_or_forward_is_not_noticed() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    for fault in [Fault::Sigterm, Fault::Sigkill] {
        let mut lan = Lan::new(Timing::default(), cluster(&NODES), 1);
        // The clocks were a year behind; they are set, and back again.
        lan.now = lan.now + YEAR * 3;
        let mut lan = started(lan);
        lan.run(SETTLE * 2, |_| {});
        let mut steady = Steady::new(&lan);
        for (node, set_back) in [(NODES[0], YEAR), (NODES[1], Duration::from_secs(1)), (NODES[0], Duration::ZERO)] {
            strike(&mut lan, fault, node, Duration::ZERO);
            steady.run(&mut lan, ms(700));
            lan.set_back = set_back;
            lan.power_on(node);
            steady.run(&mut lan, SETTLE);
            let mine = vips().into_iter().filter(|address| owner(&lan, *address).as_str() == node);
            for address in mine {
                assert_eq!(lan.answerers(0, address), [node.into()].into(), "it is heard, and answers itself again");
            }
        }
        assert!(steady.silence <= UNANSWERED, "{:?} without an answer", steady.silence);
    }
}

#[test]
fn all_restart_at_once_and_nothing_moves() {
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        lan.run(SETTLE, |_| {});
        let mut steady = Steady::new(&lan);
        for node in NODES {
            strike(&mut lan, Fault::Sigterm, node, Duration::ZERO);
        }
        lan.set_snapshot(with_pod(&NODES, Some(false)));
        let mut order = NODES.to_vec();
        while !order.is_empty() {
            steady.run(&mut lan, ms(200 + random.below(2000)));
            let node = order.remove(usize::try_from(random.below(order.len() as u64)).unwrap());
            lan.power_on(node);
        }
        steady.run(&mut lan, SETTLE);
        lan.set_snapshot(cluster(&NODES));
        steady.run(&mut lan, SETTLE);
        assert_eq!(owners(&lan).len(), vips().len());
    }
}

#[test]
fn restarts_that_overlap_move_nothing() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        lan.loss_per_mille = 10 * (seed % 2);
        lan.run(SETTLE, |_| {});
        let mut steady = Steady::new(&lan);
        let pair: Vec<&str> = (0..4).filter(|n| *n != seed % 4).map(|n| NODES[usize::try_from(n).unwrap()]).collect();
        let away: Vec<(u64, &str)> = pair.iter().map(|node| (300 + random.below(3000), *node)).collect();
        lan.set_snapshot(with_pod(&pair, Some(false)));
        for node in &pair {
            steady.run(&mut lan, ms(random.below(700)));
            strike(&mut lan, FAULTS[usize::try_from(random.below(3)).unwrap()], node, Duration::ZERO);
            lan.loss_per_mille = 10 * (seed % 2);
        }
        let mut order = away;
        order.sort_unstable();
        for (after, node) in order {
            steady.run(&mut lan, ms(after / 3));
            lan.power_on(node);
        }
        steady.run(&mut lan, SETTLE);
        lan.set_snapshot(cluster(&NODES));
        steady.run(&mut lan, SETTLE);
    }
}

#[test]
fn a_restart_gives_nothing_back_to_a_speaker_that_does_not_start() {
    let mut lan = lan(10);
    lan.run(SETTLE, |_| {});
    let broken = owner(&lan, vips()[0]);
    strike(&mut lan, Fault::Sigkill, broken.as_str(), Duration::ZERO);
    lan.set_snapshot(with_pod(&[broken.as_str()], Some(false)));
    lan.run(GRACE_WITH_POD + SETTLE, |_| {});
    let mut steady = Steady::new(&lan);
    for node in NODES.iter().filter(|node| **node != broken.as_str()) {
        strike(&mut lan, Fault::Sigterm, node, Duration::ZERO);
        steady.run(&mut lan, ms(1500));
        lan.power_on(node);
        steady.run(&mut lan, SETTLE);
    }
}

#[test]
fn a_node_that_dies_while_its_speaker_is_away_is_replaced_soon() {
    for fault in FAULTS {
        for away in [120, 500, 2000] {
            let mut lan = lan(7);
            lan.run(SETTLE, |_| {});
            let victim = owner(&lan, vips()[0]);
            strike(&mut lan, fault, victim.as_str(), ms(60_000));
            lan.run(ms(away), |_| {});
            lan.power_off(victim.as_str());
            // At most: the time to the next ask, a round of three, patience; and the way of a frame. Just struck: suspicion first.
            lan.run(ms(100 + 50 + 5), |_| {});
            for address in vips() {
                assert_ne!(owner(&lan, address), victim, "{fault:?}, dead after {away} ms");
            }
        }
    }
}

#[test]
fn a_dead_node_is_replaced_before_the_hold_time() {
    let timing = Timing::default();
    for seed in 0..20 {
        let mut lan = lan(seed);
        lan.run(SETTLE + ms(seed * 7), |_| {});
        let victim = owner(&lan, vips()[0]);
        lan.power_off(victim.as_str());
        // Suspicion, and until everybody has said whether they hear it.
        lan.run(timing.suspicion() + timing.interval() + ms(5), |_| {});
        assert_ne!(owner(&lan, vips()[0]), victim);
    }
}

#[test]
fn where_kernels_do_not_answer_the_hold_time_decides() {
    let timing = Timing::default();
    let mut lan = Lan::new(timing, cluster(&NODES), 3);
    lan.mute_kernels = true;
    let mut lan = started(lan);
    lan.run(SETTLE, |_| {});
    let victim = owner(&lan, vips()[0]);
    // A pause below the hold time is forgiven.
    let mut steady = Steady::new(&lan);
    lan.pause(victim.as_str(), timing.suspicion() + timing.interval() / 2);
    steady.run(&mut lan, SETTLE);
    lan.power_off(victim.as_str());
    lan.run(timing.suspicion() + timing.interval() / 2, |lan| {
        assert_eq!(lan.answering(0, vips()[0]).len(), 0);
    });
    lan.run(timing.hold() - timing.suspicion() + ms(1), |_| {});
    assert_ne!(owner(&lan, vips()[0]), victim);
}

#[test]
fn a_speaker_that_never_comes_back_is_replaced_when_its_grace_is_over() {
    for (pod, grace) in [(Some(false), GRACE_WITH_POD), (None, UNSHOWN)] {
        let mut lan = lan(8);
        lan.run(SETTLE, |_| {});
        let victim = owner(&lan, vips()[0]);
        let mut steady = Steady::new(&lan);
        strike(&mut lan, Fault::Sigkill, victim.as_str(), Duration::ZERO);
        lan.set_snapshot(with_pod(&[victim.as_str()], pod));
        steady.run(&mut lan, grace - ms(200));
        assert_eq!(left(&lan, victim.as_str()), []);
        lan.run(ms(600), |_| {});
        assert_ne!(owner(&lan, vips()[0]), victim, "{pod:?}");
        assert_eq!(left(&lan, victim.as_str()), [Gone::GraceOver; 3]);
        // And it gets back what is its own when it comes after all.
        lan.power_on(victim.as_str());
        lan.run(SETTLE + HOLD_OFF, |_| {});
        assert_eq!(owner(&lan, vips()[0]), victim);
    }
}

#[test]
fn the_stand_in_may_restart_too() {
    let mut lan = lan(9);
    lan.run(SETTLE, |_| {});
    let victim = owner(&lan, vips()[0]);
    let mut steady = Steady::new(&lan);
    strike(&mut lan, Fault::Sigterm, victim.as_str(), Duration::ZERO);
    steady.run(&mut lan, ms(500));
    let first = lan.answerers(0, vips()[0]);
    assert_eq!(first.len(), 1);
    for node in &first {
        strike(&mut lan, Fault::Sigterm, node.as_str(), Duration::ZERO);
    }
    steady.run(&mut lan, ms(500));
    let second = lan.answerers(0, vips()[0]);
    assert!(
        second.len() == 1 && second != first && steady.silence <= ms(1),
        "{first:?} {second:?} {:?}",
        steady.silence
    );
    for node in first {
        lan.power_on(node.as_str());
    }
    steady.run(&mut lan, SETTLE);
    lan.power_on(victim.as_str());
    steady.run(&mut lan, SETTLE);
    assert_eq!(lan.answerers(0, vips()[0]), [victim].into());
}

/// A node without processor time for a moment: its speaker is late, and so are the others'.
#[test]
fn late_speakers_give_up_nothing() {
    for (seed, at_once) in (0..20).flat_map(|seed| [1, 2, 4].map(|at_once| (seed, at_once))) {
        let mut random = Random::new(seed);
        let mut lan = lan(seed);
        // The bursts of the start are over.
        lan.run(SETTLE * 2, |_| {});
        let bursts = |lan: &Lan| -> usize {
            NODES.iter().flat_map(|node| vips().into_iter().map(|ip| lan.gratuitous(node, ip))).sum()
        };
        NODES.iter().for_each(|node| drop((lan.take_moves(node), lan.take_hand_overs(node))));
        let said = bursts(&lan);
        let mut steady = Steady::new(&lan);
        for _ in 0..4 {
            for node in NODES.iter().cycle().skip(usize::try_from(random.below(4)).unwrap()).take(at_once) {
                steady.run(&mut lan, ms(random.below(30)));
                lan.pause(node, ms(60 + random.below(1500)));
            }
            steady.run(&mut lan, SETTLE);
        }
        for node in NODES {
            let moved = (lan.take_moves(node), lan.take_hand_overs(node));
            assert!(moved.0.is_empty() && moved.1.is_empty(), "{at_once} at once, seed {seed}: {node} {moved:?}");
        }
        assert!(bursts(&lan) - said <= vips().len(), "only refreshes");
    }
}
