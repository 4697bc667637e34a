//! Hosts that are no nodes, on the simulated LAN: nothing is answered for an address that one of them has, and it is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{NODES, SETTLE, lan, owner, started, vips};
use herald_core::{
    NodeName,
    announce::conflict::{Policy, Withheld},
    ownership::rank,
    time::Timing,
};
use herald_testkit::{build, lan::Lan};
use std::{net::IpAddr, time::Duration};

const MINUTE: Duration = Duration::from_secs(65);

fn address() -> IpAddr {
    vips()[0]
}

/// For how long somebody answers for the address.
fn answered(lan: &mut Lan, how_long: Duration) -> Duration {
    let (mut answered, mut before, mut last) = (Duration::ZERO, lan.now, false);
    lan.run(how_long, |lan| {
        if last {
            answered += lan.now.since(before);
        }
        (before, last) = (lan.now, !lan.answerers(0, address()).is_empty());
    });
    answered
}

fn told(lan: &Lan) -> Vec<(IpAddr, Option<Withheld>)> {
    NODES.iter().flat_map(|node| lan.conflicts(node).to_vec()).collect()
}

#[test]
fn an_address_that_a_host_had_before_is_never_answered_and_used_when_the_host_is_gone() {
    for seed in 0..20 {
        let mut lan = Lan::new(Timing::default(), common::cluster(&NODES), seed);
        let mac = lan.add_foreign("printer", 0, address());
        let mut lan = started(lan);
        let wrongly = answered(&mut lan, SETTLE);
        let said: usize = NODES.iter().map(|node| lan.gratuitous(node, address())).sum();
        assert_eq!((wrongly, said), (Duration::ZERO, 0), "seed {seed}");
        assert!(told(&lan).contains(&(address(), Some(Withheld::Held(mac)))), "{:?}", told(&lan));
        // The others are none of its business.
        owner(&lan, vips()[1]);
        lan.remove_foreign("printer");
        lan.run(MINUTE, |_| {});
        owner(&lan, address());
        assert!(told(&lan).contains(&(address(), None)));
    }
}

#[test]
fn without_foreign_hosts_there_is_no_conflict_whatever_ours_do() {
    for seed in 0..20 {
        let mut lan = lan(seed);
        lan.run(SETTLE, |_| {});
        let first = owner(&lan, address());
        lan.power_off(first.as_str());
        lan.run(SETTLE, |_| {});
        assert_ne!(owner(&lan, address()), first);
        lan.power_on(first.as_str());
        lan.run(SETTLE, |_| {});
        lan.partition(&NODES[..2]);
        lan.run(SETTLE, |_| {});
        lan.heal();
        lan.run(SETTLE, |_| {});
        lan.loss_per_mille = 100;
        lan.run(SETTLE, |_| {});
        let held: Vec<_> = told(&lan);
        assert!(held.is_empty(), "seed {seed}: {held:?}");
    }
}

#[test]
fn a_take_over_waits_for_no_probe() {
    let mut lan = lan(1);
    lan.run(SETTLE, |_| {});
    let first = owner(&lan, address());
    lan.power_off(first.as_str());
    lan.run(Timing::default().hold() + Duration::from_millis(20), |_| {});
    assert_ne!(owner(&lan, address()), first);
}

#[test]
fn a_host_that_comes_later_is_told_off_once_and_then_yielded_to() {
    let mut lan = lan(2);
    lan.run(SETTLE, |_| {});
    let node = owner(&lan, address());
    let mac = lan.add_foreign("printer", 0, address());
    lan.foreign_announces("printer");
    lan.run(Duration::from_secs(2), |_| {});
    assert_eq!((owner(&lan, address()), lan.defended(node.as_str())), (node.clone(), 1));
    lan.foreign_announces("printer");
    lan.run(Duration::from_secs(2), |_| {});
    assert!(lan.answerers(0, address()).is_empty());
    assert_eq!(told(&lan), [(address(), Some(Withheld::Held(mac)))]);
    // As long as it is there, asking again changes nothing.
    lan.run(MINUTE * 3, |lan| assert!(lan.answerers(0, address()).is_empty()));
    assert_eq!(told(&lan).len(), 1, "it is told once");
    lan.remove_foreign("printer");
    lan.run(MINUTE, |_| {});
    assert_eq!(owner(&lan, address()), node);
}

