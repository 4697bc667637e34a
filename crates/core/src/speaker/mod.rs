//! All of a node's announcing as one state machine: [`Input`]s and moments in, [`Effect`]s out.
//!
//! The real speaker and the simulated LAN drive the same machine; neither has rules of its own. After every batch of inputs, and at
//! [`Speaker::next_deadline`] at the latest, the driver calls [`Speaker::poll`] and carries out what comes back, in that order.

mod messages;
mod segments;
mod state;

pub use messages::{Effect, Input, Link, Taken};
pub use state::{LinkState, ServiceState, State};

use crate::{
    LinkName, NodeName, ServiceKey, Set,
    announce::{Announcer, Place},
    membership::{Frame, Identity, Member, Membership, Roster, Speaking, Standing},
    ownership::{Group, Snapshot, desired, groups},
    time::{Moment, Timing},
};
use herald_wire::hello::LinkInfo;
use ipnetwork::IpNetwork;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The announcing of one node.
#[derive(Debug)]
pub struct Speaker {
    me: Identity,
    timing: Timing,
    sequence: u64,
    snapshot: Option<Arc<Snapshot>>,
    groups: Vec<Group>,
    links: BTreeMap<LinkName, Link>,
    memberships: BTreeMap<LinkName, Membership>,
    announcer: Announcer,
    /// What each link's responder was told to answer.
    answers: BTreeMap<LinkName, BTreeSet<IpAddr>>,
    announcing: Arc<BTreeMap<ServiceKey, Set<IpAddr>>>,
    key: bool,
    standby: bool,
    stop: Option<bool>,
    /// Something that ownership depends on changed.
    dirty: bool,
}

