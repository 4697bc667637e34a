//! Why a Service does not get what it asks for.

use crate::{
    PoolName, ServiceKey,
    net::Family,
    reason::Reason,
    service::{InvalidRequest, Protocol},
};
use serde::Serialize;
use std::{borrow::Cow, net::IpAddr};

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Refusal {
    /// The request is not understood.
    #[error(transparent)]
    InvalidRequest(#[from] InvalidRequest),
    /// No pools are configured.
    #[error("no address pool is configured")]
    NoPools,
    /// The Service has no cluster IP, so no data plane.
    #[error("the Service has no clusterIP, and a headless Service cannot have a load balancer")]
    NoClusterIp,
    /// RequireDualStack on a Service with one family of cluster IPs.
    #[error("ipFamilyPolicy RequireDualStack needs cluster IPs of both families")]
    NotDualStack,
    /// The named pool does not exist.
    #[error("pool {0} does not exist")]
    UnknownPool(PoolName),
    /// The named pool, or the one that the address is from, is configured with a mistake.
    #[error("pool {0} has a mistake and is not in force")]
    PoolBroken(PoolName),
    /// The pool is kept for other namespaces.
    #[error("pool {pool} is not for namespace {namespace}")]
    NotForNamespace {
        /// The pool.
        pool: PoolName,
        /// The Service's namespace.
        namespace: String,
    },
    /// The pool is kept for Services with other labels.
    #[error("pool {0} is not for this Service: none of the pool's serviceSelectors chooses its labels")]
    NotForService(PoolName),
    /// Every pool is kept for others or has to be named.
    #[error("every pool is kept for other namespaces or Services, or has auto-assign off")]
    NoPoolForService,
    /// The labels of the Service's namespace are not known yet, and pools choose by them.
    #[error("namespace {0} is not known yet")]
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
    #[error("{0} and {1} are in different pools, and both addresses of a Service come from one")]
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
    #[error("pool {pool} has no free {family} address")]
    PoolExhausted {
        /// The pool.
        pool: PoolName,
        /// The family.
        family: Family,
    },
    /// No pool that may be used without being named has what is needed.
    #[error("no free {families} address in any pool with auto-assign")]
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
    /// A host outside the cluster has the address, or its subnet keeps it for itself.
    #[error("{0} is of no use on the LAN: the Service's event addressConflict says who has it")]
    Conflict(IpAddr),
    /// The status holds an address of somebody else's, and nothing says that Herald or MetalLB put it there.
    #[error(
        "status holds {0}, which is in no pool and was not assigned from one, so another load balancer seems to serve this Service"
    )]
    HeldByOther(IpAddr),
    /// The status holds an entry that is no address, and nothing says that Herald or MetalLB wrote the status.
    #[error(
        "status holds an entry that is not an IP address and was not assigned from a pool, so another load balancer seems to serve this Service"
    )]
    HeldByOtherName,
}

impl Reason for Refusal {
    fn label(&self) -> &'static str {
        match self {
            Self::InvalidRequest(why) => why.label(),
            Self::NoPools => "no_pools",
            Self::NoClusterIp => "no_cluster_ip",
            Self::NotDualStack => "not_dual_stack",
            Self::UnknownPool(_) => "unknown_pool",
            Self::PoolBroken(_) => "pool_broken",
            Self::NotForNamespace { .. } => "not_for_namespace",
            Self::NotForService(_) => "not_for_service",
            Self::NoPoolForService => "no_pool_for_service",
            Self::NamespaceUnknown(_) => "namespace_unknown",
            Self::NotInAnyPool(_) => "not_in_any_pool",
            Self::NotInPool { .. } => "not_in_pool",
            Self::TwoPools(..) => "two_pools",
            Self::FamilyMismatch { .. } => "family_mismatch",
            Self::PoolLacksFamily { .. } => "pool_lacks_family",
            Self::PoolExhausted { .. } => "pool_exhausted",
            Self::NoFreeAddress { .. } => "no_free_address",
            Self::InUse { why, .. } => why.label(),
            Self::Conflict(_) => "address_conflict",
            Self::HeldByOther(_) => "held_by_other",
            Self::HeldByOtherName => "held_by_other_name",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::InvalidRequest(why) => return why.next_step(),
            Self::NoPools => "create an IPAddressPool, or the ConfigMap with address-pools",
            Self::NoClusterIp => "create the Service anew without clusterIP: None",
            Self::NotDualStack => "create the Service in a dual-stack cluster, or use PreferDualStack",
            Self::UnknownPool(_) => "correct annotation address-pool or add the pool",
            Self::PoolBroken(_) => "see its events and correct it",
            Self::NotForNamespace { .. } => "correct the pool's serviceAllocation or use another pool",
            Self::NotForService(_) => "correct them or use another pool",
            Self::NoPoolForService => "name a pool by annotation address-pool or add one",
            Self::NamespaceUnknown(_) => "wait a moment, the controller is still reading the namespaces",
            Self::NotInAnyPool(_) => {
                "ask for an address of a pool (with avoid-buggy-ips, .0 and .255 are in none), or add it to one"
            }
            Self::NotInPool { .. } => "ask for an address of that pool, or do not name a pool",
            Self::TwoPools(..) => "ask for addresses of one pool, or put both into one",
            Self::FamilyMismatch { .. } => "ask for addresses of these families, or change the Service's ipFamilies",
            Self::PoolLacksFamily { .. } => "add a range of that family or use another pool",
            Self::PoolExhausted { .. } => "enlarge the pool or release an address",
            Self::NoFreeAddress { .. } => "enlarge a pool or add one",
            Self::InUse { why, .. } => return why.next_step(),
            Self::Conflict(_) => "take the address away from that host, or out of the pool, or ask for another one",
            Self::HeldByOther(_) | Self::HeldByOtherName => {
                "give one of the two a loadBalancerClass, or clear the status of the Service"
            }
        })
    }
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

