//! Bytes become a hello, once they are known to be of this cluster.

use super::{
    ClusterId, Conflict, DataPlane, Flags, Hello, HelloError, IfName, Key, LinkInfo, MAX_LEN, Malformed, Move, Stamp,
    Word, seal,
    tlv::{
        CONFLICTS, FLAGS, Fields, HAS_HEALTH, HEADER_LEN, HEARD, HMAC_LEN, INCARNATION, INTERVAL, KEPT, LEAVING, LINK,
        LINK_INDEX, LINK_NAME, MAGIC, MOVES, NODE, PLANE_FAILED, PLANE_NOT_READY, READY, RESTARTING, ROUTINE, SEQUENCE,
        STAMP, VERSION, is_node_name,
    },
};
use crate::Mac;
use hmac::Mac as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads a hello that one of `keys` authenticates; two keys are accepted while one replaces the other.
///
/// Judged in this order: shape, cluster, key, version, fields; so a foreign cluster is told from a wrong key, and nothing unauthenticated
/// is looked into. Fields of unknown type are skipped.
///
/// # Errors
/// The first of these that fails.
pub fn open(bytes: &[u8], cluster: ClusterId, keys: &[Key]) -> Result<Hello, HelloError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else { return Err(Malformed::Length.into()) };
    let ([m0, m1, m2, m3, version, hints, high, low], id) = split_header(header);
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Malformed::Magic.into());
    }
    let end = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
    if end + HMAC_LEN > MAX_LEN {
        return Err(Malformed::Length.into());
    }
    let (Some(signed), Some(tag)) = (bytes.get(..end), bytes.get(end..end + HMAC_LEN)) else {
        return Err(Malformed::Length.into());
    };
    if id != cluster {
        return Err(HelloError::ForeignCluster(id));
    }
    // verify_slice compares in constant time.
    if !keys.iter().any(|key| seal::hmac(key, signed).verify_slice(tag).is_ok()) {
        return Err(HelloError::WrongHmac);
    }
    if version != VERSION {
        return Err(HelloError::Version(version));
    }
    let hello = fields(cluster, signed.get(HEADER_LEN..).unwrap_or_default())?;
    Ok(Hello { routine: hints & ROUTINE != 0, ..hello })
}

fn split_header(header: &[u8; HEADER_LEN]) -> ([u8; 8], ClusterId) {
    let mut start = [0; 8];
    let mut cluster = [0; 16];
    start.copy_from_slice(&header[..8]);
    cluster.copy_from_slice(&header[8..]);
    (start, ClusterId(cluster))
}

fn fields(cluster: ClusterId, bytes: &[u8]) -> Result<Hello, Malformed> {
    let (mut node, mut incarnation, mut sequence, mut interval_ms) = (None, None, None, None);
    let (mut flags, mut link, mut heard, mut kept, mut stamp) = (None, None, None, None, None);
    let (mut moves, mut conflicts) = (None, None);
    let mut links = Vec::new();
    let mut names = Vec::new();
    for field in Fields(bytes) {
        let (kind, value) = field?;
        match kind {
            NODE => once(&mut node, kind, read_node(value))?,
            INCARNATION => once(&mut incarnation, kind, array(value).map(u64::from_be_bytes))?,
            SEQUENCE => once(&mut sequence, kind, array(value).map(u64::from_be_bytes))?,
            INTERVAL => once(&mut interval_ms, kind, array(value).map(u16::from_be_bytes).filter(|ms| *ms > 0))?,
            FLAGS => once(&mut flags, kind, read_flags(value))?,
            LINK_INDEX => once(&mut link, kind, array(value).map(|[index]| index))?,
            LINK => links.push(read_link(value).ok_or(Malformed::Value(kind))?),
            LINK_NAME => names.push(read_name(value).ok_or(Malformed::Value(kind))?),
            HEARD => once(&mut heard, kind, read_heard(value))?,
            KEPT => once(&mut kept, kind, read_heard(value))?,
            MOVES => once(&mut moves, kind, read_moves(value))?,
            CONFLICTS => once(&mut conflicts, kind, read_conflicts(value))?,
            STAMP => once(&mut stamp, kind, read_stamp(value))?,
            _ => {}
        }
    }
    for (index, name) in names {
        let link: &mut LinkInfo = links.get_mut(index).ok_or(Malformed::Value(LINK_NAME))?;
        if link.name.replace(name).is_some() {
            return Err(Malformed::Twice(LINK_NAME));
        }
    }
    let link = link.ok_or(Malformed::Missing(LINK_INDEX))?;
    if usize::from(link) >= links.len() {
        return Err(Malformed::Value(LINK_INDEX));
    }
    Ok(Hello {
        cluster,
        node: node.ok_or(Malformed::Missing(NODE))?,
        incarnation: incarnation.ok_or(Malformed::Missing(INCARNATION))?,
        sequence: sequence.ok_or(Malformed::Missing(SEQUENCE))?,
        interval_ms: interval_ms.ok_or(Malformed::Missing(INTERVAL))?,
        flags: flags.ok_or(Malformed::Missing(FLAGS))?,
        link,
        links,
        heard: heard.ok_or(Malformed::Missing(HEARD))?,
        kept: kept.unwrap_or_default(),
        moves,
        conflicts: conflicts.unwrap_or_default(),
        stamp: stamp.ok_or(Malformed::Missing(STAMP))?,
        routine: false,
    })
}