impl Speaker {
    /// Starts without links and without a snapshot: it says nothing yet.
    #[must_use]
    pub fn new(me: Identity, timing: Timing) -> Self {
        Self {
            me,
            timing,
            sequence: 0,
            snapshot: None,
            groups: Vec::new(),
            links: BTreeMap::new(),
            memberships: BTreeMap::new(),
            announcer: Announcer::default(),
            answers: BTreeMap::new(),
            announcing: Arc::default(),
            key: false,
            standby: false,
            stop: None,
            dirty: true,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Moment) -> Taken {
        match input {
            Input::Hello { link, from, hello } => {
                let Some(membership) = self.memberships.get_mut(&link) else { return Taken::NoLink };
                return membership.hear(&hello, from, now).map_or_else(Taken::Ignored, |()| Taken::Used);
            }
            Input::Answered { link, address } => {
                let Some(membership) = self.memberships.get_mut(&link) else { return Taken::NoLink };
                membership.answered(address, now);
            }
            Input::Snapshot(snapshot) => {
                if self.snapshot.as_ref().is_none_or(|old| !same_but_stamp(old, &snapshot)) {
                    self.groups = groups(&snapshot);
                    self.dirty = true;
                }
                self.snapshot = Some(snapshot);
                self.set_rosters();
            }
            Input::Links(links) => self.set_links(links, now),
            Input::Key(known) => {
                if known && !self.key {
                    self.listen_again(now);
                }
                self.set(|s| &mut s.key, known);
            }
            Input::Standby(standby) => {
                if self.standby && !standby {
                    self.listen_again(now);
                }
                self.set(|s| &mut s.standby, standby);
            }
            Input::Stop { leaving } => {
                self.stop = Some(leaving);
                self.dirty = true;
            }
        }
        Taken::Used
    }

    /// Without the key, and in standby, nothing was heard: what was listened to until now does not count.
    fn listen_again(&mut self, now: Moment) {
        self.memberships.values_mut().for_each(|membership| membership.restart(now));
    }

    fn set(&mut self, field: impl Fn(&mut Self) -> &mut bool, value: bool) {
        if std::mem::replace(field(self), value) != value {
            self.dirty = true;
        }
    }

    fn set_links(&mut self, links: Vec<Link>, now: Moment) {
        let links: BTreeMap<LinkName, Link> = links.into_iter().map(|link| (link.name.clone(), link)).collect();
        if links == self.links {
            return;
        }
        self.memberships.retain(|name, _| links.contains_key(name));
        for (name, link) in &links {
            if !self.memberships.contains_key(name) {
                self.memberships.insert(name.clone(), Membership::new(self.me.clone(), self.timing, now));
            } else if self.links.get(name).is_some_and(|old| old.mac != link.mac) {
                self.announcer.again(name, now);
            }
        }
        self.links = links;
        self.set_rosters();
        self.dirty = true;
    }

    fn set_rosters(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let own: BTreeSet<IpAddr> =
            self.links.values().flat_map(|link| link.addresses.iter().map(IpNetwork::ip)).collect();
        let running = |node: &&crate::node::Node| {
            node.name != self.me.node && snapshot.speakers.get(&node.name).is_some_and(|pod| pod.ready)
        };
        for (name, membership) in &mut self.memberships {
            let Some(link) = self.links.get(name) else { continue };
            let address = |node: &crate::node::Node| {
                node.internal_ips.iter().copied().find(|ip| link.holds(*ip) && !own.contains(ip))
            };
            let expected = snapshot
                .nodes
                .values()
                .filter(running)
                .filter_map(|node| address(node).map(|ip| (node.name.clone(), ip)))
                .collect();
            membership.set_roster(Roster { nodes: snapshot.nodes.keys().cloned().collect(), expected });
        }
    }

    /// Judges deadlines and says what is to be done now. Everything received has to be handled before.
    pub fn poll(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (name, membership) in &mut self.memberships {
            if !self.standby {
                membership.wake(now);
            }
            for change in membership.take_changes() {
                self.dirty = true;
                effects.push(Effect::Membership { link: name.clone(), change });
            }
        }
        if std::mem::take(&mut self.dirty) {
            self.decide(now, &mut effects);
        }
        for (link, address) in self.announcer.due(now) {
            effects.push(Effect::Gratuitous { link, address });
        }
        if !self.standby {
            self.speak(now, &mut effects);
        }
        effects
    }

    fn ready(&self) -> bool {
        self.snapshot.is_some() && self.key && !self.standby && self.stop.is_none()
    }

    /// Members of a link, this speaker included.
    fn members(&self, membership: &Membership) -> BTreeMap<NodeName, Member> {
        let mut members = membership.members();
        let ready = self.ready() && membership.standing() == Standing::Present;
        members.insert(self.me.node.clone(), Member { ready, presumed: false });
        members
    }

    /// Everything this node owns now.
    fn owned(&self) -> BTreeSet<Place> {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.ready()) else { return BTreeSet::new() };
        let segments = segments::of(&self.links, &self.memberships);
        let mut owned = BTreeSet::new();
        for (name, membership) in &self.memberships {
            if membership.standing() != Standing::Present {
                continue;
            }
            let members = self.members(membership);
            for group in &self.groups {
                if desired(snapshot, group, &members).owner.as_ref() == Some(&self.me.node) {
                    let here = |address: &&IpAddr| segments.preferred(&self.links, name, **address) == name;
                    owned.extend(group.addresses.iter().filter(here).map(|address| (name.clone(), *address)));
                }
            }
        }
        owned
    }

    fn decide(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let owned = self.owned();
        let mut answers: BTreeMap<LinkName, BTreeSet<IpAddr>> =
            self.links.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
        for (link, address) in &owned {
            answers.entry(link.clone()).or_default().insert(*address);
        }
        let mut changed: Vec<(bool, LinkName)> = answers
            .iter()
            .filter(|(link, addresses)| self.answers.get(*link) != Some(addresses))
            .map(|(link, addresses)| {
                let gives_up = self.answers.get(link).is_some_and(|old| !old.is_subset(addresses));
                (!gives_up, link.clone())
            })
            .collect();
        // Who gives something up comes first.
        changed.sort();
        for (_, link) in changed {
            let addresses = answers.get(&link).cloned().unwrap_or_default();
            effects.push(Effect::Answer { link, addresses });
        }
        self.answers = answers;
        self.announcer.set(&owned, now);
        self.tell_services(&owned, effects);
    }

