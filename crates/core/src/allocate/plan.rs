//! The decision for the whole cluster.

use super::{
    Assignment, Decision, Facts, Note, Outcome, Plan, Refusal,
    claims::Space,
    grant::{Grant, Need, extend, grant, grant_both},
    holders::{Hold, hold, satisfies},
    ladder::Ladder,
    space::Pools,
};
use crate::service::Service;
use std::{collections::BTreeMap, net::IpAddr};

/// Decides for all Services.
///
/// Holders come first, the oldest first, those that changed their sharing terms after those that did not: what they may keep is kept before
/// anybody gets anything. Then holders that have to or want to
/// move, then those who wait. An address that any status shows is taken for everybody else as long as the status shows it, whatever
/// becomes of its holder in this plan: so effects may be applied in any order, or only in part, and no address is ever on two Services
/// that may not share it. What a mover leaves is free in the next plan, after its write was observed.
#[must_use]
pub fn plan(facts: Facts<'_>) -> Plan {
    let Facts { config, services, .. } = facts;
    let mut planner = Planner {
        facts,
        by_namespace_labels: config
            .pools
            .values()
            .filter_map(|pool| pool.allocation.as_ref())
            .any(|allocation| !allocation.namespace_selectors.is_empty()),
        ladder: Ladder::new(facts),
        pools: Pools::new(config, facts.quarantined),
        kept: Space::default(),
        decisions: BTreeMap::new(),
    };
    for service in services.values() {
        for &address in &service.ingress {
            planner.pools.claim(address, service);
        }
    }

    let mut by_age: Vec<&Service> = services.values().map(AsRef::as_ref).collect();
    let changed = |service: &Service| facts.changed_terms.get(&service.key).copied().unwrap_or(0);
    by_age.sort_by_cached_key(|service| {
        let late = if service.ingress.is_empty() { 0 } else { changed(service) };
        (late, service.created, &service.key)
    });
    let asking: Vec<(&Service, Need)> =
        by_age.into_iter().filter_map(|service| Some((service, planner.asks(service)?))).collect();

    let mut holders = Vec::new();
    let mut waiting = Vec::new();
    for (service, need) in asking {
        if service.ingress.is_empty() {
            waiting.push((service, need));
            continue;
        }
        let hold = hold(&planner.ladder, &planner.pools, &planner.kept, service, need);
        for &address in hold.kept().into_iter().flat_map(|kept| &kept.addresses) {
            planner.kept.claim(address, service);
        }
        holders.push((service, need, hold));
    }
    for (service, need, hold) in holders {
        let decision = planner.holder(service, need, hold);
        planner.decide(service, decision);
    }
    for (service, need) in waiting {
        let decision = planner.newcomer(service, need);
        planner.decide(service, decision);
    }
    Plan { decisions: planner.decisions.into_iter().map(|(key, decision)| (key.clone(), decision)).collect() }
}

#[derive(Debug)]
struct Planner<'a> {
    facts: Facts<'a>,
    /// Whether some pool chooses by labels of namespaces.
    by_namespace_labels: bool,
    ladder: Ladder<'a>,
    pools: Pools<'a>,
    /// What holders keep, so far.
    kept: Space<'a>,
    decisions: BTreeMap<&'a crate::ServiceKey, Decision>,
}

impl<'a> Planner<'a> {
    /// What the Service needs, or a decision at once when it can have nothing.
    fn asks(&mut self, service: &'a Service) -> Option<Need> {
        let doubt = || if service.is_load_balancer { self.in_doubt(service) } else { None };
        let untouched = self.foreign(service).or_else(doubt);
        let decision = match (service.is_load_balancer, untouched, Need::of(service)) {
            (false, None, _) => Decision { outcome: Outcome::NotWanted, notes: Vec::new() },
            (false, Some(why), _) => Decision { outcome: Outcome::NotWanted, notes: vec![Note::Kept(why)] },
            (true, Some(why), _) => waiting(why),
            (true, None, Err(why)) => loses(service, why.clone(), why),
            (true, None, Ok(_)) if self.facts.config.pools.is_empty() => {
                let lost = service.ingress.first().map_or(Refusal::NoPools, |&address| Refusal::NotInAnyPool(address));
                loses(service, Refusal::NoPools, lost)
            }
            (true, None, Ok(need)) => return Some(need),
        };
        self.decide(service, decision);
        None
    }

