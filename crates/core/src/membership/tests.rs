mod hellos;
mod late;
mod silent;

use super::*;
use herald_wire::hello::{ClusterId, DataPlane, IfName, LinkInfo, Stamp, peer_hash};
use std::collections::BTreeSet;

const CLUSTER: ClusterId = ClusterId([7; 16]);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn start() -> Moment {
    Moment::from_micros(1_000_000_000)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn membership() -> Membership {
    let me = Identity { cluster: CLUSTER, node: "me".into(), incarnation: 1 };
    let mut membership = Membership::new(me, Timing::default(), start());
    membership.set_roster(roster(&[]), start());
    membership
}

fn roster(expected: &[(&str, [u8; 4])]) -> Roster {
    Roster {
        nodes: ["me", "peer", "other"].map(NodeName::from).into(),
        expected: expected
            .iter()
            .map(|(node, ip)| ((*node).into(), Expected { ready: true, address: Some(IpAddr::from(*ip)) }))
            .collect(),
    }
}

fn hello(node: &str, sequence: u64) -> Hello {
    Hello {
        cluster: CLUSTER,
        node: node.to_owned(),
        incarnation: 5,
        sequence,
        interval_ms: 50,
        flags: Flags { ready: true, ..Flags::default() },
        link: 0,
        links: vec![LinkInfo { mac: MAC, name: IfName::new("eth0"), addresses: vec![] }],
        heard: vec![peer_hash(CLUSTER, "me")],
        kept: vec![],
        moves: None,
        conflicts: vec![],
        stamp: Stamp::default(),
        routine: false,
    }
}

fn speaking() -> Speaking {
    let stamp = Stamp::default();
    let data_plane = DataPlane::Ready;
    let (leaving, restarting) = (false, false);
    let has_health = false;
    Speaking {
        ready: true,
        leaving,
        restarting,
        data_plane,
        has_health,
        links: [].into(),
        link: 0,
        stamp,
        hurries: false,
    }
}

/// Wakes at every deadline up to the moment, as the driver does; gives back the frames.
fn run(membership: &mut Membership, until: Moment) -> Vec<(Moment, Frame)> {
    let (mut frames, mut sequence) = (Vec::new(), 0);
    let mut now = membership.last_wake;
    let mut turns = 0;
    loop {
        membership.wake(now);
        frames.extend(membership.frames(&speaking(), &mut sequence, now).into_iter().map(|frame| (now, frame)));
        let next = membership.next_deadline();
        turns += 1;
        assert!(turns < 10_000, "woken for ever at {now}");
        if next > until {
            return frames;
        }
        now = next.max(now);
    }
}

/// A hello that names an address.
fn there(node: &str, sequence: u64, flags: Flags) -> Hello {
    let links = vec![LinkInfo { mac: MAC, name: IfName::new("eth0"), addresses: vec![ADDRESS] }];
    Hello { links, flags, ..hello(node, sequence) }
}

/// As [`run`], while the peer's kernel answers from this MAC address.
fn answering(membership: &mut Membership, until: Moment, from: Mac) {
    let mut sequence = 0;
    let mut now = membership.last_wake;
    while now <= until {
        membership.wake(now);
        for frame in membership.frames(&speaking(), &mut sequence, now) {
            if let Frame::Ask(address, to) = frame {
                assert_eq!((address, to.unwrap_or(MAC)), (ADDRESS, MAC));
                membership.answered(address, from, now);
            }
        }
        now = membership.next_deadline().max(now);
    }
}

fn state_of(membership: &Membership) -> Option<(bool, bool)> {
    membership.members().get(&"peer".into()).map(|member| (member.ready, member.restarting))
}

#[test]
fn a_peer_is_a_member_until_its_hold_time() {
    let mut m = membership();
    m.hear(&hello("peer", 1), MAC, false, start()).unwrap();
    run(&mut m, start() + ms(199));
    assert!(m.members().contains_key(&"peer".into()), "it names no address that could be asked");
    run(&mut m, start() + ms(250));
    assert!(m.members().is_empty());
    assert!(m.take_changes().contains(&Change::Left("peer".into(), Gone::Silent)));
}

#[test]
fn the_hold_time_follows_the_senders_interval() {
    let mut m = membership();
    m.hear(&Hello { interval_ms: 1000, ..hello("peer", 1) }, MAC, false, start()).unwrap();
    run(&mut m, start() + ms(3900));
    assert!(m.members().contains_key(&"peer".into()));
}

#[test]
fn a_name_that_is_no_node_is_no_member() {
    let mut m = membership();
    m.hear(&hello("stranger", 1), MAC, false, start()).unwrap();
    assert!(m.members().is_empty());
}

#[test]
fn repeated_and_reordered_hellos_say_nothing() {
    let mut m = membership();
    m.hear(&hello("peer", 5), MAC, false, start()).unwrap();
    for old in [5, 4] {
        assert_eq!(m.hear(&hello("peer", old), MAC, false, start()), Err(Ignored::NotNewer));
    }
    let previous = Hello { incarnation: 4, ..hello("peer", 99) };
    assert_eq!(
        m.hear(&previous, MAC, false, start()),
        Err(Ignored::NotNewer),
        "the predecessor of a restarted speaker"
    );
    let soon = start() + ms(199);
    assert_eq!(m.hear(&previous, MAC, false, soon), Err(Ignored::NotNewer), "its last words may still come");
    m.hear(&previous, MAC, false, start() + ms(200)).expect("after that it is a successor whose clock was set back");
    m.hear(&hello("peer", 6), MAC, false, start() + ms(201)).expect("the larger number counts at once");
}

#[test]
fn who_says_that_it_leaves_is_gone_at_once() {
    let mut m = membership();
    m.hear(&hello("peer", 1), MAC, false, start()).unwrap();
    let leaving = Hello { flags: Flags { leaving: true, ..Flags::default() }, ..hello("peer", 2) };
    m.hear(&leaving, MAC, false, start()).unwrap();
    assert!(m.members().is_empty());
    assert!(m.take_changes().contains(&Change::Left("peer".into(), Gone::Leaving)));
}

#[test]
fn listening_ends_and_not_before_the_roster_is_known() {
    let me = Identity { cluster: CLUSTER, node: "me".into(), incarnation: 1 };
    let mut m = Membership::new(me, Timing::default(), start());
    run(&mut m, start() + ms(2000));
    assert_eq!(m.standing(), Standing::Listening);
    m.set_roster(roster(&[]), m.last_wake);
    run(&mut m, start() + ms(2200));
    assert_eq!(m.standing(), Standing::Present);
}

#[test]
fn a_silent_expected_peer_is_asked_and_presumed_while_it_answers() {
    let mut m = membership();
    m.set_roster(roster(&[("peer", [10, 0, 0, 2])]), start());
    let mut sequence = 0;
    let mut now = start();
    let mut asks = 0;
    while now < start() + ms(5000) {
        m.wake(now);
        for frame in m.frames(&speaking(), &mut sequence, now) {
            match frame {
                Frame::Ask(address, _) => {
                    asks += 1;
                    m.answered(address, MAC, now);
                }
                Frame::Hello(_, unicast) => {
                    assert_eq!(unicast, [IpAddr::from([10, 0, 0, 2])], "and it gets hellos as unicast")
                }
            }
        }
        now = m.next_deadline();
    }
    assert_eq!(m.standing(), Standing::Present);
    assert_eq!(m.members().get(&"peer".into()), Some(&Member { ready: true, presumed: true, ..Member::default() }));
    assert!((5..=9).contains(&asks), "{asks} asks in five seconds");
    // It stops answering.
    run(&mut m, now + ms(3000));
    assert!(m.members().is_empty());
}

#[test]
fn who_was_heard_is_never_presumed() {
    let mut m = membership();
    m.set_roster(roster(&[("peer", [10, 0, 0, 2])]), start());
    m.hear(&hello("peer", 1), MAC, false, start()).unwrap();
    run(&mut m, start() + ms(3000));
    m.answered(IpAddr::from([10, 0, 0, 2]), MAC, m.last_wake);
    assert!(m.members().is_empty(), "its speaker is dead, though its node answers");
}

#[test]
fn an_answer_that_was_not_asked_for_presumes_nobody() {
    let mut m = membership();
    m.set_roster(roster(&[("peer", [10, 0, 0, 2])]), start());
    m.answered(IpAddr::from([10, 0, 0, 2]), MAC, m.last_wake);
    assert!(m.members().is_empty());
}

#[test]
fn who_is_in_nobodys_heard_set_falls_silent() {
    let mut m = membership();
    run(&mut m, start() + ms(1000));
    for turn in 0..8 {
        let now = m.last_wake;
        for (node, other) in [("peer", "other"), ("other", "peer")] {
            let hears = Hello { heard: vec![peer_hash(CLUSTER, other)], ..hello(node, 1 + turn) };
            m.hear(&hears, MAC, false, now).unwrap();
        }
        run(&mut m, now + ms(50));
    }
    assert_eq!(m.standing(), Standing::Unheard);
    m.hear(&hello("peer", 20), MAC, false, m.last_wake).unwrap();
    let now = m.last_wake;
    run(&mut m, now + ms(25));
    assert_eq!(m.standing(), Standing::Listening, "heard again, it listens before it answers");
}

/// To whom the next hello goes as a datagram, after one came that names these.
fn datagrams_after(membership: &mut Membership, sequence: u64, heard: &[&str]) -> Vec<IpAddr> {
    let heard = heard.iter().map(|node| peer_hash(CLUSTER, node)).collect();
    let now = start() + ms(50 * sequence);
    membership.hear(&Hello { heard, ..hello("peer", sequence) }, MAC, false, now).unwrap();
    membership.wake(now);
    let frames = membership.frames(&speaking(), &mut 0, now + ms(1));
    let hello = frames.into_iter().find_map(|frame| match frame {
        Frame::Hello(_, unicast) => Some(unicast),
        Frame::Ask(..) => None,
    });
    hello.unwrap()
}

#[test]
fn who_is_heard_and_does_not_hear_this_node_gets_datagrams_for_a_while() {
    let mut m = membership();
    m.set_roster(roster(&[("peer", [10, 0, 0, 2])]), start());
    for sequence in 1..4 {
        assert!(datagrams_after(&mut m, sequence, &["other"]).is_empty(), "more than 200 take turns");
    }
    assert_eq!(datagrams_after(&mut m, 4, &["other"]), [ADDRESS]);
    assert_eq!(datagrams_after(&mut m, 5, &["me"]), [ADDRESS], "it hears the datagrams");
}

#[test]
fn who_has_not_shown_that_anything_reaches_it_is_not_ready() {
    let mut m = membership();
    m.hear(&Hello { heard: vec![], ..there("peer", 1, READY) }, MAC, false, start()).unwrap();
    assert_eq!(state_of(&m), Some((false, false)));
    answering(&mut m, start() + ms(1), MAC);
    assert_eq!(state_of(&m), Some((true, false)));
    assert!(m.take_changes().contains(&Change::Ready("peer".into(), true)));
    let mut m = membership();
    m.hear(&Hello { heard: vec![], ..there("peer", 1, READY) }, MAC, false, start()).unwrap();
    m.hear(&there("peer", 2, READY), MAC, false, start() + ms(50)).unwrap();
    assert_eq!(state_of(&m), Some((true, false)), "it names this node");
}

#[test]
fn a_peer_that_speaks_more_often_than_before_is_missed_sooner() {
    let mut m = membership();
    m.hear(&Hello { interval_ms: 1000, ..hello("peer", 1) }, MAC, false, start()).unwrap();
    run(&mut m, start() + ms(10));
    m.hear(&hello("peer", 2), MAC, false, start() + ms(20)).unwrap();
    run(&mut m, start() + ms(20 + 199));
    assert!(m.members().contains_key(&"peer".into()));
    run(&mut m, start() + ms(20 + 250));
    assert!(m.members().is_empty());
}

#[test]
fn a_peer_with_two_links_here_is_known_by_both_until_one_is_silent() {
    let on = |link: u8, sequence: u64| {
        let info = |name: &str| LinkInfo { mac: MAC, name: IfName::new(name), addresses: vec![] };
        Hello { link, links: vec![info("eth0"), info("eth1"), info("other")], ..hello("peer", sequence) }
    };
    let names = |m: &Membership| -> Vec<String> {
        m.members().get(&"peer".into()).unwrap().links.iter().map(ToString::to_string).collect()
    };
    let mut m = membership();
    m.hear(&on(0, 1), MAC, false, start()).unwrap();
    assert_eq!(names(&m), ["eth0"]);
    m.take_changes();
    m.hear(&on(1, 2), MAC, false, start() + ms(1)).unwrap();
    assert_eq!(names(&m), ["eth0", "eth1"]);
    assert_eq!(m.take_changes(), [Change::Links("peer".into())]);
    let known: Vec<_> = m.link_names().flat_map(|(_, names)| names).map(|name| name.as_str().to_owned()).collect();
    assert_eq!(known, ["eth0", "eth1", "other"]);
    for turn in 1..=5 {
        m.hear(&on(1, 2 + turn), MAC, false, start() + ms(50 * turn)).unwrap();
        m.wake(start() + ms(50 * turn));
    }
    assert_eq!(names(&m), ["eth1"], "the other link of the peer is cut off");
    assert!(m.take_changes().contains(&Change::Links("peer".into())));
}

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

const READY: Flags =
    Flags { ready: true, leaving: false, restarting: false, data_plane: DataPlane::Ready, has_health: false };

#[test]
fn what_a_peer_says_of_its_data_plane_is_known_and_told_once() {
    let mut m = membership();
    let said = |sequence, data_plane, has_health| Hello {
        flags: Flags { data_plane, has_health, ..READY },
        ..hello("peer", sequence)
    };
    m.set_roster(roster(&[("peer", [192, 0, 2, 2])]), start());
    m.hear(&said(1, DataPlane::Ready, false), MAC, false, start()).unwrap();
    m.take_changes();
    assert!(!m.has_health());
    let planes = [(2, DataPlane::Ready, true), (4, DataPlane::NotReady, true), (6, DataPlane::Failed, true)];
    for (sequence, data_plane, has_health) in planes {
        m.hear(&said(sequence, data_plane, has_health), MAC, false, start()).unwrap();
        m.hear(&said(sequence + 1, data_plane, has_health), MAC, false, start()).unwrap();
        assert_eq!(m.members()[&"peer".into()].data_plane, data_plane);
        assert!(m.has_health());
        assert_eq!(m.take_changes(), [Change::DataPlane("peer".into(), data_plane)]);
    }
}
