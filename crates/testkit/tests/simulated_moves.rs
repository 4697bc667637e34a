//! DESIGN section 6: planned moves between living nodes. Nobody is silent meanwhile, and the old owner drains.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{NODES, SETTLE, Watch, bound, cluster, owner, owners, started, vips};
use herald_core::{
    NodeName,
    config::{L2Advertisement, Preference},
    labels::{Operator, Requirement, Selector},
    node::Evacuation,
    ownership::{HandOver, Moves, Snapshot},
    service::Moved,
    time::{FORCE, Timing},
};
use herald_testkit::{
    build,
    lan::{Lan, Random},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// Shorter than by default, so that more happens.
const DRAIN: Duration = Duration::from_secs(5);
const HOLD_OFF: Duration = Duration::from_secs(2);
/// For so long it is announced that an address moved.
const BURST: Duration = Duration::from_secs(5);
/// Until a planned move has happened: an ask, a release, a claim, each in its own hello, at once; or a second ask, as frames overtake each other
/// here, and a hello that was overtaken does not count.
const SOON: Duration = Duration::from_millis(150);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Settled, and old enough that nobody is new any more; every start's drain is over.
fn old(seed: u64) -> Lan {
    let mut lan = Lan::new(Timing::default(), cluster(&NODES), seed);
    lan.moves = Moves { drain: DRAIN, hold_off: HOLD_OFF };
    let mut lan = started(lan);
    lan.run(SETTLE + DRAIN + HOLD_OFF + BURST, |_| {});
    for node in NODES {
        lan.take_hand_overs(node);
    }
    lan
}

fn excluding(node: &NodeName) -> Snapshot {
    let mut snapshot = cluster(&NODES);
    snapshot.nodes.get_mut(node).unwrap().excluded = true;
    snapshot.stamp.resource_version = 2;
    snapshot
}

/// Watches that somebody answers for every address at every moment, and never two that hear each other beyond the bound.
struct Answered {
    watch: Watch,
    silent: BTreeMap<IpAddr, herald_core::time::Moment>,
    silence: Duration,
}

impl Answered {
    fn new() -> Self {
        Self { watch: Watch::new(bound()), silent: BTreeMap::new(), silence: Duration::ZERO }
    }

    fn run(&mut self, lan: &mut Lan, how_long: Duration) {
        lan.run(how_long, |lan| {
            self.watch.look(lan);
            for address in vips() {
                if lan.answering(0, address).is_empty() {
                    let since = *self.silent.entry(address).or_insert(lan.now);
                    self.silence = self.silence.max(lan.now.since(since));
                } else {
                    self.silent.remove(&address);
                }
            }
        });
    }

    /// Nobody was ever silent.
    fn never_silent(&self) {
        assert_eq!(self.silence, Duration::ZERO, "nobody answered");
    }
}

#[test]
fn a_node_that_is_excluded_hands_over_and_drains() {
    let mut lan = old(1);
    let before = owners(&lan);
    let (address, leaver) = (vips()[0], before[0].clone());
    let said: usize = NODES.iter().map(|node| lan.gratuitous(node, address)).sum();
    let mut answered = Answered::new();
    lan.set_snapshot(excluding(&leaver));
    answered.run(&mut lan, SOON);
    for (address, old) in vips().into_iter().zip(&before) {
        let new = owner(&lan, address);
        assert_eq!(new != *old, *old == leaver, "only its addresses move");
        assert!(lan.answers_unicast(old.as_str(), address), "the old one answers who uses it");
    }
    let new = owner(&lan, address);
    answered.run(&mut lan, DRAIN - SOON * 2);
    assert!(lan.answers_unicast(leaver.as_str(), address), "until the drain is over");
    // Refreshes of the old owner end, and nothing is said before the drain is over: at most one refresh fell in between.
    let now: usize = NODES.iter().map(|node| lan.gratuitous(node, address)).sum();
    assert!(now <= said + 1, "{now} after {said}");
    let quiet = lan.gratuitous(new.as_str(), address);
    answered.run(&mut lan, Duration::from_secs(2));
    assert!(lan.gratuitous(new.as_str(), address) > quiet, "then the burst moves the rest");
    assert!(!lan.answers_unicast(leaver.as_str(), address), "and the old one is done");
    answered.never_silent();
    assert!(lan.take_hand_overs(leaver.as_str()).iter().all(|what| *what == HandOver::Given));
    let received = lan.take_hand_overs(new.as_str());
    assert!(received.contains(&HandOver::Received) && !received.contains(&HandOver::Forced), "{received:?}");
}

/// To peers that lost some of its hellos a speaker looks like one that restarts; it is none for all that.
#[test]
fn who_was_not_heard_for_a_moment_asks_all_the_same() {
    let mut lan = old(31);
    let before = owners(&lan);
    let leaver = before[0].clone();
    for node in NODES.into_iter().filter(|node| *node != leaver.as_str()) {
        lan.pause(node, ms(150));
    }
    lan.run(ms(155), |_| {});
    let kept = lan.last_hello(leaver.as_str()).map_or(0, |hello| hello.kept.len());
    assert_eq!(kept, NODES.len() - 1, "or this shows nothing");
    let mut answered = Answered::new();
    lan.set_snapshot(excluding(&leaver));
    answered.run(&mut lan, SOON);
    answered.never_silent();
    let told: Vec<HandOver> = NODES.iter().flat_map(|node| lan.take_hand_overs(node)).collect();
    let count = |what| told.iter().filter(|told| **told == what).count();
    let moved = before.iter().filter(|owner| **owner == leaver).count();
    assert_eq!((count(HandOver::Given), count(HandOver::Received)), (moved, moved), "{told:?}");
}

#[test]
fn a_node_gives_its_addresses_away_for_a_time_and_a_service_is_moved_for_a_time() {
    let mut lan = old(3);
    let before = owners(&lan);
    let (address, leaver) = (vips()[0], before[0].clone());
    let mut answered = Answered::new();

    let mut evacuated = cluster(&NODES);
    evacuated.nodes.get_mut(&leaver).unwrap().evacuation = Some(Evacuation::Asked { until: 1 });
    evacuated.stamp.resource_version = 2;
    lan.set_snapshot(evacuated);
    answered.run(&mut lan, SOON);
    for (address, old) in vips().into_iter().zip(&before) {
        assert_eq!(owner(&lan, address) != *old, *old == leaver, "only its addresses move");
        assert!(lan.answers_unicast(old.as_str(), address), "the old one answers who uses it");
    }

    let to = NODES.into_iter().find(|node| *node != leaver.as_str() && *node != owner(&lan, address).as_str()).unwrap();
    let mut moved = cluster(&NODES);
    let service = moved.services.values_mut().find(|service| service.addresses.contains(&address)).unwrap();
    service.moved = Some(Moved { to: to.into(), until: 1 });
    moved.stamp.resource_version = 3;
    lan.set_snapshot(moved);
    answered.run(&mut lan, SOON);
    assert_eq!(owner(&lan, address).as_str(), to);

    let mut over = cluster(&NODES);
    over.stamp.resource_version = 4;
    lan.set_snapshot(over);
    answered.run(&mut lan, SOON + DRAIN);
    assert_eq!(owners(&lan), before, "everything is where it was");
    answered.never_silent();
}

#[test]
fn an_advertisement_that_prefers_another_node_moves_without_silence() {
    for seed in 0..5 {
        let mut lan = old(seed);
        let preferred = NODES[usize::try_from(seed).unwrap() % NODES.len()];
        let mut snapshot = cluster(&NODES);
        snapshot.nodes.get_mut(&NodeName::from(preferred)).unwrap().labels = [("disk", "fast")].into_iter().collect();
        let mut config = (*snapshot.config).clone();
        let selector =
            Selector { requirements: [Requirement { key: "disk".into(), operator: Operator::Exists }].into() };
        let advertisement = L2Advertisement {
            preferred_nodes: vec![Preference { weight: 10, selector }],
            ..L2Advertisement::default()
        };
        config.l2_advertisements = [("lan".into(), advertisement)].into();
        snapshot.config = Arc::new(config);
        let mut answered = Answered::new();
        lan.set_snapshot(snapshot);
        answered.run(&mut lan, SOON * 2);
        let now = owners(&lan);
        assert!(
            now.iter().all(|node| node.as_str() == preferred),
            "{preferred}: {now:?}, {:?}",
            lan.take_hand_overs(preferred)
        );
        answered.run(&mut lan, DRAIN);
        answered.never_silent();
        // And back again, while nothing is drained any more and while something is.
        lan.set_snapshot(cluster(&NODES));
        answered.run(&mut lan, SOON * 2);
        assert!(owners(&lan).iter().collect::<BTreeSet<_>>().len() > 1);
        answered.never_silent();
    }
}

#[test]
fn moving_there_and_back_within_the_drain() {
    let mut lan = old(2);
    let before = owners(&lan);
    let mut answered = Answered::new();
    for _ in 0..3 {
        lan.set_snapshot(excluding(&before[0]));
        answered.run(&mut lan, ms(700));
        assert_ne!(owners(&lan), before);
        lan.set_snapshot(cluster(&NODES));
        answered.run(&mut lan, ms(700));
        assert_eq!(owners(&lan), before);
    }
    answered.never_silent();
}

#[test]
fn a_returning_node_gets_its_addresses_back_after_the_hold_off() {
    let mut lan = old(3);
    let before = owners(&lan);
    let victim = before[0].clone();
    lan.power_off(victim.as_str());
    lan.run(SETTLE, |_| {});
    let meanwhile = owners(&lan);
    lan.power_on(victim.as_str());
    let mut answered = Answered::new();
    answered.run(&mut lan, HOLD_OFF);
    assert_eq!(owners(&lan), meanwhile, "not yet");
    answered.run(&mut lan, ms(2500));
    assert_eq!(owners(&lan), before, "and back");
    answered.never_silent();
    assert!(lan.take_hand_overs(victim.as_str()).contains(&HandOver::Received));
}

#[test]
fn a_flapping_node_pulls_nothing_back() {
    let mut lan = old(4);
    let victim = owner(&lan, vips()[0]);
    lan.power_off(victim.as_str());
    lan.run(SETTLE, |_| {});
    let meanwhile = owners(&lan);
    let mut answered = Answered::new();
    for up in [500, 1000, 1500, 1900] {
        lan.power_on(victim.as_str());
        answered.run(&mut lan, ms(up));
        lan.power_off(victim.as_str());
        answered.run(&mut lan, ms(1500));
        assert_eq!(owners(&lan), meanwhile);
    }
    answered.never_silent();
}

#[test]
fn lost_words_are_said_again() {
    for seed in 0..10 {
        let mut lan = old(seed);
        let before = owners(&lan);
        lan.loss_per_mille = 100;
        let mut answered = Answered { watch: Watch::new(bound() * 2), ..Answered::new() };
        lan.set_snapshot(excluding(&before[0]));
        answered.run(&mut lan, SETTLE);
        lan.loss_per_mille = 0;
        answered.run(&mut lan, SETTLE);
        for (new, old) in owners(&lan).iter().zip(&before) {
            assert_eq!(new != old, *old == before[0]);
        }
        answered.never_silent();
    }
}

#[test]
fn a_new_owner_that_dies_while_the_old_one_drains_is_replaced_by_it() {
    let mut lan = old(5);
    let before = owners(&lan);
    let (address, first) = (vips()[0], before[0].clone());
    lan.set_snapshot(excluding(&first));
    lan.run(SETTLE, |_| {});
    let second = owner(&lan, address);
    // Back again, and the one that is to give it back dies: who still drains goes on.
    lan.power_off(second.as_str());
    lan.set_snapshot(cluster(&NODES));
    lan.run(Timing::default().hold(), |_| {});
    assert_eq!(owner(&lan, address), first);
    assert!(lan.take_hand_overs(first.as_str()).contains(&HandOver::Resumed));
}

#[test]
fn an_old_owner_that_dies_while_it_drains_is_announced_away_at_once() {
    let mut lan = old(6);
    let before = owners(&lan);
    lan.set_snapshot(excluding(&before[0]));
    lan.run(SETTLE, |_| {});
    let new = owner(&lan, vips()[0]);
    let said = lan.gratuitous(new.as_str(), vips()[0]);
    lan.power_off(before[0].as_str());
    let mut answered = Answered::new();
    answered.run(&mut lan, Timing::default().hold());
    assert!(lan.gratuitous(new.as_str(), vips()[0]) > said);
    answered.never_silent();
}

#[test]
fn who_leaves_for_good_or_cannot_serve_is_not_asked() {
    let mut lan = old(7);
    let (address, leaver) = (vips()[0], owner(&lan, vips()[0]));
    lan.stop(leaver.as_str(), true);
    lan.run(ms(5), |_| {});
    let new = owner(&lan, address);
    assert!(new != leaver && lan.gratuitous(new.as_str(), address) > 0);
    // The last local endpoint moves: there is nothing to drain to.
    let other = NODES.into_iter().find(|node| *node != leaver.as_str() && *node != new.as_str()).unwrap();
    let mut snapshot = cluster(&NODES);
    for service in snapshot.services.values_mut() {
        service.traffic_policy = herald_core::service::TrafficPolicy::Local;
        let serving = herald_core::service::Serving { any: true, nodes: [other.into()].into() };
        service.serving = Arc::new(serving);
    }
    lan.set_snapshot(snapshot);
    lan.run(ms(5), |_| {});
    assert!(vips().into_iter().all(|address| owner(&lan, address).as_str() == other));
    assert!(!lan.answers_unicast(new.as_str(), address));
}

#[test]
fn views_that_differ_for_a_while_silence_nobody() {
    for seed in 0..10 {
        let mut lan = old(seed);
        let before = owners(&lan);
        let mut answered = Answered::new();
        let mut random = Random::new(seed);
        let mut late: Vec<&str> = NODES.to_vec();
        late.rotate_left(usize::try_from(random.below(4)).unwrap());
        for node in late {
            lan.set_snapshot_of(node, excluding(&before[0]));
            answered.run(&mut lan, ms(random.below(400)));
        }
        answered.run(&mut lan, SETTLE);
        answered.never_silent();
        for (new, old) in owners(&lan).iter().zip(&before) {
            assert_eq!(new != old, *old == before[0]);
        }
    }
}

#[test]
fn an_owner_that_does_not_learn_that_it_is_none_is_forced() {
    let mut lan = old(8);
    let before = owners(&lan);
    let mut answered = Answered::new();
    for node in NODES.into_iter().filter(|node| *node != before[0].as_str()) {
        lan.set_snapshot_of(node, excluding(&before[0]));
    }
    answered.run(&mut lan, FORCE - ms(100));
    assert_eq!(owners(&lan), before, "its consent is waited for");
    answered.run(&mut lan, ms(2000));
    assert_ne!(owner(&lan, vips()[0]), before[0], "the newer state of the cluster counts");
    answered.never_silent();
}

#[test]
fn a_partition_during_a_move_heals_to_one() {
    for seed in 0..10 {
        let mut lan = old(seed);
        let before = owners(&lan);
        lan.set_snapshot(excluding(&before[0]));
        lan.run(ms(seed), |_| {});
        lan.partition(&["m-k8s", "w1-k8s"]);
        lan.run(SETTLE, |_| {});
        lan.heal();
        let mut answered = Answered::new();
        answered.run(&mut lan, Timing::default().hold() + bound());
        for (new, old) in owners(&lan).iter().zip(&before) {
            assert_eq!(new != old, *old == before[0]);
        }
        answered.never_silent();
    }
}

/// Labels, restarts and views change at random; whatever comes, somebody answers, and one in the end.
#[test]
fn random_histories() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let mut lan = old(seed);
        lan.loss_per_mille = [0, 0, 10][usize::try_from(random.below(3)).unwrap()];
        let mut answered = Answered { watch: Watch::new(bound() * 2), ..Answered::new() };
        for version in 2..14 {
            let node = |random: &mut Random| NODES[usize::try_from(random.below(4)).unwrap()];
            let mut snapshot = cluster(&NODES);
            if random.below(3) > 0 {
                snapshot = excluding(&node(&mut random).into());
            }
            snapshot.stamp.resource_version = version;
            if random.below(4) == 0 {
                for one in NODES {
                    lan.set_snapshot_of(one, snapshot.clone());
                    answered.run(&mut lan, ms(random.below(60)));
                }
            }
            lan.set_snapshot(snapshot);
            answered.run(&mut lan, ms(random.below(4000)));
        }
        lan.loss_per_mille = 0;
        lan.set_snapshot(cluster(&NODES));
        answered.run(&mut lan, SETTLE);
        answered.never_silent();
        assert_eq!(owners(&lan).len(), vips().len(), "seed {seed}");
    }
}

