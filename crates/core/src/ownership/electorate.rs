//! Who may own what on one link with certain members. What many groups have in common is judged once.

use super::{Group, Plan, StandIn, Whose, advertise::Chosen, plan::Score, rank};
use crate::{LinkName, NodeName, membership::Member};
use herald_wire::hello::DataPlane;
use std::{cell::RefCell, cmp::Reverse, collections::BTreeMap, rc::Rc};

/// A node by its place among those of the snapshot.
type Index = u32;

/// Who comes before this node in the order of a group, found once. It lives as long as the group and the nodes do, since ranks do not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead(Before);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Unknown,
    /// No node of the cluster: this one owns the group whenever it may.
    Nobody,
    /// This one and perhaps others: while it may own, nobody needs to be ranked.
    Node(Index),
}

impl Ahead {
    /// What is known of the groups of a plan, for the groups of the next one.
    #[must_use]
    pub fn carry_over(known: &[Self], before: &Plan, plan: &Plan) -> Vec<Self> {
        if !before.snapshot().nodes.keys().eq(plan.snapshot().nodes.keys()) {
            return Vec::new();
        }
        let mut known = before.groups().iter().zip(known).peekable();
        let mut carried = Vec::with_capacity(plan.groups().len());
        for group in plan.groups() {
            // Both are in the order of their lowest addresses.
            while known.next_if(|(old, _)| old.addresses.first() < group.addresses.first()).is_some() {}
            let same = known.peek().filter(|(old, _)| old.key == group.key);
            carried.push(same.map(|(_, ahead)| **ahead).unwrap_or_default());
        }
        carried
    }
}

/// Everybody who could vote, on one link: made for one decision about all groups.
#[derive(Debug)]
pub struct Electorate<'a> {
    plan: &'a Plan,
    here: &'a LinkName,
    members: &'a BTreeMap<NodeName, Member>,
    /// All nodes of the snapshot, and whether each speaks for itself now.
    nodes: Vec<(&'a NodeName, bool)>,
    /// By the advertisements of a lone Service that every node can serve: with a thousand Services there are a few such lists.
    known: RefCell<BTreeMap<Chosen, Rc<Eligible>>>,
    /// Whether the data plane of any member is not ready.
    waits: bool,
}

/// Who has what its owner cannot take over yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meanwhile<'a> {
    /// Its owner.
    pub owner: &'a NodeName,
    /// Who has it until then.
    pub by: &'a NodeName,
}

/// Who may own a group.
#[derive(Debug, Default)]
struct Eligible {
    /// By node; `None` may not.
    scores: Vec<Option<Score>>,
    /// The highest score.
    best: Option<Score>,
    /// Whether anybody with the highest score does not speak for itself now.
    away: bool,
}

impl Eligible {
    fn score(&self, node: Index) -> Option<Score> {
        usize::try_from(node).ok().and_then(|node| self.scores.get(node).copied().flatten())
    }

    fn nodes(&self) -> impl Iterator<Item = (Index, Score)> {
        (0..).zip(&self.scores).filter_map(|(node, score)| Some((node, (*score)?)))
    }

    fn first(&self) -> impl Iterator<Item = Index> {
        self.nodes().filter(|(_, score)| Some(*score) == self.best).map(|(node, _)| node)
    }
}

impl<'a> Electorate<'a> {
    /// On the link that this node calls `here`, with these members (this speaker included).
    #[must_use]
    pub fn new(plan: &'a Plan, here: &'a LinkName, members: &'a BTreeMap<NodeName, Member>) -> Self {
        let live = |node: &NodeName| members.get(node).is_some_and(|member| member.ready && !member.restarting);
        let nodes = plan.snapshot().nodes.keys().map(|node| (node, live(node))).collect();
        let waits = members.values().any(|member| member.data_plane != DataPlane::Ready);
        Self { plan, here, members, nodes, known: RefCell::default(), waits }
    }

