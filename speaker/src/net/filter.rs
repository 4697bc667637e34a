//! Classic BPF programs: which frames a socket is woken for at all.
#![expect(clippy::cast_possible_truncation, reason = "opcodes are 16 bits wide, libc's constants are 32")]

use super::{
    packet_socket::Protocol,
    targets::{self, Places, Targets},
};
use herald_wire::{arp, ethernet, hello, ndp};
use socket2::SockFilter;

/// Bytes of a frame that are handed over: every frame that passes is far smaller.
pub(super) const TAKEN_LEN: u32 = 2048;

/// The program of a protocol: every frame of it.
pub(super) fn filter(protocol: Protocol) -> Vec<SockFilter> {
    kernel(&assemble(&conditions(protocol), [accept()]))
}

/// The same without requests for addresses that are none of these.
pub(super) fn filter_for(protocol: Protocol, targets: &Targets) -> Vec<SockFilter> {
    let tail = places(protocol).map_or_else(|| vec![accept()], |places| targets::program(places, targets));
    kernel(&assemble(&conditions(protocol), tail))
}

/// Which hellos a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hellos {
    /// Every one.
    All,
    /// Those that are worth waking for: all but [`hello::Hello::routine`].
    News,
    /// Those that may wait.
    Routine,
    /// None of them.
    Nothing,
}

/// The program for these hellos. What it looks at is not authenticated yet: who sets the bit without a reason is heard later, no more.
pub(super) fn hellos(which: Hellos) -> Vec<SockFilter> {
    kernel(&assemble(&conditions(Protocol::Hello), hello_tail(which)))
}

fn hello_tail(which: Hellos) -> Vec<Instruction> {
    let by_routine = |routine: Instruction, news: Instruction| {
        let at = (ethernet::HEADER_LEN + hello::ROUTINE_AT) as u32;
        vec![Instruction::plain(LOAD | libc::BPF_B, at), Instruction::has_bits(1, 0, 1), routine, news]
    };
    match which {
        Hellos::All => vec![accept()],
        Hellos::News => by_routine(ret(0), accept()),
        Hellos::Routine => by_routine(accept(), ret(0)),
        Hellos::Nothing => vec![ret(0)],
    }
}

fn kernel(program: &[Instruction]) -> Vec<SockFilter> {
    program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect()
}

/// Where a request names addresses; `None` for protocols without requests.
const fn places(protocol: Protocol) -> Option<Places> {
    match protocol {
        Protocol::Arp => Some(Places { request: (20, 1), sender: 28, target: 38, replies_announce: true }),
        // Type and code, which is 0 in a valid solicitation (RFC 4861 section 7.1.1).
        Protocol::NeighborDiscovery => {
            let request = (54, (ndp::SOLICITATION as u32) << 8);
            Some(Places { request, sender: 34, target: 74, replies_announce: false })
        }
        Protocol::Hello => None,
    }
}

/// The EtherType that a protocol's socket is bound to.
pub(super) const fn ethertype(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Arp => arp::ETHERTYPE,
        Protocol::NeighborDiscovery => ndp::ETHERTYPE,
        Protocol::Hello => hello::ETHERTYPE,
    }
}

/// Ancillary data of classic BPF: the packet type (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;

/// What must hold of a frame.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// `BPF_B` or `BPF_H`.
    width: u32,
    at: u32,
    /// One of these.
    values: &'static [u32],
}

const fn byte(at: u32, values: &'static [u32]) -> Condition {
    Condition { width: libc::BPF_B, at, values }
}

const fn half(at: u32, values: &'static [u32]) -> Condition {
    Condition { width: libc::BPF_H, at, values }
}

/// A frame must be for this station, a group or all. What is not (`PACKET_OTHERHOST`) may be for a VLAN that has no device here: network cards
/// take the tag out of the frame, and the kernel delivers what is left to the sockets of the *parent* link, marked exactly so. Frames of
/// a VLAN with a device arrive at the sockets of that device only; a priority tag (VLAN 0) is no VLAN and stays.
fn conditions(protocol: Protocol) -> Vec<Condition> {
    const FOR_US: Condition =
        byte(PACKET_TYPE, &[libc::PACKET_HOST as u32, libc::PACKET_BROADCAST as u32, libc::PACKET_MULTICAST as u32]);
    match protocol {
        Protocol::Arp => vec![FOR_US, half(12, &[arp::ETHERTYPE as u32]), half(20, &[1, 2])],
        // Behind the fixed IPv6 header: extension headers are not used with neighbour discovery (RFC 6980).
        Protocol::NeighborDiscovery => vec![
            FOR_US,
            half(12, &[ndp::ETHERTYPE as u32]),
            byte(20, &[libc::IPPROTO_ICMPV6 as u32]),
            byte(54, &[ndp::SOLICITATION as u32, ndp::ADVERTISEMENT as u32]),
        ],
        Protocol::Hello => vec![FOR_US, half(12, &[hello::ETHERTYPE as u32])],
    }
}

/// An instruction of classic BPF. Jumps count from the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;

pub(super) const fn load_half(at: u32) -> Instruction {
    Instruction::plain(LOAD | libc::BPF_H, at)
}

