//! Filters for the addresses asked for: a request for somebody else's address wakes nobody.
//!
//! Every host of a LAN sees every broadcast request. With a plain filter each one wakes the speakers of all nodes, and all but one find that
//! the address is not theirs. So the socket's program searches the own addresses too. It may let too much pass, never too little: what is
//! answered is still decided by the table.

use super::filter::{Instruction, accept, load_half, load_word, ret};
use std::{collections::BTreeSet, net::IpAddr};

/// Ranges that a program searches exactly; beyond it neighbours are merged. The kernel charges the old and the new program of a socket
/// together against `net.core.optmem_max` (20 KiB before Linux 6.7), 8 bytes an instruction.
const EXACT: usize = 256;
/// Ranges for the *sender* of a request: hosts rarely have addresses between ours, and whoever claims one of ours has to be seen.
const COARSE: usize = 8;
/// Ranges that are compared one after the other.
const BLOCK: usize = 4;

/// The last 32 bits of addresses, as sorted inclusive ranges with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Targets(Vec<(u32, u32)>);

/// The last 32 bits: an IPv4 address as a whole; of IPv6 what solicited-node groups and the low bits of a /64 differ in.
pub(super) fn low_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let [.., high, low] = v6.segments();
            u32::from(high) << 16 | u32::from(low)
        }
    }
}

impl FromIterator<IpAddr> for Targets {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let numbers: BTreeSet<u32> = addresses.into_iter().map(low_bits).collect();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }
}

impl Targets {
    /// At most so many ranges, those with the smallest gaps between them merged.
    fn at_most(&self, most: usize) -> Self {
        let excess = self.0.len().saturating_sub(most);
        let gap = |pair: &[(u32, u32)]| match pair {
            [(_, before), (after, _)] => after - before,
            _ => u32::MAX,
        };
        let mut gaps: Vec<(u32, usize)> = self.0.windows(2).map(gap).zip(1..).collect();
        gaps.sort_unstable();
        let closed: BTreeSet<usize> = gaps.into_iter().take(excess).map(|(_, index)| index).collect();
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(most);
        for (index, &(first, last)) in self.0.iter().enumerate() {
            match ranges.last_mut() {
                Some(before) if closed.contains(&index) => before.1 = last,
                _ => ranges.push((first, last)),
            }
        }
        Self(ranges)
    }
}

/// Where a request has what is searched for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Offset of the operation or type, a half word and the value that requests have.
    pub(super) request: (u32, u32),
    /// Offset of the last 32 bits of the sender's address.
    pub(super) sender: u32,
    /// Offset of the last 32 bits of the address asked for.
    pub(super) target: u32,
    /// Whether what is no request is an announcement when sender and target are the same: an ARP reply is. A neighbour advertisement that
    /// answers comes from its target, too.
    pub(super) replies_announce: bool,
}

/// What follows the conditions of a protocol: passes what is no request, requests from an own address, and requests for and announcements
/// (sender = target) of one. What others announce of theirs, once a minute for each address, wakes nobody.
pub(super) fn program(places: Places, targets: &Targets) -> Vec<Instruction> {
    let others = [load_half(places.request.0), Instruction::equal(places.request.1, 1, 0), accept()];
    let mut sender = vec![load_word(places.sender)];
    block(&targets.at_most(COARSE).0, &mut sender, None);
    sender.push(load_word(places.target));
    // Some thirty instructions at most: COARSE ranges of three each, and a few around them.
    let to_search = |over: usize| {
        let over = u8::try_from(over).unwrap_or(u8::MAX);
        [load_word(places.sender), Instruction::TAKE_INDEX, load_word(places.target), Instruction::equal_index(over, 0)]
    };
    let mut program = Vec::new();
    if places.replies_announce {
        program.extend(to_search(others.len() + sender.len()));
        program.extend(others);
    } else {
        program.extend(others);
        program.extend(to_search(sender.len()));
    }
    program.extend(sender);
    search(&targets.at_most(EXACT).0, &mut program);
    program
}

/// A binary search: the left half behind the comparison, then the right one.
fn search(ranges: &[(u32, u32)], program: &mut Vec<Instruction>) {
    if ranges.len() <= BLOCK {
        block(ranges, program, Some(ret(0)));
        return;
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let middle = right.first().map_or(u32::MAX, |range| range.0);
    // Conditional jumps reach 255 instructions, an unconditional one any.
    program.push(Instruction::at_least(middle, 0, 1));
    let jump = program.len();
    program.push(Instruction::jump(0));
    search(left, program);
    let over = u32::try_from(program.len() - jump - 1).unwrap_or(0);
    if let Some(place) = program.get_mut(jump) {
        *place = Instruction::jump(over);
    }
    search(right, program);
}

/// Compares one after the other: accepts a hit; a miss ends with `miss`, or goes on behind the block.
fn block(ranges: &[(u32, u32)], program: &mut Vec<Instruction>, miss: Option<Instruction>) {
    for (first, last) in ranges {
        if first == last {
            program.push(Instruction::equal(*first, 0, 1));
        } else {
            program.extend([Instruction::at_least(*first, 0, 2), Instruction::more_than(*last, 1, 0)]);
        }
        program.push(accept());
    }
    program.extend(miss);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_the_smallest_gaps_close_first() {
        let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.0.12", "192.0.2.1"];
        let targets: Targets = ips.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect();
        let number = |text: &str| low_bits(text.parse().unwrap());
        assert_eq!(targets.0.len(), 4);
        assert_eq!(targets.at_most(4), targets);
        let three = targets.at_most(3);
        assert_eq!(three.0[1], (number("10.0.0.9"), number("10.0.0.12")));
        assert_eq!(targets.at_most(1).0, [(number("10.0.0.1"), number("192.0.2.1"))]);
        assert_eq!(Targets::default().at_most(1), Targets::default());
    }
}
