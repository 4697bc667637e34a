//! Constants and the walk over fields that sealing and opening share.

use super::{MAX_NODE, Malformed};
use hmac::Hmac;
use sha2::Sha256;

pub(super) type HmacSha256 = Hmac<Sha256>;

pub(super) const MAGIC: [u8; 4] = *b"HRLD";
pub(super) const VERSION: u8 = 1;
/// Magic, version, routine, length, cluster.
pub(super) const HEADER_LEN: usize = 24;
pub(super) const HMAC_LEN: usize = 32;
/// Type and length.
pub(super) const FIELD_HEADER_LEN: usize = 3;

pub(super) const NODE: u8 = 1;
pub(super) const INCARNATION: u8 = 2;
pub(super) const SEQUENCE: u8 = 3;
pub(super) const INTERVAL: u8 = 4;
pub(super) const FLAGS: u8 = 5;
pub(super) const LINK_INDEX: u8 = 6;
pub(super) const LINK: u8 = 7;
pub(super) const HEARD: u8 = 8;
pub(super) const STAMP: u8 = 9;
/// Index of a link among the LINK fields (1 byte), then its name.
pub(super) const LINK_NAME: u8 = 10;
pub(super) const KEPT: u8 = 11;
/// Words of hand-overs: each what is said (1 byte), to whom (4), family (4 or 6) and address.
pub(super) const MOVES: u8 = 12;
/// Conflicts: each the station's MAC address (6 bytes), then family (4 or 6) and address.
pub(super) const CONFLICTS: u8 = 13;

/// In the byte at [`super::ROUTINE_AT`].
pub(super) const ROUTINE: u8 = 1;

pub(super) const READY: u8 = 1;
pub(super) const LEAVING: u8 = 2;
pub(super) const RESTARTING: u8 = 4;
/// The data plane: neither is ready, which is also what older speakers say.
pub(super) const PLANE_NOT_READY: u8 = 8;
pub(super) const PLANE_FAILED: u8 = 16;
pub(super) const HAS_HEALTH: u8 = 32;

/// Kubernetes names its nodes by RFC 1123 subdomains; anything else has no business in a log line or a metric label.
pub(super) fn is_node_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| letter(byte) || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| letter(*b));
    let bytes = name.as_bytes();
    bytes.len() <= MAX_NODE && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| inner(*b))
}

/// The fields one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let [kind, high, low, ref rest @ ..] = *self.0 else {
            self.0 = &[];
            return Some(Err(Malformed::Length));
        };
        let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low]))) else {
            self.0 = &[];
            return Some(Err(Malformed::Length));
        };
        self.0 = rest;
        Some(Ok((kind, value)))
    }
}