    /// Which Services this node announces on a link of record, and what changed about that.
    ///
    /// On every usable link somebody answers, also on one that no other node shares. Of record, for events and metrics, is the link whose subnet
    /// holds the address; where no link's does, every link is.
    fn tell_services(&mut self, owned: &BTreeSet<Place>, effects: &mut Vec<Effect>) {
        let of_record = |link: &LinkName, address: IpAddr| {
            self.links.get(link).is_some_and(|link| link.holds(address))
                || !self.links.values().any(|link| link.holds(address))
        };
        let addresses: BTreeSet<IpAddr> =
            owned.iter().filter(|(link, address)| of_record(link, *address)).map(|(_, address)| *address).collect();
        let mut announcing: BTreeMap<ServiceKey, Set<IpAddr>> = BTreeMap::new();
        if let Some(snapshot) = &self.snapshot {
            for key in self.groups.iter().flat_map(|group| &group.services) {
                let own = snapshot.services.get(key).into_iter().flat_map(|service| &*service.addresses);
                let here: Set<IpAddr> = own.filter(|address| addresses.contains(address)).copied().collect();
                if !here.is_empty() {
                    announcing.insert(key.clone(), here);
                }
            }
        }
        let withdrawn = self.announcing.keys().filter(|key| !announcing.contains_key(*key));
        effects.extend(withdrawn.cloned().map(Effect::Withdrawn));
        let new = announcing.keys().filter(|key| !self.announcing.contains_key(*key));
        effects.extend(new.cloned().map(Effect::Announcing));
        self.announcing = Arc::new(announcing);
    }

    fn speak(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let infos: Vec<LinkInfo> = self
            .links
            .values()
            .map(|link| LinkInfo { mac: link.mac, addresses: link.addresses.iter().map(IpNetwork::ip).collect() })
            .collect();
        let ready = self.ready();
        let stamp = self.snapshot.as_ref().map(|snapshot| snapshot.stamp).unwrap_or_default();
        for (index, (name, membership)) in self.memberships.iter_mut().enumerate() {
            let speaking = Speaking {
                ready,
                leaving: self.stop == Some(true),
                restarting: self.stop == Some(false),
                links: infos.clone(),
                link: u8::try_from(index).unwrap_or(u8::MAX),
                stamp,
            };
            for frame in membership.frames(&speaking, &mut self.sequence, now) {
                effects.push(match frame {
                    Frame::Hello(hello, unicast) => Effect::Hello { link: name.clone(), hello, unicast },
                    Frame::Ask(address) => Effect::Ask { link: name.clone(), address },
                });
            }
        }
    }

    /// When [`Speaker::poll`] has something to do at the latest; `None` while there is nothing to wait for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.standby && !self.dirty {
            return None;
        }
        let memberships = self.memberships.values().map(Membership::next_deadline);
        memberships.chain(self.announcer.next_deadline()).min()
    }

    /// Until when answers on this link are safe; after that, without another [`Speaker::poll`], others may have taken over.
    #[must_use]
    pub fn good_until(&self, link: &LinkName) -> Option<Moment> {
        self.memberships.get(link).and_then(Membership::good_until)
    }

    /// The addresses that this node announces, by Service, on links of record.
    #[must_use]
    pub fn announcing(&self) -> &Arc<BTreeMap<ServiceKey, Set<IpAddr>>> {
        &self.announcing
    }

    /// Members and standing of a link, for metrics and the simulator.
    #[must_use]
    pub fn link(&self, link: &LinkName) -> Option<(Standing, BTreeMap<NodeName, Member>)> {
        self.memberships.get(link).map(|membership| (membership.standing(), self.members(membership)))
    }

    /// Whether every link takes part and everything needed is known.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.ready() && self.memberships.values().all(|membership| membership.standing() == Standing::Present)
    }
}

/// Equal in everything that ownership depends on.
fn same_but_stamp(a: &Snapshot, b: &Snapshot) -> bool {
    a.config == b.config
        && a.services == b.services
        && a.nodes == b.nodes
        && a.speakers == b.speakers
        && a.ignore_exclude_label == b.ignore_exclude_label
}
