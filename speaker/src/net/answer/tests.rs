use super::*;
use herald_wire::{EthernetHeader, ndp::Advertisement, ndp::Solicitation};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 3]);
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 11);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 200);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd56, 0, 0, 0, 0, 0, 0, 0x11);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd56, 0, 0, 0, 0, 0, 0, 0x200);
const GOOD_UNTIL: Moment = Moment::from_micros(1_000);

fn table() -> AnswerTable {
    let table = AnswerTable::default().with(OWN, &[(VIP4.into(), Claim::Own), (VIP6.into(), Claim::Own)].into());
    table.fence.set(GOOD_UNTIL);
    table
}

fn arp_answer(frame: ArpFrame) -> Result<ArpFrame, DropReason> {
    judge_arp(&frame.emit(), &table(), GOOD_UNTIL).answer.map(|reply| arp::parse(&reply.frame).unwrap())
}

fn ndp_answer(solicitation: Solicitation) -> Result<Advertisement, DropReason> {
    judge_ndp(&solicitation.emit(), &table(), GOOD_UNTIL).answer.map(|reply| match ndp::parse(&reply.frame).unwrap() {
        NdpFrame::Advertisement(advertisement) => advertisement,
        NdpFrame::Solicitation(other) => panic!("answered with {other:?}"),
    })
}

#[test]
fn requests_to_all_and_to_us_are_answered_at_the_asker() {
    for destination in [Mac::BROADCAST, OWN] {
        let reply = arp_answer(arp::ask(CLIENT, CLIENT4, VIP4, destination)).unwrap();
        assert_eq!(reply.ethernet, EthernetHeader { destination: CLIENT, source: OWN });
        let packet = reply.packet;
        assert_eq!((packet.operation, packet.sender_mac, packet.sender_ip), (Operation::Reply, OWN, VIP4));
        assert_eq!((packet.target_mac, packet.target_ip), (CLIENT, CLIENT4));
    }
}

#[test]
fn a_probe_for_our_address_is_answered() {
    assert!(arp_answer(arp::probe(CLIENT, VIP4)).is_ok());
}

#[test]
fn arp_that_is_not_answered() {
    let unowned = Ipv4Addr::new(192, 168, 56, 12);
    assert_eq!(arp_answer(arp::ask(CLIENT, CLIENT4, unowned, Mac::BROADCAST)), Err(DropReason::NotOwned));
    assert_eq!(arp_answer(arp::ask(CLIENT, CLIENT4, VIP4, OTHER)), Err(DropReason::OtherDestination));
    assert_eq!(arp_answer(arp::ask(OWN, CLIENT4, VIP4, Mac::BROADCAST)), Err(DropReason::Own));
    assert_eq!(arp_answer(arp::gratuitous_request(CLIENT, VIP4)), Err(DropReason::Announcement));
    assert_eq!(arp_answer(arp::gratuitous_reply(CLIENT, VIP4)), Err(DropReason::NotARequest));
    assert_eq!(judge_arp(b"stump", &table(), GOOD_UNTIL).answer.unwrap_err(), DropReason::Malformed);
}

#[test]
fn what_is_withheld_is_not_answered_and_whoever_claims_or_probes_it_is_seen() {
    let table = AnswerTable::default().with(
        OWN,
        &[(VIP4.into(), Claim::Withheld), (VIP6.into(), Claim::Withheld), (CLIENT4.into(), Claim::Own)].into(),
    );
    table.fence.set(GOOD_UNTIL);
    let arp = |frame: ArpFrame| {
        let bytes = frame.emit();
        let Verdict { answer, sight } = judge_arp(&bytes, &table, GOOD_UNTIL);
        (answer.err(), sight.map(|sight| sight.claim()))
    };
    let claimed = Some((VIP4.into(), CLIENT));
    assert_eq!(arp(arp::ask(CLIENT, Ipv4Addr::LOCALHOST, VIP4, Mac::BROADCAST)), (Some(DropReason::Withheld), None));
    assert_eq!(arp(arp::probe(CLIENT, VIP4)), (Some(DropReason::Withheld), claimed));
    assert_eq!(arp(arp::gratuitous_request(CLIENT, VIP4)).1, claimed);
    // One that is answered for is defended by the answer.
    assert_eq!(arp(arp::probe(CLIENT, CLIENT4)), (None, None));

    let probe = Solicitation::probe(CLIENT, VIP6).emit();
    let Verdict { answer, sight } = judge_ndp(&probe, &table, GOOD_UNTIL);
    assert_eq!(answer.unwrap_err(), DropReason::Withheld);
    assert_eq!(sight.unwrap().claim(), (VIP6.into(), CLIENT));
    let ask = Solicitation::ask(CLIENT, CLIENT6, VIP6, None).emit();
    let Verdict { answer, sight } = judge_ndp(&ask, &table, GOOD_UNTIL);
    assert_eq!((answer.unwrap_err(), sight), (DropReason::Withheld, None));
}

