//! Neighbour solicitations and advertisements (RFC 4861) as whole Ethernet + IPv6 + ICMPv6 frames.
//!
//! Parsing makes the checks that RFC 4861 sections 7.1.1 and 7.1.2 demand of a receiver: an `AF_PACKET` socket sees frames before the
//! kernel has made them.

use crate::{
    DecodeError, EthernetHeader, Mac,
    ethernet::{self, HEADER_LEN},
};
use pnet::packet::{
    icmpv6::{self, Icmpv6Packet, Icmpv6Type, Icmpv6Types, MutableIcmpv6Packet, ndp as raw},
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv6::{Ipv6Packet, MutableIpv6Packet},
};
use std::net::Ipv6Addr;

/// EtherType of IPv6.
pub const ETHERTYPE: u16 = 0x86dd;
/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// All nodes on the link, ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const IPV6_LEN: usize = 40;
/// ICMPv6 header, flags or reserved, target.
const FIXED_LEN: usize = 24;
/// Type, length and an Ethernet address: one unit of eight bytes.
const LINK_LAYER_OPTION_LEN: usize = 8;
const FRAME_LEN: usize = HEADER_LEN + IPV6_LEN + FIXED_LEN;

/// A neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NdpFrame {
    /// Who has this address?
    Solicitation(Solicitation),
    /// This address is here.
    Advertisement(Advertisement),
}

/// A neighbour solicitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicitation {
    /// Sending station.
    pub ether_source: Mac,
    /// The solicited-node group's address, or one station in an unreachability probe.
    pub ether_destination: Mac,
    /// The asker; `::` in duplicate address detection (RFC 4862 section 5.4.2).
    pub source_ip: Ipv6Addr,
    /// Solicited-node group of the target, or the target itself.
    pub destination_ip: Ipv6Addr,
    /// The address that is asked for; never a group.
    pub target: Ipv6Addr,
    /// The asker's link-layer address; may be missing from a unicast solicitation (RFC 4861 section 4.3).
    pub source_link_layer: Option<Mac>,
}

/// A neighbour advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// Sending station; differs from `target_link_layer` when a stand-in answers.
    pub ether_source: Mac,
    /// Station or group that it goes to.
    pub ether_destination: Mac,
    /// Address of the sender.
    pub source_ip: Ipv6Addr,
    /// The asker, or all nodes.
    pub destination_ip: Ipv6Addr,
    /// The address that is advertised; never a group.
    pub target: Ipv6Addr,
    /// The R flag: the sender is a router.
    pub router: bool,
    /// The S flag: this answers a solicitation and confirms reachability. Never to a group.
    pub solicited: bool,
    /// The O flag: replaces what a cache holds.
    pub override_: bool,
    /// Where the target is.
    pub target_link_layer: Option<Mac>,
}

/// The solicited-node group of an address: ff02::1:ff and its last 24 bits (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let o = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from_be_bytes([0, o[13]]), u16::from_be_bytes([o[14], o[15]]))
}

/// The Ethernet address of an IPv6 group: 33:33 and its last 32 bits (RFC 2464 section 7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> Mac {
    let o = group.octets();
    Mac([0x33, 0x33, o[12], o[13], o[14], o[15]])
}

/// Reads an Ethernet frame with a neighbour solicitation or advertisement; padding after it is ignored.
///
/// # Errors
/// Not neighbour discovery, or one of the validity checks of RFC 4861 sections 7.1.1 and 7.1.2 fails.
pub fn parse(frame: &[u8]) -> Result<NdpFrame, DecodeError> {
    let (ethernet, ethertype, rest) = ethernet::split(frame)?;
    if ethertype != ETHERTYPE {
        return Err(DecodeError::EtherType(ethertype));
    }
    let short = DecodeError::Short { need: FRAME_LEN, have: frame.len() };
    let ip = Ipv6Packet::new(rest).ok_or(short)?;
    if ip.get_version() != 6 {
        return Err(DecodeError::IpVersion(ip.get_version()));
    }
    let IpNextHeaderProtocol(next) = ip.get_next_header();
    if ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return Err(DecodeError::NextHeader(next));
    }
    if ip.get_hop_limit() != 255 {
        return Err(DecodeError::HopLimit(ip.get_hop_limit()));
    }
    let (source_ip, destination_ip) = (ip.get_source(), ip.get_destination());
    if source_ip.is_multicast() {
        return Err(DecodeError::SourceIp);
    }
    // The length of the packet is the IPv6 header's, not the frame's: what follows is padding.
    let end = IPV6_LEN + usize::from(ip.get_payload_length());
    let message = rest.get(IPV6_LEN..end).filter(|m| m.len() >= FIXED_LEN).ok_or(short)?;
    let icmp = Icmpv6Packet::new(message).ok_or(short)?;
    if icmp.get_checksum() != icmpv6::checksum(&icmp, &source_ip, &destination_ip) {
        return Err(DecodeError::Checksum);
    }
    if icmp.get_icmpv6_code().0 != 0 {
        return Err(DecodeError::IcmpCode(icmp.get_icmpv6_code().0));
    }
    let envelope = Envelope { ethernet, source_ip, destination_ip };
    match icmp.get_icmpv6_type() {
        Icmpv6Types::NeighborSolicit => envelope.solicitation(message).map(NdpFrame::Solicitation),
        Icmpv6Types::NeighborAdvert => envelope.advertisement(message).map(NdpFrame::Advertisement),
        Icmpv6Type(other) => Err(DecodeError::IcmpType(other)),
    }
}

