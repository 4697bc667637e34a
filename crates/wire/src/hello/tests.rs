use super::*;
use crate::hello::tlv::{FIELD_HEADER_LEN, HEADER_LEN, HMAC_LEN};
use hmac::Mac as _;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const CLUSTER: ClusterId = ClusterId(*b"0123456789abcdef");

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

fn hello() -> Hello {
    Hello {
        cluster: CLUSTER,
        node: "w1-k8s".into(),
        incarnation: 0x0102_0304_0506_0708,
        sequence: 9,
        interval_ms: 100,
        flags: Flags { ready: true, leaving: false, restarting: true, ..Flags::default() },
        link: 1,
        links: vec![
            LinkInfo { mac: Mac([2, 0, 0, 0, 0, 1]), name: None, addresses: vec![] },
            LinkInfo {
                mac: Mac([2, 0, 0, 0, 0, 2]),
                name: None,
                addresses: vec![Ipv4Addr::new(192, 168, 56, 101).into(), Ipv6Addr::LOCALHOST.into()],
            },
        ],
        heard: vec![0xdead_beef, 7],
        kept: vec![],
        moves: None,
        conflicts: vec![],
        stamp: Stamp { connected: true, resource_version: 4711 },
        routine: false,
    }
}

/// Authenticates again what was changed behind the HMAC's back.
fn resign(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - HMAC_LEN;
    let length = u16::try_from(end - HEADER_LEN).unwrap();
    bytes[6..8].copy_from_slice(&length.to_be_bytes());
    let tag = seal::hmac(&key(1), &bytes[..end]).finalize().into_bytes();
    bytes[end..].copy_from_slice(&tag);
    bytes
}

/// The hello with these bytes as further fields.
fn extended(more: &[u8]) -> Result<Hello, HelloError> {
    let mut bytes = seal(&hello(), &key(1)).unwrap();
    let end = bytes.len() - HMAC_LEN;
    bytes.splice(end..end, more.iter().copied());
    open(&resign(bytes), CLUSTER, &[key(1)])
}

fn malformed(what: Malformed) -> Result<Hello, HelloError> {
    Err(HelloError::Malformed(what))
}

#[test]
fn golden_bytes() {
    let bytes = seal(&hello(), &key(1)).unwrap();
    let body = b"HRLD\x01\0\0\x6b0123456789abcdef\
        \x01\0\x06w1-k8s\
        \x02\0\x08\x01\x02\x03\x04\x05\x06\x07\x08\
        \x03\0\x08\0\0\0\0\0\0\0\x09\
        \x04\0\x02\0\x64\
        \x05\0\x01\x05\
        \x09\0\x09\x01\0\0\0\0\0\0\x12\x67\
        \x08\0\x08\xde\xad\xbe\xef\0\0\0\x07\
        \x06\0\x01\x01\
        \x07\0\x06\x02\0\0\0\0\x01\
        \x07\0\x1c\x02\0\0\0\0\x02\x04\xc0\xa8\x38\x65\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    assert_eq!(bytes[..body.len()], body[..]);
    let tag: String = bytes[body.len()..].iter().map(|byte| format!("{byte:02x}")).collect();
    // From an independent HMAC implementation.
    assert_eq!(tag, "e677e4972121870d4a222f93622fc686ee87afde519f66b0581bef8eee55e3db");
    assert_eq!(open(&bytes, CLUSTER, &[key(1)]), Ok(hello()));
}

#[test]
fn golden_peer_hash() {
    assert_eq!(peer_hash(CLUSTER, "w1-k8s"), 0xdaf6_ed41);
}

#[test]
fn either_of_two_keys_opens() {
    let bytes = seal(&hello(), &key(1)).unwrap();
    assert!(open(&bytes, CLUSTER, &[key(2), key(1)]).is_ok());
    assert_eq!(open(&bytes, CLUSTER, &[key(2)]), Err(HelloError::WrongHmac));
    assert_eq!(open(&bytes, CLUSTER, &[]), Err(HelloError::WrongHmac));
}

