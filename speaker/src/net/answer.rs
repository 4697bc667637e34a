//! Which ARP request and which neighbour solicitation is answered, and how. Pure: a table and a moment in, bytes out.

use herald_core::{speaker::Claim, time::Moment};
use herald_wire::{
    Mac,
    arp::{self, ArpFrame, Operation},
    ndp::{self, NdpFrame},
};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Everything that a link's responder answers for. Replaced as a whole, shared with the tasks of the link.
#[derive(Debug, Clone, Default)]
pub struct AnswerTable {
    /// The link's MAC address: what answers are sent from.
    pub mac: Mac,
    /// The addresses. Looked up, never walked: one probe whatever their number.
    pub addresses: HashMap<IpAddr, Answer>,
    /// Until when the table may be used.
    pub fence: Fence,
}

/// How an address is answered for.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Requests to everybody are another node's to answer; this one has handed the address over, and serves those that still use it.
    pub unicast_only: bool,
    /// The MAC address that is given as the address's place: the link's own, or a restarting owner's when this node stands in for it.
    pub claim: Mac,
    /// Not answered for, only watched over: it is being probed, or somebody else has it.
    pub withheld: bool,
    /// What happened to this address, read when metrics are scraped.
    pub counters: Arc<AddressCounters>,
}

/// What happened to an address on a link, since it was first answered for.
#[derive(Debug, Default)]
pub struct AddressCounters {
    /// Requests that were to be answered.
    pub requests_received: AtomicU64,
    /// Answers that the kernel took.
    pub responses_sent: AtomicU64,
    /// Frames in which another node's speaker claimed the address: two announce it.
    pub claims_by_members: AtomicU64,
    /// Frames in which a foreign station claimed it: a conflict.
    pub claims_by_others: AtomicU64,
}

impl AddressCounters {
    /// Counts a claim by another station.
    pub(crate) fn count_claim(&self, by_member: bool) {
        let counter = if by_member { &self.claims_by_members } else { &self.claims_by_others };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Claims by other stations, whosever.
    pub(crate) fn claims(&self) -> u64 {
        self.claims_by_members.load(Ordering::Relaxed) + self.claims_by_others.load(Ordering::Relaxed)
    }
}

impl AnswerTable {
    /// How many addresses are answered for on behalf of restarting owners.
    #[must_use]
    pub fn stood_in(&self) -> usize {
        self.addresses.values().filter(|answer| answer.claim != self.mac).count()
    }

    /// How many addresses are drained: answered for unicast requests alone.
    #[must_use]
    pub fn drained(&self) -> usize {
        self.addresses.values().filter(|answer| answer.unicast_only).count()
    }

    /// Whether the address is only watched over.
    fn withholds(&self, address: IpAddr) -> bool {
        self.addresses.get(&address).is_some_and(|answer| answer.withheld)
    }

    /// The table that answers for `addresses` from `mac`; addresses that were in this one go on counting where they are.
    #[must_use]
    pub fn with(&self, mac: Mac, addresses: &BTreeMap<IpAddr, Claim>) -> Self {
        let answer = |(address, claim): (&IpAddr, &Claim)| {
            let counters = self.addresses.get(address).map(|old| Arc::clone(&old.counters)).unwrap_or_default();
            let (unicast_only, withheld) = (*claim == Claim::Unicast, *claim == Claim::Withheld);
            let claim = match claim {
                Claim::Own | Claim::Unicast | Claim::Withheld => mac,
                Claim::For(owner) => *owner,
            };
            (*address, Answer { unicast_only, claim, withheld, counters })
        };
        Self { mac, addresses: addresses.iter().map(answer).collect(), fence: self.fence.clone() }
    }
}

/// Until when answers are safe. A process that was frozen wakes up with a table that may long be another node's; its tasks must stay silent
/// until the driver has looked around.
#[derive(Debug, Clone, Default)]
pub struct Fence(Arc<AtomicU64>);

impl Fence {
    /// Allows answers up to and including this moment.
    pub fn set(&self, good_until: Moment) {
        self.0.store(good_until.as_micros(), Ordering::Relaxed);
    }

    /// Whether answers are allowed.
    #[must_use]
    pub fn allows(&self, now: Moment) -> bool {
        now.as_micros() <= self.0.load(Ordering::Relaxed)
    }
}

/// An answer to be sent.
#[derive(Debug)]
pub struct Reply<'t> {
    /// The address that was asked for.
    pub address: IpAddr,
    /// The frame.
    pub frame: Vec<u8>,
    /// Where it is counted.
    pub counters: &'t AddressCounters,
}

/// Why a frame gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Not a valid request or advertisement.
    Malformed,
    /// Sent by this very station and reflected by the network.
    Own,
    /// A reply or an advertisement.
    NotARequest,
    /// A gratuitous request: it announces its sender's address and asks nothing (RFC 5227 section 2.3).
    Announcement,
    /// The Ethernet destination is neither a group nor this station.
    OtherDestination,
    /// The address is not answered for here.
    NotOwned,
    /// Sent to everybody for an address that this node has handed over and still drains.
    Draining,
    /// The address is in the table, but the table's time has passed.
    Expired,
    /// The address is probed, or somebody else has it.
    Withheld,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Own,
        Self::NotARequest,
        Self::Announcement,
        Self::OtherDestination,
        Self::NotOwned,
        Self::Draining,
        Self::Expired,
        Self::Withheld,
    ];

    /// The reason as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Own => "own",
            Self::NotARequest => "not_a_request",
            Self::Announcement => "announcement",
            Self::OtherDestination => "other_destination",
            Self::NotOwned => "not_owned",
            Self::Draining => "draining",
            Self::Expired => "expired",
            Self::Withheld => "withheld",
        }
    }
}