impl Reason for Unshareable {
    fn label(&self) -> &'static str {
        match self {
            Self::NoKeyHere => "in_use_no_key_here",
            Self::NoKeyThere => "in_use_no_key_there",
            Self::KeysDiffer => "in_use_keys_differ",
            Self::BackendsDiffer => "in_use_backends_differ",
            Self::PortTaken { .. } => "in_use_port_taken",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoKeyHere | Self::NoKeyThere | Self::KeysDiffer => {
                "give both the same annotation allow-shared-ip, or ask for another address"
            }
            Self::BackendsDiffer => "use policy Cluster in both, or ask for another address",
            Self::PortTaken { .. } => "use another port or ask for another address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::tests::check;

    /// One of each; what carries another reason, once with each of these.
    fn all() -> Vec<Refusal> {
        let (ip, pool): (IpAddr, PoolName) = ("192.0.2.1".parse().unwrap(), "p".into());
        let (field, annotation) = ("spec.loadBalancerIP".to_owned(), "metallb.io/loadBalancerIPs".to_owned());
        let invalid = [
            InvalidRequest::NotAnAddress { field: field.clone(), value: "x".to_owned() },
            InvalidRequest::AskedTwice { annotation },
            InvalidRequest::TooMany { field, count: 2, family: Family::V4 },
        ];
        let shares = [
            Unshareable::NoKeyHere,
            Unshareable::NoKeyThere,
            Unshareable::KeysDiffer,
            Unshareable::BackendsDiffer,
            Unshareable::PortTaken { protocol: Protocol::Tcp, number: 80 },
        ];
        let holder = ServiceKey::new("ns", "other");
        let in_use = shares.map(|why| Refusal::InUse { address: ip, holder: holder.clone(), why });
        let others = [
            Refusal::NoPools,
            Refusal::NoClusterIp,
            Refusal::NotDualStack,
            Refusal::UnknownPool(pool.clone()),
            Refusal::PoolBroken(pool.clone()),
            Refusal::NotForNamespace { pool: pool.clone(), namespace: "ns".to_owned() },
            Refusal::NotForService(pool.clone()),
            Refusal::NoPoolForService,
            Refusal::NamespaceUnknown("ns".to_owned()),
            Refusal::NotInAnyPool(ip),
            Refusal::NotInPool { address: ip, pool: pool.clone() },
            Refusal::TwoPools(ip, ip),
            Refusal::FamilyMismatch { addresses: "IPv4".to_owned(), service: "IPv6".to_owned() },
            Refusal::PoolLacksFamily { pool: pool.clone(), family: Family::V6 },
            Refusal::PoolExhausted { pool, family: Family::V4 },
            Refusal::NoFreeAddress { families: "IPv4".to_owned() },
            Refusal::Conflict(ip),
            Refusal::HeldByOther(ip),
            Refusal::HeldByOtherName,
        ];
        invalid.map(Refusal::InvalidRequest).into_iter().chain(in_use).chain(others).collect()
    }

    #[test]
    fn every_reason_has_a_label_a_text_and_a_next_step() {
        check(&all());
        // A new variant belongs into the list above.
        for reason in all() {
            match reason {
                Refusal::InvalidRequest(_)
                | Refusal::NoPools
                | Refusal::NoClusterIp
                | Refusal::NotDualStack
                | Refusal::UnknownPool(_)
                | Refusal::PoolBroken(_)
                | Refusal::NotForNamespace { .. }
                | Refusal::NotForService(_)
                | Refusal::NoPoolForService
                | Refusal::NamespaceUnknown(_)
                | Refusal::NotInAnyPool(_)
                | Refusal::NotInPool { .. }
                | Refusal::TwoPools(..)
                | Refusal::FamilyMismatch { .. }
                | Refusal::PoolLacksFamily { .. }
                | Refusal::PoolExhausted { .. }
                | Refusal::NoFreeAddress { .. }
                | Refusal::InUse { .. }
                | Refusal::Conflict(_)
                | Refusal::HeldByOther(_)
                | Refusal::HeldByOtherName => {}
            }
        }
    }
}
