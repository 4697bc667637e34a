//! Which Service gets which address.
//!
//! [`plan`] decides for the whole cluster at once, so the result depends on the state and not on the order of events; [`effects`]
//! turns a plan into what has to be written. Both are pure.

mod claims;
mod effects;
mod grant;
mod holders;
mod ladder;
mod plan;
mod reasons;
mod scope;
mod space;
#[cfg(test)]
mod tests;
mod usage;

pub use claims::same_terms;
pub use effects::effects;
pub use plan::plan;
pub use reasons::{Refusal, Unshareable};
pub use usage::{Count, Usage, usage};

use crate::{
    PoolName, ServiceKey,
    config::Config,
    service::{Namespaces, Services},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What a plan follows from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// Namespaces and their labels: pools choose by them.
    pub namespaces: &'a Namespaces,
    /// All Services.
    pub services: &'a Services,
    /// Services that changed their sharing terms (see [`same_terms`]) while they held addresses, numbered in the order of the changes as far
    /// as this process saw them. Of two holders that may not share any more the one that changed last leaves, so that nobody loses a working
    /// address through somebody else's change; without an entry it is the younger one.
    pub changed_terms: &'a BTreeMap<ServiceKey, u64>,
    /// What of the configuration is wrong and therefore not in force.
    pub broken: &'a Broken,
    /// Addresses that are no good where they are announced, as a host outside the cluster has them: nobody gets one without asking for it,
    /// and who has one without having asked for it gets another one, if there is one.
    pub quarantined: &'a BTreeSet<IpAddr>,
}

/// Pools that are configured with a mistake. A mistake takes no address away: who has one from such a pool keeps it until the pool is
/// corrected or deleted, also when this process never saw the pool in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Those whose names are known.
    pub pools: BTreeSet<PoolName>,
    /// Whether there are others: the ConfigMap cannot be read.
    pub others: bool,
}

impl Broken {
    fn covers(&self, pool: &PoolName) -> bool {
        self.others || self.pools.contains(pool)
    }
}

/// What every Service of the snapshot gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One decision per Service.
    pub decisions: BTreeMap<ServiceKey, Decision>,
}

/// What one Service gets, and what the user should know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The result.
    pub outcome: Outcome,
    /// Remarks on it, in the order in which they arose.
    pub notes: Vec<Note>,
}

/// What a Service gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// These addresses of this pool.
    Assigned(Assignment),
    /// Nothing now; reconsidered with every change.
    Waiting(Refusal),
    /// Nothing is asked for (its type is not LoadBalancer).
    NotWanted,
}

/// Addresses of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// The pool.
    pub pool: PoolName,
    /// One address per family, v4 first unless an address was added later.
    pub addresses: Vec<IpAddr>,
}

/// A remark on a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Note {
    /// Keeps its working addresses although what it asks for now cannot be had.
    Kept(Refusal),
    /// PreferDualStack has only one family.
    SingleFamily(Refusal),
    /// Lost its addresses: they are not permitted any more.
    Lost(Refusal),
}

/// Something to be written. Comparable, safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Set the ingress list and the output annotation of a Service's status.
    WriteStatus {
        /// The Service.
        service: ServiceKey,
        /// What it has from now on; `None` clears both.
        assignment: Option<Assignment>,
    },
    /// Tell the user, as an event on the Service.
    Event {
        /// The Service.
        service: ServiceKey,
        /// What happened.
        event: Event,
    },
}

/// Events on a Service, with MetalLB's reasons and texts where the meaning is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Event {
    /// IPAllocated (Normal).
    Allocated(Vec<IpAddr>),
    /// AllocationFailed (Warning).
    Failed(Refusal),
    /// ClearAssignment (Normal): lost its addresses.
    Cleared(Refusal),
    /// LoadBalancerFailed (Warning): keeps its addresses, the request cannot be met.
    RequestRefused(Refusal),
    /// AdditionalAssignFailed (Normal): the second family cannot be had.
    SecondFamilyFailed(Refusal),
}