#[test]
fn after_the_fence_nothing_is_answered() {
    let late = GOOD_UNTIL + std::time::Duration::from_micros(1);
    let request = arp::ask(CLIENT, CLIENT4, VIP4, Mac::BROADCAST).emit();
    assert_eq!(judge_arp(&request, &table(), late).answer.unwrap_err(), DropReason::Expired);
    let solicitation = Solicitation::ask(CLIENT, CLIENT6, VIP6, None).emit();
    assert_eq!(judge_ndp(&solicitation, &table(), late).answer.unwrap_err(), DropReason::Expired);
    // A table that nobody has opened yet.
    let closed = AnswerTable::default().with(OWN, &[(VIP4.into(), Claim::Own)].into());
    assert_eq!(judge_arp(&request, &closed, Moment::from_micros(1)).answer.unwrap_err(), DropReason::Expired);
}

#[test]
fn a_draining_node_answers_unicast_requests_alone() {
    let table =
        AnswerTable::default().with(OWN, &[(VIP4.into(), Claim::Unicast), (VIP6.into(), Claim::Unicast)].into());
    table.fence.set(GOOD_UNTIL);
    let arp = |to| {
        let request = arp::ask(CLIENT, CLIENT4, VIP4, to).emit();
        judge_arp(&request, &table, GOOD_UNTIL).answer.map(|reply| arp::parse(&reply.frame).unwrap().packet.sender_mac)
    };
    assert_eq!((arp(Mac::BROADCAST), arp(OWN)), (Err(DropReason::Draining), Ok(OWN)));
    let ndp = |to| {
        let solicitation = Solicitation::ask(CLIENT, CLIENT6, VIP6, to).emit();
        judge_ndp(&solicitation, &table, GOOD_UNTIL).answer.map(|reply| reply.address)
    };
    assert_eq!((ndp(None), ndp(Some(OWN))), (Err(DropReason::Draining), Ok(VIP6.into())));
    assert_eq!((table.drained(), table.stood_in()), (2, 0));
}

#[test]
fn the_driver_sees_replies_and_claims_and_nothing_else() {
    let sight = |frame: ArpFrame| judge_arp(&frame.emit(), &table(), GOOD_UNTIL).sight;
    let reply = arp::ask(OWN, VIP4, CLIENT4, Mac::BROADCAST).reply(CLIENT, CLIENT);
    assert_eq!(sight(reply).unwrap().claim(), (CLIENT4.into(), CLIENT));
    assert_eq!(sight(arp::gratuitous_request(OTHER, VIP4)).unwrap().claim(), (VIP4.into(), OTHER));
    assert_eq!(sight(arp::ask(CLIENT, CLIENT4, VIP4, Mac::BROADCAST)), None);
    assert_eq!(sight(arp::probe(CLIENT, VIP4)), None);
    assert_eq!(sight(arp::gratuitous_request(OWN, VIP4)), None, "our own, reflected");

    let sight = |bytes: Vec<u8>| judge_ndp(&bytes, &table(), GOOD_UNTIL).sight;
    let advertisement = Solicitation::ask(OWN, VIP6, CLIENT6, None).answer(CLIENT, CLIENT);
    assert_eq!(sight(advertisement.emit()).unwrap().claim(), (CLIENT6.into(), CLIENT));
    assert_eq!(sight(Solicitation::ask(CLIENT, CLIENT6, VIP6, None).emit()), None);
    assert_eq!(sight(Solicitation::ask(OTHER, VIP6, CLIENT6, None).emit()).unwrap().claim(), (VIP6.into(), OTHER));
    assert_eq!(sight(Advertisement::unsolicited(OWN, VIP6).emit()), None, "our own, reflected");
}