    /// Whether the status is somebody else's: it holds something that no pool of ours has, and nothing says that it came from one. Then
    /// nothing is written (MetalLB clears such a status as soon as it has no pools).
    fn foreign(&self, service: &Service) -> Option<Refusal> {
        if service.allocated_from.is_some() {
            return None;
        }
        if service.ingress_has_other {
            return Some(
                service.ingress.first().map_or(Refusal::HeldByOtherName, |&first| Refusal::HeldByOther(first)),
            );
        }
        let first = service.ingress.first()?;
        let in_none = service.ingress.iter().all(|&address| self.pools.pool_of(address).is_none());
        in_none.then_some(Refusal::HeldByOther(*first))
    }

    /// Whether its addresses are of a pool that is not in force only because of a mistake: then they stay as they are.
    fn in_doubt(&self, service: &Service) -> Option<Refusal> {
        let pool = service.allocated_from.as_ref().filter(|pool| self.facts.broken.covers(pool))?;
        let none = service.ingress.iter().all(|&address| self.pools.pool_of(address).is_none());
        (none && !service.ingress.is_empty()).then(|| Refusal::PoolBroken(pool.clone()))
    }

    fn decide(&mut self, service: &'a Service, decision: Decision) {
        if let Outcome::Assigned(assignment) = &decision.outcome {
            for &address in &assignment.addresses {
                self.pools.claim(address, service);
            }
        }
        self.decisions.insert(&service.key, decision);
    }

    fn newcomer(&mut self, service: &'a Service, need: Need) -> Decision {
        // Its namespace exists and is on its way: what is given meanwhile would stay, right or wrong.
        if self.by_namespace_labels && !self.facts.namespaces.contains_key(&service.key.namespace) {
            return waiting(Refusal::NamespaceUnknown(service.key.namespace.to_string()));
        }
        match grant(&mut self.ladder, &mut self.pools, service, need) {
            Ok(granted) => {
                Decision { outcome: Outcome::Assigned(granted.assignment), notes: granted.note.into_iter().collect() }
            }
            Err(why) => waiting(why),
        }
    }

    fn holder(&mut self, service: &'a Service, need: Need, hold: Hold) -> Decision {
        match hold {
            Hold::Whole(current) => self.whole(service, need, current),
            Hold::Part(current, why) => self.part(service, need, current, why),
            Hold::Nothing(why) => self.moves(service, need, why),
        }
    }

    /// Keeps what works; a changed request moves it only when it can be met (MetalLB drops the address first).
    fn whole(&mut self, service: &'a Service, need: Need, current: Assignment) -> Decision {
        let satisfied = service.request.as_ref().is_ok_and(|request| satisfies(&current, request));
        if !satisfied {
            return match grant(&mut self.ladder, &mut self.pools, service, need) {
                Ok(granted) => Decision {
                    outcome: Outcome::Assigned(granted.assignment),
                    notes: granted.note.into_iter().collect(),
                },
                Err(why) => assigned(current, Note::Kept(why)),
            };
        }
        if let Some(&address) = current.addresses.iter().find(|address| self.facts.quarantined.contains(address)) {
            return self.evade(service, need, current, address);
        }
        if matches!(need, Need::PreferBoth(_)) && current.addresses.len() == 1 {
            return self.second(service, current);
        }
        Decision { outcome: Outcome::Assigned(current), notes: Vec::new() }
    }

