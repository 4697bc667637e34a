//! DESIGN section 5: an address does not move to a node whose data plane is not ready while another one can have it, and moves away from one that
//! says for long that it fails. kube-proxy's own restart moves nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{HOLD_OFF, NODES, SETTLE, Steady, Watch, bound, cluster, lan, owner, owners, vips};
use herald_core::{
    NodeName,
    ownership::{HandOver, PLANE_WAIT, rank},
};
use herald_testkit::lan::Lan;
use herald_wire::hello::DataPlane::{self, Failed, NotReady, Ready};
use std::{net::IpAddr, time::Duration};

/// A power loss is noticed, and who takes over answers.
const NOTICED: Duration = Duration::from_millis(600);
/// A planned move has happened: an ask a second, a release, a claim.
const MOVED: Duration = Duration::from_millis(1500);

/// Settled, and old enough that nobody is new any more; nobody drains.
fn old(seed: u64) -> Lan {
    let mut lan = lan(seed);
    lan.run(SETTLE + Duration::from_secs(40), |_| {});
    for node in NODES {
        lan.take_hand_overs(node);
    }
    lan
}

fn all(lan: &mut Lan, plane: DataPlane) {
    NODES.iter().for_each(|node| lan.set_data_plane(node, plane));
}

/// The nodes in the order of an address.
fn order(address: IpAddr) -> Vec<NodeName> {
    let mut nodes: Vec<NodeName> = NODES.map(NodeName::from).into();
    nodes.sort_by_key(|node| rank(node, &address.to_string()));
    nodes
}

/// Watches that never two answer that hear each other, beyond the bound.
fn run(lan: &mut Lan, how_long: Duration) {
    let mut watch = Watch::new(bound());
    lan.run(how_long, |lan| watch.look(lan));
}

#[test]
fn kube_proxys_that_restart_move_nothing() {
    let mut lan = old(1);
    let mut steady = Steady::new(&lan);
    for node in NODES {
        lan.set_data_plane(node, NotReady);
        steady.run(&mut lan, Duration::from_secs(4));
        lan.set_data_plane(node, Ready);
        steady.run(&mut lan, Duration::from_secs(1));
    }
    // All at once, and for long.
    all(&mut lan, NotReady);
    steady.run(&mut lan, PLANE_WAIT * 2);
    all(&mut lan, Ready);
    steady.run(&mut lan, SETTLE);
    assert_eq!(steady.silence, Duration::ZERO, "nobody answered");
    for node in NODES {
        assert_eq!(lan.take_hand_overs(node), [], "nothing was even asked for on {node}");
    }
}

#[test]
fn speakers_that_restart_while_the_kube_proxy_of_their_node_does_keep_what_they_have() {
    let mut lan = old(2);
    let mut steady = Steady::new(&lan);
    for node in NODES {
        lan.set_data_plane(node, NotReady);
        lan.stop(node, false);
        steady.run(&mut lan, Duration::from_secs(1));
        lan.power_on(node);
        steady.run(&mut lan, Duration::from_secs(2));
        lan.set_data_plane(node, Ready);
        steady.run(&mut lan, Duration::from_secs(1));
    }
}

#[test]
fn who_returns_waits_until_its_data_plane_is_ready() {
    let mut lan = old(3);
    let before = owners(&lan);
    let victim = before[0].clone();
    lan.power_off(victim.as_str());
    run(&mut lan, Duration::from_secs(5));
    let meanwhile = owners(&lan);
    lan.set_data_plane(victim.as_str(), NotReady);
    lan.power_on(victim.as_str());
    let mut steady = Steady::new(&lan);
    steady.run(&mut lan, HOLD_OFF * 6);
    assert_eq!(owners(&lan), meanwhile, "long after the hold-off");
    assert!(lan.take_hand_overs(victim.as_str()).contains(&HandOver::Refused));
    assert_eq!(steady.silence, Duration::ZERO);

    lan.set_data_plane(victim.as_str(), Ready);
    run(&mut lan, MOVED);
    assert_eq!(owners(&lan), before, "and gets back what it had");
    assert!(
        vips()
            .into_iter()
            .all(|address| !lan.take_hand_overs(owner(&lan, address).as_str()).contains(&HandOver::Forced))
    );
}

#[test]
fn nobody_waits_for_ever_for_what_is_not_there_but_for_what_fails() {
    for (plane, gets_it) in [(NotReady, true), (Failed, false)] {
        let mut lan = old(4);
        let before = owners(&lan);
        let victim = before[0].clone();
        lan.power_off(victim.as_str());
        run(&mut lan, Duration::from_secs(5));
        let meanwhile = owners(&lan);
        lan.set_data_plane(victim.as_str(), plane);
        lan.power_on(victim.as_str());
        run(&mut lan, PLANE_WAIT - Duration::from_secs(10));
        assert_eq!(owners(&lan), meanwhile, "{plane:?}");
        run(&mut lan, Duration::from_secs(20));
        assert_eq!(owners(&lan), if gets_it { before } else { meanwhile }, "{plane:?}");
    }
}

