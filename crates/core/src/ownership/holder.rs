//! Who holds what on one link: the memory beside [`Plan::desired`], which has none.
//!
//! A planned move between two living nodes is a **hand-over**, in words that hellos carry ([`Word`]):
//!
//! 1. The new owner asks the old one, three times, then once a second. Until it is given, it answers nothing.
//! 2. The old one, once its own view agrees, releases; it goes on answering until it hears that the new one does: nobody is silent meanwhile.
//! 3. The new owner answers everybody, and announces nothing unasked yet. The old one *drains*: it answers unicast requests alone, so those of
//!    neighbours that still use it, and their connections live.
//! 4. After the drain, or at once when the old one is gone, the gratuitous burst moves the rest.
//!
//! Whoever holds goes on until somebody else says that it does: a node that ownership passes by, and that is not asked, answers on.
//! A dead node, one whose speaker is away, and one that cannot serve any more are not asked. Nor is an older speaker, which knows no words:
//! then both decide for themselves, as it does.
//!
//! Who gives something away does so only to a node whose [data plane](crate::data_plane) can take it over, for [`PLANE_WAIT`] at most. When a
//! holder is gone and the data plane of the owner is not ready, the next whose is takes the group meanwhile, and the owner asks it; when nobody's
//! is, the owner takes it.
//!
//! Two that hold at once hear of each other, as everybody says now and then what it holds, and all of it when somebody joins. The one that
//! both take for the owner stays; when they disagree, who has the newer state of the cluster (a connected one before a disconnected one), then
//! rank.

mod hear;
mod types;
mod view;
mod words;

use super::{Ahead, Group, Whose};
use crate::{
    NodeName,
    membership::Member,
    time::{FORCE, Moment},
};
use herald_wire::hello::{ClusterId, DataPlane, Move};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};
pub use types::{HandOver, Hold, Moves, Role};
pub use view::View;
use words::Outbox;

/// A planned move waits so long at most for the new owner's data plane, if that is not there; one that says that it fails gets nothing.
pub const PLANE_WAIT: Duration = Duration::from_secs(300);
/// Hellos until whoever is to have a group meanwhile noticed that its holder is gone, too.
const NOTICED: u32 = 8;
/// A drained node answers unicast requests for so long after the burst began.
const LINGER: Duration = Duration::from_secs(1);
/// Asks that follow each other.
const TRIES: u8 = 3;
/// Between these.
const ASK_GAP: Duration = Duration::from_millis(100);
/// After these.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Who was asked and holds nothing may be told from who does after so long: the holder's word comes, too.
const FREE: Duration = Duration::from_millis(25);

/// The memory of one link, while this node takes part there.
#[derive(Debug)]
pub struct Holder {
    moves: Moves,
    /// Who comes before this node in the order of each group of the plan, as far as known.
    ahead: Vec<Ahead>,
    holds: BTreeMap<IpAddr, Hold>,
    /// Who was there when it was last settled; `None` before.
    members: Option<BTreeMap<NodeName, Member>>,
    /// Since when who is there is ready.
    ready: BTreeMap<NodeName, Moment>,
    /// Since when the data plane of who is there is not ready.
    unready: BTreeMap<NodeName, Moment>,
    /// Whether anything that was held by another may be held by nobody since it was last settled.
    orphaned: bool,
    since: Moment,
    outbox: Outbox,
    /// Rivals that hold the same with the better right, and since when.
    rivals: BTreeMap<IpAddr, (NodeName, Moment)>,
    /// Who holds what it is not the owner of, as it said: nobody stands in for the owner then.
    others: BTreeMap<IpAddr, NodeName>,
    /// Groups that were looked at since [`Holder::begin`], of those with a state.
    seen: BTreeMap<IpAddr, Hold>,
    next: Option<Moment>,
    told: Vec<(IpAddr, HandOver, NodeName)>,
    /// Groups that were taken since [`Holder::begin`] and that nobody had.
    free: BTreeSet<IpAddr>,
}