#[test]
fn a_foreign_cluster_is_told_from_a_wrong_key() {
    let foreign = ClusterId([9; 16]);
    let bytes = seal(&Hello { cluster: foreign, ..hello() }, &key(3)).unwrap();
    assert_eq!(open(&bytes, CLUSTER, &[key(1)]), Err(HelloError::ForeignCluster(foreign)));
}

#[test]
fn a_later_version_is_told_from_a_forgery() {
    let mut bytes = seal(&hello(), &key(1)).unwrap();
    bytes[4] = 2;
    assert_eq!(open(&bytes, CLUSTER, &[key(1)]), Err(HelloError::WrongHmac));
    assert_eq!(open(&resign(bytes), CLUSTER, &[key(1)]), Err(HelloError::Version(2)));
}

#[test]
fn every_changed_bit_is_noticed() {
    let bytes = seal(&hello(), &key(1)).unwrap();
    for at in (0..bytes.len()).filter(|at| *at != 5) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(open(&changed, CLUSTER, &[key(1)]).is_err(), "byte {at}");
    }
}

#[test]
fn unknown_fields_and_padding_are_skipped() {
    assert_eq!(extended(&[200, 0, 3, 1, 2, 3]), Ok(hello()));
    let mut padded = seal(&hello(), &key(1)).unwrap();
    padded.extend([0; 9]);
    assert_eq!(open(&padded, CLUSTER, &[key(1)]), Ok(hello()));
}

#[test]
fn shapes_that_are_refused() {
    let bytes = seal(&hello(), &key(1)).unwrap();
    for len in 0..bytes.len() {
        assert_eq!(open(&bytes[..len], CLUSTER, &[key(1)]), malformed(Malformed::Length), "{len} bytes");
    }
    assert_eq!(open(&[b'x'; 100], CLUSTER, &[key(1)]), malformed(Malformed::Magic));
    assert_eq!(extended(&[200, 0]), malformed(Malformed::Length));
    assert_eq!(extended(&[200, 0, 9, 1]), malformed(Malformed::Length));
    assert_eq!(extended(&vec![0; MAX_LEN]), malformed(Malformed::Length));
    assert_eq!(extended(&[1, 0, 1, b'a']), malformed(Malformed::Twice(1)));
    assert_eq!(extended(&[1, 0, 1, b'A']), malformed(Malformed::Value(1)));
    assert_eq!(extended(&[4, 0, 2, 0, 0]), malformed(Malformed::Value(4)));
    assert_eq!(extended(&[7, 0, 5, 0, 0, 0, 0, 0]), malformed(Malformed::Value(7)));
    assert_eq!(extended(&[7, 0, 7, 0, 0, 0, 0, 0, 0, 5]), malformed(Malformed::Value(7)));
    assert_eq!(extended(&[8, 0, 3, 0, 0, 0]), malformed(Malformed::Value(8)));
}

#[test]
fn every_field_is_needed() {
    let bytes = seal(&hello(), &key(1)).unwrap();
    let (mut at, end) = (HEADER_LEN, bytes.len() - HMAC_LEN);
    while at < end {
        let (kind, len) = (bytes[at], FIELD_HEADER_LEN + usize::from(bytes[at + 2]));
        let mut without = bytes.clone();
        without.drain(at..at + len);
        let expected = if kind == 7 { Malformed::Value(6) } else { Malformed::Missing(kind) };
        assert_eq!(open(&resign(without), CLUSTER, &[key(1)]), malformed(expected), "field {kind}");
        at += len;
    }
}