pub(super) const fn load_word(at: u32) -> Instruction {
    Instruction::plain(LOAD | libc::BPF_W, at)
}

/// Ends the program with so many bytes of the frame; 0 = none of it.
pub(super) const fn ret(length: u32) -> Instruction {
    Instruction::plain(libc::BPF_RET | libc::BPF_K, length)
}

pub(super) const fn accept() -> Instruction {
    ret(TAKEN_LEN)
}

impl Instruction {
    /// Keeps the loaded value as the index.
    pub(super) const TAKE_INDEX: Self = Self::plain(libc::BPF_MISC | libc::BPF_TAX, 0);

    const fn plain(code: u32, k: u32) -> Self {
        Self { code: code as u16, jt: 0, jf: 0, k }
    }

    const fn when(test: u32, k: u32, jt: u8, jf: u8) -> Self {
        Self { code: (libc::BPF_JMP | test) as u16, jt, jf, k }
    }

    pub(super) const fn equal(k: u32, jt: u8, jf: u8) -> Self {
        Self::when(libc::BPF_JEQ | libc::BPF_K, k, jt, jf)
    }

    /// Equal to the index.
    pub(super) const fn equal_index(jt: u8, jf: u8) -> Self {
        Self::when(libc::BPF_JEQ | libc::BPF_X, 0, jt, jf)
    }

    /// Has one of these bits.
    const fn has_bits(k: u32, jt: u8, jf: u8) -> Self {
        Self::when(libc::BPF_JSET | libc::BPF_K, k, jt, jf)
    }

    pub(super) const fn at_least(k: u32, jt: u8, jf: u8) -> Self {
        Self::when(libc::BPF_JGE | libc::BPF_K, k, jt, jf)
    }

    pub(super) const fn more_than(k: u32, jt: u8, jf: u8) -> Self {
        Self::when(libc::BPF_JGT | libc::BPF_K, k, jt, jf)
    }

    pub(super) const fn jump(over: u32) -> Self {
        Self::plain(libc::BPF_JMP | libc::BPF_JA, over)
    }
}

