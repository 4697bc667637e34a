//! All configuration objects together: what is in force, and what is wrong.
//!
//! [`Sources`] is the memory of the ConfigMap and of the custom resources. One function, [`Sources::merge`], decides for the controller, the
//! speakers, `herald validate` and the webhook:
//!
//! - An object that is wrong by itself, or conflicts with another one, is left out, or its last good version stays in force. All others
//!   go on.
//! - Of two objects that conflict, the one that is in force unchanged wins, then one that is in force, then the one that was changed
//!   earlier, then the first by kind and name. So an edit never takes another object out of force, and who starts later decides as those who were there.
//! - The ConfigMap and custom resources are merged. A ConfigMap that was deleted stays in force, part by part, until others take its
//!   place, unless there was an IPAddressPool by then. So do custom resources whose definition was deleted: see [`Sources::vanish`].

mod convert;
mod merge;
mod object;
mod problem;
mod references;
pub mod texts;

pub use object::{Kind, ObjectId, PasswordSource, Source};
pub use problem::{Fault, InForce, Overlap, Owner, Problem, Reason};

use convert::Content;
use herald_core::{PoolName, allocate::Broken, config::Config, labels::Labels};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is in force, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In force: pool names are unique, no two ranges overlap, every reference is resolved.
    pub config: Config,
    /// By object; within an object as they were found.
    pub problems: Vec<Problem>,
}

impl Outcome {
    /// Pools that a mistake keeps from being in force.
    #[must_use]
    pub fn broken(&self) -> Broken {
        let mut broken = Broken::default();
        for problem in self.problems.iter().filter(|problem| problem.in_force == InForce::Nothing) {
            match problem.object.kind {
                Kind::IpAddressPool => _ = broken.pools.insert(PoolName::new(problem.object.name.clone())),
                Kind::ConfigMap => broken.others = true,
                _ => {}
            }
        }
        broken
    }
}

/// The memory of all configuration objects in Herald's namespace. Pure: it has no clock, and the same calls give the same answers.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    objects: BTreeMap<ObjectId, Source>,
    /// Objects that are gone and stay in force.
    deleted: BTreeSet<ObjectId>,
    /// What is in force of each object, by part.
    held: BTreeMap<PartKey, Arc<Content>>,
    /// Unknown: Secrets are not looked at.
    secrets: Option<BTreeMap<Arc<str>, PasswordSource>>,
    outcome: Outcome,
}

type PartKey = (ObjectId, Arc<str>);

impl Sources {
    /// Takes in a new or changed object, or that it is gone.
    pub fn set(&mut self, id: ObjectId, object: Option<Source>) {
        match object {
            Some(object) => {
                self.deleted.remove(&id);
                self.objects.insert(id, object);
            }
            None => {
                let known = self.objects.remove(&id).is_some();
                let pools = self.has_pool_objects();
                if known && id.kind == Kind::ConfigMap && !pools {
                    self.deleted.insert(id);
                }
            }
        }
    }

    /// Takes in all objects of a kind: those that it lacks are gone.
    pub fn reset(&mut self, kind: Kind, objects: impl IntoIterator<Item = (Arc<str>, Source)>) {
        let mut objects: BTreeMap<Arc<str>, Source> = objects.into_iter().collect();
        let gone: Vec<ObjectId> =
            self.objects.keys().filter(|id| id.kind == kind && !objects.contains_key(&id.name)).cloned().collect();
        while let Some((name, object)) = objects.pop_first() {
            self.set(ObjectId { kind, name }, Some(object));
        }
        for id in gone {
            self.set(id, None);
        }
    }

    /// The definition of a kind was deleted, and all its objects with it. They stay in force until others take their place: who removes
    /// MetalLB together with its definitions does not mean to take all Services their addresses.
    pub fn vanish(&mut self, kind: Kind) {
        let gone: Vec<ObjectId> = self.objects.keys().filter(|id| id.kind == kind).cloned().collect();
        for id in gone {
            self.objects.remove(&id);
            self.deleted.insert(id);
        }
    }

    /// Takes in all Secrets; from then on the passwords of peers are looked up. Without this they are left open.
    pub fn reset_secrets(&mut self, secrets: impl IntoIterator<Item = (Arc<str>, PasswordSource)>) {
        self.secrets = Some(secrets.into_iter().collect());
    }

    /// Takes in a new or changed Secret, or that it is gone.
    pub fn set_secret(&mut self, name: Arc<str>, secret: Option<PasswordSource>) {
        let secrets = self.secrets.get_or_insert_default();
        match secret {
            Some(secret) => secrets.insert(name, secret),
            None => secrets.remove(&name),
        };
    }

    /// Whether there is no configuration object at all, and none that stays in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.deleted.is_empty()
    }

    /// Whether there is an IPAddressPool.
    #[must_use]
    pub fn has_pool_objects(&self) -> bool {
        self.objects.keys().any(|id| id.kind == Kind::IpAddressPool)
    }

    /// Whether an object is known.
    #[must_use]
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    /// Pools that are objects and, as was decided last, not in force because of a mistake, with their labels.
    #[must_use]
    pub fn broken_pools(&self) -> BTreeMap<PoolName, Labels> {
        let broken = self.outcome.broken().pools.into_iter();
        let labels =
            |name: &PoolName| Some(&self.objects.get(&ObjectId::new(Kind::IpAddressPool, name.as_str()))?.labels);
        broken.map(|name| (name.clone(), labels(&name).cloned().unwrap_or_default())).collect()
    }

    /// What was decided last: nothing before the first [`Sources::merge`].
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Decides what is in force now. Repeating it without a change in between changes nothing.
    pub fn merge(&mut self) -> &Outcome {
        // What came into force may make room for what waits. Whatever is in force as it stands stays there, so this ends.
        let outcome = loop {
            let merged = merge::merge(self);
            if self.held == merged.held {
                break merged.outcome;
            }
            self.held = merged.held;
        };
        self.deleted.retain(|id| self.held.keys().any(|(object, _)| object == id));
        self.outcome = outcome;
        &self.outcome
    }
}

#[cfg(test)]
mod tests;
