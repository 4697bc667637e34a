//! What goes into the machine and what comes out.

use super::{Cause, state};
use crate::{
    LinkName, NodeName, ServiceKey, Set,
    announce::conflict::Withheld,
    membership::{Change, Ignored},
    ownership::{HandOver, Snapshot},
};
use herald_wire::{
    Mac,
    hello::{DataPlane, Hello},
};
use ipnetwork::IpNetwork;
use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// A usable link of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its name.
    pub name: LinkName,
    /// Its MAC address.
    #[serde(serialize_with = "state::as_text")]
    pub mac: Mac,
    /// Its addresses with their prefix length.
    pub addresses: Vec<IpNetwork>,
}

impl Link {
    /// Whether a subnet of this link holds the address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.subnet_of(address).is_some()
    }

    /// The subnet of this link that holds the address.
    #[must_use]
    pub fn subnet_of(&self, address: IpAddr) -> Option<IpNetwork> {
        self.addresses.iter().copied().find(|subnet| subnet.contains(address))
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The state of the cluster, complete.
    Snapshot(Arc<Snapshot>),
    /// All usable links, as they are now.
    Links(Vec<Link>),
    /// A hello arrived on this link; its authenticity has been checked.
    Hello {
        /// Where.
        link: LinkName,
        /// Its Ethernet source; for unicast UDP the MAC that the hello names for its link.
        from: Mac,
        /// Whether it came as unicast UDP.
        by_datagram: bool,
        /// What it says; shared, as a hello to the group has many receivers.
        hello: Arc<Hello>,
    },
    /// A station says on this link that it has this address: an answer to an ask, or a claim of an address of ours.
    Answered {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
        /// The MAC address that it is said to be at.
        from: Mac,
    },
    /// What this node's health endpoint says.
    DataPlane {
        /// How the data plane is, by that endpoint alone.
        is: DataPlane,
        /// Whether that endpoint ever said that all is well.
        has_health: bool,
    },
    /// Whether the key that authenticates hellos is known.
    Key(bool),
    /// Whether MetalLB still runs in the cluster: then nothing is sent and nothing is answered.
    Standby(bool),
    /// This process ends: for good, or to be replaced.
    Stop {
        /// For good.
        leaving: bool,
    },
}

/// Where an address is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Here: the MAC address of the link that the request came on.
    Own,
    /// Here, for those who ask this node alone: another one answers everybody, and this one drains.
    Unicast,
    /// At this MAC address of a restarting owner, on whose behalf this node answers.
    For(Mac),
    /// Not to be said: the place is withheld or still being probed. It is only watched over.
    Withheld,
}

/// Something to be done. Safe to repeat; carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer for exactly these addresses on this link.
    Answer {
        /// Where.
        link: LinkName,
        /// All of them, each with where it is.
        addresses: BTreeMap<IpAddr, Claim>,
    },
    /// Say unasked that the address is here: gratuitous ARP, unsolicited Neighbor Advertisement.
    Gratuitous {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
    },
    /// Send a hello to the group, and as unicast to these addresses.
    Hello {
        /// Where.
        link: LinkName,
        /// What.
        hello: Hello,
        /// Peers that are not heard on the link, or do not hear this node there.
        unicast: Vec<IpAddr>,
    },
    /// Ask whether this address is there.
    Ask {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
        /// That station alone; `None`: everybody.
        to: Option<Mac>,
    },
    /// Ask whether anybody has this address, without saying that it is here: an ARP probe, duplicate address detection.
    Probe {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
    },
    /// From now on the address is not answered for there though it is this node's (event addressConflict).
    Withheld {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
        /// The reason.
        why: Withheld,
    },
    /// A foreign station claimed the address; it was said once more that it is here.
    Defended {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
        /// The station's.
        from: Mac,
    },
    /// Nobody claims a withheld address any more: it is answered for again (event addressConflictOver).
    ConflictOver {
        /// Where.
        link: LinkName,
        /// Which.
        address: IpAddr,
    },
    /// The membership of a link changed: to be logged and counted.
    Membership {
        /// Where.
        link: LinkName,
        /// How.
        change: Change,
    },
    /// From now on this node announces the Service (event nodeAssigned), and what moved it here.
    Announcing(ServiceKey, Cause),
    /// It goes on announcing the Service after it did not take part for a while, and nobody else had it meanwhile: the last event still holds.
    Resumed(ServiceKey, Cause),
    /// Another node said to have an address of the Service, too, and does no more: this one announces it (event nodeAssigned).
    Prevailed(ServiceKey),
    /// This node does not announce the Service any more, and what moved it away.
    Withdrawn(ServiceKey, Cause),
    /// What became of a planned move: to be logged and counted.
    HandOver {
        /// Where.
        link: LinkName,
        /// The key of the group of addresses.
        group: IpAddr,
        /// How.
        what: HandOver,
        /// The other node.
        with: NodeName,
    },
    /// This node would announce the Service, but no node has an interface that its advertisements name (event announceFailed).
    LacksInterface(ServiceKey),
}

/// What a node announces, by Service, on links of record.
pub type Announcing = BTreeMap<ServiceKey, Announced>;

/// What a node announces of one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Announced {
    /// These addresses.
    pub addresses: Set<IpAddr>,
    /// Where, when its advertisements name interfaces; empty = wherever this node has a link.
    pub links: Set<LinkName>,
}

/// What a hello was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was used.
    Used,
    /// It says nothing about a peer.
    Ignored(Ignored),
    /// The link it came on is not usable any more.
    NoLink,
}