fn once<T>(slot: &mut Option<T>, kind: u8, value: Option<T>) -> Result<(), Malformed> {
    let value = value.ok_or(Malformed::Value(kind))?;
    if slot.replace(value).is_some() { Err(Malformed::Twice(kind)) } else { Ok(()) }
}

/// A later version may append to a field of fixed size, so only its start is read.
fn array<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.first_chunk().copied()
}

fn read_node(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().filter(|name| is_node_name(name)).map(str::to_owned)
}

fn read_flags(value: &[u8]) -> Option<Flags> {
    let bits = *value.first()?;
    let data_plane = match (bits & PLANE_FAILED != 0, bits & PLANE_NOT_READY != 0) {
        (true, _) => DataPlane::Failed,
        (false, true) => DataPlane::NotReady,
        (false, false) => DataPlane::Ready,
    };
    let (leaving, restarting) = (bits & LEAVING != 0, bits & RESTARTING != 0);
    Some(Flags { ready: bits & READY != 0, leaving, restarting, data_plane, has_health: bits & HAS_HEALTH != 0 })
}

fn read_stamp(value: &[u8]) -> Option<Stamp> {
    let (connected, rest) = value.split_first()?;
    Some(Stamp { connected: *connected != 0, resource_version: array(rest).map(u64::from_be_bytes)? })
}

fn read_heard(value: &[u8]) -> Option<Vec<u32>> {
    let (hashes, rest) = value.as_chunks::<4>();
    rest.is_empty().then(|| hashes.iter().map(|hash| u32::from_be_bytes(*hash)).collect())
}

fn read_name(value: &[u8]) -> Option<(usize, IfName)> {
    let (index, name) = value.split_first()?;
    Some((usize::from(*index), IfName::new(std::str::from_utf8(name).ok()?)?))
}

fn read_link(value: &[u8]) -> Option<LinkInfo> {
    let (mac, mut rest) = value.split_first_chunk::<6>()?;
    let mut addresses = Vec::new();
    while !rest.is_empty() {
        let (address, tail) = read_address(rest)?;
        addresses.push(address);
        rest = tail;
    }
    Some(LinkInfo { mac: Mac(*mac), name: None, addresses })
}

/// Family and octets; what comes after them.
fn read_address(value: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (family, tail) = value.split_first()?;
    match family {
        4 => tail.split_first_chunk::<4>().map(|(octets, tail)| (IpAddr::V4(Ipv4Addr::from(*octets)), tail)),
        6 => tail.split_first_chunk::<16>().map(|(octets, tail)| (IpAddr::V6(Ipv6Addr::from(*octets)), tail)),
        _ => None,
    }
}

/// A later version may have more words: these are skipped.
fn read_moves(mut rest: &[u8]) -> Option<Vec<Move>> {
    let mut moves = Vec::new();
    while let Some((number, tail)) = rest.split_first() {
        let (peer, tail) = tail.split_first_chunk::<4>()?;
        let (group, tail) = read_address(tail)?;
        let word = Word::ALL.into_iter().find(|word| seal::word_number(*word) == *number);
        moves.extend(word.map(|word| Move { word, group, peer: u32::from_be_bytes(*peer) }));
        rest = tail;
    }
    Some(moves)
}

fn read_conflicts(mut rest: &[u8]) -> Option<Vec<Conflict>> {
    let mut conflicts = Vec::new();
    while !rest.is_empty() {
        let (by, tail) = rest.split_first_chunk::<6>()?;
        let (address, tail) = read_address(tail)?;
        conflicts.push(Conflict { address, by: Mac(*by) });
        rest = tail;
    }
    Some(conflicts)
}
