//! Netlink messages become links. Pure.

use super::{Link, Links, Unusable, exclude::Exclude};
use herald_core::LinkName;
use herald_wire::Mac;
use ipnetwork::IpNetwork;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
};
use std::{collections::BTreeMap, net::IpAddr};

/// What netlink has told so far, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    links: BTreeMap<u32, Raw>,
    addresses: BTreeMap<u32, Vec<Address>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Raw {
    name: String,
    mac: Option<Mac>,
    flags: LinkFlags,
    enslaved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    net: IpNetwork,
    /// Past duplicate address detection.
    valid: bool,
}

impl Table {
    /// Takes one message of a dump or an event. Safe to repeat.
    pub fn apply(&mut self, message: &RouteNetlinkMessage) {
        match message {
            // A bridge reports its ports with messages of its own family: "deleted" only means that a port has left the bridge, and the rest
            // is said again by an ordinary message.
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family == AddressFamily::Bridge => {}
            RouteNetlinkMessage::NewLink(link) => {
                if let Some(raw) = raw(link) {
                    self.links.insert(link.header.index, raw);
                }
            }
            RouteNetlinkMessage::DelLink(link) => {
                self.links.remove(&link.header.index);
                self.addresses.remove(&link.header.index);
            }
            RouteNetlinkMessage::NewAddress(message) => {
                if let Some(address) = address(message) {
                    let known = self.addresses.entry(message.header.index).or_default();
                    match known.iter_mut().find(|old| old.net == address.net) {
                        Some(old) => *old = address,
                        None => known.push(address),
                    }
                }
            }
            RouteNetlinkMessage::DelAddress(message) => {
                if let Some(address) = address(message)
                    && let Some(known) = self.addresses.get_mut(&message.header.index)
                {
                    known.retain(|old| old.net != address.net);
                }
            }
            _ => {}
        }
    }

    /// The links as they are now, judged with this exclude list.
    #[must_use]
    pub fn links(&self, excluded: &Exclude) -> Links {
        let link = |(index, raw): (&u32, &Raw)| {
            let name = LinkName::new(raw.name.clone());
            let addresses = self.addresses.get(index).into_iter().flatten();
            let link = Link {
                index: *index,
                name: name.clone(),
                mac: raw.mac.unwrap_or_default(),
                addresses: addresses.filter(|address| address.valid).map(|address| address.net).collect(),
                usable: usable(raw, excluded),
            };
            (name, link)
        };
        self.links.iter().map(link).collect()
    }
}

/// Lasting reasons first: "down" is only worth saying of a link that would otherwise be used.
fn usable(raw: &Raw, excluded: &Exclude) -> Result<(), Unusable> {
    if raw.flags.contains(LinkFlags::Loopback) {
        return Err(Unusable::Loopback);
    }
    if let Some(pattern) = excluded.matching(&raw.name) {
        return Err(Unusable::ExcludedByName(pattern.to_owned()));
    }
    if raw.mac.is_none() {
        return Err(Unusable::NotEthernet);
    }
    if raw.enslaved {
        return Err(Unusable::Enslaved);
    }
    if raw.flags.contains(LinkFlags::Noarp) {
        return Err(Unusable::NoArp);
    }
    if !raw.flags.contains(LinkFlags::Up) {
        return Err(Unusable::Down);
    }
    if !raw.flags.contains(LinkFlags::LowerUp) {
        return Err(Unusable::NoCarrier);
    }
    Ok(())
}

fn raw(message: &LinkMessage) -> Option<Raw> {
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let (mut name, mut mac, mut enslaved) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(octets) if ethernet => mac = <[u8; 6]>::try_from(octets.as_slice()).ok().map(Mac),
            LinkAttribute::Controller(index) => enslaved = *index != 0,
            _ => {}
        }
    }
    Some(Raw { name: name?, mac, flags: message.header.flags, enslaved })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut address, mut full) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(flags) => full = *flags,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other side; IPv6 without a peer has only IFA_ADDRESS (rtnetlink(7)).
    let ip: IpAddr = local.or(address)?;
    let pending = message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed)
        || full.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
    // An optimistic address may be used while it is examined (RFC 4429).
    let optimistic = full.contains(AddressFlags::Optimistic) && !full.contains(AddressFlags::Dadfailed);
    Some(Address { net: IpNetwork::new(ip, message.header.prefix_len).ok()?, valid: !pending || optimistic })
}

#[cfg(test)]
mod tests;