#[test]
fn who_shall_yield_does_so_at_the_first_claim() {
    let mut lan = Lan::new(Timing::default(), common::cluster(&NODES), 3);
    lan.policy = Policy::Yield;
    let mut lan = started(lan);
    lan.run(SETTLE, |_| {});
    let node = owner(&lan, address());
    lan.add_foreign("printer", 0, address());
    lan.foreign_announces("printer");
    lan.run(Duration::from_millis(10), |_| {});
    assert!(lan.answerers(0, address()).is_empty());
    assert_eq!(lan.defended(node.as_str()), 0);
}

#[test]
fn a_conflict_outlives_its_owner_and_its_owners_restart() {
    for crash in [false, true] {
        let mut lan = Lan::new(Timing::default(), common::cluster(&NODES), 4);
        let mac = lan.add_foreign("printer", 0, address());
        let mut lan = started(lan);
        lan.run(SETTLE, |_| {});
        let holder = *NODES.iter().min_by_key(|node| rank(&NodeName::from(**node), &address().to_string())).unwrap();
        assert!(lan.conflicts(holder).iter().any(|(held, _)| *held == address()));
        if crash {
            lan.power_off(holder);
        } else {
            lan.kill(holder);
        }
        // Whoever takes over or stands in knows of it, asks once more, and names the host again.
        lan.run(Duration::from_secs(5), |lan| assert!(lan.answerers(0, address()).is_empty()));
        let named = |node: &&&str| lan.conflicts(node).contains(&(address(), Some(Withheld::Held(mac))));
        assert!(NODES.iter().filter(named).count() >= 2, "the holder, and who comes after it");
        lan.remove_foreign("printer");
        lan.run(MINUTE, |_| {});
        assert_eq!(lan.answerers(0, address()).len(), 1);
    }
}

#[test]
fn who_probes_at_the_same_time_is_a_conflict_and_ours_are_not() {
    let mut lan = lan(5);
    lan.run(SETTLE, |_| {});
    let mut snapshot = common::cluster(&NODES);
    let new: IpAddr = "192.168.56.99".parse().unwrap();
    build::announce(&mut snapshot, "new", &["192.168.56.99"]);
    lan.set_snapshot(snapshot);
    lan.run(Duration::from_millis(60), |lan| assert!(lan.answerers(0, new).is_empty()));
    lan.foreign_probes("laptop", 0, new);
    lan.run(Duration::from_secs(5), |lan| assert!(lan.answerers(0, new).is_empty()));
    // It took another address: the next round finds nobody.
    lan.run(MINUTE, |_| {});
    owner(&lan, new);
}

#[test]
fn addresses_of_nodes_and_of_the_subnet_are_refused() {
    let mut snapshot = common::cluster(&NODES);
    let refused = ["192.168.56.102", "192.168.56.0", "192.168.56.255"];
    for (number, address) in refused.iter().enumerate() {
        build::announce(&mut snapshot, &format!("bad{number}"), &[address]);
    }
    let mut lan = started(Lan::new(Timing::default(), snapshot, 6));
    lan.run(SETTLE, |lan| {
        for address in refused {
            assert!(lan.answerers(0, address.parse().unwrap()).is_empty(), "{address}");
        }
    });
    for address in refused {
        let address: IpAddr = address.parse().unwrap();
        let why = told(&lan).into_iter().find(|(told, _)| *told == address);
        assert!(why.is_some_and(|(_, why)| why.is_some()), "{address} is refused with a reason");
    }
}
