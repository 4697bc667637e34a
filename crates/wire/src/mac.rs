//! Link-layer addresses.

use std::{fmt, str::FromStr};

/// A 48-bit link-layer (Ethernet) address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff, every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The unspecified address, used where a field is ignored (RFC 826 `ar$tha` of a request).
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set: broadcast and multicast, never a sender (IEEE 802).
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

/// A text that is not six hexadecimal octets joined by colons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address: write it as 02:00:00:00:00:01")]
pub struct InvalidMac(String);

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(invalid)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_rejections() {
        let mac = Mac([2, 0, 0xc0, 0xa8, 0x38, 0x0a]);
        assert_eq!("02:00:c0:a8:38:0a".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "02:00:c0:a8:38:0a");
        for bad in ["", "02:00:c0:a8:38", "02:00:c0:a8:38:0a:01", "2:0:c0:a8:38:a", "02:00:c0:a8:38:zz"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