impl Holder {
    /// Nothing is held yet; this node takes part from now on.
    #[must_use]
    pub fn new(moves: Moves, now: Moment) -> Self {
        Self {
            moves,
            ahead: Vec::new(),
            holds: BTreeMap::new(),
            members: None,
            ready: BTreeMap::new(),
            unready: BTreeMap::new(),
            orphaned: false,
            since: now,
            outbox: Outbox::default(),
            rivals: BTreeMap::new(),
            others: BTreeMap::new(),
            seen: BTreeMap::new(),
            next: None,
            told: Vec::new(),
            free: BTreeSet::new(),
        }
    }

    /// Everything is to be settled anew; [`Holder::step`] follows for every group, then [`Holder::finish`].
    pub fn begin(&mut self, view: &View<'_>) {
        self.free.clear();
        let ready = |node: &NodeName| view.members.get(node).is_some_and(|member| member.ready);
        self.ready.retain(|node, _| ready(node));
        if let Some(before) = view.before {
            self.ahead = Ahead::carry_over(&self.ahead, before, view.plan);
        }
        self.ahead.resize(view.plan.groups().len(), Ahead::default());
        let unready = |member: &Member| member.data_plane != DataPlane::Ready;
        self.unready.retain(|node, _| view.members.get(node).is_some_and(unready));
        for (node, _) in view.members.iter().filter(|(_, member)| unready(member)) {
            self.unready.entry(node.clone()).or_insert(view.now);
        }
        let silent = |(node, member): (&NodeName, &Member)| member.ready && node != view.me && !view.talks(node);
        self.orphaned = view.before.is_some() || self.members.iter().flatten().any(silent);
        let mut joined = false;
        for node in view.members.keys().filter(|node| ready(node)) {
            if !self.ready.contains_key(node) {
                self.ready.insert(node.clone(), view.now);
                joined |= node != view.me;
            }
        }
        if joined {
            // It may hold the same: after a partition, or when it was taken for dead.
            self.holds.iter().filter(|(_, hold)| matches!(hold, Hold::Held { .. })).for_each(|(group, _)| {
                self.outbox.claim(*group);
            });
        }
    }

    /// What this node has to do with a group now, which stands there in [`Plan::groups`](super::Plan::groups).
    pub fn step(&mut self, view: &View<'_>, (position, group): (usize, &Group)) -> Role {
        let ahead = self.ahead.get_mut(position);
        let whose = view.electorate.whose(group, view.me, ahead.unwrap_or(&mut Ahead::default()));
        let owner = whose == Whose::This;
        let before = self.holds.remove(&group.key).or_else(|| {
            // The group got another key: it is the same addresses still.
            group.addresses.iter().find_map(|address| self.holds.remove(address))
        });
        let after = match before {
            None if self.awaits_others(view) => None,
            None if owner => Some(self.start(view, group)),
            None if self.orphaned && self.is_to_fill_in(view, group) => Some(self.fill_in(view, group)),
            None => None,
            Some(hold) => self.go_on(hold, owner, view, group),
        };
        let role = match &after {
            None if whose != Whose::Other => Role::Nothing,
            None | Some(Hold::Asking { draining: None, .. }) => Role::Elsewhere,
            Some(Hold::Held { owner, from }) => Role::Holder { owner: *owner, quiet: from.is_some() },
            Some(Hold::Asking { .. } | Hold::Draining { .. }) => Role::Draining,
        };
        if let Some(hold) = after {
            self.seen.insert(group.key, hold);
        }
        role
    }

    /// Whether the group was taken just now, and who was asked for it did not have it: it may be used for the first time.
    #[must_use]
    pub fn was_free(&self, group: &Group) -> bool {
        self.free.contains(&group.key)
    }

    /// Every group was looked at.
    pub fn finish(&mut self, view: &View<'_>) {
        self.holds = std::mem::take(&mut self.seen);
        let holds = &self.holds;
        self.rivals.retain(|group, _| holds.contains_key(group));
        self.others.retain(|_, node| view.members.contains_key(node));
        let awaits = self.awaits_others(view);
        if !awaits {
            self.members = Some(view.members.clone());
        }
        self.schedule(view);
        if awaits {
            self.next = self.next.into_iter().chain([self.since + view.interval]).min();
        }
    }

