//! Golden bytes are written out by hand from RFC 826, so that the codec underneath can be exchanged.

use super::*;
use proptest::prelude::*;

const ASKER: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const OWNER: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 11);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 200);

const REQUEST: &[u8; FRAME_LEN] = b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x0a\x08\x06\
    \0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x0a\xc0\xa8\x38\xc8\0\0\0\0\0\0\xc0\xa8\x38\x0b";
const REPLY: &[u8; FRAME_LEN] = b"\x02\0\0\0\0\x0a\x02\0\0\0\0\x0b\x08\x06\
    \0\x01\x08\0\x06\x04\0\x02\x02\0\0\0\0\x0b\xc0\xa8\x38\x0b\x02\0\0\0\0\x0a\xc0\xa8\x38\xc8";
const GRATUITOUS: &[u8; FRAME_LEN] = b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x0b\x08\x06\
    \0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x0b\xc0\xa8\x38\x0b\xff\xff\xff\xff\xff\xff\xc0\xa8\x38\x0b";

#[test]
fn golden_request_and_reply() {
    let request = ask(ASKER, CLIENT, VIP, Mac::BROADCAST);
    assert_eq!(&request.emit(), REQUEST);
    assert_eq!(parse(REQUEST), Ok(request));
    assert_eq!(&request.reply(OWNER, OWNER).emit(), REPLY);
}

#[test]
fn golden_gratuitous_forms() {
    assert_eq!(&gratuitous_request(OWNER, VIP).emit(), GRATUITOUS);
    let mut reply = *GRATUITOUS;
    reply[21] = 2;
    assert_eq!(gratuitous_reply(OWNER, VIP).emit(), reply);
}

#[test]
fn a_stand_in_claims_for_the_owner_and_sends_as_itself() {
    let stand_in = Mac([2, 0, 0, 0, 0, 0xc]);
    let reply = ask(ASKER, CLIENT, VIP, Mac::BROADCAST).reply(OWNER, stand_in);
    assert_eq!((reply.ethernet.source, reply.packet.sender_mac), (stand_in, OWNER));
}

#[test]
fn a_probe_names_no_sender() {
    let probe = probe(OWNER, VIP);
    assert_eq!((probe.packet.sender_ip, probe.packet.target_ip), (Ipv4Addr::UNSPECIFIED, VIP));
    assert_eq!(probe.ethernet.destination, Mac::BROADCAST);
}

#[test]
fn padding_is_ignored() {
    let mut padded = REQUEST.to_vec();
    padded.resize(60, 0xaa);
    assert_eq!(parse(&padded), parse(REQUEST));
}

#[test]
fn every_refusal() {
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = REQUEST.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        parse(&frame)
    };
    assert_eq!(parse(&REQUEST[..41]), Err(DecodeError::Short { need: 42, have: 41 }));
    assert_eq!(parse(&REQUEST[..9]), Err(DecodeError::Short { need: 14, have: 9 }));
    assert_eq!(with(12, &[0x81, 0]), Err(DecodeError::Vlan));
    assert_eq!(with(12, &[0x86, 0xdd]), Err(DecodeError::EtherType(0x86dd)));
    for (at, bytes) in [(14, &[0, 6][..]), (16, &[0x86, 0xdd]), (18, &[8]), (19, &[16])] {
        assert_eq!(with(at, bytes), Err(DecodeError::ArpFormat), "offset {at}");
    }
    assert_eq!(with(20, &[0, 3]), Err(DecodeError::ArpOperation(3)));
    assert_eq!(with(22, &[0xff]), Err(DecodeError::SenderMac));
    assert_eq!(with(6, &[0x01]), Err(DecodeError::SenderMac));
}

fn unicast() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] &= 0xfe;
        Mac(octets)
    })
}

proptest! {
    #[test]
    fn round_trip(
        destination in any::<[u8; 6]>(), source in unicast(), request in any::<bool>(), sender_mac in unicast(),
        sender_ip in any::<Ipv4Addr>(), target_mac in any::<[u8; 6]>(), target_ip in any::<Ipv4Addr>(),
    ) {
        let operation = if request { Operation::Request } else { Operation::Reply };
        let frame = ArpFrame {
            ethernet: EthernetHeader { destination: Mac(destination), source },
            packet: ArpPacket { operation, sender_mac, sender_ip, target_mac: Mac(target_mac), target_ip },
        };
        prop_assert_eq!(parse(&frame.emit()), Ok(frame));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = parse(&bytes);
    }

    // Random bytes hardly ever get past the EtherType; a damaged valid frame goes deeper.
    #[test]
    fn damaged_frames_never_panic(at in 0..FRAME_LEN, byte in any::<u8>(), len in 0..=FRAME_LEN) {
        let mut frame = REQUEST.to_vec();
        frame[at] = byte;
        frame.truncate(len);
        let _ = parse(&frame);
    }
}
