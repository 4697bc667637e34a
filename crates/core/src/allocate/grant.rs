//! The ladder by which a Service that needs addresses gets them: explicit addresses, then an explicit pool, then the pools that may be
//! used without being named.

use super::{
    Assignment, Note, Refusal,
    ladder::{Ladder, Rung},
    space::{Named, Pools},
};
use crate::{
    net::Family,
    service::{FamilyPolicy, Request, Service},
};
use std::{collections::BTreeSet, net::IpAddr};

/// What a Service can do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// One address of this family.
    One(Family),
    /// One of each.
    Both,
    /// One of each if possible, else one, of this family if possible.
    PreferBoth(Family),
}

impl Need {
    /// Families come from the cluster IPs: what the data plane can carry (as MetalLB).
    pub(super) fn of(service: &Service) -> Result<Self, Refusal> {
        let families = &service.cluster_families;
        let (Some(&first), Some(&last)) = (families.first(), families.last()) else {
            return Err(Refusal::NoClusterIp);
        };
        match (service.family_policy, first == last) {
            (FamilyPolicy::RequireDualStack, true) => Err(Refusal::NotDualStack),
            (_, true) => Ok(Self::One(first)),
            (FamilyPolicy::PreferDualStack, false) => Ok(Self::PreferBoth(service.primary_family)),
            (_, false) => Ok(Self::Both),
        }
    }

    fn text(self) -> String {
        match self {
            Self::One(family) => family.to_string(),
            Self::Both => "IPv4 and IPv6".to_owned(),
            Self::PreferBoth(_) => "IPv4 or IPv6".to_owned(),
        }
    }
}

/// Addresses that can be had, and what could not. Nothing is claimed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) assignment: Assignment,
    pub(super) note: Option<Note>,
}

/// A grant with every family that was needed.
fn full(pool: Named<'_>, addresses: Vec<IpAddr>) -> Grant {
    Grant { assignment: Assignment { pool: pool.name.clone(), addresses }, note: None }
}

/// The rung's pools without those leading ones that have nothing for the Service.
fn open<'r, 'a>(pools: &mut Pools<'a>, rung: &'r Rung<'a>, families: &[Family], service: &Service) -> &'r [Named<'a>] {
    let Some(number) = rung.number.filter(|_| service.sharing_key.is_none()) else { return &rung.pools };
    let exhausted = families.iter().map(|&family| pools.exhausted(number, &rung.pools, family)).max().unwrap_or(0);
    rung.pools.get(exhausted..).unwrap_or_default()
}

/// What the Service gets by its request, beside everybody who has something.
pub(super) fn grant<'a>(
    ladder: &mut Ladder<'a>,
    pools: &mut Pools<'a>,
    service: &'a Service,
    need: Need,
) -> Result<Grant, Refusal> {
    let request = service.request.as_ref().map_err(|why| Refusal::InvalidRequest(why.clone()))?;
    if !request.addresses.is_empty() {
        return explicit(ladder, pools, service, request);
    }
    let rungs = ladder.rungs(service, request)?;
    rungs.iter().find_map(|rung| in_order(pools, rung, service, need)).ok_or_else(|| match request.pool {
        Some(_) => why_not(pools, &rungs, service, need),
        None => Refusal::NoFreeAddress { families: need.text() },
    })
}

/// Addresses of both families from one pool, for a Service that has a single address now.
pub(super) fn grant_both<'a>(ladder: &mut Ladder<'a>, pools: &mut Pools<'a>, service: &'a Service) -> Option<Grant> {
    let request = service.request.as_ref().ok().filter(|request| request.addresses.is_empty())?;
    let rungs = ladder.rungs(service, request).ok()?;
    rungs.iter().find_map(|rung| both(pools, rung, service))
}

fn in_order<'a>(pools: &mut Pools<'a>, rung: &Rung<'a>, service: &'a Service, need: Need) -> Option<Grant> {
    match need {
        Need::One(family) => {
            let (pool, address) = first(pools, rung, family, service)?;
            Some(full(pool, vec![address]))
        }
        Need::Both => both(pools, rung, service),
        Need::PreferBoth(primary) => both(pools, rung, service).or_else(|| {
            [primary, primary.other()].into_iter().find_map(|family| {
                let (pool, address) = first(pools, rung, family, service)?;
                let note = Note::SingleFamily(lacking(pools, pool, family.other(), service)?);
                Some(Grant { note: Some(note), ..full(pool, vec![address]) })
            })
        }),
    }
}

