//! A hello becomes authenticated bytes.

use super::{
    DataPlane, Hello, Key, MAX_ADDRESSES, MAX_CONFLICTS, MAX_HEARD, MAX_KEPT, MAX_LEN, MAX_LINKS, Move, SealError,
    Word,
    tlv::{
        CONFLICTS, FIELD_HEADER_LEN, FLAGS, HAS_HEALTH, HEADER_LEN, HEARD, HMAC_LEN, HmacSha256, INCARNATION, INTERVAL,
        KEPT, LEAVING, LINK, LINK_INDEX, LINK_NAME, MAGIC, MOVES, NODE, PLANE_FAILED, PLANE_NOT_READY, READY,
        RESTARTING, ROUTINE, SEQUENCE, STAMP, VERSION, is_node_name,
    },
};
use hmac::{KeyInit, Mac as _};
use std::net::IpAddr;

/// The authenticated bytes of a hello, at most [`MAX_LEN`].
///
/// When not everything fits, links, names and addresses are cut, never the rest: the sending link stays, then the others in order up to
/// [`MAX_LINKS`], then names, then addresses up to [`MAX_ADDRESSES`] a link, those of the sending link first. `link` is adjusted.
///
/// # Errors
/// A node name that is none, no such sending link, an interval of zero, or a heard-set above [`MAX_HEARD`].
pub fn seal(hello: &Hello, key: &Key) -> Result<Vec<u8>, SealError> {
    let own = usize::from(hello.link);
    if !is_node_name(&hello.node) {
        return Err(SealError::Node(hello.node.clone()));
    }
    if own >= hello.links.len() {
        return Err(SealError::Link { link: hello.link, links: hello.links.len() });
    }
    if hello.heard.len() > MAX_HEARD {
        return Err(SealError::Heard(hello.heard.len()));
    }
    if hello.interval_ms == 0 {
        return Err(SealError::Interval);
    }

    let mut fields = Vec::with_capacity(MAX_LEN);
    field(&mut fields, NODE, hello.node.as_bytes());
    field(&mut fields, INCARNATION, &hello.incarnation.to_be_bytes());
    field(&mut fields, SEQUENCE, &hello.sequence.to_be_bytes());
    field(&mut fields, INTERVAL, &hello.interval_ms.to_be_bytes());
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = &hello.flags;
    let plane = match flags.data_plane {
        DataPlane::Ready => 0,
        DataPlane::NotReady => PLANE_NOT_READY,
        DataPlane::Failed => PLANE_FAILED,
    };
    let process = flag(flags.ready, READY) | flag(flags.leaving, LEAVING) | flag(flags.restarting, RESTARTING);
    field(&mut fields, FLAGS, &[process | plane | flag(flags.has_health, HAS_HEALTH)]);
    let mut stamp = [0; 9];
    stamp[0] = u8::from(hello.stamp.connected);
    stamp[1..].copy_from_slice(&hello.stamp.resource_version.to_be_bytes());
    field(&mut fields, STAMP, &stamp);
    let heard: Vec<u8> = hello.heard.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    field(&mut fields, HEARD, &heard);
    let kept: Vec<u8> = hello.kept.iter().take(MAX_KEPT).flat_map(|hash| hash.to_be_bytes()).collect();
    if !kept.is_empty() {
        field(&mut fields, KEPT, &kept);
    }

    if let Some(moves) = &hello.moves {
        let fit = Hello::moves_fit(moves, &hello.node, hello.heard.len());
        let mut value = Vec::new();
        for said in moves.iter().take(fit) {
            value.push(word_number(said.word));
            value.extend(said.peer.to_be_bytes());
            push(&mut value, said.group);
        }
        field(&mut fields, MOVES, &value);
    }
    let room = MAX_LEN - HEADER_LEN - HMAC_LEN - OWN_LINK - 2 * FIELD_HEADER_LEN - 1;
    let conflicts = conflicts(hello, room.saturating_sub(fields.len()));
    if !conflicts.is_empty() {
        field(&mut fields, CONFLICTS, &conflicts);
    }

    let room = MAX_LEN - HEADER_LEN - HMAC_LEN - (FIELD_HEADER_LEN + 1);
    let room = room.saturating_sub(fields.len());
    let kept = fit(hello, own, room);
    let index = kept.iter().take_while(|kept| kept.link != own).count();
    field(&mut fields, LINK_INDEX, &[u8::try_from(index).unwrap_or(u8::MAX)]);
    for (index, kept) in (0..).zip(kept) {
        if let Some(info) = hello.links.get(kept.link) {
            let mut value = info.mac.0.to_vec();
            info.addresses.iter().take(kept.addresses).for_each(|address| push(&mut value, *address));
            field(&mut fields, LINK, &value);
            if let Some(name) = info.name.filter(|_| kept.named) {
                field(&mut fields, LINK_NAME, &[&[index], name.as_str().as_bytes()].concat());
            }
        }
    }
    Ok(envelope(hello, key, &fields))
}

