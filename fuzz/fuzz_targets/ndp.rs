//! Neighbour discovery frames: no bytes make the parser panic, and what it understands is emitted as it was understood. The first byte chooses
//! whether the checksum is made right: otherwise hardly anything would get past it.
#![no_main]

use herald_wire::ndp::parse;
use libfuzzer_sys::fuzz_target;

const ICMP: usize = 14 + 40;

fuzz_target!(|input: &[u8]| {
    let Some((repair, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if repair & 1 == 1 && bytes.len() >= ICMP + 4 {
        let length = bytes.len() - ICMP;
        bytes[18..20].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        bytes[ICMP + 2..ICMP + 4].fill(0);
        let sum = checksum(&bytes[22..], u32::try_from(length).unwrap_or(0) + 58);
        bytes[ICMP + 2..ICMP + 4].copy_from_slice(&sum.to_be_bytes());
    }
    if let Ok(frame) = parse(&bytes) {
        assert_eq!(parse(&frame.emit()), Ok(frame));
    }
});

/// RFC 1071 over addresses and message; `extra` is the rest of the pseudo-header.
fn checksum(bytes: &[u8], extra: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = words.fold(extra, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
