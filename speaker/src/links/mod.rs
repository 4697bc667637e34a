//! The network links of this node: which there are, which can be used, and what addresses they have. From netlink events, never from polling.
//!
//! [`table`] is the pure part (messages in, links out), [`watch`](mod@watch) keeps it up to date, [`exclude`] names those that are not used.

pub mod exclude;
pub mod table;
pub mod watch;

use herald_core::{LinkName, reason::Reason};
use herald_wire::Mac;
use ipnetwork::IpNetwork;
use std::{borrow::Cow, collections::BTreeMap};

/// All links of this node by name, usable or not.
pub type Links = BTreeMap<LinkName, Link>;

/// A link of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index: another one after the link was deleted and made anew, even under the same name.
    pub index: u32,
    /// Its name.
    pub name: LinkName,
    /// Its current MAC address; zero when it is not Ethernet.
    pub mac: Mac,
    /// Its addresses with prefix length, in the kernel's order. Those that duplicate address detection still examines or has refused are
    /// left out: nobody may speak from them (RFC 4862 section 5.4).
    pub addresses: Vec<IpNetwork>,
    /// Whether addresses may be announced on it, or why not.
    pub usable: Result<(), Unusable>,
}

/// Why a link is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unusable {
    /// The loopback link.
    #[error("it is the loopback link")]
    Loopback,
    /// An expression of the exclude list matches its name.
    #[error("its name matches {0:?}, which is on the exclude list")]
    ExcludedByName(String),
    /// Not Ethernet: nothing to answer ARP with (a tunnel, InfiniBand).
    #[error("it is not an Ethernet link")]
    NotEthernet,
    /// Part of a bond, bridge or VRF: that one is used instead.
    #[error("it belongs to another link (bond, bridge or VRF), which is used instead")]
    Enslaved,
    /// It does no ARP.
    #[error("ARP is switched off on it")]
    NoArp,
    /// Switched off by the administrator.
    #[error("it is down")]
    Down,
    /// No cable, or the other side is down.
    #[error("it has no carrier")]
    NoCarrier,
}

impl Reason for Unusable {
    fn label(&self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::ExcludedByName(_) => "excluded_by_name",
            Self::NotEthernet => "not_ethernet",
            Self::Enslaved => "enslaved",
            Self::NoArp => "no_arp",
            Self::Down => "down",
            Self::NoCarrier => "no_carrier",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Loopback => "use another link",
            Self::ExcludedByName(_) => "change the exclude list (--exclude-interfaces) if it is to be used",
            Self::NotEthernet => "use an Ethernet link",
            Self::Enslaved => "look at the link that it belongs to",
            Self::NoArp => "switch it on: ip link set dev X arp on",
            Self::Down => "bring it up: ip link set dev X up",
            Self::NoCarrier => "see the cable, the switch port, or the other side",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_label_and_a_next_step() {
        use Unusable::*;
        let all = [Loopback, ExcludedByName("x".to_owned()), NotEthernet, Enslaved, NoArp, Down, NoCarrier];
        let labels: std::collections::BTreeSet<&str> = all.iter().map(Reason::label).collect();
        assert_eq!(labels.len(), all.len());
        for reason in all {
            assert!(!reason.next_step().is_empty() && !reason.to_string().contains(&*reason.next_step()), "{reason}");
        }
    }
}
