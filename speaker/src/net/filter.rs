//! Classic BPF programs: which frames a socket is woken for at all.
#![expect(clippy::cast_possible_truncation, reason = "opcodes are 16 bits wide, libc's constants are 32")]

use super::packet_socket::Protocol;
use herald_wire::{arp, hello, ndp};
use socket2::SockFilter;

/// Bytes of a frame that are handed over: every frame that passes is far smaller.
pub(super) const TAKEN_LEN: u32 = 2048;

/// The program of a protocol.
pub(super) fn filter(protocol: Protocol) -> Vec<SockFilter> {
    assemble(&conditions(protocol)).into_iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect()
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// All conditions must hold; the first that does not jumps to the last instruction, which drops.
fn assemble(conditions: &[Condition]) -> Vec<Instruction> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let last = conditions.iter().map(|condition| 1 + condition.values.len()).sum::<usize>() + 1;
    let mut program = Vec::with_capacity(last + 1);
    for condition in conditions {
        program.push(Instruction { code: (LOAD | condition.width) as u16, jt: 0, jf: 0, k: condition.at });
        for (position, value) in condition.values.iter().enumerate() {
            let further = condition.values.len() - 1 - position;
            let jf = if further == 0 { last - program.len() - 1 } else { 0 };
            program.push(Instruction { code: EQUAL, jt: further as u8, jf: jf as u8, k: *value });
        }
    }
    program.push(Instruction { code: RETURN, jt: 0, jf: 0, k: TAKEN_LEN });
    program.push(Instruction { code: RETURN, jt: 0, jf: 0, k: 0 });
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_wire::{EthernetHeader, Mac, ethernet, ndp::Solicitation};
    use std::net::Ipv4Addr;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// What the kernel does with the instructions used here.
    fn passes(protocol: Protocol, frame: &[u8], packet_type: u8) -> bool {
        let program = assemble(&conditions(protocol));
        let (mut at, mut accumulator) = (0, 0);
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
                0x30 | 0x28 => return false,
                0x15 => at += usize::from(if accumulator == k { jt } else { jf }),
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
    fn only_what_is_for_this_station_passes() {
        let frame = arp::gratuitous_request(CLIENT, Ipv4Addr::LOCALHOST).emit();
        // PACKET_HOST, _BROADCAST, _MULTICAST pass; _OTHERHOST and _OUTGOING do not.
        let passing: Vec<u8> = (0..5).filter(|kind| passes(Protocol::Arp, &frame, *kind)).collect();
        assert_eq!(passing, [0, 1, 2]);
    }
}
