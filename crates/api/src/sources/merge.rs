//! Which version of which object is in force.

use super::{
    Fault, InForce, Kind, ObjectId, Outcome, Overlap, Owner, PartKey, Problem, Reason, Sources,
    convert::{Content, PoolContent},
    object::Part,
    references,
};
use herald_core::{
    PoolName,
    config::{BfdProfile, Community, Config},
    net::{Family, IpRange},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

/// The result, and what is to be remembered.
pub(super) struct Merged {
    pub(super) outcome: Outcome,
    pub(super) held: BTreeMap<PartKey, Arc<Content>>,
}

/// A part of an object that wants to be in force.
struct Candidate {
    key: PartKey,
    content: Arc<Content>,
    rank: Rank,
    changed: Option<Timestamp>,
}

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// In force as it is.
    Unchanged,
    /// In force, and wants to be another.
    Changed,
    /// Not in force yet.
    New,
    /// Of an object that is gone.
    Deleted,
}

/// What has been placed so far: nothing in it conflicts.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) parts: Vec<(PartKey, Arc<Content>)>,
    pub(super) pools: BTreeMap<PoolName, (ObjectId, Arc<Content>)>,
    ranges: BTreeMap<(Family, u128), (IpRange, Box<str>, Owner)>,
    pub(super) communities: BTreeMap<Box<str>, (ObjectId, Community)>,
    pub(super) profiles: BTreeMap<Box<str>, (ObjectId, BfdProfile)>,
}

pub(super) fn merge(sources: &Sources) -> Merged {
    let mut problems = Problems { sources, all: Vec::new() };
    for (id, object) in &sources.objects {
        for fault in object.faults() {
            problems.add(id, fault.clone(), in_force(sources, id), Vec::new());
        }
    }
    let placed = place(sources, &mut problems);
    // Until nothing of it is left.
    for id in sources.deleted.iter().filter(|id| placed.parts.iter().any(|((object, _), _)| object == *id)) {
        let reason = if id.kind == Kind::ConfigMap { Reason::Deleted } else { Reason::Undefined };
        problems.add(id, Fault::whole(reason), InForce::LastGood, Vec::new());
    }
    let held = placed.parts.iter().cloned().collect();
    let config = references::resolve(&placed, sources, &mut problems);
    let mut problems = problems.all;
    problems.sort_by(|one, two| one.object.cmp(&two.object));
    Merged { outcome: Outcome { config, problems }, held }
}

/// Collects the problems of objects.
pub(super) struct Problems<'s> {
    sources: &'s Sources,
    all: Vec<Problem>,
}

impl Problems<'_> {
    pub(super) fn add(
        &mut self,
        object: &ObjectId,
        fault: Fault,
        in_force: InForce,
        nodes: Vec<herald_core::labels::Selector>,
    ) {
        let uid = self.sources.objects.get(object).map(|source| source.uid.clone()).unwrap_or_default();
        self.all.push(Problem { object: object.clone(), uid, fault, in_force, nodes });
    }
}

fn in_force(sources: &Sources, id: &ObjectId) -> InForce {
    if sources.held.keys().any(|(object, _)| object == id) { InForce::LastGood } else { InForce::Nothing }
}

/// Places all parts that do not conflict. A changed part that conflicts falls back to what is in force of it, and then all are placed anew:
/// what is in force comes first, so that no edit, whatever else was edited with it, takes anything out of force.
fn place(sources: &Sources, problems: &mut Problems<'_>) -> Placed {
    let mut fallen: BTreeMap<PartKey, Arc<Content>> = BTreeMap::new();
    'again: loop {
        let mut placed = Placed::default();
        let mut left_out = BTreeMap::new();
        for Candidate { key, content, rank, .. } in candidates(sources, &fallen) {
            if placed.place(&key, &content).is_ok() {
                continue;
            }
            match rank {
                Rank::Changed => {
                    fallen.insert(key, content);
                    continue 'again;
                }
                // Its pools are there until others take their place.
                Rank::Deleted => {}
                Rank::New | Rank::Unchanged => {
                    left_out.insert(key, content);
                }
            }
        }
        left_out.extend(fallen);
        return settle(placed, left_out, problems);
    }
}

/// Tries what is not in force once more, now that the rest is known, and says of the others what they conflict with: with what is in force,
/// not with what only wanted to be.
fn settle(mut placed: Placed, mut waiting: BTreeMap<PartKey, Arc<Content>>, problems: &mut Problems<'_>) -> Placed {
    'again: loop {
        let mut faults = Vec::new();
        for (key, content) in &waiting {
            let mut others = Placed::default();
            let mut held = false;
            for (other, content) in &placed.parts {
                held |= other == key;
                // They were placed together before.
                let _ = (other == key) || others.place(other, content).is_ok();
            }
            match others.place(key, content) {
                Ok(()) => {
                    let key = key.clone();
                    waiting.remove(&key);
                    placed = others;
                    continue 'again;
                }
                Err(fault) => faults.push((key.0.clone(), fault, held)),
            }
        }
        for (object, fault, held) in faults {
            problems.add(&object, fault, if held { InForce::LastGood } else { InForce::Nothing }, Vec::new());
        }
        return placed;
    }
}