#[test]
fn when_nobodys_data_plane_is_ready_the_last_owner_stays_and_the_next_takes_over_from_a_dead_one() {
    let mut lan = old(5);
    let victim = owners(&lan)[0].clone();
    lan.power_off(victim.as_str());
    run(&mut lan, Duration::from_secs(5));
    let meanwhile = owners(&lan);
    all(&mut lan, NotReady);
    lan.power_on(victim.as_str());
    run(&mut lan, HOLD_OFF * 3);
    assert_eq!(owners(&lan), meanwhile, "the last owner stays");

    let second = meanwhile[0].clone();
    lan.power_off(second.as_str());
    run(&mut lan, NOTICED);
    for (address, last) in vips().into_iter().zip(meanwhile) {
        let now = owner(&lan, address);
        assert!(now != second && (last == second || now == last), "{address} is on {now}, was on {last}");
    }
}

#[test]
fn a_take_over_prefers_who_is_ready_and_the_owner_gets_it_when_it_is() {
    let mut lan = old(6);
    for address in vips().into_iter().take(4) {
        let [dead, next, then, _] = &order(address)[..] else { panic!("four nodes") };
        assert_eq!(owner(&lan, address), *dead);
        lan.set_data_plane(next.as_str(), NotReady);
        run(&mut lan, Duration::from_secs(1));
        lan.power_off(dead.as_str());
        run(&mut lan, NOTICED);
        assert_eq!(owner(&lan, address), *then, "{next} is not ready");
        run(&mut lan, HOLD_OFF * 2);
        assert_eq!(owner(&lan, address), *then, "{next} is not ready yet");
        // Who has it meanwhile is away for a moment, then ready again: it is the next one's.
        lan.set_data_plane(next.as_str(), Ready);
        run(&mut lan, MOVED);
        assert_eq!(owner(&lan, address), *next);
        lan.power_on(dead.as_str());
        run(&mut lan, HOLD_OFF * 2 + Duration::from_secs(40));
        assert_eq!(owner(&lan, address), *dead);
    }
}

#[test]
fn who_has_it_meanwhile_may_die_too() {
    let mut lan = old(7);
    let address = vips()[0];
    let [dead, next, then, last] = &order(address)[..] else { panic!("four nodes") };
    lan.set_data_plane(next.as_str(), NotReady);
    run(&mut lan, Duration::from_secs(1));
    for (victim, heir) in [(dead, then), (then, last)] {
        lan.power_off(victim.as_str());
        run(&mut lan, Duration::from_secs(1));
        assert_eq!(owner(&lan, address), *heir);
        run(&mut lan, Duration::from_secs(20));
        assert_eq!(owner(&lan, address), *heir);
    }
    lan.power_off(last.as_str());
    run(&mut lan, Duration::from_secs(1));
    assert_eq!(owner(&lan, address), *next, "rather there than nowhere");
}

#[test]
fn a_data_plane_that_fails_for_long_gives_its_addresses_away_without_a_moment_of_silence() {
    let mut lan = old(8);
    let before = owners(&lan);
    let failing = before[0].clone();
    let mut silent = false;
    lan.set_data_plane(failing.as_str(), Failed);
    lan.run(MOVED, |lan| silent |= vips().into_iter().any(|address| lan.answering(0, address).is_empty()));
    for (address, old) in vips().into_iter().zip(&before) {
        assert_eq!(owner(&lan, address) != *old, *old == failing, "only its addresses move");
        assert!(lan.answers_unicast(old.as_str(), address), "and it drains");
    }
    let meanwhile = owners(&lan);
    // It restarts, and knows still.
    lan.stop(failing.as_str(), false);
    run(&mut lan, Duration::from_secs(1));
    lan.power_on(failing.as_str());
    run(&mut lan, HOLD_OFF * 2);
    assert_eq!(owners(&lan), meanwhile);
    // Everybody else's fails, too: nobody is better.
    all(&mut lan, Failed);
    run(&mut lan, HOLD_OFF * 2);
    assert_eq!(owners(&lan), meanwhile, "the last owners stay");
    all(&mut lan, Ready);
    run(&mut lan, MOVED);
    assert_eq!(owners(&lan), before);
    assert!(!silent, "nobody answered");
}

#[test]
fn a_planned_move_waits_for_the_new_owner() {
    let mut lan = old(9);
    let address = vips()[0];
    let [first, next, ..] = &order(address)[..] else { panic!("four nodes") };
    lan.set_data_plane(next.as_str(), NotReady);
    let mut excluding = cluster(&NODES);
    excluding.nodes.get_mut(first).unwrap().excluded = true;
    excluding.stamp.resource_version = 2;
    lan.set_snapshot(excluding);
    run(&mut lan, Duration::from_secs(30));
    assert_eq!(owner(&lan, address), *first, "it goes on, though a label excludes it");
    lan.set_data_plane(next.as_str(), Ready);
    run(&mut lan, MOVED);
    assert_eq!(owner(&lan, address), *next);
}