#[test]
fn solicitations_are_answered_at_the_asker_with_override() {
    let group = Solicitation::ask(CLIENT, CLIENT6, VIP6, None);
    let unicast = Solicitation::ask(CLIENT, CLIENT6, VIP6, Some(OWN));
    // A neighbour's unreachability probe carries no source option (metallb#2920).
    let bare = Solicitation { source_link_layer: None, ..unicast };
    for solicitation in [group, unicast, bare] {
        let answer = ndp_answer(solicitation).unwrap();
        assert_eq!((answer.ether_source, answer.ether_destination), (OWN, CLIENT));
        assert_eq!((answer.source_ip, answer.destination_ip, answer.target), (VIP6, CLIENT6, VIP6));
        assert_eq!((answer.solicited, answer.override_, answer.router), (true, true, false));
        assert_eq!(answer.target_link_layer, Some(OWN));
    }
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let answer = ndp_answer(Solicitation::probe(CLIENT, VIP6)).unwrap();
    assert_eq!((answer.destination_ip, answer.ether_destination), (ndp::ALL_NODES, ndp::multicast_mac(ndp::ALL_NODES)));
    assert_eq!((answer.solicited, answer.override_), (false, true));
}

#[test]
fn ndp_that_is_not_answered() {
    assert_eq!(ndp_answer(Solicitation::ask(CLIENT, CLIENT6, CLIENT6, None)), Err(DropReason::NotOwned));
    assert_eq!(ndp_answer(Solicitation::ask(CLIENT, CLIENT6, VIP6, Some(OTHER))), Err(DropReason::OtherDestination));
    assert_eq!(ndp_answer(Solicitation::ask(OWN, CLIENT6, VIP6, None)), Err(DropReason::Own));
    let advertisement = Advertisement::unsolicited(OTHER, VIP6).emit();
    assert_eq!(judge_ndp(&advertisement, &table(), GOOD_UNTIL).answer.unwrap_err(), DropReason::NotARequest);
    assert_eq!(judge_ndp(&[0; 80], &table(), GOOD_UNTIL).answer.unwrap_err(), DropReason::Malformed);
}

#[test]
fn a_stand_in_gives_the_owners_place_and_sends_as_itself() {
    let mut table = table();
    let answer = Answer { unicast_only: false, claim: OTHER, withheld: false, counters: Arc::default() };
    table.addresses.insert(VIP4.into(), answer);
    let request = arp::ask(CLIENT, CLIENT4, VIP4, Mac::BROADCAST).emit();
    let frame = arp::parse(&judge_arp(&request, &table, GOOD_UNTIL).answer.unwrap().frame).unwrap();
    assert_eq!((frame.ethernet.source, frame.packet.sender_mac), (OWN, OTHER));
}

#[test]
fn a_new_table_goes_on_counting_and_keeps_the_fence() {
    let old = table();
    old.addresses[&IpAddr::from(VIP4)].counters.requests_received.store(7, Ordering::Relaxed);
    let new = old.with(OTHER, &[(VIP4.into(), Claim::Own), (CLIENT4.into(), Claim::Own)].into());
    assert_eq!(new.addresses[&IpAddr::from(VIP4)].counters.requests_received.load(Ordering::Relaxed), 7);
    assert_eq!(new.addresses[&IpAddr::from(CLIENT4)].counters.requests_received.load(Ordering::Relaxed), 0);
    assert!(!new.addresses.contains_key(&VIP6.into()));
    assert_eq!(new.addresses[&IpAddr::from(VIP4)].claim, OTHER);
    old.fence.set(Moment::default());
    assert!(!new.fence.allows(GOOD_UNTIL), "tables share one fence");
}

#[test]
fn labels_are_distinct() {
    let labels: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(labels.len(), DropReason::ALL.len());
}