    /// Whether others start as well, and are about to say that they are ready: each would take everything for a moment, and then all of it would
    /// have to be handed over.
    #[must_use]
    pub fn awaits_others(&self, view: &View<'_>) -> bool {
        let first = self.members.is_none() && !view.kept && view.now < self.since + view.interval;
        first && view.others_start()
    }

    fn start(&mut self, view: &View<'_>, group: &Group) -> Hold {
        // Peers kept its place: nobody else took it meanwhile.
        let previous = self.previous(view, group).filter(|node| !view.kept && node != view.me);
        match previous.filter(|node| view.talks(node) && view.plan.can_serve(group, node)) {
            Some(of) => self.ask(view, group, of, None),
            None if view.kept => self.take(group.key),
            None => self.take_or_wait(view, group).unwrap_or_else(|| self.take(group.key)),
        }
    }

    /// Nobody has it, and this node is its owner: what it does while its data plane is not ready and that of another is.
    fn take_or_wait(&mut self, view: &View<'_>, group: &Group) -> Option<Hold> {
        let by = view.meanwhile(group)?.clone();
        let mut asking = self.ask(view, group, by, None);
        if let Hold::Asking { patience, .. } = &mut asking {
            *patience = view.now + view.interval * NOTICED;
        }
        Some(asking)
    }

    /// Whether this node is to have the group while its owner cannot take it over: who had it is gone.
    fn is_to_fill_in(&self, view: &View<'_>, group: &Group) -> bool {
        let Some(meanwhile) = view.electorate.meanwhile(group).filter(|meanwhile| meanwhile.by == view.me) else {
            return false;
        };
        if self.members.is_none() {
            return false;
        }
        let Some(holder) = self.others.get(&group.key).cloned().or_else(|| self.previous(view, group)) else {
            return false;
        };
        let has_it = view.talks(&holder) && view.plan.can_serve(group, &holder);
        holder != *meanwhile.owner && holder != *view.me && !has_it
    }

    fn fill_in(&mut self, view: &View<'_>, group: &Group) -> Hold {
        let owner = view.electorate.meanwhile(group).map_or(view.me, |meanwhile| meanwhile.owner);
        self.told.push((group.key, HandOver::FilledIn, owner.clone()));
        self.outbox.claim(group.key);
        Hold::Held { owner: false, from: None }
    }

    /// Whether a planned move to a node waits for its data plane.
    fn waits_for(&self, node: &NodeName, view: &View<'_>) -> bool {
        match view.members.get(node).map(|member| member.data_plane).unwrap_or_default() {
            DataPlane::Ready => false,
            DataPlane::NotReady => self.unready.get(node).is_none_or(|since| view.now.since(*since) < PLANE_WAIT),
            DataPlane::Failed => true,
        }
    }

    /// Who has it, by what was last settled on; for who just came, by what the others settle on without it.
    fn previous(&self, view: &View<'_>, group: &Group) -> Option<NodeName> {
        let plan = view.before.unwrap_or(view.plan);
        let held = match view.before {
            None => Some(group),
            Some(before) => {
                let same = |other: &&Group| group.addresses.iter().any(|address| other.addresses.contains(address));
                before.groups().iter().map(|group| &**group).find(same)
            }
        };
        let owner = |members| plan.desired(held?, view.link, members).owner;
        match &self.members {
            Some(members) => owner(members),
            None => {
                let mut others = view.members.clone();
                others.remove(view.me);
                owner(&others)
            }
        }
    }

    fn ask(&mut self, view: &View<'_>, group: &Group, of: NodeName, draining: Option<Moment>) -> Hold {
        self.told.push((group.key, HandOver::Asked, of.clone()));
        self.outbox.hurry();
        let now = view.now;
        Hold::Asking { of, since: now, tries: 0, next: now, free: None, refused: false, draining, patience: now }
    }

    fn take(&mut self, group: IpAddr) -> Hold {
        self.outbox.claim(group);
        Hold::Held { owner: true, from: None }
    }

    fn tell_take(&mut self, group: IpAddr, how: HandOver, from: &NodeName) -> Hold {
        self.told.push((group, how, from.clone()));
        self.take(group)
    }