/// All conditions must hold, then `tail` goes on; the first that does not jumps to the instruction before it, which drops.
fn assemble(conditions: &[Condition], tail: impl IntoIterator<Item = Instruction>) -> Vec<Instruction> {
    let drop = conditions.iter().map(|condition| 1 + condition.values.len()).sum::<usize>() + 1;
    let mut program = Vec::new();
    for condition in conditions {
        program.push(Instruction::plain(LOAD | condition.width, condition.at));
        for (position, value) in condition.values.iter().enumerate() {
            let further = condition.values.len() - 1 - position;
            let jf = if further == 0 { drop - program.len() - 1 } else { 0 };
            program.push(Instruction::equal(*value, further as u8, jf as u8));
        }
    }
    program.extend([Instruction::jump(1), ret(0)]);
    program.extend(tail);
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_wire::{EthernetHeader, Mac, ethernet, ndp::Solicitation};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn passes(protocol: Protocol, frame: &[u8], packet_type: u8) -> bool {
        runs(&assemble(&conditions(protocol), [accept()]), frame, packet_type)
    }

    /// What the kernel does with the instructions used here.
    fn runs(program: &[Instruction], frame: &[u8], packet_type: u8) -> bool {
        let (mut at, mut accumulator, mut index) = (0, 0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            let offset = k as usize;
            at += 1;
            match u32::from(code) {
                0x30 if k == PACKET_TYPE => accumulator = u32::from(packet_type),
                0x30 if offset < frame.len() => accumulator = u32::from(frame[offset]),
                0x28 if offset + 1 < frame.len() => {
                    accumulator = u32::from(u16::from_be_bytes([frame[offset], frame[offset + 1]]));
                }
                0x20 if offset + 3 < frame.len() => {
                    accumulator = u32::from_be_bytes(frame[offset..offset + 4].try_into().unwrap());
                }
                0x30 | 0x28 | 0x20 => return false,
                0x05 => at += offset,
                0x07 => index = accumulator,
                0x15 => at += usize::from(if accumulator == k { jt } else { jf }),
                0x1d => at += usize::from(if accumulator == index { jt } else { jf }),
                0x25 => at += usize::from(if accumulator > k { jt } else { jf }),
                0x45 => at += usize::from(if accumulator & k > 0 { jt } else { jf }),
                0x35 => at += usize::from(if accumulator >= k { jt } else { jf }),
                0x06 => return k > 0,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn each_protocol_passes_its_own_frames_only() {
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        let request = arp::gratuitous_request(CLIENT, ip).emit().to_vec();
        let reply = arp::gratuitous_reply(CLIENT, ip).emit().to_vec();
        let solicitation = Solicitation::probe(CLIENT, "fd56::1".parse().unwrap());
        let advertisement = solicitation.answer(CLIENT, CLIENT).emit();
        let header = EthernetHeader { destination: hello::GROUP, source: CLIENT };
        let hello = ethernet::frame(header, hello::ETHERTYPE, b"x");
        let mut rarp = request.clone();
        rarp[21] = 3;
        let mut echo = solicitation.emit();
        echo[54] = 128;
        let mut udp = solicitation.emit();
        udp[20] = 17;
        let all = [request, reply, solicitation.emit(), advertisement, hello, rarp, echo, udp, vec![0; 13]];
        let passing = |protocol: Protocol| -> Vec<usize> {
            (0..all.len()).filter(|index| passes(protocol, &all[*index], 1)).collect()
        };
        assert_eq!(passing(Protocol::Arp), [0, 1]);
        assert_eq!(passing(Protocol::NeighborDiscovery), [2, 3]);
        assert_eq!(passing(Protocol::Hello), [4]);
    }

    #[test]
    fn hellos_are_told_apart_by_whether_they_are_routine() {
        let key = hello::Key::new(&[1; 32]).unwrap();
        let frame = |routine: bool| {
            let hello = hello::Hello {
                cluster: hello::ClusterId([9; 16]),
                node: "w1".to_owned(),
                incarnation: 1,
                sequence: 1,
                interval_ms: 50,
                flags: hello::Flags::default(),
                link: 0,
                links: vec![hello::LinkInfo { mac: CLIENT, name: None, addresses: vec![] }],
                heard: vec![],
                kept: vec![],
                moves: None,
                conflicts: vec![],
                stamp: hello::Stamp::default(),
                routine,
            };
            let header = EthernetHeader { destination: hello::GROUP, source: CLIENT };
            ethernet::frame(header, hello::ETHERTYPE, &hello::seal(&hello, &key).unwrap())
        };
        let passing = |which| {
            let program = assemble(&conditions(Protocol::Hello), hello_tail(which));
            [true, false].map(|routine| runs(&program, &frame(routine), 2))
        };
        assert_eq!(passing(Hellos::All), [true, true]);
        assert_eq!(passing(Hellos::News), [false, true]);
        assert_eq!(passing(Hellos::Routine), [true, false]);
        assert_eq!(passing(Hellos::Nothing), [false, false]);
    }

    #[test]
    fn only_what_is_for_this_station_passes() {
        let frame = arp::gratuitous_request(CLIENT, Ipv4Addr::LOCALHOST).emit();
        // PACKET_HOST, _BROADCAST, _MULTICAST pass; _OTHERHOST and _OUTGOING do not.
        let passing: Vec<u8> = (0..5).filter(|kind| passes(Protocol::Arp, &frame, *kind)).collect();
        assert_eq!(passing, [0, 1, 2]);
    }

    /// With the program for these addresses, tried on requests, replies and announcements from and for every address.
    #[test]
    fn requests_for_other_addresses_do_not_pass() {
        let v4 = |last: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + last));
        let v6 = |last: u32| IpAddr::from(Ipv6Addr::from_bits((0xfd56 << 112) + u128::from(last)));
        let runs_for = |protocol, own: &[IpAddr], frame: &[u8]| {
            let targets: Targets = own.iter().copied().collect();
            let tail = targets::program(places(protocol).unwrap(), &targets);
            runs(&assemble(&conditions(protocol), tail), frame, 1)
        };
        let host = Ipv4Addr::new(192, 0, 2, 1);
        for own in [vec![], vec![5], vec![5, 6, 7], (0..600).filter(|n| n % 3 == 0).collect(), vec![0, u32::MAX >> 8]] {
            let (own4, own6): (Vec<_>, Vec<_>) = own.iter().map(|n| (v4(*n), v6(*n))).unzip();
            for asked in 0..620 {
                let (IpAddr::V4(ip), IpAddr::V6(ip6)) = (v4(asked), v6(asked)) else { unreachable!() };
                let mine = own.contains(&asked);
                let request = arp::ask(CLIENT, host, ip, Mac::BROADCAST).emit();
                assert_eq!(runs_for(Protocol::Arp, &own4, &request), mine, "{own:?} {asked}");
                let solicitation = Solicitation::ask(CLIENT, "fe80::ff00:1".parse().unwrap(), ip6, None).emit();
                assert_eq!(runs_for(Protocol::NeighborDiscovery, &own6, &solicitation), mine, "{own:?} {asked}");
                for said in [arp::gratuitous_request(CLIENT, ip), arp::gratuitous_reply(CLIENT, ip)] {
                    assert_eq!(runs_for(Protocol::Arp, &own4, &said.emit()), mine, "{own:?} {asked}");
                }
                let answered = arp::ask(CLIENT, host, ip, Mac::BROADCAST).reply(CLIENT, CLIENT).emit();
                assert!(runs_for(Protocol::Arp, &own4, &answered), "an answer passes");
                let advertised = Solicitation::probe(CLIENT, ip6).answer(CLIENT, CLIENT).emit();
                assert!(runs_for(Protocol::NeighborDiscovery, &own6, &advertised), "an advertisement passes");
                // Somebody who has one of our addresses asks for another: that has to be seen.
                let claim = arp::ask(CLIENT, ip, host, Mac::BROADCAST).emit();
                assert!(!mine || runs_for(Protocol::Arp, &own4, &claim), "{own:?} {asked}");
            }
        }
    }
}