    /// Another address for one that somebody outside the cluster has. Who asked for it by name keeps it, and so does who can have no other:
    /// that is no worse, and the host may go.
    fn evade(&mut self, service: &'a Service, need: Need, current: Assignment, conflict: IpAddr) -> Decision {
        let lost = Refusal::Conflict(conflict);
        if !service.request.as_ref().is_ok_and(|request| request.addresses.is_empty()) {
            return assigned(current, Note::Kept(lost));
        }
        let good = current.addresses.iter().copied().filter(|address| !self.facts.quarantined.contains(address));
        let good = Assignment { pool: current.pool.clone(), addresses: good.collect() };
        let granted = if good.addresses.is_empty() {
            grant(&mut self.ladder, &mut self.pools, service, need)
        } else {
            extend(&self.ladder, &mut self.pools, service, &good).map(|assignment| Grant { assignment, note: None })
        };
        match granted {
            Ok(granted) => Decision {
                outcome: Outcome::Assigned(granted.assignment),
                notes: std::iter::once(Note::Lost(lost)).chain(granted.note).collect(),
            },
            Err(_) => assigned(current, Note::Kept(lost)),
        }
    }

    /// A second address beside the one it has, from the same pool; it does not move for that (as MetalLB).
    fn second(&mut self, service: &'a Service, current: Assignment) -> Decision {
        // Named addresses are all or nothing: one name for two families is refused elsewhere, never completed.
        if service.request.as_ref().is_ok_and(|request| !request.addresses.is_empty()) {
            return match grant(&mut self.ladder, &mut self.pools, service, Need::Both) {
                Ok(granted) => Decision { outcome: Outcome::Assigned(granted.assignment), notes: Vec::new() },
                Err(why) => assigned(current, Note::Kept(why)),
            };
        }
        match extend(&self.ladder, &mut self.pools, service, &current) {
            Ok(extended) => Decision { outcome: Outcome::Assigned(extended), notes: Vec::new() },
            Err(why) => assigned(current, Note::SingleFamily(why)),
        }
    }

    /// One address is still permitted: completed in its pool, else two from another pool, else kept alone if that is enough.
    fn part(&mut self, service: &'a Service, need: Need, current: Assignment, lost: Refusal) -> Decision {
        let free_choice =
            service.request.as_ref().is_ok_and(|request| request.addresses.is_empty() && satisfies(&current, request));
        let completed = if free_choice {
            extend(&self.ladder, &mut self.pools, service, &current)
                .map(|assignment| Grant { assignment, note: None })
                .or_else(|why| grant_both(&mut self.ladder, &mut self.pools, service).ok_or(why))
        } else {
            grant(&mut self.ladder, &mut self.pools, service, need)
        };
        match (completed, need) {
            (Ok(granted), _) => {
                let loses = service.ingress.iter().any(|address| !granted.assignment.addresses.contains(address));
                let notes = loses.then_some(Note::Lost(lost)).into_iter().chain(granted.note).collect();
                Decision { outcome: Outcome::Assigned(granted.assignment), notes }
            }
            (Err(why), Need::PreferBoth(_)) => {
                let rest = if free_choice { Note::SingleFamily(why) } else { Note::Kept(why) };
                Decision { outcome: Outcome::Assigned(current), notes: vec![Note::Lost(lost), rest] }
            }
            (Err(why), _) => loses(service, why, lost),
        }
    }

    /// Nothing of it is permitted any more: something else in the same write, or nothing.
    fn moves(&mut self, service: &'a Service, need: Need, lost: Refusal) -> Decision {
        match grant(&mut self.ladder, &mut self.pools, service, need) {
            Ok(granted) => Decision {
                outcome: Outcome::Assigned(granted.assignment),
                notes: std::iter::once(Note::Lost(lost)).chain(granted.note).collect(),
            },
            Err(why) => loses(service, why, lost),
        }
    }
}

fn waiting(why: Refusal) -> Decision {
    Decision { outcome: Outcome::Waiting(why), notes: Vec::new() }
}

/// Waits, and what it has, if it has something, is taken from it.
fn loses(service: &Service, why: Refusal, lost: Refusal) -> Decision {
    let notes = if service.ingress.is_empty() { Vec::new() } else { vec![Note::Lost(lost)] };
    Decision { outcome: Outcome::Waiting(why), notes }
}

fn assigned(assignment: Assignment, note: Note) -> Decision {
    Decision { outcome: Outcome::Assigned(assignment), notes: vec![note] }
}