#[test]
fn speakers_that_start_together_hand_nothing_over() {
    for seed in 1..=5 {
        let mut lan = started(Lan::new(Timing::default(), cluster(&NODES), seed));
        let mut watch = Watch::new(Duration::ZERO);
        lan.run(SETTLE, |lan| watch.look(lan));
        let nodes: BTreeSet<NodeName> = owners(&lan).into_iter().collect();
        assert!(nodes.len() > 1, "all of them at {nodes:?}");
        // Each asks whom it might have it from; nobody had anything.
        let told: Vec<HandOver> = NODES.iter().flat_map(|node| lan.take_hand_overs(node)).collect();
        assert!(told.iter().all(|what| matches!(what, HandOver::Asked | HandOver::Unheld)), "{told:?}");
    }
}

#[test]
fn a_thousand_addresses_are_handed_over_in_few_decisions() {
    let mut snapshot = build::snapshot(&NODES);
    for number in 0..1000_u32 {
        build::announce(&mut snapshot, &format!("s{number:04}"), &[&format!("fd56::1:{number:x}")]);
    }
    let mut lan = Lan::new(Timing::default(), snapshot.clone(), 1);
    lan.moves = Moves { drain: DRAIN, hold_off: HOLD_OFF };
    let mut lan = started(lan);
    lan.run(SETTLE + DRAIN + HOLD_OFF, |_| {});
    let held = |lan: &Lan, node: &str| lan.held(0).filter(|(_, by)| by.as_str() == node).count();
    assert!(held(&lan, "w1-k8s") > 100);
    snapshot.nodes.get_mut(&NodeName::from("w1-k8s")).unwrap().excluded = true;
    snapshot.stamp.resource_version = 2;
    lan.set_snapshot(snapshot);
    let mut never = false;
    lan.run(Duration::from_secs(10), |lan| {
        never |= lan.held(0).map(|(address, _)| address).collect::<BTreeSet<_>>().len() < 1000
    });
    assert!(!never, "somebody holds every address at every moment");
    assert_eq!(held(&lan, "w1-k8s"), 0);
}