    fn go_on(&mut self, hold: Hold, owner: bool, view: &View<'_>, group: &Group) -> Option<Hold> {
        let (now, key) = (view.now, group.key);
        let able = view.plan.can_serve(group, view.me);
        match hold {
            Hold::Asking { of, draining, .. } if !owner => {
                draining.filter(|until| able && *until > now).map(|until| Hold::Draining { to: of, until })
            }
            Hold::Asking { of, since, tries, next, free, refused, draining, patience } => {
                if !view.talks(&of) || !view.plan.can_serve(group, &of) {
                    if draining.is_some() {
                        return Some(self.tell_take(key, HandOver::Resumed, &of));
                    }
                    let waits = self.take_or_wait(view, group);
                    Some(waits.unwrap_or_else(|| self.tell_take(key, HandOver::Unheld, &of)))
                } else if free.is_some_and(|said| now >= (said + FREE).max(patience)) {
                    self.free.insert(key);
                    Some(self.tell_take(key, HandOver::Unheld, &of))
                } else if now >= since + FORCE && view.rules_out(group, &of) && !self.waits_for(view.me, view) {
                    Some(self.tell_take(key, HandOver::Forced, &of))
                } else {
                    let draining = draining.filter(|until| *until > now);
                    Some(Hold::Asking { of, since, tries, next, free, refused, draining, patience })
                }
            }
            // With nobody to give it to that would ask, it ends at once.
            Hold::Held { from, .. } => {
                let heir = || view.electorate.owner(group);
                if !able || !owner && heir().is_none_or(|heir| !view.may_ask(heir)) {
                    return None;
                }
                let from = from.filter(|(node, until)| *until > now && view.lives(node));
                Some(Hold::Held { owner, from })
            }
            Hold::Draining { to, until } if owner && view.talks(&to) => Some(self.ask(view, group, to, Some(until))),
            Hold::Draining { to, .. } if owner => Some(self.tell_take(key, HandOver::Resumed, &to)),
            Hold::Draining { to, until } => (able && until > now).then_some(Hold::Draining { to, until }),
        }
    }

    fn drain(&mut self, key: IpAddr, why: HandOver, to: &NodeName, now: Moment) -> bool {
        self.rivals.remove(&key);
        self.outbox.forget(key);
        self.told.push((key, why, to.clone()));
        self.holds.insert(key, Hold::Draining { to: to.clone(), until: now + self.moves.drain + LINGER });
        true
    }

    fn schedule(&mut self, view: &View<'_>) {
        let now = view.now;
        // By then it may be taken without consent after all.
        let waited = self.unready.get(view.me).map(|since| *since + PLANE_WAIT);
        let deadline = |hold: &Hold| match hold {
            Hold::Asking { since, free, draining, patience, .. } => {
                let free = free.map(|said| (said + FREE).max(*patience));
                [Some(*since + FORCE), free, *draining, waited]
                    .into_iter()
                    .flatten()
                    .filter(|moment| *moment > now)
                    .min()
            }
            Hold::Held { from, .. } => from.as_ref().map(|(_, until)| *until),
            Hold::Draining { until, .. } => Some(*until),
        };
        self.next = self.holds.values().filter_map(deadline).min();
    }

    /// When everything is to be settled anew at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Whether nothing waits to be said or told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.told.is_empty() && !self.hurries()
    }

    /// Whether something is to be said at once.
    #[must_use]
    pub fn hurries(&self) -> bool {
        self.outbox.hurries()
    }

    /// What the next hello says, by a node of this name that hears so many peers.
    pub fn words(&mut self, cluster: ClusterId, me: &NodeName, heard: usize, now: Moment) -> Vec<Move> {
        self.outbox.words(&mut self.holds, cluster, me, heard, now)
    }

    /// What became of planned moves since the last call, with the other node.
    pub fn take_told(&mut self) -> Vec<(IpAddr, HandOver, NodeName)> {
        std::mem::take(&mut self.told)
    }

    /// What this node has to do with each group on the link, by its key.
    #[must_use]
    pub fn holds(&self) -> &BTreeMap<IpAddr, Hold> {
        &self.holds
    }
}
