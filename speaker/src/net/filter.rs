//! Classic BPF programs: which frames a socket is woken for at all.
#![expect(clippy::cast_possible_truncation, reason = "opcodes are 16 bits wide, libc's constants are 32")]

use super::packet_socket::Protocol;
use herald_wire::{arp, hello, ndp};
use socket2::SockFilter;

/// Bytes of a frame that are handed over: every frame that passes is far smaller.
pub(super) const TAKEN_LEN: u32 = 2048;

/// The classic BPF program of a protocol, and the EtherType to bind to.
///
/// A frame that is not for this station (`PACKET_OTHERHOST`) is dropped first. So are frames of a VLAN that has no device here: network cards
/// take the tag out of the frame, and the kernel delivers what is left to the sockets of the *parent* link, marked exactly so. Frames of
/// a VLAN with a device arrive at the sockets of that device only; a priority tag (VLAN 0) is no VLAN and stays.
pub(super) fn filter(protocol: Protocol) -> (Vec<SockFilter>, u16) {
    let mut program = vec![load_byte(PACKET_TYPE), drop_if(u32::from(libc::PACKET_OTHERHOST))];
    let ethertype = match protocol {
        Protocol::Arp => {
            program.extend([load_half(12), drop_unless(u32::from(arp::ETHERTYPE))]);
            program.extend([load_half(20), drop_unless_either(1, 2)]);
            arp::ETHERTYPE
        }
        Protocol::NeighborDiscovery => {
            program.extend([load_half(12), drop_unless(u32::from(ndp::ETHERTYPE))]);
            // Behind the fixed IPv6 header: extension headers are not used with neighbour discovery (RFC 6980).
            program.extend([load_byte(20), drop_unless(58)]);
            program.extend([
                load_byte(54),
                drop_unless_either(u32::from(ndp::SOLICITATION), u32::from(ndp::ADVERTISEMENT)),
            ]);
            ndp::ETHERTYPE
        }
        Protocol::Hello => {
            program.extend([load_half(12), drop_unless(u32::from(hello::ETHERTYPE))]);
            hello::ETHERTYPE
        }
    };
    program.extend([RETURN_ALL, RETURN_NONE]);
    (link_drops(&program), ethertype)
}

/// Ancillary data of classic BPF: the packet type (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const RETURN_ALL: Step = Step::Return(TAKEN_LEN);
const RETURN_NONE: Step = Step::Return(0);

/// A step of a filter; a drop jumps to the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Load { code: u32, at: u32 },
    Drop { when: Test },
    Return(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Is(u32),
    IsNot(u32),
    IsNeither(u32, u32),
}

const fn load_byte(at: u32) -> Step {
    Step::Load { code: libc::BPF_B, at }
}

const fn load_half(at: u32) -> Step {
    Step::Load { code: libc::BPF_H, at }
}

const fn drop_if(value: u32) -> Step {
    Step::Drop { when: Test::Is(value) }
}

const fn drop_unless(value: u32) -> Step {
    Step::Drop { when: Test::IsNot(value) }
}

const fn drop_unless_either(one: u32, other: u32) -> Step {
    Step::Drop { when: Test::IsNeither(one, other) }
}

/// Turns steps into instructions whose drops jump to the end.
fn link_drops(steps: &[Step]) -> Vec<SockFilter> {
    let size = |step: &Step| if matches!(step, Step::Drop { when: Test::IsNeither(..) }) { 2 } else { 1 };
    let total: usize = steps.iter().map(size).sum();
    let mut program = Vec::with_capacity(total);
    for step in steps {
        // Distance from the instruction after this one to the last.
        let to_end = |program: &Vec<SockFilter>| u8::try_from(total - 2 - program.len()).unwrap_or(u8::MAX);
        let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        let end = to_end(&program);
        match *step {
            Step::Load { code, at } => {
                program.push(SockFilter::new((libc::BPF_LD | code | libc::BPF_ABS) as u16, 0, 0, at));
            }
            Step::Return(bytes) => program.push(SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes)),
            Step::Drop { when: Test::Is(value) } => program.push(SockFilter::new(equal, end, 0, value)),
            Step::Drop { when: Test::IsNot(value) } => program.push(SockFilter::new(equal, 0, end, value)),
            Step::Drop { when: Test::IsNeither(one, other) } => {
                program.push(SockFilter::new(equal, 1, 0, one));
                let end = to_end(&program);
                program.push(SockFilter::new(equal, 0, end, other));
            }
        }
    }
    program
}
