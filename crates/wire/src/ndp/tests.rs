//! Golden bytes come from an independent implementation of the checksum, so that the codec underneath can be exchanged.

use super::*;
use proptest::prelude::*;

const ASKER: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const OWNER: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd56, 0, 0, 0, 0, 0, 0, 0x11);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd56, 0, 0, 0, 0, 0, 0, 0x200);

const SOLICITATION: &str = "3333ff00001102000000000a86dd\
    6000000000203afffd560000000000000000000000000200ff0200000000000000000001ff000011\
    87007ac500000000fd560000000000000000000000000011010102000000000a";
const ANSWER: &str = "02000000000a02000000000b86dd\
    6000000000203afffd560000000000000000000000000011fd560000000000000000000000000200\
    8800197260000000fd560000000000000000000000000011020102000000000b";
const PROBE: &str = "3333ff00001102000000000a86dd\
    6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff000011\
    87007d2f00000000fd560000000000000000000000000011";
const UNSOLICITED: &str = "33330000000102000000000b86dd\
    6000000000203afffd560000000000000000000000000011ff020000000000000000000000000001\
    880059c520000000fd560000000000000000000000000011020102000000000b";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The frame with other ICMPv6 bytes from `at` (counted from the ICMPv6 header), checksum made right again.
fn with(hex: &str, at: usize, new: &[u8]) -> Result<NdpFrame, DecodeError> {
    let mut frame = bytes(hex);
    let start = HEADER_LEN + IPV6_LEN;
    frame.resize(frame.len().max(start + at + new.len()), 0);
    frame[start + at..start + at + new.len()].copy_from_slice(new);
    parse(&repaired(frame))
}

fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    let start = HEADER_LEN + IPV6_LEN;
    let length = u16::try_from(frame.len() - start).unwrap();
    let (head, message) = frame.split_at_mut(start);
    head[18..20].copy_from_slice(&length.to_be_bytes());
    let ip = Ipv6Packet::new(&head[HEADER_LEN..]).unwrap();
    let (source, destination) = (ip.get_source(), ip.get_destination());
    let mut icmp = MutableIcmpv6Packet::new(message).unwrap();
    let sum = icmpv6::checksum(&icmp.to_immutable(), &source, &destination);
    icmp.set_checksum(sum);
    frame
}

#[test]
fn golden_solicitation_and_answer() {
    let solicitation = Solicitation::ask(ASKER, CLIENT, VIP, None);
    assert_eq!(solicitation.emit(), bytes(SOLICITATION));
    assert_eq!(parse(&bytes(SOLICITATION)), Ok(NdpFrame::Solicitation(solicitation)));
    let answer = solicitation.answer(OWNER, OWNER);
    assert_eq!(answer.emit(), bytes(ANSWER));
    assert_eq!(parse(&bytes(ANSWER)), Ok(NdpFrame::Advertisement(answer)));
}

#[test]
fn golden_probe_is_answered_to_all_nodes_unsolicited() {
    let probe = Solicitation::probe(ASKER, VIP);
    assert_eq!(probe.emit(), bytes(PROBE));
    assert_eq!(parse(&bytes(PROBE)), Ok(NdpFrame::Solicitation(probe)));
    assert_eq!(probe.answer(OWNER, OWNER), Advertisement::unsolicited(OWNER, VIP));
    assert_eq!(Advertisement::unsolicited(OWNER, VIP).emit(), bytes(UNSOLICITED));
}

#[test]
fn a_unicast_ask_without_source_option_is_answered_at_the_station_that_asked() {
    let ask = Solicitation { source_link_layer: None, ..Solicitation::ask(ASKER, CLIENT, VIP, Some(OWNER)) };
    assert_eq!((ask.ether_destination, ask.destination_ip), (OWNER, VIP));
    assert_eq!(parse(&ask.emit()), Ok(NdpFrame::Solicitation(ask)));
    let answer = ask.answer(OWNER, OWNER);
    assert_eq!((answer.ether_destination, answer.destination_ip, answer.solicited), (ASKER, CLIENT, true));
}

#[test]
fn groups_of_an_address() {
    let group = solicited_node("fd56::12:3456:789a".parse().unwrap());
    assert_eq!(group, "ff02::1:ff56:789a".parse::<Ipv6Addr>().unwrap());
    assert_eq!(multicast_mac(group), Mac([0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]));
    assert_eq!(multicast_mac(ALL_NODES), Mac([0x33, 0x33, 0, 0, 0, 1]));
}

