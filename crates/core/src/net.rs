//! Address families and ranges of addresses.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An IP address family. `V4` sorts first: dual-stack results are always v4, v6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// Both families, v4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other family.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address as a number, for arithmetic within its family.
#[must_use]
pub fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number; `None` when an IPv4 number exceeds 32 bits.
#[must_use]
pub fn from_number(family: Family, number: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(number).ok().map(|n| IpAddr::V4(Ipv4Addr::from(n))),
        Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(number))),
    }
}

/// A non-empty, inclusive range of addresses of one family: a CIDR or `first-last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    family: Family,
    first: u128,
    last: u128,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// Neither `/` nor `-` in it.
    #[error(
        "{0:?} is neither a CIDR nor a range: write 192.0.2.0/24, 192.0.2.10-192.0.2.20, or 192.0.2.10/32 for a single address"
    )]
    Shape(String),
    /// A part that is no address, or a prefix that is no prefix.
    #[error("{0:?} in {1:?} is not an address or CIDR")]
    Address(String, String),
    /// `first-last` of two families.
    #[error("range {0:?} mixes IPv4 and IPv6")]
    Families(String),
    /// `first` after `last`.
    #[error("range {0:?} starts after its end: write the lower address first")]
    Order(String),
}

impl IpRange {
    /// The range from `first` to `last`, both included; `None` for two families or `first` after `last`.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let family = Family::of(first);
        let (low, high) = (to_number(first), to_number(last));
        (family == Family::of(last) && low <= high).then_some(Self { family, first: low, last: high })
    }

    /// The family of all its addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Lowest address as a number.
    #[must_use]
    pub const fn first(&self) -> u128 {
        self.first
    }

    /// Highest address as a number.
    #[must_use]
    pub const fn last(&self) -> u128 {
        self.last
    }

    /// How many addresses it has; saturates for all of IPv6.
    #[must_use]
    pub const fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&to_number(address))
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        matches!((self.family, other.family), (Family::V4, Family::V4) | (Family::V6, Family::V6))
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl FromStr for IpRange {
    type Err = InvalidRange;

    /// Reads MetalLB's `addresses` grammar: a CIDR (host bits are masked away) or `first-last`, blanks around the dash allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let part = |p: &str| InvalidRange::Address(p.to_owned(), text.to_owned());
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.trim(), last.trim());
            let low: IpAddr = first.parse().map_err(|_| part(first))?;
            let high: IpAddr = last.parse().map_err(|_| part(last))?;
            if Family::of(low) != Family::of(high) {
                return Err(InvalidRange::Families(text.to_owned()));
            }
            return Self::new(low, high).ok_or_else(|| InvalidRange::Order(text.to_owned()));
        }
        if !text.contains('/') {
            return Err(InvalidRange::Shape(text.to_owned()));
        }
        let net: IpNetwork = text.parse().map_err(|_| part(text))?;
        Ok(Self::from(net))
    }
}

impl From<IpNetwork> for IpRange {
    fn from(net: IpNetwork) -> Self {
        Self { family: Family::of(net.ip()), first: to_number(net.network()), last: to_number(net.broadcast()) }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (from_number(self.family, self.first), from_number(self.family, self.last)) {
            (Some(first), Some(last)) if first == last => write!(f, "{first}"),
            (Some(first), Some(last)) => write!(f, "{first}-{last}"),
            _ => f.write_str("(no address)"),
        }
    }
}

impl Serialize for IpRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What [`fmt::Display`] writes, in which a range of one address is that address.
impl<'de> Deserialize<'de> for IpRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::from(IpNetwork::from(address))),
            Err(_) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests;