/// A frame that says something about who is where on the link; of use to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// An ARP reply, a request whose sender claims one of our addresses, or a probe for one that is withheld (RFC 5227 section 2.1.1).
    Arp(ArpFrame),
    /// A neighbour advertisement, or a solicitation of that kind.
    Neighbor(NdpFrame),
}

impl Sight {
    /// The address that somebody is said to have, and where.
    #[must_use]
    pub fn claim(&self) -> (IpAddr, Mac) {
        match self {
            Self::Arp(ArpFrame { packet, .. }) if packet.sender_ip.is_unspecified() => {
                (packet.target_ip.into(), packet.sender_mac)
            }
            Self::Arp(ArpFrame { packet, .. }) => (packet.sender_ip.into(), packet.sender_mac),
            Self::Neighbor(NdpFrame::Advertisement(na)) => {
                (na.target.into(), na.target_link_layer.unwrap_or(na.ether_source))
            }
            Self::Neighbor(NdpFrame::Solicitation(ns)) if ns.source_ip.is_unspecified() => {
                (ns.target.into(), ns.ether_source)
            }
            Self::Neighbor(NdpFrame::Solicitation(ns)) => {
                (ns.source_ip.into(), ns.source_link_layer.unwrap_or(ns.ether_source))
            }
        }
    }
}

/// What is to be done with a frame.
#[derive(Debug)]
pub struct Verdict<'t> {
    /// The answer, or why there is none.
    pub answer: Result<Reply<'t>, DropReason>,
    /// What the driver should see of it.
    pub sight: Option<Sight>,
}

impl Verdict<'_> {
    const fn dropped(reason: DropReason) -> Self {
        Self { answer: Err(reason), sight: None }
    }
}

/// Judges a frame from an ARP socket.
///
/// Requests for an owned address are answered when they are broadcast or sent to this station, probes (sender 0.0.0.0) too; while it
/// is drained, only when they are sent to this station.
#[must_use]
pub fn judge_arp<'t>(bytes: &[u8], table: &'t AnswerTable, now: Moment) -> Verdict<'t> {
    let Ok(frame) = arp::parse(bytes) else { return Verdict::dropped(DropReason::Malformed) };
    if frame.ethernet.source == table.mac {
        return Verdict::dropped(DropReason::Own);
    }
    let packet = &frame.packet;
    if packet.operation == Operation::Reply {
        return Verdict { answer: Err(DropReason::NotARequest), sight: Some(Sight::Arp(frame)) };
    }
    let claimed = if packet.sender_ip.is_unspecified() {
        table.withholds(packet.target_ip.into())
    } else {
        table.addresses.contains_key(&packet.sender_ip.into())
    };
    let sight = claimed.then_some(Sight::Arp(frame));
    let answer = if packet.sender_ip == packet.target_ip {
        Err(DropReason::Announcement)
    } else if frame.ethernet.destination != Mac::BROADCAST && frame.ethernet.destination != table.mac {
        Err(DropReason::OtherDestination)
    } else {
        let to = frame.ethernet.destination;
        reply(table, packet.target_ip.into(), to, now, |claim| frame.reply(claim, table.mac).emit().to_vec())
    };
    Verdict { answer, sight }
}

/// Judges a frame from a neighbour discovery socket.
///
/// Solicitations for an owned address are answered when they are sent to a group or to this station, with or without source option, and
/// those of duplicate address detection too (RFC 4861 section 7.2.3, RFC 4862 section 5.4.3).
#[must_use]
pub fn judge_ndp<'t>(bytes: &[u8], table: &'t AnswerTable, now: Moment) -> Verdict<'t> {
    let solicitation = match ndp::parse(bytes) {
        Err(_) => return Verdict::dropped(DropReason::Malformed),
        Ok(NdpFrame::Advertisement(na)) if na.ether_source == table.mac => return Verdict::dropped(DropReason::Own),
        Ok(frame @ NdpFrame::Advertisement(_)) => {
            return Verdict { answer: Err(DropReason::NotARequest), sight: Some(Sight::Neighbor(frame)) };
        }
        Ok(NdpFrame::Solicitation(solicitation)) => solicitation,
    };
    if solicitation.ether_source == table.mac {
        return Verdict::dropped(DropReason::Own);
    }
    if !solicitation.ether_destination.is_multicast() && solicitation.ether_destination != table.mac {
        return Verdict::dropped(DropReason::OtherDestination);
    }
    let claimed = if solicitation.source_ip.is_unspecified() {
        table.withholds(solicitation.target.into())
    } else {
        table.addresses.contains_key(&solicitation.source_ip.into())
    };
    let sight = claimed.then_some(Sight::Neighbor(NdpFrame::Solicitation(solicitation)));
    let answer = reply(table, solicitation.target.into(), solicitation.ether_destination, now, |claim| {
        solicitation.answer(claim, table.mac).emit()
    });
    Verdict { answer, sight }
}

fn reply(
    table: &AnswerTable,
    address: IpAddr,
    to: Mac,
    now: Moment,
    frame: impl FnOnce(Mac) -> Vec<u8>,
) -> Result<Reply<'_>, DropReason> {
    let answer = table.addresses.get(&address).ok_or(DropReason::NotOwned)?;
    if answer.withheld {
        return Err(DropReason::Withheld);
    }
    if answer.unicast_only && to != table.mac {
        return Err(DropReason::Draining);
    }
    if !table.fence.allows(now) {
        return Err(DropReason::Expired);
    }
    Ok(Reply { address, frame: frame(answer.claim), counters: &answer.counters })
}

#[cfg(test)]
mod tests;
