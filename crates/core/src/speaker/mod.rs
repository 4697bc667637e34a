//! All of a node's announcing as one state machine: [`Input`]s and moments in, [`Effect`]s out.
//!
//! The real speaker and the simulated LAN drive the same machine; neither has rules of its own. After every batch of inputs, and at
//! [`Speaker::next_deadline`] at the latest, the driver looks whether [`Speaker::is_due`]; then it calls [`Speaker::poll`] and carries out
//! what comes back, in that order.

mod cause;
mod decide;
mod inputs;
mod messages;
mod owned;
mod segments;
mod services;
mod state;
mod withheld;

pub use cause::Cause;
use decide::Said;
pub use messages::{Announced, Announcing, Claim, Effect, Input, Link, Taken};
use services::Told;
pub use state::{LinkState, Obstacle, State};

use crate::{
    LinkName, NodeName, ServiceKey,
    announce::{
        Announcer, Place,
        conflict::{Guard, Policy, Withheld},
    },
    membership::{Change, Frame, Gone, Identity, Member, Membership, Speaking, Standing},
    ownership::{Holder, Moves, Plan, Snapshot},
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{Conflict, DataPlane, LinkInfo, peer_hash},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// The announcing of one node.
#[derive(Debug)]
pub struct Speaker {
    me: Identity,
    timing: Timing,
    sequence: u64,
    moves: Moves,
    plan: Option<Plan>,
    /// The plan that was last decided on, while another one waits.
    before: Option<Plan>,
    /// Who holds what, on the links where this node takes part.
    holders: BTreeMap<LinkName, Holder>,
    links: BTreeMap<LinkName, Link>,
    /// The same, as hellos say them.
    infos: Arc<[LinkInfo]>,
    memberships: BTreeMap<LinkName, Membership>,
    announcer: Announcer,
    guard: Guard,
    /// Places that are never used, whoever is there.
    refused: BTreeMap<Place, Withheld>,
    /// What other nodes owned when it was last decided.
    others: BTreeMap<LinkName, Vec<IpAddr>>,
    /// What members withhold because of foreign stations, also of those that are gone since.
    known: BTreeMap<(LinkName, NodeName), BTreeMap<IpAddr, Mac>>,
    /// MAC addresses of the cluster's nodes, also of those that are gone from the link: their claims are no conflicts.
    ours: BTreeMap<Mac, NodeName>,
    /// What moved here the places that are being probed: of several causes the one that counts most.
    probed_for: Cause,
    /// What claims led to since the last poll.
    pending: Vec<Effect>,
    /// What each link's responder was told to answer.
    answers: BTreeMap<LinkName, BTreeMap<IpAddr, Claim>>,
    announcing: Arc<Announcing>,
    told: Told,
    /// Services that this node would announce if any node had an interface that their advertisements name, and when that is to be said;
    /// `None`: it was.
    lacking: BTreeMap<ServiceKey, Option<Moment>>,
    /// By this node's health endpoint alone.
    data_plane: DataPlane,
    /// Whether that ever said that all is well.
    has_health: bool,
    /// Whether one of another node did.
    others_have_health: bool,
    key: bool,
    standby: bool,
    stop: Option<bool>,
    /// What changed that ownership depends on, since it was decided.
    due: Option<Cause>,
    /// When it was.
    decided: Moment,
    /// How long it took then, with what was done about it.
    took: Duration,
    /// Words of hand-overs since then.
    said: Vec<Said>,
    /// Since the last poll nothing came but hellos, and answers to asks, that changed nothing.
    settled: bool,
}

impl Speaker {
    /// Starts without links and without a snapshot: it says nothing yet.
    #[must_use]
    pub fn new(me: Identity, timing: Timing) -> Self {
        let guard = Guard::new(Policy::default(), u64::from(peer_hash(me.cluster, me.node.as_str())));
        Self {
            me,
            timing,
            sequence: 0,
            moves: Moves::default(),
            plan: None,
            before: None,
            holders: BTreeMap::new(),
            links: BTreeMap::new(),
            infos: Arc::default(),
            memberships: BTreeMap::new(),
            announcer: Announcer::default(),
            guard,
            refused: BTreeMap::new(),
            others: BTreeMap::new(),
            known: BTreeMap::new(),
            ours: BTreeMap::new(),
            probed_for: Cause::Speaker,
            pending: Vec::new(),
            answers: BTreeMap::new(),
            announcing: Arc::default(),
            told: Told::default(),
            lacking: BTreeMap::new(),
            data_plane: DataPlane::default(),
            has_health: false,
            others_have_health: false,
            key: false,
            standby: false,
            stop: None,
            due: Some(Cause::Speaker),
            decided: Moment::default(),
            took: Duration::ZERO,
            said: Vec::new(),
            settled: false,
        }
    }

    /// With other times for planned moves.
    #[must_use]
    pub fn with_moves(self, moves: Moves) -> Self {
        Self { moves, ..self }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Moment) -> Taken {
        let heard = matches!(input, Input::Hello { .. } | Input::Answered { .. });
        let taken = self.take(input, now);
        self.settled &=
            heard && self.pending.is_empty() && self.decides_at().is_none_or(|when| when > now) && self.are_settled();
        taken
    }

    /// Whether hellos that say that they are [`routine`](Hello::routine) may wait until [`Speaker::next_deadline`]: everybody is well, and
    /// nothing is to be told. They are handed over with the moments of their arrival then, before [`Speaker::poll`].
    #[must_use]
    pub fn lets_wait(&self) -> bool {
        self.due.is_none() && self.said.is_empty() && self.are_settled()
    }

    fn are_settled(&self) -> bool {
        self.memberships.values().all(Membership::is_settled) && self.holders.values().all(Holder::is_settled)
    }

    /// Whether [`Speaker::poll`] has something to do. Of an idle speaker's inputs almost all are hellos that change nothing but when their
    /// sender was heard last: a poll after each would be most of its work.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        !self.settled || self.next_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Ownership is to be decided anew.
    fn decide_for(&mut self, cause: Cause) {
        self.due = self.due.max(Some(cause));
    }

    /// The state of the cluster that is decided on.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.plan.as_ref().map(Plan::snapshot)
    }

    /// Judges deadlines and says what is to be done now. Everything received has to be handled before.
    pub fn poll(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.pending);
        for (name, membership) in &mut self.memberships {
            if !self.standby {
                membership.wake(now);
            }
            let changes = membership.take_changes();
            self.others_have_health = self.others_have_health || !changes.is_empty() && membership.has_health();
            for change in changes {
                self.due = self.due.max(Some(Cause::from(&change)));
                if matches!(change, Change::Joined(_) | Change::Back(_)) {
                    self.told.joined(now);
                }
                if matches!(change, Change::Left(_, Gone::Deaf)) {
                    // It has taken everybody else for dead, and has claimed what this node announces.
                    self.announcer.again(name, now);
                }
                effects.push(Effect::Membership { link: name.clone(), change });
            }
        }
        if self.holders.values().filter_map(Holder::next_deadline).any(|deadline| deadline <= now) {
            self.decide_for(Cause::HandOver);
        }
        self.probe(now, &mut effects);
        self.settle_changes(now, &mut effects);
        for (link, holder) in &mut self.holders {
            let told = holder.take_told().into_iter();
            effects.extend(told.map(|(group, what, with)| Effect::HandOver { link: link.clone(), group, what, with }));
        }
        self.tell_lacking(now, &mut effects);
        self.tell_contested(now, &mut effects);
        if !self.is_late() {
            for (link, address) in self.announcer.due(now) {
                effects.push(Effect::Gratuitous { link, address });
            }
        }
        if !self.standby {
            self.speak(now, &mut effects);
        }
        self.settled = true;
        effects
    }

    /// What was wanted at that [`poll`](Speaker::poll) is done now. Who calls this has more time for everything else when decisions take long;
    /// who does not decides as if they took no time.
    pub fn done(&mut self, polled: Moment, now: Moment) {
        if self.decided == polled {
            self.took = now.since(polled);
        }
    }

    /// How this node's data plane is. Where nobody's endpoint ever said that all is well, there is none, and something else passes the packets;
    /// a node that is new, or came back, may be the only one whose has not answered yet.
    #[must_use]
    pub fn data_plane(&self) -> DataPlane {
        if self.has_health || self.others_have_health { self.data_plane } else { DataPlane::Ready }
    }

    fn ready(&self) -> bool {
        self.can_own() && self.stop.is_none()
    }

    /// Also in its last moments before a restart: what it owns stays its own, and its answers are those of who stands in for it then.
    fn can_own(&self) -> bool {
        self.plan.is_some() && self.key && !self.standby && self.stop != Some(true)
    }

    /// Members of a link, this speaker included, with its links on that segment.
    fn members(&self, membership: &Membership, own: &BTreeSet<LinkName>) -> BTreeMap<NodeName, Member> {
        let mut members = membership.members();
        let ready = self.can_own() && membership.takes_part();
        let links = own.iter().cloned().collect();
        members
            .insert(self.me.node.clone(), Member { ready, links, data_plane: self.data_plane(), ..Member::default() });
        members
    }

    fn speak(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let (ready, data_plane) = (self.ready(), self.data_plane());
        let stamp = self.snapshot().map(|snapshot| snapshot.stamp).unwrap_or_default();
        let mut conflicts: BTreeMap<LinkName, Vec<Conflict>> = BTreeMap::new();
        if self.guard.held().next().is_some() {
            conflicts.extend(self.links.keys().map(|link| (link.clone(), self.conflicts_on(link))));
        }
        for (index, (name, membership)) in self.memberships.iter_mut().enumerate() {
            let speaking = Speaking {
                ready,
                leaving: self.stop == Some(true),
                restarting: self.stop == Some(false),
                data_plane,
                has_health: self.has_health,
                links: Arc::clone(&self.infos),
                link: u8::try_from(index).unwrap_or(u8::MAX),
                stamp,
                hurries: self.holders.get(name).is_some_and(Holder::hurries),
            };
            for frame in membership.frames(&speaking, &mut self.sequence, now) {
                effects.push(match frame {
                    Frame::Hello(mut hello, unicast) => {
                        hello.conflicts = conflicts.get(name).cloned().unwrap_or_default();
                        if let Some(holder) = self.holders.get_mut(name).filter(|_| hello.flags.ready) {
                            let me = &self.me;
                            let words = holder.words(me.cluster, &me.node, hello.heard.len(), now);
                            // What is said to a certain node is a question or an answer.
                            hello.routine &= words.iter().all(|said| said.peer == 0);
                            hello.moves = Some(words);
                        }
                        Effect::Hello { link: name.clone(), hello: *hello, unicast }
                    }
                    Frame::Ask(address, to) => Effect::Ask { link: name.clone(), address, to },
                });
            }
        }
    }

    /// When [`Speaker::poll`] has something to do at the latest; `None` while there is nothing to wait for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.standby && self.due.is_none() {
            return None;
        }
        let memberships = self.memberships.values().map(Membership::next_deadline);
        let lacking = self.lacking.values().flatten().copied();
        // What holders wait for is a decision.
        let holders = self.holders.values().filter_map(Holder::next_deadline).min();
        let holders = holders.map(|deadline| deadline.max(self.next_decision()));
        let bursts = self.announcer.next_deadline().filter(|_| !self.is_late());
        let said = [bursts, self.guard.next_deadline(), self.decides_at(), holders, self.told.next_deadline()];
        memberships.chain(said.into_iter().flatten()).chain(lacking).min()
    }

    /// Until when answers on this link are safe; after that, without another [`Speaker::poll`], others may have taken over.
    #[must_use]
    pub fn good_until(&self, link: &LinkName) -> Option<Moment> {
        self.memberships.get(link).and_then(Membership::good_until)
    }

    /// Whether a node of the cluster has this MAC address: its speaker was heard, or it answers on the link.
    #[must_use]
    pub fn is_of_a_member(&self, link: &LinkName, mac: Mac) -> bool {
        self.is_ours(mac) || self.memberships.get(link).is_some_and(|membership| membership.is_of_a_member(mac))
    }

    /// What this node announces, by Service, on links of record.
    #[must_use]
    pub fn announcing(&self) -> &Arc<Announcing> {
        &self.announcing
    }

    /// Members and standing of a link, for metrics and the simulator.
    #[must_use]
    pub fn link(&self, link: &LinkName) -> Option<(Standing, BTreeMap<NodeName, Member>)> {
        let segments = segments::of(&self.links, &self.memberships);
        let state = |membership: &Membership| (membership.standing(), self.members(membership, segments.names(link)));
        self.memberships.get(link).map(state)
    }

    /// Whether it woke up too late, on all links at once, and listens whether others have taken over.
    fn is_late(&self) -> bool {
        self.memberships.values().any(|membership| membership.standing() == Standing::Late)
    }

    /// Whether every link takes part and everything needed is known.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.ready() && self.memberships.values().all(|membership| membership.standing() == Standing::Present)
    }
}