/// All parts in the order in which they are placed.
fn candidates(sources: &Sources, fallen: &BTreeMap<PartKey, Arc<Content>>) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (id, object) in &sources.objects {
        let held = || sources.held.range((id.clone(), Arc::from(""))..).take_while(|((object, _), _)| object == id);
        match &object.content {
            Ok(parts) => {
                for Part { name, content } in parts {
                    let key = (id.clone(), name.clone());
                    let held = sources.held.get(&key);
                    let (content, rank) = match held {
                        Some(held) if held == content || fallen.contains_key(&key) => (held, Rank::Unchanged),
                        Some(_) => (content, Rank::Changed),
                        None => (content, Rank::New),
                    };
                    all.push(Candidate { key, content: content.clone(), rank, changed: object.changed });
                }
            }
            Err(_) => all.extend(held().map(|(key, content)| Candidate {
                key: key.clone(),
                content: content.clone(),
                rank: Rank::Unchanged,
                changed: object.changed,
            })),
        }
    }
    for (key, content) in sources.held.iter().filter(|((id, _), _)| sources.deleted.contains(id)) {
        all.push(Candidate { key: key.clone(), content: content.clone(), rank: Rank::Deleted, changed: None });
    }
    all.sort_by(|one, two| (one.rank, one.changed, &one.key).cmp(&(two.rank, two.changed, &two.key)));
    all
}

impl Placed {
    /// Places a part, all of it or nothing.
    fn place(&mut self, key: &PartKey, content: &Arc<Content>) -> Result<(), Fault> {
        match &**content {
            Content::Pool(pool) => self.pool(key, pool, content)?,
            Content::Bfd(name, profile) => {
                if let Some((other, _)) = self.profiles.get(name) {
                    let (name, other) = (name.to_string(), other.clone());
                    return Err(Fault::at(&*key.1, Reason::NameTaken { name, other }));
                }
                self.profiles.insert(name.clone(), (key.0.clone(), profile.clone()));
            }
            Content::Communities(all) => {
                for (index, (alias, _)) in all.iter().enumerate() {
                    if let Some((other, _)) = self.communities.get(alias) {
                        let field = match key.0.kind {
                            Kind::ConfigMap => key.1.to_string(),
                            _ => format!("spec.communities[{index}].name"),
                        };
                        let (alias, other) = (alias.to_string(), Some(other.clone()));
                        return Err(Fault::at(field, Reason::DuplicateCommunity { alias, other }));
                    }
                }
                let named = all.iter().map(|(alias, community)| (alias.clone(), (key.0.clone(), *community)));
                self.communities.extend(named);
            }
            Content::L2(..) | Content::Bgp(_) | Content::Peer(_) => {}
        }
        self.parts.push((key.clone(), content.clone()));
        Ok(())
    }

    fn pool(&mut self, key: &PartKey, content: &PoolContent, shared: &Arc<Content>) -> Result<(), Fault> {
        let PoolContent { name, pool, texts, .. } = content;
        if let Some((other, _)) = self.pools.get(name) {
            let reason = Reason::NameTaken { name: name.to_string(), other: other.clone() };
            return Err(Fault::at(&*key.1, reason));
        }
        let owner = Owner { object: key.0.clone(), pool: name.clone() };
        let mut added = Vec::new();
        for (index, range) in pool.ranges.iter().enumerate() {
            let text = texts.get(index).cloned().unwrap_or_else(|| range.to_string().into());
            // The nearest range that starts at or before this one's end overlaps, or none does.
            let nearest = self.ranges.range(..=(range.family(), range.last())).next_back();
            if let Some((_, (other, other_text, owner))) = nearest.filter(|(_, (other, ..))| other.overlaps(range)) {
                let field = match key.0.kind {
                    Kind::ConfigMap => key.1.to_string(),
                    _ => format!("spec.addresses[{index}]"),
                };
                let overlap = Overlap {
                    text: text.into(),
                    range: *range,
                    other: *other,
                    other_text: other_text.to_string(),
                    owner: owner.clone(),
                    pool: name.clone(),
                };
                let reason = Reason::Overlap(Box::new(overlap));
                for place in added {
                    self.ranges.remove(&place);
                }
                return Err(Fault::at(field, reason));
            }
            let place = (range.family(), range.first());
            self.ranges.insert(place, (*range, text, owner.clone()));
            added.push(place);
        }
        self.pools.insert(name.clone(), (key.0.clone(), shared.clone()));
        Ok(())
    }

    /// What of it needs no references.
    pub(super) fn base(&self) -> Config {
        let mut config = Config::default();
        for (_, content) in &self.parts {
            match &**content {
                Content::Pool(content) => {
                    config.pools.insert(content.name.clone(), content.pool.clone());
                }
                Content::L2(name, advertisement) => {
                    config.l2_advertisements.insert(name.clone(), advertisement.clone());
                }
                Content::Bfd(name, profile) => {
                    config.bfd_profiles.insert(name.clone(), profile.clone());
                }
                Content::Bgp(_) | Content::Peer(_) | Content::Communities(_) => {}
            }
        }
        config
    }
}
