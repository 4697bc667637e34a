//! Services that have addresses already: what of it is still permitted.

use super::{
    Assignment, Refusal,
    claims::Space,
    grant::{Need, common_pool, list},
    ladder::Ladder,
    space::Pools,
};
use crate::{
    net::Family,
    service::{Request, Service},
};
use std::{collections::BTreeSet, net::IpAddr};

/// What a holder may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// All that it needs, or for PreferDualStack one address that nothing speaks against.
    Whole(Assignment),
    /// One address is permitted still; the other is lost or was never there, for this reason.
    Part(Assignment, Refusal),
    /// Nothing, for this reason.
    Nothing(Refusal),
}

impl Hold {
    /// What it may keep.
    pub(super) fn kept(&self) -> Option<&Assignment> {
        match self {
            Self::Whole(assignment) | Self::Part(assignment, _) => Some(assignment),
            Self::Nothing(_) => None,
        }
    }
}

/// What the Service may keep of its addresses beside the older holders in `kept`. The order of the list stays.
pub(super) fn hold<'a>(
    ladder: &Ladder<'a>,
    pools: &Pools<'a>,
    kept: &Space<'a>,
    service: &Service,
    need: Need,
) -> Hold {
    let held: BTreeSet<Family> = service.ingress.iter().copied().map(Family::of).collect();
    let mismatch = || Refusal::FamilyMismatch { addresses: list(&held), service: list(&service.cluster_families) };

    // One address per family counts, the first; one of a family that the Service has no longer is given back, the other one stays.
    let mut current: Vec<IpAddr> = Vec::new();
    for &address in &service.ingress {
        let family = Family::of(address);
        if service.cluster_families.contains(&family) && !current.iter().any(|&other| Family::of(other) == family) {
            current.push(address);
        }
    }
    if current.is_empty() {
        return Hold::Nothing(mismatch());
    }

    let permitted = |address: IpAddr| {
        let pool = pools.pool_of(address).ok_or(Refusal::NotInAnyPool(address))?;
        ladder.admits(pool, service)?;
        kept.admits(address, service)
    };
    let lost = current.iter().find_map(|&address| permitted(address).err());
    current.retain(|&address| permitted(address).is_ok());
    let pool = match (common_pool(pools, &current), lost) {
        (Ok(pool), None) => pool,
        (Ok(pool), Some(why)) => {
            return Hold::Part(Assignment { pool: pool.name.clone(), addresses: current }, why);
        }
        // Nothing is left.
        (Err(_), Some(why)) => return Hold::Nothing(why),
        // The pools were cut between its two addresses: keep the first.
        (Err(why), None) => {
            current.truncate(1);
            return match common_pool(pools, &current) {
                Ok(pool) => Hold::Part(Assignment { pool: pool.name.clone(), addresses: current }, why),
                Err(_) => Hold::Nothing(why),
            };
        }
    };
    let single = current.len() == 1;
    let assignment = Assignment { pool: pool.name.clone(), addresses: current };
    if single && need == Need::Both {
        return Hold::Part(assignment, mismatch());
    }
    Hold::Whole(assignment)
}

/// Whether what it has is what it asks for. Without a request anything is; so taking a request back moves nothing.
pub(super) fn satisfies(current: &Assignment, request: &Request) -> bool {
    let wanted: BTreeSet<&IpAddr> = request.addresses.iter().collect();
    let has: BTreeSet<&IpAddr> = current.addresses.iter().collect();
    (wanted.is_empty() || wanted == has) && request.pool.as_ref().is_none_or(|pool| *pool == current.pool)
}
