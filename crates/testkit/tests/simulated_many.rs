//! A link with hundreds of speakers, on which hellos come further apart than four intervals of a small one.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

use herald_core::{membership::Standing, ownership::Snapshot, speaker::Link, time::Timing};
use herald_testkit::{build, lan::Lan};
use herald_wire::Mac;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// So many that those who start together, and so speak within a tenth of their interval, are silent for longer than the hold time.
const MANY: u16 = 300;

fn name(number: u16) -> String {
    format!("node-{number:03}")
}

fn own(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(192, 168, 60 + high, low)
}

fn link(number: u16) -> Link {
    let [high, low] = number.to_be_bytes();
    let addresses = format!("{}/16", own(number)).parse().into_iter().collect();
    Link { name: "eth0".into(), mac: Mac([2, 0, 0, 0, high, low]), addresses }
}

fn vips() -> impl Iterator<Item = IpAddr> {
    (11..=24).map(|last| Ipv4Addr::new(192, 168, 56, last).into())
}

fn snapshot() -> Snapshot {
    let mut snapshot = build::snapshot(&["template"]);
    let (template, node) = snapshot.nodes.pop_first().unwrap();
    let pod = snapshot.speakers.remove(&template).unwrap();
    for number in 1..=MANY {
        let (mut node, mut pod) = (node.clone(), pod.clone());
        node.name = name(number).as_str().into();
        node.internal_ips = vec![own(number).into()];
        pod.node = node.name.clone();
        snapshot.speakers.insert(node.name.clone(), pod);
        snapshot.nodes.insert(node.name.clone(), node);
    }
    for address in vips() {
        let text = address.to_string();
        build::announce(&mut snapshot, &text, &[&text]);
    }
    snapshot
}

#[test]
fn hundreds_that_start_together_take_each_address_once_and_settle() {
    let mut lan = Lan::new(Timing::default(), snapshot(), 1);
    // So that hundreds of frames that come at once are handled at once.
    lan.turn = Duration::from_micros(500);
    (1..=MANY).for_each(|number| lan.add(&name(number), vec![link(number)]));
    lan.run(Duration::from_secs(2), |_| {});
    let at_once: usize = vips().map(|address| lan.answering(0, address).len()).sum();
    assert_eq!(at_once, vips().count(), "each is answered for, by one");
    let (taken, given) = lan.count_moves();
    assert_eq!((taken, given), (vips().count(), 0), "nobody took what was another's");
    lan.run(Duration::from_secs(2), |_| {});
    assert_eq!(lan.count_moves(), (0, 0), "nothing moves any more");
    let standing = |number| lan.speaker(&name(number)).unwrap().link(&"eth0".into()).unwrap().0;
    assert!((1..=MANY).all(|number| standing(number) == Standing::Present));
}
