//! ARP for IPv4 over Ethernet (RFC 826), gratuitous forms and probes included (RFC 5227).

use crate::{
    DecodeError, EthernetHeader, Mac,
    ethernet::{self, HEADER_LEN},
};
use pnet::packet::{
    arp::{ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket as RawArp, MutableArpPacket},
    ethernet::{EtherTypes, MutableEthernetPacket},
};
use std::net::Ipv4Addr;

/// EtherType of ARP.
pub const ETHERTYPE: u16 = 0x0806;
/// Bytes of an ARP frame without the padding that the network card adds.
pub const FRAME_LEN: usize = HEADER_LEN + 28;

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks who has the target address; with sender = target it announces (RFC 5227 section 2.3).
    Request,
    /// Says who has the sender address.
    Reply,
}

/// The body of an ARP frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpPacket {
    /// Request or reply.
    pub operation: Operation,
    /// Link-layer address that the sender claims for `sender_ip`; never a group address.
    pub sender_mac: Mac,
    /// Address of the sender; 0.0.0.0 in a probe (RFC 5227 section 2.1.1).
    pub sender_ip: Ipv4Addr,
    /// Ignored in a request.
    pub target_mac: Mac,
    /// The address that is asked for, or the asker that is answered.
    pub target_ip: Ipv4Addr,
}

/// An ARP packet in its Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpFrame {
    /// The Ethernet addresses; the source may differ from the claimed one when a stand-in answers.
    pub ethernet: EthernetHeader,
    /// The ARP packet.
    pub packet: ArpPacket,
}

/// Reads an Ethernet frame with an ARP request or reply; padding after it is ignored.
///
/// # Errors
/// Not ARP for IPv4 over Ethernet, another operation, a group address as sender, or too short.
pub fn parse(frame: &[u8]) -> Result<ArpFrame, DecodeError> {
    let (ethernet, ethertype, payload) = ethernet::split(frame)?;
    if ethertype != ETHERTYPE {
        return Err(DecodeError::EtherType(ethertype));
    }
    let raw = RawArp::new(payload).ok_or(DecodeError::Short { need: FRAME_LEN, have: frame.len() })?;
    let format = (raw.get_hardware_type(), raw.get_protocol_type(), raw.get_hw_addr_len(), raw.get_proto_addr_len());
    if format != (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4, 6, 4) {
        return Err(DecodeError::ArpFormat);
    }
    let operation = match raw.get_operation() {
        ArpOperations::Request => Operation::Request,
        ArpOperations::Reply => Operation::Reply,
        ArpOperation(other) => return Err(DecodeError::ArpOperation(other)),
    };
    let packet = ArpPacket {
        operation,
        sender_mac: ethernet::mac(raw.get_sender_hw_addr()),
        sender_ip: raw.get_sender_proto_addr(),
        target_mac: ethernet::mac(raw.get_target_hw_addr()),
        target_ip: raw.get_target_proto_addr(),
    };
    if packet.sender_mac.is_multicast() {
        return Err(DecodeError::SenderMac);
    }
    Ok(ArpFrame { ethernet, packet })
}

impl ArpFrame {
    /// The bytes of the frame, unpadded.
    #[must_use]
    pub fn emit(&self) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        let (head, body) = bytes.split_at_mut(HEADER_LEN);
        if let Some(mut raw) = MutableEthernetPacket::new(head) {
            raw.set_destination(ethernet::raw(self.ethernet.destination));
            raw.set_source(ethernet::raw(self.ethernet.source));
            raw.set_ethertype(EtherTypes::Arp);
        }
        if let Some(mut raw) = MutableArpPacket::new(body) {
            raw.set_hardware_type(ArpHardwareTypes::Ethernet);
            raw.set_protocol_type(EtherTypes::Ipv4);
            raw.set_hw_addr_len(6);
            raw.set_proto_addr_len(4);
            raw.set_operation(match self.packet.operation {
                Operation::Request => ArpOperations::Request,
                Operation::Reply => ArpOperations::Reply,
            });
            raw.set_sender_hw_addr(ethernet::raw(self.packet.sender_mac));
            raw.set_sender_proto_addr(self.packet.sender_ip);
            raw.set_target_hw_addr(ethernet::raw(self.packet.target_mac));
            raw.set_target_proto_addr(self.packet.target_ip);
        }
        bytes
    }

    /// The unicast reply to this request: `claim` has the address that was asked for, `source` sends the frame. They differ only
    /// when a stand-in answers on behalf of a restarting owner.
    #[must_use]
    pub const fn reply(&self, claim: Mac, source: Mac) -> Self {
        Self {
            ethernet: EthernetHeader { destination: self.packet.sender_mac, source },
            packet: ArpPacket {
                operation: Operation::Reply,
                sender_mac: claim,
                sender_ip: self.packet.target_ip,
                target_mac: self.packet.sender_mac,
                target_ip: self.packet.sender_ip,
            },
        }
    }
}

/// The broadcast request that announces `ip` at `mac` (RFC 5227 section 2.3). Some neighbours honour only this form, others only
/// [`gratuitous_reply`] (metallb#172), so an announcement is both.
#[must_use]
pub const fn gratuitous_request(mac: Mac, ip: Ipv4Addr) -> ArpFrame {
    gratuitous(Operation::Request, mac, ip)
}

/// The broadcast reply that announces `ip` at `mac`.
#[must_use]
pub const fn gratuitous_reply(mac: Mac, ip: Ipv4Addr) -> ArpFrame {
    gratuitous(Operation::Reply, mac, ip)
}

/// The request that asks, from `ip` at `mac`, who has `target`: broadcast, or unicast to a station that is believed to have it.
#[must_use]
pub const fn ask(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr, destination: Mac) -> ArpFrame {
    ArpFrame {
        ethernet: EthernetHeader { destination, source: mac },
        packet: ArpPacket {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: Mac::ZERO,
            target_ip: target,
        },
    }
}

/// The broadcast probe for an address that is not yet used: the unspecified sender leaves all caches alone (RFC 5227 section 2.1.1).
#[must_use]
pub const fn probe(mac: Mac, target: Ipv4Addr) -> ArpFrame {
    ask(mac, Ipv4Addr::UNSPECIFIED, target, Mac::BROADCAST)
}

const fn gratuitous(operation: Operation, mac: Mac, ip: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        ethernet: EthernetHeader { destination: Mac::BROADCAST, source: mac },
        packet: ArpPacket { operation, sender_mac: mac, sender_ip: ip, target_mac: Mac::BROADCAST, target_ip: ip },
    }
}

#[cfg(test)]
mod tests;
