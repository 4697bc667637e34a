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
mod scope;
mod space;
#[cfg(test)]
mod tests;
mod usage;

pub use claims::same_terms;
pub use effects::effects;
pub use plan::plan;
pub use usage::{Count, Usage, usage};

use crate::{
    PoolName, ServiceKey,
    config::Config,
    net::Family,
    service::{InvalidRequest, Namespaces, Protocol, Services},
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

/// Why something cannot be had. The text names the object, the reason and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Refusal {
    /// The request is not understood.
    #[error(transparent)]
    InvalidRequest(#[from] InvalidRequest),
    /// No pools are configured.
    #[error("no address pool is configured: create an IPAddressPool, or the ConfigMap with address-pools")]
    NoPools,
    /// The Service has no cluster IP, so no data plane.
    #[error("the Service has no clusterIP: a headless Service cannot have a load balancer")]
    NoClusterIp,
    /// RequireDualStack on a Service with one family of cluster IPs.
    #[error("ipFamilyPolicy RequireDualStack needs cluster IPs of both families")]
    NotDualStack,
    /// The named pool does not exist.
    #[error("pool {0} does not exist: correct annotation address-pool or add the pool")]
    UnknownPool(PoolName),
    /// The named pool, or the one that the address is from, is configured with a mistake.
    #[error("pool {0} has a mistake and is not in force: see its events and correct it")]
    PoolBroken(PoolName),
    /// The pool is kept for other namespaces.
    #[error("pool {pool} is not for namespace {namespace}: correct the pool's serviceAllocation or use another pool")]
    NotForNamespace {
        /// The pool.
        pool: PoolName,
        /// The Service's namespace.
        namespace: String,
    },
    /// The pool is kept for Services with other labels.
    #[error(
        "pool {0} is not for this Service: none of the pool's serviceSelectors chooses its labels; correct them or use another pool"
    )]
    NotForService(PoolName),
    /// Every pool is kept for others or has to be named.
    #[error(
        "every pool is kept for other namespaces or Services, or has auto-assign off: name a pool by annotation address-pool or add one"
    )]
    NoPoolForService,
    /// The labels of the Service's namespace are not known yet, and pools choose by them.
    #[error("namespace {0} is not known yet: it takes a moment")]
    NamespaceUnknown(String),
    /// The requested address lies in no pool.
    #[error("{0} is in no configured pool (with avoid-buggy-ips, .0 and .255 are in none)")]
    NotInAnyPool(IpAddr),
    /// The requested address lies in another pool than the requested one.
    #[error("{address} is not in the requested pool {pool}")]
    NotInPool {
        /// Requested address.
        address: IpAddr,
        /// Requested pool.
        pool: PoolName,
    },
    /// The requested addresses lie in two pools.
    #[error("{0} and {1} are in different pools: both addresses of a Service come from one pool")]
    TwoPools(IpAddr, IpAddr),
    /// The families of the requested or held addresses are not those of the Service.
    #[error("the addresses are {addresses}, but the cluster IPs of the Service are {service}")]
    FamilyMismatch {
        /// Families of the addresses.
        addresses: String,
        /// Families of the Service's cluster IPs.
        service: String,
    },
    /// The pool has no range of that family.
    #[error("pool {pool} has no {family} addresses")]
    PoolLacksFamily {
        /// The pool.
        pool: PoolName,
        /// The family.
        family: Family,
    },
    /// No address of that family is free in the pool, nor can be shared.
    #[error("pool {pool} has no free {family} address: enlarge the pool or release an address")]
    PoolExhausted {
        /// The pool.
        pool: PoolName,
        /// The family.
        family: Family,
    },
    /// No pool that may be used without being named has what is needed.
    #[error("no free {families} address in any pool with auto-assign: enlarge a pool or add one")]
    NoFreeAddress {
        /// What is needed: `IPv4`, `IPv6`, `IPv4 and IPv6` (from one pool) or `IPv4 or IPv6`.
        families: String,
    },
    /// The address is held by a Service that it may not be shared with.
    #[error("{address} is used by {holder}: {why}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: ServiceKey,
        /// Why it cannot be shared.
        why: Unshareable,
    },
    /// The status holds an address of somebody else's, and nothing says that Herald or MetalLB put it there.
    #[error(
        "status holds {0}, which is in no pool and was not assigned from one: another load balancer seems to serve this Service"
    )]
    HeldByOther(IpAddr),
    /// The status holds an entry that is no address, and nothing says that Herald or MetalLB wrote the status.
    #[error(
        "status holds an entry that is not an IP address and was not assigned from a pool: another load balancer seems to serve this Service"
    )]
    HeldByOtherName,
}

/// Why two Services cannot share an address (the rules are MetalLB's).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Unshareable {
    /// The asking Service has no sharing key.
    #[error("this Service has no allow-shared-ip annotation")]
    NoKeyHere,
    /// The holder has no sharing key.
    #[error("it has no allow-shared-ip annotation")]
    NoKeyThere,
    /// Different keys.
    #[error("its allow-shared-ip annotation differs")]
    KeysDiffer,
    /// Local policy with different selectors, or Local with Cluster.
    #[error("externalTrafficPolicy Local shares only between Services with equal selectors and policies")]
    BackendsDiffer,
    /// Both open this port.
    #[error("port {protocol}/{number} is taken there")]
    PortTaken {
        /// Transport protocol.
        protocol: Protocol,
        /// Port number.
        number: u16,
    },
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