#[test]
fn what_cannot_be_sent() {
    let refused = |hello: Hello| seal(&hello, &key(1)).unwrap_err();
    for name in ["", "A", "-a", "a.", "a b", &"a".repeat(254)] {
        assert_eq!(refused(Hello { node: name.into(), ..hello() }), SealError::Node(name.into()));
    }
    assert_eq!(refused(Hello { link: 2, ..hello() }), SealError::Link { link: 2, links: 2 });
    assert_eq!(refused(Hello { heard: vec![0; 201], ..hello() }), SealError::Heard(201));
    assert_eq!(refused(Hello { interval_ms: 0, ..hello() }), SealError::Interval);
}

#[test]
fn too_much_is_cut_from_links_and_addresses_only() {
    let v6 = |n: u16| IpAddr::V6(Ipv6Addr::new(0xfd56, 0, 0, 0, 0, 0, 0, n));
    let link = |n: u8| LinkInfo {
        mac: Mac([2, 0, 0, 0, 0, n]),
        name: IfName::new(&format!("enp0s31f6v{n:04}")),
        addresses: (0..20).map(v6).collect(),
    };
    let full = Hello {
        node: "n".repeat(MAX_NODE),
        heard: (0..200).collect(),
        links: (0..40).map(link).collect(),
        link: 30,
        ..hello()
    };
    let bytes = seal(&full, &key(1)).unwrap();
    assert!(bytes.len() <= MAX_LEN, "{}", bytes.len());
    let opened = open(&bytes, CLUSTER, &[key(1)]).unwrap();
    assert_eq!((opened.heard, opened.node), (full.heard, full.node));
    assert_eq!(opened.links.len(), MAX_LINKS);
    // The sending link has moved to the end of the kept ones, and is the only one with addresses, in order.
    assert_eq!((opened.link, opened.links[15].mac), (15, full.links[30].mac));
    let addresses: Vec<_> = opened.links.iter().map(|link| link.addresses.len()).collect();
    assert_eq!(addresses[..15], [0; 15]);
    assert_eq!(opened.links[15].addresses[..], full.links[30].addresses[..addresses[15]]);
    // Names come before addresses, that of the sending link before the others.
    let named: Vec<_> = opened.links.iter().map(|link| link.name.is_some()).collect();
    assert_eq!(opened.links[15].name, full.links[30].name);
    assert!(named.iter().filter(|named| **named).count() >= 4, "{named:?}");
}

#[test]
fn names_of_links() {
    let mut named = hello();
    named.links[1].name = IfName::new("eth1");
    let bytes = seal(&named, &key(1)).unwrap();
    assert_eq!(open(&bytes, CLUSTER, &[key(1)]).unwrap(), named);
    let name = |index: u8, name: &[u8]| {
        let length = u8::try_from(1 + name.len()).unwrap();
        [&[10, 0, length, index], name].concat()
    };
    assert_eq!(extended(&name(1, b"eth1")).unwrap(), named);
    assert_eq!(extended(&name(2, b"eth1")), malformed(Malformed::Value(10)), "no such link");
    assert_eq!(extended(&[name(1, b"a"), name(1, b"b")].concat()), malformed(Malformed::Twice(10)));
    for bad in [&b""[..], b"a b", b"a/b", b"\n", b"\xff", b"0123456789abcdef"] {
        assert_eq!(extended(&name(1, bad)), malformed(Malformed::Value(10)), "{bad:?}");
    }
    assert_eq!(IfName::new("0123456789abcde").unwrap().to_string(), "0123456789abcde");
}