#[test]
fn options_are_walked_whatever_they_are() {
    let mac = [1, 1, 2, 0, 0, 0, 0, 0xa];
    // An unknown option of 272 bytes before ours: its length octet times eight does not fit in eight bits.
    let long = [&[200u8, 34][..], &[0; 270], &mac].concat();
    let Ok(NdpFrame::Solicitation(parsed)) = with(SOLICITATION, 24, &long) else { panic!("not a solicitation") };
    assert_eq!(parsed.source_link_layer, Some(ASKER));
    for bad in [
        &[1, 0, 2, 0, 0, 0, 0, 0xa][..],                     // no length: would never end
        &[1, 2, 2, 0, 0, 0, 0, 0xa],                         // longer than the message
        &[1, 2, 2, 0, 0, 0, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0], // not an Ethernet address
        &[1, 1, 2, 0, 0, 0, 0, 0xa, 9],                      // a stump
    ] {
        assert_eq!(with(SOLICITATION, 24, bad), Err(DecodeError::Option), "{bad:?}");
    }
    assert_eq!(with(SOLICITATION, 24, &[1, 1, 3, 0, 0, 0, 0, 1]), Err(DecodeError::SenderMac));
}

#[test]
fn every_refusal_of_section_7_1() {
    let damaged = |at: usize, byte: u8| {
        let mut frame = bytes(SOLICITATION);
        frame[at] = byte;
        parse(&frame)
    };
    assert_eq!(damaged(13, 0xde), Err(DecodeError::EtherType(0x86de)));
    assert_eq!(damaged(14, 0x40), Err(DecodeError::IpVersion(4)));
    assert_eq!(damaged(20, 0), Err(DecodeError::NextHeader(0)));
    assert_eq!(damaged(21, 64), Err(DecodeError::HopLimit(64)));
    assert_eq!(damaged(22, 0xff), Err(DecodeError::SourceIp));
    assert_eq!(damaged(85, 0xb), Err(DecodeError::Checksum));
    assert_eq!(damaged(19, 23), Err(DecodeError::Short { need: 78, have: 86 }));
    assert_eq!(damaged(19, 33), Err(DecodeError::Short { need: 78, have: 86 }));
    assert_eq!(parse(&bytes(SOLICITATION)[..50]), Err(DecodeError::Short { need: 78, have: 50 }));
    assert_eq!(with(SOLICITATION, 0, &[133]), Err(DecodeError::IcmpType(133)));
    assert_eq!(with(SOLICITATION, 1, &[1]), Err(DecodeError::IcmpCode(1)));
    assert_eq!(with(SOLICITATION, 8, &[0xff]), Err(DecodeError::Target));
    assert_eq!(with(ANSWER, 8, &[0xff]), Err(DecodeError::Target));
    assert_eq!(with(UNSOLICITED, 4, &[0x60]), Err(DecodeError::SolicitedToGroup));
    assert_eq!(with(PROBE, 24, &[1, 1, 2, 0, 0, 0, 0, 0xa]), Err(DecodeError::Probe));
    assert_eq!(with(PROBE, 23, &[0x12]), Err(DecodeError::Probe), "not to the group of its target");
}

#[test]
fn padding_is_ignored() {
    let mut padded = bytes(SOLICITATION);
    padded.extend([0xaa; 7]);
    assert_eq!(parse(&padded), parse(&bytes(SOLICITATION)));
}

fn station() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] &= 0xfe;
        Mac(octets)
    })
}

fn host() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("a host", |ip| !ip.is_multicast() && !ip.is_unspecified())
}

proptest! {
    #[test]
    fn solicitations_round_trip(
        ether_source in station(), ether_destination in any::<[u8; 6]>(), source_ip in host(),
        destination_ip in any::<Ipv6Addr>(), target in host(), source_link_layer in proptest::option::of(station()),
    ) {
        let ether_destination = Mac(ether_destination);
        let value = Solicitation { ether_source, ether_destination, source_ip, destination_ip, target, source_link_layer };
        prop_assert_eq!(parse(&value.emit()), Ok(NdpFrame::Solicitation(value)));
    }

    #[test]
    fn advertisements_round_trip(
        ether_source in station(), ether_destination in any::<[u8; 6]>(), source_ip in host(), destination_ip in host(),
        target in host(), flags in any::<[bool; 3]>(), target_link_layer in proptest::option::of(station()),
    ) {
        let [router, solicited, override_] = flags;
        let ether_destination = Mac(ether_destination);
        let value = Advertisement {
            ether_source, ether_destination, source_ip, destination_ip, target, router, solicited, override_, target_link_layer,
        };
        prop_assert_eq!(parse(&value.emit()), Ok(NdpFrame::Advertisement(value)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&bytes);
    }

    // Random bytes never have the right checksum; arbitrary options behind a valid header do.
    #[test]
    fn arbitrary_options_never_panic(options in proptest::collection::vec(any::<u8>(), 0..600), advertisement in any::<bool>()) {
        let mut frame = bytes(if advertisement { ANSWER } else { SOLICITATION });
        frame.truncate(FRAME_LEN);
        frame.extend(options);
        let _ = parse(&repaired(frame));
    }
}