/// The addresses around an ICMPv6 message.
struct Envelope {
    ethernet: EthernetHeader,
    source_ip: Ipv6Addr,
    destination_ip: Ipv6Addr,
}

impl Envelope {
    fn solicitation(&self, message: &[u8]) -> Result<Solicitation, DecodeError> {
        let short = DecodeError::Short { need: FIXED_LEN, have: message.len() };
        let target = raw::NeighborSolicitPacket::new(message).ok_or(short)?.get_target_addr();
        if target.is_multicast() {
            return Err(DecodeError::Target);
        }
        let source_link_layer = link_layer(message, raw::NdpOptionTypes::SourceLLAddr)?;
        if self.source_ip.is_unspecified()
            && (self.destination_ip != solicited_node(target) || source_link_layer.is_some())
        {
            return Err(DecodeError::Probe);
        }
        Ok(Solicitation {
            ether_source: self.ethernet.source,
            ether_destination: self.ethernet.destination,
            source_ip: self.source_ip,
            destination_ip: self.destination_ip,
            target,
            source_link_layer,
        })
    }

    fn advertisement(&self, message: &[u8]) -> Result<Advertisement, DecodeError> {
        let short = DecodeError::Short { need: FIXED_LEN, have: message.len() };
        let packet = raw::NeighborAdvertPacket::new(message).ok_or(short)?;
        let (target, flags) = (packet.get_target_addr(), packet.get_flags());
        if target.is_multicast() {
            return Err(DecodeError::Target);
        }
        let solicited = flags & raw::NeighborAdvertFlags::Solicited != 0;
        if solicited && self.destination_ip.is_multicast() {
            return Err(DecodeError::SolicitedToGroup);
        }
        Ok(Advertisement {
            ether_source: self.ethernet.source,
            ether_destination: self.ethernet.destination,
            source_ip: self.source_ip,
            destination_ip: self.destination_ip,
            target,
            router: flags & raw::NeighborAdvertFlags::Router != 0,
            solicited,
            override_: flags & raw::NeighborAdvertFlags::Override != 0,
            target_link_layer: link_layer(message, raw::NdpOptionTypes::TargetLLAddr)?,
        })
    }
}

/// The link-layer address option of that type; the first one counts. Walks the options by hand: pnet multiplies the length octet in eight
/// bits, which overflows for options of 256 bytes and more.
fn link_layer(message: &[u8], kind: raw::NdpOptionType) -> Result<Option<Mac>, DecodeError> {
    let mut rest = message.get(FIXED_LEN..).unwrap_or_default();
    let mut found = None;
    while let [option, units, ..] = *rest {
        if units == 0 {
            return Err(DecodeError::Option);
        }
        let (body, tail) = rest.split_at_checked(usize::from(units) * 8).ok_or(DecodeError::Option)?;
        if option == kind.0 && found.is_none() {
            let [_, _, octets @ ..] = body else { return Err(DecodeError::Option) };
            let mac = Mac(octets.try_into().map_err(|_| DecodeError::Option)?);
            if mac.is_multicast() {
                return Err(DecodeError::SenderMac);
            }
            found = Some(mac);
        }
        rest = tail;
    }
    if rest.is_empty() { Ok(found) } else { Err(DecodeError::Option) }
}

impl Solicitation {
    /// Asks, from `source` at `mac`, who has `target`: to the group, or to the station that is believed to have it.
    #[must_use]
    pub fn ask(mac: Mac, source: Ipv6Addr, target: Ipv6Addr, station: Option<Mac>) -> Self {
        let group = solicited_node(target);
        Self {
            ether_source: mac,
            ether_destination: station.unwrap_or(multicast_mac(group)),
            source_ip: source,
            destination_ip: if station.is_some() { target } else { group },
            target,
            source_link_layer: Some(mac),
        }
    }