#[test]
fn words_of_hand_overs() {
    let said = |word, group: &str, peer| Move { word, group: group.parse().unwrap(), peer };
    let moves = vec![said(Word::Ask, "192.0.2.1", 7), said(Word::Own, "fd56::1", 0)];
    let with = Hello { moves: Some(moves), ..hello() };
    assert_eq!(open(&seal(&with, &key(1)).unwrap(), CLUSTER, &[key(1)]).unwrap(), with);
    let ask = b"\x01\0\0\0\x07\x04\xc0\0\x02\x01";
    let own = b"\x04\0\0\0\0\x06\xfd\x56\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let field = |value: &[u8]| [&[12, 0, u8::try_from(value.len()).unwrap()], value].concat();
    // A word of a later version is skipped, and those after it are read.
    let later = b"\x63\0\0\0\0\x04\0\0\0\0";
    assert_eq!(extended(&field(&[&ask[..], later, own].concat())).unwrap(), with);
    assert_eq!(extended(&field(&[])).unwrap().moves, Some(vec![]));
    for bad in [&ask[..9], &own[..20], b"\x01\0\0\0\0\x05\0\0\0\0", b"\x01"] {
        assert_eq!(extended(&field(bad)), malformed(Malformed::Value(12)), "{bad:?}");
    }
    // At its fullest a hello still carries some, and cuts the rest; otherwise there is room for more.
    let many = |node: &str, heard| {
        let moves = vec![said(Word::Ask, "192.0.2.1", 7); 100];
        let full = Hello { moves: Some(moves), node: node.into(), heard: vec![0; heard], ..hello() };
        open(&seal(&full, &key(1)).unwrap(), CLUSTER, &[key(1)]).unwrap().moves.unwrap().len()
    };
    assert_eq!((many(&"n".repeat(MAX_NODE), MAX_HEARD), many("w1", 3)), (5, 30));
}

#[test]
fn conflicts_with_foreign_stations() {
    let conflict = |address: &str, last| Conflict { address: address.parse().unwrap(), by: Mac([2, 0, 0, 0, 0, last]) };
    let with = Hello { conflicts: vec![conflict("192.0.2.1", 7), conflict("fd56::1", 8)], ..hello() };
    assert_eq!(open(&seal(&with, &key(1)).unwrap(), CLUSTER, &[key(1)]).unwrap(), with);
    let v4 = b"\x02\0\0\0\0\x07\x04\xc0\0\x02\x01";
    let field = |value: &[u8]| [&[13, 0, u8::try_from(value.len()).unwrap()], value].concat();
    assert_eq!(extended(&field(v4)).unwrap().conflicts, vec![conflict("192.0.2.1", 7)]);
    for bad in [&v4[..10], &v4[..5], b"\x02\0\0\0\0\x07\x05\0\0\0\0"] {
        assert_eq!(extended(&field(bad)), malformed(Malformed::Value(13)), "{bad:?}");
    }
    // A full hello carries as many as fit, and its own link with name and addresses in any case.
    let many = |node: &str, heard| {
        let conflicts = vec![conflict("fd56::1", 8); 20];
        let moves = Some(vec![Move { word: Word::Own, group: Ipv6Addr::LOCALHOST.into(), peer: 0 }; 100]);
        let mut full = Hello { conflicts, moves, node: node.into(), heard: vec![0; heard], ..hello() };
        full.kept = vec![0; MAX_KEPT];
        full.links[1].name = IfName::new("0123456789abcde");
        let read = open(&seal(&full, &key(1)).unwrap(), CLUSTER, &[key(1)]).unwrap();
        assert_eq!(read.links[usize::from(read.link)], full.links[1]);
        read.conflicts.len()
    };
    assert_eq!((many(&"n".repeat(MAX_NODE), MAX_HEARD), many("w1", 3)), (0, MAX_CONFLICTS));
}

const PLANES: [DataPlane; 3] = [DataPlane::Ready, DataPlane::NotReady, DataPlane::Failed];

/// The byte of flags in the golden bytes.
fn flags_of(bytes: &[u8]) -> u8 {
    let at = bytes.windows(3).position(|window| window == [tlv::FLAGS, 0, 1]).unwrap();
    bytes[at + 3]
}

