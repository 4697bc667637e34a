//! The Ethernet header, and the reasons why a frame is not what it should be.

use crate::Mac;
use pnet::packet::{
    Packet,
    ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket},
};
use pnet_base::MacAddr;

/// Bytes of an Ethernet header without VLAN tag.
pub const HEADER_LEN: usize = 14;

/// Where a frame goes and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Destination: a station, a group or everybody.
    pub destination: Mac,
    /// The sending station.
    pub source: Mac,
}

/// Why bytes are not the frame that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the fixed part of the message.
    #[error("frame of {have} bytes is too short: {need} are needed")]
    Short {
        /// Bytes of the shortest valid message.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// A VLAN tag inside the frame: it belongs to another link (802.1Q, 802.1ad).
    #[error("frame carries a VLAN tag")]
    Vlan,
    /// Another protocol.
    #[error("EtherType {0:#06x} is another protocol")]
    EtherType(u16),
    /// ARP that is not IPv4 over Ethernet (RFC 826 `ar$hrd`, `ar$pro`, `ar$hln`, `ar$pln`).
    #[error("ARP for something other than IPv4 over Ethernet")]
    ArpFormat,
    /// An ARP operation other than request and reply.
    #[error("ARP operation {0} is neither request nor reply")]
    ArpOperation(u16),
    /// A group address as sender: nobody could be answered.
    #[error("the sender's link-layer address is a group address")]
    SenderMac,
    /// Not IP version 6 behind the IPv6 EtherType.
    #[error("IP version {0} behind the EtherType of IPv6")]
    IpVersion(u8),
    /// An IPv6 next header other than ICMPv6; neighbour discovery behind extension headers is not taken (RFC 6980).
    #[error("IPv6 next header {0} is not ICMPv6")]
    NextHeader(u8),
    /// The frame passed a router, so it does not come from this link (RFC 4861 sections 7.1.1, 7.1.2).
    #[error("hop limit {0} is not 255: the packet was forwarded")]
    HopLimit(u8),
    /// A group address as IPv6 source.
    #[error("the IPv6 source is a group address")]
    SourceIp,
    /// The ICMPv6 checksum does not fit.
    #[error("wrong ICMPv6 checksum")]
    Checksum,
    /// Another ICMPv6 type than neighbour solicitation and advertisement.
    #[error("ICMPv6 type {0} is neither a neighbour solicitation nor an advertisement")]
    IcmpType(u8),
    /// An ICMPv6 code other than 0.
    #[error("ICMPv6 code {0} is not 0")]
    IcmpCode(u8),
    /// A group address as the target of neighbour discovery.
    #[error("the target is a group address")]
    Target,
    /// An option without length, or longer than the message, or with a link-layer address that is not Ethernet's.
    #[error("malformed neighbour discovery option")]
    Option,
    /// A probe from the unspecified address that breaks RFC 4861 section 7.1.1: not to the solicited-node group, or with a source option.
    #[error("malformed solicitation from the unspecified address")]
    Probe,
    /// The Solicited flag on an advertisement to a group (RFC 4861 section 7.1.2).
    #[error("advertisement to a group claims to be solicited")]
    SolicitedToGroup,
}

/// Splits a frame into header, EtherType and payload (padding included).
///
/// # Errors
/// Shorter than a header, a VLAN tag, or a group address as source.
pub fn split(frame: &[u8]) -> Result<(EthernetHeader, u16, &[u8]), DecodeError> {
    let short = DecodeError::Short { need: HEADER_LEN, have: frame.len() };
    let packet = EthernetPacket::new(frame).ok_or(short)?;
    let payload = frame.get(HEADER_LEN..).ok_or(short)?;
    let header = EthernetHeader { destination: mac(packet.get_destination()), source: mac(packet.get_source()) };
    if header.source.is_multicast() {
        return Err(DecodeError::SenderMac);
    }
    match packet.get_ethertype() {
        EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ => Err(DecodeError::Vlan),
        EtherType(other) => Ok((header, other, payload)),
    }
}

/// A frame around a payload; the network card pads it to the minimum of 60 bytes.
#[must_use]
pub fn frame(header: EthernetHeader, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN + payload.len()];
    if let Some(mut packet) = MutableEthernetPacket::new(&mut bytes) {
        packet.set_destination(raw(header.destination));
        packet.set_source(raw(header.source));
        packet.set_ethertype(EtherType(ethertype));
        packet.set_payload(payload);
        debug_assert_eq!(packet.payload().len(), payload.len());
    }
    bytes
}

pub(crate) fn mac(address: MacAddr) -> Mac {
    Mac(address.octets())
}

pub(crate) fn raw(address: Mac) -> MacAddr {
    MacAddr::from(address.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_and_split_are_inverse() {
        let header = EthernetHeader { destination: Mac([2, 0, 0, 0, 0, 1]), source: Mac([2, 0, 0, 0, 0, 2]) };
        let bytes = frame(header, 0x88b5, b"hello");
        assert_eq!(bytes, b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x88\xb5hello");
        assert_eq!(split(&bytes), Ok((header, 0x88b5, &b"hello"[..])));
    }

    #[test]
    fn tags_group_senders_and_stumps_are_refused() {
        let header = EthernetHeader { destination: Mac::BROADCAST, source: Mac([2, 0, 0, 0, 0, 2]) };
        for tag in [0x8100, 0x88a8, 0x9100] {
            assert_eq!(split(&frame(header, tag, &[0; 50])), Err(DecodeError::Vlan), "{tag:#x}");
        }
        let group = EthernetHeader { source: Mac([3, 0, 0, 0, 0, 2]), ..header };
        assert_eq!(split(&frame(group, 0x0806, &[])), Err(DecodeError::SenderMac));
        assert_eq!(split(&[0; 13]), Err(DecodeError::Short { need: 14, have: 13 }));
    }
}
