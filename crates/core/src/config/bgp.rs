//! What is configured for BGP: checked and kept; not announced yet.

use super::PoolChoice;
use crate::labels::Selector;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// What is announced by BGP, by whom, to whom. The default: every pool, every Service, every node, every peer, single addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BgpAdvertisement {
    /// Which pools.
    pub pools: PoolChoice,
    /// Prefix length of IPv4 announcements: 0 to 32.
    pub aggregation_length: u8,
    /// Prefix length of IPv6 announcements: 0 to 128.
    pub aggregation_length_v6: u8,
    /// LOCAL_PREF, for internal peers only.
    pub local_pref: u32,
    /// Communities, names resolved.
    pub communities: BTreeSet<Community>,
    /// Peers by name; empty = all.
    pub peers: BTreeSet<Box<str>>,
    /// Nodes that announce: one of the selectors; empty = all.
    pub node_selectors: Vec<Selector>,
    /// Services of the pools: one of the selectors; empty = all. Only without aggregation.
    pub service_selectors: Vec<Selector>,
}

impl Default for BgpAdvertisement {
    fn default() -> Self {
        Self {
            pools: PoolChoice::default(),
            aggregation_length: 32,
            aggregation_length_v6: 128,
            local_pref: 0,
            communities: BTreeSet::new(),
            peers: BTreeSet::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
        }
    }
}

/// A BGP community: `64512:1` (RFC 1997) or `large:64512:1:2` (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Community {
    /// Two 16-bit numbers.
    Standard(u16, u16),
    /// Three 32-bit numbers.
    Large(u32, u32, u32),
}

/// Why a text is not a community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommunity {
    /// Neither two nor four sections: it may be a name.
    #[error("{0:?} is not a community: write 64512:1 or large:64512:1:2")]
    Shape(String),
    /// A section that is no number of its size.
    #[error("{section:?} in community {community:?} is not a number below {below}")]
    Section {
        /// The section.
        section: String,
        /// The whole text.
        community: String,
        /// 2^16 or 2^32.
        below: u64,
    },
    /// Four sections of which the first is not `large`.
    #[error("{0:?} has four sections but does not begin with large: write large:64512:1:2")]
    Marker(String),
}

impl FromStr for Community {
    type Err = InvalidCommunity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number<T: FromStr>(section: &str, community: &str, below: u64) -> Result<T, InvalidCommunity> {
            let digits = section.bytes().all(|byte| byte.is_ascii_digit());
            section.parse().ok().filter(|_| digits).ok_or_else(|| InvalidCommunity::Section {
                section: section.to_owned(),
                community: community.to_owned(),
                below,
            })
        }
        match *text.split(':').collect::<Vec<_>>().as_slice() {
            [high, low] => Ok(Self::Standard(number(high, text, 1 << 16)?, number(low, text, 1 << 16)?)),
            ["large", a, b, c] => {
                Ok(Self::Large(number(a, text, 1 << 32)?, number(b, text, 1 << 32)?, number(c, text, 1 << 32)?))
            }
            [_, _, _, _] => Err(InvalidCommunity::Marker(text.to_owned())),
            _ => Err(InvalidCommunity::Shape(text.to_owned())),
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(high, low) => write!(f, "{high}:{low}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

impl Serialize for Community {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A BGP neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BgpPeer {
    /// Our AS number; not 0.
    pub my_asn: u32,
    /// The peer's AS number.
    pub peer_asn: PeerAsn,
    /// Another AS number of ours that this peer sees.
    pub local_asn: Option<u32>,
    /// Where the peer is.
    pub endpoint: PeerEndpoint,
    /// Address that sessions are opened from, when given.
    pub source_address: Option<IpAddr>,
    /// Hold time, when given: zero or at least 3 s; whole seconds.
    pub hold_time: Option<Duration>,
    /// Keepalive interval, when given: at most the hold time.
    pub keepalive_time: Option<Duration>,
    /// Time between two attempts to connect, when given: 1 s to 65535 s, whole seconds.
    pub connect_time: Option<Duration>,
    /// Router ID, when given.
    pub router_id: Option<IpAddr>,
    /// Nodes that keep this session: one of the selectors; empty = all.
    pub node_selectors: Vec<Selector>,
    /// TCP MD5 password (RFC 2385).
    pub password: Option<Password>,
    /// Name of the BFD profile, when given.
    pub bfd_profile: Option<Box<str>>,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// Whether an external peer may be more than one hop away.
    pub ebgp_multihop: bool,
    /// The VRF of the session, when given.
    pub vrf: Option<Box<str>>,
    /// Whether both address families are exchanged.
    pub dual_stack: bool,
}

/// The AS number that a peer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PeerAsn {
    /// This one; not 0.
    Is(u32),
    /// Our own.
    Internal,
    /// Any but our own.
    External,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PeerEndpoint {
    /// At this address and port.
    Address(SocketAddr),
    /// On the other end of this interface (unnumbered), at this port.
    Interface(Box<str>, u16),
}

/// A password: it never shows in `Debug` output or JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// Takes the password as it is.
    pub fn new(password: impl Into<Box<str>>) -> Self {
        Self(password.into())
    }

    /// The password in clear.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(set)")
    }
}

/// Timing of BFD sessions (RFC 5880). `None` leaves the default of whoever runs the session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BfdProfile {
    /// Milliseconds, 10 to 60000.
    pub receive_interval: Option<u32>,
    /// Milliseconds, 10 to 60000.
    pub transmit_interval: Option<u32>,
    /// 2 to 255.
    pub detect_multiplier: Option<u32>,
    /// Milliseconds, 10 to 60000.
    pub echo_interval: Option<u32>,
    /// Whether the echo function is used.
    pub echo_mode: bool,
    /// Whether to wait for the peer to begin.
    pub passive_mode: bool,
    /// 1 to 254; multi-hop sessions only.
    pub minimum_ttl: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities() {
        for (text, community) in [
            ("64512:1", Community::Standard(64512, 1)),
            ("0:65535", Community::Standard(0, 65535)),
            ("large:4294967295:0:7", Community::Large(u32::MAX, 0, 7)),
        ] {
            assert_eq!(text.parse(), Ok(community));
            assert_eq!(community.to_string(), text);
        }
        let refused = |text: &str| text.parse::<Community>().unwrap_err();
        assert!(matches!(refused("99999999:1"), InvalidCommunity::Section { section, .. } if section == "99999999"));
        assert!(matches!(refused("+1:2"), InvalidCommunity::Section { .. }));
        assert!(matches!(refused(":"), InvalidCommunity::Section { .. }));
        assert!(matches!(refused("large:1:2:4294967296"), InvalidCommunity::Section { .. }));
        assert!(matches!(refused("lar:123:9999:123"), InvalidCommunity::Marker(_)));
        for text in ["", "my-alias", "1:2:3", "large:1:2:3:4"] {
            assert_eq!(refused(text), InvalidCommunity::Shape(text.to_owned()));
        }
    }

    #[test]
    fn passwords_do_not_show() {
        let password = Password::new("hunter2");
        assert!(!format!("{password:?}").contains("hunter2"));
        assert_eq!(password.reveal(), "hunter2");
    }
}