    fn name(&self, node: Index) -> Option<&'a NodeName> {
        usize::try_from(node).ok().and_then(|node| self.nodes.get(node)).map(|(name, _)| *name)
    }

    fn lives(&self, node: Index) -> bool {
        usize::try_from(node).ok().and_then(|node| self.nodes.get(node)).is_some_and(|(_, live)| *live)
    }

    fn index(&self, node: &NodeName) -> Option<Index> {
        let found = self.nodes.binary_search_by(|(name, _)| (*name).cmp(node)).ok()?;
        Index::try_from(found).ok()
    }

    fn eligible(&self, group: &Group) -> Rc<Eligible> {
        let [chosen] = &*group.chosen else { return Rc::new(self.judge(group)) };
        if !group.everywhere {
            return Rc::new(self.judge(group));
        }
        if let Some(known) = self.known.borrow().get(chosen) {
            return Rc::clone(known);
        }
        let judged = Rc::new(self.judge(group));
        self.known.borrow_mut().insert(Chosen::clone(chosen), Rc::clone(&judged));
        judged
    }

    fn judge(&self, group: &Group) -> Eligible {
        let candidates = self.plan.candidates(group, self.here, self.members, &mut |_, _| {});
        let best = candidates.iter().map(|candidate| candidate.score).max();
        let mut candidates = candidates.into_iter().peekable();
        let (mut scores, mut away) = (Vec::with_capacity(self.nodes.len()), false);
        // Both are in the order of the names.
        for (name, live) in &self.nodes {
            let score = candidates.next_if(|candidate| candidate.node == *name).map(|candidate| candidate.score);
            away |= !live && score.is_some() && score == best;
            scores.push(score);
        }
        Eligible { scores, best, away }
    }

    /// Whether [`Plan::desired`] makes this node the owner.
    #[must_use]
    pub fn owns(&self, group: &Group, node: &NodeName) -> bool {
        self.whose(group, node, &mut Ahead::default()) == Whose::This
    }

    /// Whom [`Plan::desired`] makes the owner.
    #[must_use]
    pub fn owner(&self, group: &Group) -> Option<&'a NodeName> {
        let (eligible, key) = (self.eligible(group), group.key.to_string());
        let names = eligible.first().filter_map(|node| self.name(node));
        names.min_by_key(|name| rank(name, &key))
    }

    /// Whether that makes this node the owner, or another. For one that asks again and again: who is `ahead` is remembered there, so that nobody
    /// is ranked whose order is known.
    #[must_use]
    pub fn whose(&self, group: &Group, node: &NodeName, ahead: &mut Ahead) -> Whose {
        let eligible = self.eligible(group);
        let own = self.index(node).and_then(|me| Some((me, eligible.score(me)?)));
        let Some((me, own)) = own else {
            return if eligible.nodes().next().is_none() { Whose::Nobody } else { Whose::Other };
        };
        let may = |node: Index| eligible.score(node).is_some_and(|score| score >= own);
        match ahead.0 {
            _ if Some(own) < eligible.best => return Whose::Other,
            Before::Node(node) if may(node) => return Whose::Other,
            Before::Nobody => return Whose::This,
            Before::Unknown | Before::Node(_) => {}
        }
        let mut others = eligible.first().filter(|other| *other != me).peekable();
        if others.peek().is_none() {
            return Whose::This;
        }
        let key = group.key.to_string();
        let mine = rank(node, &key);
        let comes_before = |other: &Index| self.name(*other).is_some_and(|name| rank(name, &key) < mine);
        if let Some(other) = others.find(comes_before) {
            *ahead = Ahead(Before::Node(other));
            return Whose::Other;
        }
        if ahead.0 == Before::Unknown {
            // It will ask again: of those who may not own now, does anybody come before it?
            let mut rest = (0..).zip(&self.nodes).map(|(node, _)| node).filter(|node| *node != me && !may(*node));
            *ahead = Ahead(rest.find(comes_before).map_or(Before::Nobody, Before::Node));
        }
        Whose::This
    }

    /// When the owner's data plane is not ready to take the group over: who is to have it meanwhile, if nobody has it. The first in the owner's
    /// order whose is; nobody, when nobody's is.
    #[must_use]
    pub fn meanwhile(&self, group: &Group) -> Option<Meanwhile<'a>> {
        if !self.waits {
            return None;
        }
        let eligible = self.eligible(group);
        let key = group.key.to_string();
        let plane = |node: Index| self.name(node).and_then(|name| self.members.get(name)).map(|m| m.data_plane);
        let ranked = |(node, score): (Index, Score)| Some((Reverse(score), rank(self.name(node)?, &key), node));
        let (.., owner) = eligible.nodes().filter_map(ranked).min()?;
        if plane(owner) == Some(DataPlane::Ready) {
            return None;
        }
        let able = |(node, _): &(Index, Score)| plane(*node) == Some(DataPlane::Ready) && self.lives(*node);
        let (.., by) = eligible.nodes().filter(able).filter_map(ranked).min()?;
        Some(Meanwhile { owner: self.name(owner)?, by: self.name(by)? })
    }

    /// Whether the owner of a group restarts, and then who stands in for it: the first live candidate in the owner's order, which is also who
    /// would take over; without one any live member.
    #[must_use]
    pub fn stand_in(&self, group: &Group) -> Option<StandIn> {
        let eligible = self.eligible(group);
        if !eligible.away {
            return None;
        }
        let key = group.key.to_string();
        let ranked = |node: Index| Some((rank(self.name(node)?, &key), node));
        // Few are away: whoever of the others comes before all of them is found soon.
        let (first, owner) = eligible.first().filter(|node| !self.lives(*node)).filter_map(ranked).min()?;
        if eligible.first().filter(|node| self.lives(*node)).filter_map(ranked).any(|(rank, _)| rank < first) {
            return None;
        }
        let live = || eligible.nodes().filter(|(node, _)| self.lives(*node));
        let most = live().map(|(_, score)| score).max();
        let by = live().filter(|(_, score)| Some(*score) == most).filter_map(|(node, _)| ranked(node)).min();
        let any = || {
            let live = |(_, member): &(&NodeName, &Member)| member.ready && !member.restarting;
            let members = self.members.iter().filter(live).map(|(node, _)| node);
            members.min_by_key(|node| rank(node, &key))
        };
        let by = by.and_then(|(_, node)| self.name(node)).or_else(any);
        Some(StandIn { owner: self.name(owner)?.clone(), by: by.cloned() })
    }
}
