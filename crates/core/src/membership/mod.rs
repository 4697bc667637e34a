//! Which speakers are there on one link.
//!
//! One state machine per link: hellos, answers to asks and deadlines in; who is a member, which frames to send and the next deadline out.
//! The rules, in the order of DESIGN section 5:
//!
//! 1. A peer is a member while its hellos come. After two silent intervals it is suspected: its kernel is asked ([`echo`]).
//! 2. Silent, its kernel too, and heard by no peer that is heard here: it is gone. Who says that it leaves is gone at once. Where a kernel
//!    answers no asks, the hold time alone decides.
//! 3. Silent or saying that it restarts, while its kernel answers: its place is kept for a grace, and it is asked on. Until it is back and
//!    ready, somebody stands in for it; who that is says [`crate::ownership::Electorate::stand_in`].
//! 4. A peer that the API shows as running but whose hellos never come is *presumed* while its address answers our asks.
//! 5. A name that is no Node is no member.
//! 6. Absence is believed only after listening: at start, when the link comes up, and after a late wake-up.
//! 7. Who is in nobody's heard-set does not answer: it hears, but is not heard.
//! 8. Whose hellos come and name nobody, and whose kernel does not answer either, is gone until that changes: it is heard, but does not hear
//!    ([`hearing`]).

mod asks;
mod datagrams;
mod echo;
mod hearing;
mod opinions;
mod peer;
mod peers;
mod places;
mod reasons;
mod speaking;
mod standing;
#[cfg(test)]
mod tests;
mod types;
mod views;

use crate::{
    NodeName,
    time::{Moment, Timing},
};
use asks::Asks;
use herald_wire::{
    Mac,
    hello::{Flags, Hello, peer_hash},
};
pub use peers::{Gone, Ignored};
use peers::{Heard, Peers};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
pub use types::{Change, Expected, Frame, Identity, Member, Roster, Speaking, Standing};

/// How long the place of a restarting speaker is kept at least.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long it is kept while the API shows a pod there, also one that cannot start yet: its image is being pulled.
pub const GRACE_WITH_POD: Duration = Duration::from_secs(600);
/// How long the API may show no pod: between the old one and the new one of a DaemonSet there is none.
pub const UNSHOWN: Duration = Duration::from_secs(5);
/// So many peers' hellos of one interval, however long it is, fit into a socket (208 KiB by Linux's default, 2 to 4 KiB each).
const FEW: usize = 40;
/// Of more peers, so many hellos come in this time at most: see [`Membership::interval`].
const MOST_WAIT: Duration = Duration::from_millis(40);
/// How often the node of a restarting speaker is asked.
const RESTARTING_EVERY: Duration = Duration::from_millis(100);

/// The membership of one link.
#[derive(Debug)]
pub struct Membership {
    me: Identity,
    /// How heard-sets name this node.
    hash: u32,
    timing: Timing,
    standing: Standing,
    /// When the current listening ends at the earliest.
    listen_until: Moment,
    /// When this machine was last woken; hellos wake it every interval.
    last_wake: Moment,
    /// When it was before it woke up [`Late`](Standing::Late).
    away_since: Moment,
    next_hello: Moment,
    /// How many were said on this link.
    hellos: u64,
    told: Option<Flags>,
    /// Until when nothing is judged, because the wake-up was late and hellos may wait in the socket.
    judge_after: Moment,
    heard_by_others: Moment,
    /// When a peer last said that it keeps this speaker's place.
    kept_by_others: Option<Moment>,
    roster: Option<Roster>,
    peers: Peers,
    asks: Asks,
    /// Other links of this node whose hellos arrive here: the same segment.
    twins: BTreeMap<(u8, Mac), Moment>,
    changes: Vec<Change>,
}

impl Membership {
    /// Starts listening.
    #[must_use]
    pub fn new(me: Identity, timing: Timing, now: Moment) -> Self {
        Self {
            hash: peer_hash(me.cluster, me.node.as_str()),
            me,
            timing,
            standing: Standing::Listening,
            listen_until: now + timing.listen(),
            last_wake: now,
            away_since: now,
            next_hello: now,
            hellos: 0,
            told: None,
            judge_after: now,
            heard_by_others: now,
            kept_by_others: None,
            roster: None,
            peers: Peers::default(),
            asks: Asks::default(),
            twins: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Takes a hello that arrived on this link from this MAC; its authenticity has been checked. `by_datagram`: as unicast UDP.
    ///
    /// # Errors
    /// It says nothing about a peer, with the reason.
    pub fn hear(&mut self, hello: &Hello, from: Mac, by_datagram: bool, now: Moment) -> Result<(), Ignored> {
        let node = NodeName::new(hello.node.as_str());
        if node == self.me.node {
            if hello.incarnation != self.me.incarnation {
                return Err(Ignored::OwnName);
            }
            self.twins.insert((hello.link, from), now);
            return Err(Ignored::OwnFrame);
        }
        let hears_me = hello.heard.contains(&self.hash);
        if hears_me {
            self.heard_by_others = now;
        }
        // Who takes no part yet knows no better than this node: when all start at once, nobody's place was kept.
        if hello.flags.ready && hello.kept.contains(&self.hash) {
            self.kept_by_others = Some(now);
        }
        let heard = self.peers.hear(&node, hello, from, by_datagram, hears_me, now)?;
        let change = match heard {
            Heard::New => {
                if self.asks.heard(&node) {
                    self.peers.keep(&node, now);
                }
                Change::Joined(node)
            }
            Heard::Readiness(ready) => Change::Ready(node, ready),
            Heard::Leaving => Change::Left(node, Gone::Leaving),
            Heard::Restarting => Change::Restarting(node),
            Heard::Back => Change::Back(node),
            Heard::DataPlane(plane) => Change::DataPlane(node, plane),
            Heard::Links => Change::Links(node),
            Heard::Same => return Ok(()),
        };
        self.changes.push(change);
        Ok(())
    }

    /// Takes an answer to an ask: that address is there, at this MAC.
    pub fn answered(&mut self, address: IpAddr, from: Mac, now: Moment) {
        for (node, heard) in self.peers.answered(address, from, now) {
            self.changes.push(if heard == Heard::New { Change::Joined(node) } else { Change::Ready(node, true) });
        }
        for (node, awaited) in self.asks.answered(address, from) {
            self.changes.push(if awaited { Change::Restarting(node) } else { Change::Presumed(node, true) });
        }
    }

    /// Takes the newest word of the API.
    pub fn set_roster(&mut self, roster: Roster, now: Moment) {
        let listening = self.standing == Standing::Listening;
        self.peers.expect(&roster.expected, now);
        self.asks.expect(&roster.expected, |node| self.peers.ever_heard(node), listening, now);
        self.roster = Some(roster);
    }

    /// Until when routine hellos may wait in the kernel: for no longer than an interval, and no more of them than a socket has room for.
    fn take_by(&self) -> Moment {
        let wait = if self.peers.len() > FEW { self.timing.interval().min(MOST_WAIT) } else { self.timing.interval() };
        self.last_wake + wait
    }

    /// When this machine wants to be woken at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Moment {
        [self.peers.next_wake(), self.asks.next(self.timing, self.last_wake)]
            .into_iter()
            .flatten()
            .map(|deadline| deadline.max(self.judge_after))
            .chain([self.next_hello, self.take_by()])
            .chain(
                matches!(self.standing, Standing::Listening | Standing::Late)
                    .then_some(self.listen_until)
                    .filter(|until| *until > self.last_wake),
            )
            .min()
            .unwrap_or(self.next_hello)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