/// The first pool with an address of that family for the Service.
fn first<'a>(
    pools: &mut Pools<'a>,
    rung: &Rung<'a>,
    family: Family,
    service: &'a Service,
) -> Option<(Named<'a>, IpAddr)> {
    open(pools, rung, &[family], service).iter().find_map(|&pool| Some((pool, pools.lowest(pool, family, service)?)))
}

/// Both from the same pool, v4 first: a pair is never assembled from two pools (as MetalLB).
fn both<'a>(pools: &mut Pools<'a>, rung: &Rung<'a>, service: &'a Service) -> Option<Grant> {
    open(pools, rung, &Family::BOTH, service).iter().find_map(|&pool| {
        let v4 = pools.lowest(pool, Family::V4, service)?;
        let v6 = pools.lowest(pool, Family::V6, service)?;
        Some(full(pool, vec![v4, v6]))
    })
}

/// Why the pool has no address of that family for the Service; `None` when it has one.
fn lacking<'a>(pools: &mut Pools<'a>, pool: Named<'a>, family: Family, service: &'a Service) -> Option<Refusal> {
    if !pool.pool.has(family) {
        return Some(Refusal::PoolLacksFamily { pool: pool.name.clone(), family });
    }
    match pools.lowest(pool, family, service) {
        None => Some(Refusal::PoolExhausted { pool: pool.name.clone(), family }),
        Some(_) => None,
    }
}

/// Why the one named pool cannot serve.
fn why_not<'a>(pools: &mut Pools<'a>, rungs: &[Rung<'a>], service: &'a Service, need: Need) -> Refusal {
    let families = match need {
        Need::One(family) => vec![family],
        Need::Both => Family::BOTH.to_vec(),
        Need::PreferBoth(primary) => vec![primary],
    };
    let why = rungs
        .iter()
        .flat_map(|rung| &*rung.pools)
        .find_map(|&pool| families.iter().find_map(|&family| lacking(pools, pool, family, service)));
    why.unwrap_or(Refusal::NoFreeAddress { families: need.text() })
}

/// Adds an address of the missing family from the pool where the Service has one already; the one it has stays first.
pub(super) fn extend<'a>(
    ladder: &Ladder<'a>,
    pools: &mut Pools<'a>,
    service: &'a Service,
    current: &Assignment,
) -> Result<Assignment, Refusal> {
    let missing = current.addresses.first().map_or(service.primary_family, |&address| Family::of(address).other());
    let named = ladder.named(&current.pool)?;
    if let Some(why) = lacking(pools, named, missing, service) {
        return Err(why);
    }
    let mut extended = current.clone();
    extended.addresses.extend(pools.lowest(named, missing, service));
    Ok(extended)
}

/// Exactly the requested addresses. Pools without auto-assign serve, too.
fn explicit<'a>(
    ladder: &Ladder<'a>,
    pools: &Pools<'a>,
    service: &Service,
    request: &Request,
) -> Result<Grant, Refusal> {
    let families: BTreeSet<Family> = request.addresses.iter().copied().map(Family::of).collect();
    if families != service.cluster_families {
        return Err(Refusal::FamilyMismatch { addresses: list(&families), service: list(&service.cluster_families) });
    }
    request.pool.as_ref().map(|wanted| ladder.named(wanted)).transpose()?;
    let pool = common_pool(pools, &request.addresses)?;
    if let Some(wanted) = request.pool.as_ref().filter(|&wanted| wanted != pool.name) {
        // Not empty: an empty list has no common pool.
        let address = request.addresses.first().copied();
        return Err(address.map_or(Refusal::UnknownPool(wanted.clone()), |address| Refusal::NotInPool {
            address,
            pool: wanted.clone(),
        }));
    }
    ladder.admits(pool, service)?;
    for &address in &request.addresses {
        pools.claimed().admits(address, service)?;
    }
    Ok(full(pool, request.addresses.clone()))
}

/// The one pool that has all the addresses.
pub(super) fn common_pool<'a>(pools: &Pools<'a>, addresses: &[IpAddr]) -> Result<Named<'a>, Refusal> {
    let mut common: Option<(IpAddr, Named<'a>)> = None;
    for &address in addresses {
        let pool = pools.pool_of(address).ok_or(Refusal::NotInAnyPool(address))?;
        match common {
            Some((first, known)) if known.name != pool.name => return Err(Refusal::TwoPools(first, address)),
            Some(_) => {}
            None => common = Some((address, pool)),
        }
    }
    common.map(|(_, pool)| pool).ok_or(Refusal::NoPools)
}

/// `IPv4`, `IPv6` or `IPv4 and IPv6`.
pub(super) fn list(families: &BTreeSet<Family>) -> String {
    families.iter().map(Family::to_string).collect::<Vec<_>>().join(" and ")
}