    /// The probe of duplicate address detection for an address that is not yet used (RFC 4862 section 5.4.2).
    #[must_use]
    pub fn probe(mac: Mac, target: Ipv6Addr) -> Self {
        Self { source_link_layer: None, ..Self::ask(mac, Ipv6Addr::UNSPECIFIED, target, None) }
    }

    /// The answer: `claim` has the target, `source` sends the frame (they differ only when a stand-in answers). A probe from `::` is
    /// answered to all nodes (RFC 4861 section 7.2.4); an asker without source option at the station that asked. Sent from the target
    /// itself, which every stack takes.
    #[must_use]
    pub const fn answer(&self, claim: Mac, source: Mac) -> Advertisement {
        let probe = self.source_ip.is_unspecified();
        let asker = match self.source_link_layer {
            Some(mac) => mac,
            None => self.ether_source,
        };
        Advertisement {
            ether_source: source,
            ether_destination: if probe { multicast_mac(ALL_NODES) } else { asker },
            source_ip: self.target,
            destination_ip: if probe { ALL_NODES } else { self.source_ip },
            target: self.target,
            router: false,
            solicited: !probe,
            override_: true,
            target_link_layer: Some(claim),
        }
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let option = self.source_link_layer.map(|mac| (raw::NdpOptionTypes::SourceLLAddr, mac));
        let ethernet = EthernetHeader { destination: self.ether_destination, source: self.ether_source };
        emit(Icmpv6Types::NeighborSolicit, ethernet, (self.source_ip, self.destination_ip), 0, self.target, option)
    }
}

impl Advertisement {
    /// The announcement of `ip` at `mac` to all nodes that replaces what they have cached (RFC 4861 section 7.2.6).
    #[must_use]
    pub const fn unsolicited(mac: Mac, ip: Ipv6Addr) -> Self {
        Self {
            ether_source: mac,
            ether_destination: multicast_mac(ALL_NODES),
            source_ip: ip,
            destination_ip: ALL_NODES,
            target: ip,
            router: false,
            solicited: false,
            override_: true,
            target_link_layer: Some(mac),
        }
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.router, raw::NeighborAdvertFlags::Router)
            | flag(self.solicited, raw::NeighborAdvertFlags::Solicited)
            | flag(self.override_, raw::NeighborAdvertFlags::Override);
        let option = self.target_link_layer.map(|mac| (raw::NdpOptionTypes::TargetLLAddr, mac));
        let ethernet = EthernetHeader { destination: self.ether_destination, source: self.ether_source };
        emit(Icmpv6Types::NeighborAdvert, ethernet, (self.source_ip, self.destination_ip), flags, self.target, option)
    }
}

impl NdpFrame {
    /// The bytes of the frame.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Solicitation(solicitation) => solicitation.emit(),
            Self::Advertisement(advertisement) => advertisement.emit(),
        }
    }
}

fn emit(
    kind: Icmpv6Type,
    header: EthernetHeader,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    flags: u8,
    target: Ipv6Addr,
    option: Option<(raw::NdpOptionType, Mac)>,
) -> Vec<u8> {
    let mut message = [0; FIXED_LEN + LINK_LAYER_OPTION_LEN];
    let len = if option.is_some() { message.len() } else { FIXED_LEN };
    let message = &mut message[..len];
    // A solicitation has the same layout, with a reserved field where an advertisement has its flags.
    if let Some(mut packet) = raw::MutableNeighborAdvertPacket::new(message) {
        packet.set_icmpv6_type(kind);
        packet.set_flags(flags);
        packet.set_target_addr(target);
    }
    if let (Some((option, mac)), Some(body)) = (option, message.get_mut(FIXED_LEN..))
        && let Some(mut packet) = raw::MutableNdpOptionPacket::new(body)
    {
        packet.set_option_type(option);
        packet.set_length(1);
        packet.set_data(&mac.0);
    }
    if let Some(mut packet) = MutableIcmpv6Packet::new(message) {
        let sum = icmpv6::checksum(&packet.to_immutable(), &source, &destination);
        packet.set_checksum(sum);
    }
    let mut datagram = [0; IPV6_LEN + FIXED_LEN + LINK_LAYER_OPTION_LEN];
    let datagram = &mut datagram[..IPV6_LEN + len];
    if let Some(mut packet) = MutableIpv6Packet::new(datagram) {
        packet.set_version(6);
        packet.set_payload_length(u16::try_from(len).unwrap_or(u16::MAX));
        packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
        packet.set_hop_limit(255);
        packet.set_source(source);
        packet.set_destination(destination);
        packet.set_payload(message);
    }
    ethernet::frame(header, ETHERTYPE, datagram)
}

#[cfg(test)]
mod tests;