/// On the wire; 0 is none.
pub(super) const fn word_number(word: Word) -> u8 {
    match word {
        Word::Ask => 1,
        Word::Release => 2,
        Word::Hold => 3,
        Word::Own => 4,
        Word::Free => 5,
    }
}

/// The sending link with its name and an address of each family.
const OWN_LINK: usize = 2 * FIELD_HEADER_LEN + 6 + 1 + super::IfName::MAX_LEN + 5 + 17;

/// Bytes for words of hand-overs that are left in any case, beside the other fields at their longest and the sending link with its name and
/// an address of each family; never so many that a node's other links go unnamed.
pub(super) fn room_for_moves(node: usize, heard: usize) -> usize {
    const MOST: usize = 300;
    // Incarnation, sequence, interval, flags, stamp, link index; headers of node, heard-set, kept and moves.
    const FIXED: usize = 11 + 11 + 5 + 4 + 12 + 4 + 4 * FIELD_HEADER_LEN;
    let taken = HEADER_LEN + HMAC_LEN + FIXED + OWN_LINK + node + 4 * heard + 4 * MAX_KEPT;
    MAX_LEN.saturating_sub(taken).min(MOST)
}

/// As many as go into this many bytes.
fn conflicts(hello: &Hello, room: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for conflict in hello.conflicts.iter().take(MAX_CONFLICTS) {
        if value.len() + conflict.by.0.len() + address_len(conflict.address) > room {
            break;
        }
        value.extend(conflict.by.0);
        push(&mut value, conflict.address);
    }
    value
}

pub(super) const fn move_len(said: &Move) -> usize {
    5 + address_len(said.group)
}

fn envelope(hello: &Hello, key: &Key, fields: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + fields.len() + HMAC_LEN);
    bytes.extend(MAGIC);
    bytes.extend([VERSION, if hello.routine { ROUTINE } else { 0 }]);
    bytes.extend(u16::try_from(fields.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(hello.cluster.0);
    bytes.extend(fields);
    let tag = authenticate(key, &bytes);
    bytes.extend(tag);
    bytes
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of every length (RFC 2104 section 2); only other MACs refuse one"
)]
pub(super) fn hmac(key: &Key, bytes: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(&key.0).expect("HMAC takes any key").chain_update(bytes)
}

fn authenticate(key: &Key, bytes: &[u8]) -> [u8; HMAC_LEN] {
    hmac(key, bytes).finalize().into_bytes().into()
}

fn field(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(value);
}

fn push(value: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            value.push(4);
            value.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            value.push(6);
            value.extend(v6.octets());
        }
    }
}

const fn address_len(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 5,
        IpAddr::V6(_) => 17,
    }
}

/// What goes into a hello of one of its links.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    link: usize,
    named: bool,
    addresses: usize,
}

/// What goes into `room` bytes, in the order of the hello.
fn fit(hello: &Hello, own: usize, mut room: usize) -> Vec<Kept> {
    const LINK_LEN: usize = FIELD_HEADER_LEN + 6;
    const NAME_LEN: usize = FIELD_HEADER_LEN + 1;
    let mut take = |length: usize| {
        let left = room.checked_sub(length);
        room = left.unwrap_or(room);
        left.is_some()
    };
    let mut kept = Vec::new();
    let by_importance = |count: usize| std::iter::once(own).chain((0..count).filter(move |link| *link != own));
    for link in by_importance(hello.links.len()).take(MAX_LINKS) {
        if take(LINK_LEN) {
            kept.push(Kept { link, named: false, addresses: 0 });
        }
    }
    // Still in order of importance here: the sending link's name and addresses go first.
    for kept in &mut kept {
        let name = hello.links.get(kept.link).and_then(|info| info.name);
        kept.named = name.is_some_and(|name| take(NAME_LEN + name.as_str().len()));
    }
    for kept in &mut kept {
        for address in hello.links.get(kept.link).into_iter().flat_map(|info| &info.addresses).take(MAX_ADDRESSES) {
            if !take(address_len(*address)) {
                break;
            }
            kept.addresses += 1;
        }
    }
    kept.sort_unstable();
    kept
}