#[test]
fn a_data_plane_that_is_ready_is_said_as_before_and_anything_else_in_bits_that_older_speakers_skip() {
    let said = |data_plane, has_health| {
        let hello = Hello { flags: Flags { data_plane, has_health, ..hello().flags }, ..hello() };
        flags_of(&seal(&hello, &key(1)).unwrap())
    };
    assert_eq!(PLANES.map(|plane| said(plane, false)), [0b00_0101, 0b00_1101, 0b01_0101]);
    assert_eq!(said(DataPlane::Ready, true), 0b10_0101);
    // Both bits at once are said by nobody yet: the worse one counts.
    let mut bytes = seal(&hello(), &key(1)).unwrap();
    let at = bytes.windows(3).position(|window| window == [tlv::FLAGS, 0, 1]).unwrap();
    bytes[at + 3] |= tlv::PLANE_NOT_READY | tlv::PLANE_FAILED;
    let opened = open(&resign(bytes), CLUSTER, &[key(1)]).unwrap();
    assert_eq!(opened.flags, Flags { data_plane: DataPlane::Failed, ..hello().flags });
}

#[test]
fn keys_are_long_enough_and_stay_secret() {
    assert_eq!(Key::new(&[b'k'; 15]), Err(KeyTooShort(15)));
    assert_eq!(format!("{:?}", Key::new(&[b'k'; 16]).unwrap()), "Key(…)");
}

prop_compose! {
    fn any_link()(
        mac in any::<[u8; 6]>(), name in proptest::option::of("[!-.0-~]{1,15}"),
        addresses in proptest::collection::vec(any::<IpAddr>(), 0..6),
    ) -> LinkInfo {
        LinkInfo { mac: Mac(mac), name: name.and_then(|name| IfName::new(&name)), addresses }
    }
}

prop_compose! {
    fn any_move()(word in proptest::sample::select(&Word::ALL), group in any::<IpAddr>(), peer in any::<u32>()) -> Move {
        Move { word, group, peer }
    }
}

prop_compose! {
    fn any_conflict()(address in any::<IpAddr>(), by in any::<[u8; 6]>()) -> Conflict {
        Conflict { address, by: Mac(by) }
    }
}

prop_compose! {
    fn any_hello()(
        cluster in any::<[u8; 16]>(), node in "[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?",
        numbers in any::<(u64, u64, u64)>(), interval_ms in 1..u16::MAX, bits in any::<[bool; 6]>(),
        links in proptest::collection::vec(any_link(), 1..6), pick in any::<proptest::sample::Index>(),
        heard in proptest::collection::vec(any::<u32>(), 0..60), kept in proptest::collection::vec(any::<u32>(), 0..=MAX_KEPT),
        moves in proptest::option::of(proptest::collection::vec(any_move(), 0..6)),
        conflicts in proptest::collection::vec(any_conflict(), 0..3),
        data_plane in proptest::sample::select(&PLANES),
    ) -> Hello {
        let (incarnation, sequence, resource_version) = numbers;
        let [ready, leaving, restarting, connected, has_health, routine] = bits;
        Hello {
            cluster: ClusterId(cluster), node, incarnation, sequence, interval_ms,
            flags: Flags { ready, leaving, restarting, data_plane, has_health },
            link: u8::try_from(pick.index(links.len())).unwrap(), links, heard, kept, moves, conflicts,
            stamp: Stamp { connected, resource_version }, routine,
        }
    }
}

proptest! {
    #[test]
    fn round_trip(hello in any_hello()) {
        let bytes = seal(&hello, &key(1)).unwrap();
        prop_assert!(bytes.len() <= MAX_LEN);
        prop_assert_eq!(open(&bytes, hello.cluster, &[key(1)]), Ok(hello));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        let _ = open(&bytes, CLUSTER, &[key(1)]);
    }

    // A member with a key may still be of another make: everything behind a valid HMAC.
    #[test]
    fn authentic_nonsense_never_panics(fields in proptest::collection::vec(any::<u8>(), 0..1400)) {
        let mut bytes = seal(&hello(), &key(1)).unwrap();
        let end = bytes.len() - HMAC_LEN;
        bytes.splice(HEADER_LEN..end, fields);
        let _ = open(&resign(bytes), CLUSTER, &[key(1)]);
    }
}
