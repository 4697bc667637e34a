//! What the controller knows of the Services, and what it has written but not seen yet.
//!
//! One stream of observations, and on top of it an overlay of own writes whose echo has not come back: without it, planning again right
//! after a write would plan the write again. A write is resolved by facts alone: its success and then its echo, or an observation that is newer
//! than the one it was based on (which then carries the write or excludes it, as every write names the resourceVersion it was based on).
//! Until then its addresses stay reserved, also when the answer was an error: an error does not say that nothing happened.

use crate::observe::Observed;
use herald_core::{
    ServiceKey,
    allocate::{self, Assignment, Decision, Event},
    service::{Service, Services},
};
use herald_runtime::watch::Change;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// First pause before an unresolved write is repeated; doubles up to [`MAX_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Longest pause.
const MAX_RETRY: Duration = Duration::from_secs(10);

/// A write to a Service's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Tells writes to one Service apart.
    pub(crate) id: u64,
    /// The Service.
    pub(crate) key: ServiceKey,
    /// What it gets; `None` clears.
    pub(crate) assignment: Option<Assignment>,
    /// resourceVersion that the decision was based on.
    pub(crate) version: String,
}

/// How a write ended, as far as the API server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; the object's new resourceVersion.
    Done(String),
    /// Not known, or not yet: conflict, not found, timeout, server error. Only an observation or a repetition can tell.
    Unresolved,
    /// Refused for good as it is (forbidden, invalid): nothing happened.
    Refused,
}

/// What becomes true when the write is known to be done.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    /// The decision it carries out.
    pub(crate) decision: Decision,
    /// What to tell about it.
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    InFlight,
    Unresolved,
    /// Done at this resourceVersion; its echo is awaited.
    Done(u64),
}

#[derive(Debug)]
struct Pending {
    write: Write,
    promise: Promise,
    phase: Phase,
    /// Whether it takes an address away: nothing may be planned on that address before it is known to be gone.
    frees: bool,
    attempts: u32,
    /// When to repeat it, while unresolved.
    retry_at: Instant,
}

/// A pause after a refusal.
#[derive(Debug, Clone, Copy)]
struct HoldOff {
    attempts: u32,
    /// `None`: over; the count stays, so that the pauses grow.
    until: Option<Instant>,
}

/// A write that is known to be done.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// The Service.
    pub(crate) key: ServiceKey,
    /// Its incarnation.
    pub(crate) uid: Arc<str>,
    /// What was promised.
    pub(crate) promise: Promise,
}

/// All of it. Time is an argument.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `None` before the first complete list.
    observed: Option<BTreeMap<ServiceKey, Observed>>,
    /// The Services with the overlay: what is planned on. Without a write of ours on it, each is the observed one, shared.
    effective: Services,
    pending: BTreeMap<ServiceKey, Pending>,
    /// Services whose write was refused for good.
    held_off: BTreeMap<ServiceKey, HoldOff>,
    next_write: u64,
    /// Services that changed their sharing terms while they held addresses, numbered in that order.
    changed_terms: BTreeMap<ServiceKey, u64>,
    next_change: u64,
}

/// What an observation means for planning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Something to plan on changed.
    pub(crate) dirty: bool,
    /// What was planned before may be wrong now. New Services and Services that go away make no plan for others wrong.
    pub(crate) invalid: bool,
}

impl State {
    /// Whether everything that exists is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.observed.is_some()
    }

    /// How many Services of ours exist.
    pub(crate) fn len(&self) -> usize {
        self.effective.len()
    }

    /// The Services with our own writes laid over them.
    pub(crate) fn services(&self) -> &Services {
        &self.effective
    }

    /// Who changed its sharing terms, and in which order.
    pub(crate) const fn changed_terms(&self) -> &BTreeMap<ServiceKey, u64> {
        &self.changed_terms
    }

    /// The incarnation of a Service, for events.
    pub(crate) fn uid(&self, key: &ServiceKey) -> Option<&Arc<str>> {
        Some(&self.observed.as_ref()?.get(key)?.uid)
    }

    /// Takes in what was observed. Answers what it means for planning, and which writes are now known to be done.
    pub(crate) fn observe(&mut self, change: Change<Observed>) -> (Effect, Vec<Settled>) {
        let mut settled = Vec::new();
        let (mut dirty, mut invalid) = (false, false);
        let mut set = |state: &mut Self, key: ServiceKey, observed| {
            let new = !state.effective.contains_key(&key);
            let changed = state.set(key.clone(), observed, &mut settled);
            let holds = state.effective.get(&key).is_some_and(|service| !service.ingress.is_empty());
            invalid |= changed && (!new || holds);
            changed
        };
        match change {
            Change::Reset { objects, .. } => {
                let objects: BTreeMap<ServiceKey, Observed> =
                    objects.into_values().map(|observed| (observed.service.key.clone(), observed)).collect();
                dirty = self.observed.is_none();
                let gone: Vec<ServiceKey> =
                    self.effective.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
                for key in &gone {
                    dirty |= self.remove(key);
                }
                self.observed.get_or_insert_default();
                for (key, observed) in objects {
                    dirty |= set(self, key, observed);
                }
            }
            Change::Set { value, .. } => dirty = set(self, value.service.key.clone(), value),
            Change::Gone { key, .. } => dirty = self.remove(&ServiceKey::new(key.namespace, key.name)),
            Change::Disconnected(_) | Change::Connected | Change::Vanished => {}
        }
        (Effect { dirty, invalid }, settled)
    }

    fn set(&mut self, key: ServiceKey, observed: Observed, settled: &mut Vec<Settled>) -> bool {
        let Some(all) = self.observed.as_mut() else { return false };
        let version = number(&observed.version);
        let resolved = self.pending.get(&key).is_some_and(|pending| match pending.phase {
            Phase::InFlight => false,
            Phase::Unresolved => version > number(&pending.write.version),
            Phase::Done(done) => version >= done,
        });
        let other_incarnation = all.get(&key).is_some_and(|before| before.uid != observed.uid);
        if other_incarnation {
            self.pending.remove(&key);
        } else if resolved && let Some(pending) = self.pending.remove(&key) {
            // What is done was told when it was done.
            if pending.phase == Phase::Unresolved && carries(&observed.service, &pending.write) {
                settled.push(Settled { key: key.clone(), uid: observed.uid.clone(), promise: pending.promise });
            }
        }
        let before = all.get(&key);
        let changed = before != Some(&observed);
        if other_incarnation {
            self.changed_terms.remove(&key);
        } else if self.effective.get(&key).is_some_and(|service| !service.ingress.is_empty())
            && before.is_some_and(|before| !allocate::same_terms(&before.service, &observed.service))
        {
            self.next_change += 1;
            self.changed_terms.insert(key.clone(), self.next_change);
        }
        all.insert(key.clone(), observed);
        // Whatever was refused may be allowed now.
        let was_held_off = changed && self.held_off.remove(&key).is_some();
        self.refresh(&key) | was_held_off
    }

    fn remove(&mut self, key: &ServiceKey) -> bool {
        self.pending.remove(key);
        self.held_off.remove(key);
        self.changed_terms.remove(key);
        self.observed.as_mut().is_some_and(|all| all.remove(key).is_some()) | self.effective.remove(key).is_some()
    }

    /// Computes the effective Service anew; whether it changed.
    fn refresh(&mut self, key: &ServiceKey) -> bool {
        let Some(observed) = self.observed.as_ref().and_then(|all| all.get(key)) else {
            return self.effective.remove(key).is_some();
        };
        let mut service = Arc::clone(&observed.service);
        if let Some(pending) = self.pending.get(key) {
            lay_over(Arc::make_mut(&mut service), pending.write.assignment.as_ref());
        }
        let before = self.effective.insert(key.clone(), Arc::clone(&service));
        before.as_ref() != Some(&service)
    }

    /// Whether a write takes an address away and is not known to be done: nothing may be planned meanwhile.
    pub(crate) fn frees_unresolved(&self) -> bool {
        self.pending.values().any(|pending| pending.frees && !matches!(pending.phase, Phase::Done(_)))
    }

    /// Whether the Service may be written to now.
    pub(crate) fn may_write(&self, key: &ServiceKey, now: Instant) -> bool {
        let open = self.pending.get(key).is_none_or(|pending| matches!(pending.phase, Phase::Done(_)));
        open && self.held_off.get(key).and_then(|it| it.until).is_none_or(|until| until <= now)
    }

    /// Whether something about the Service was written and is not seen yet.
    pub(crate) fn is_pending(&self, key: &ServiceKey) -> bool {
        self.pending.contains_key(key)
    }

    /// Begins a write: from now on it is planned on as if done. `None` for a Service that is not there.
    pub(crate) fn begin(
        &mut self,
        key: &ServiceKey,
        assignment: Option<Assignment>,
        promise: Promise,
        now: Instant,
    ) -> Option<Write> {
        let observed = self.observed.as_ref()?.get(key)?;
        // An echo that is still awaited has the newer version.
        let version = match self.pending.get(key).map(|pending| pending.phase) {
            Some(Phase::Done(done)) if done > number(&observed.version) => done.to_string(),
            _ => observed.version.clone(),
        };
        let kept = assignment.as_ref().map(|assignment| assignment.addresses.as_slice()).unwrap_or_default();
        let frees = self.effective.get(key)?.ingress.iter().any(|address| !kept.contains(address));
        self.next_write += 1;
        let write = Write { id: self.next_write, key: key.clone(), assignment, version };
        let pending =
            Pending { write: write.clone(), promise, phase: Phase::InFlight, frees, attempts: 1, retry_at: now };
        self.pending.insert(key.clone(), pending);
        self.refresh(key);
        Some(write)
    }

    /// Takes in how a write ended. Answers whether anything to plan on changed, and the write if it is known to be done.
    pub(crate) fn ended(&mut self, write: &Write, outcome: &Outcome, now: Instant) -> (bool, Option<Settled>) {
        let key = &write.key;
        let Some(pending) = self.pending.get_mut(key).filter(|pending| pending.write.id == write.id) else {
            return (false, None);
        };
        let seen = self.observed.as_ref().and_then(|all| all.get(key));
        let seen_version = seen.map_or(0, |seen| number(&seen.version));
        match outcome {
            Outcome::Done(version) => {
                self.held_off.remove(key);
                let uid = seen.map_or_else(|| "".into(), |seen| Arc::clone(&seen.uid));
                let done = number(version);
                let promise = pending.promise.clone();
                let freed = pending.frees;
                pending.phase = Phase::Done(done);
                let mut dirty = freed;
                if seen_version >= done {
                    // The echo was faster than the answer.
                    self.pending.remove(key);
                    dirty |= self.refresh(key);
                }
                (dirty, Some(Settled { key: key.clone(), uid, promise }))
            }
            Outcome::Unresolved if seen_version > number(&write.version) => {
                // What was seen meanwhile tells.
                let arrived = seen.is_some_and(|seen| carries(&seen.service, write));
                let settled = arrived.then(|| Settled {
                    key: key.clone(),
                    uid: seen.map_or_else(|| "".into(), |seen| Arc::clone(&seen.uid)),
                    promise: pending.promise.clone(),
                });
                self.pending.remove(key);
                self.refresh(key);
                (true, settled)
            }
            Outcome::Unresolved => {
                pending.phase = Phase::Unresolved;
                pending.retry_at = now + pause(pending.attempts);
                (false, None)
            }
            Outcome::Refused => {
                self.pending.remove(key);
                let attempts = self.held_off.get(key).map_or(1, |it| it.attempts.saturating_add(1));
                self.held_off.insert(key.clone(), HoldOff { attempts, until: Some(now + pause(attempts)) });
                self.refresh(key);
                (true, None)
            }
        }
    }

    /// Unresolved writes whose pause is over, to be repeated as they are. They are in flight from now on.
    pub(crate) fn repeat(&mut self, now: Instant, limit: usize) -> Vec<Write> {
        let due = self.pending.values_mut().filter(|it| it.phase == Phase::Unresolved && it.retry_at <= now);
        due.take(limit)
            .map(|pending| {
                pending.phase = Phase::InFlight;
                pending.attempts = pending.attempts.saturating_add(1);
                pending.write.clone()
            })
            .collect()
    }

    /// When something has to be tried again, if anything.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        let unresolved = self.pending.values().filter(|it| it.phase == Phase::Unresolved).map(|it| it.retry_at);
        unresolved.chain(self.held_off.values().filter_map(|it| it.until)).min()
    }

    /// Forgets hold-offs that are over; whether there were any, so that planning is due.
    pub(crate) fn end_hold_offs(&mut self, now: Instant) -> bool {
        let mut any = false;
        for hold_off in self.held_off.values_mut().filter(|it| it.until.is_some_and(|until| until <= now)) {
            hold_off.until = None;
            any = true;
        }
        any
    }

    /// Services with a pending write, with how often it was tried, for `/debug/state`.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (&ServiceKey, u32)> {
        self.pending.iter().map(|(key, pending)| (key, pending.attempts))
    }
}

/// 200 ms, doubling to 10 s.
fn pause(attempts: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(MAX_RETRY)
}

/// Whether the Service is as the write wanted it.
fn carries(service: &Service, write: &Write) -> bool {
    let mut wanted = Service::clone(service);
    lay_over(&mut wanted, write.assignment.as_ref());
    wanted == *service
}

/// The Service as it is after the write.
fn lay_over(service: &mut Service, assignment: Option<&Assignment>) {
    service.ingress_has_other = false;
    service.ingress = assignment.map(|assignment| assignment.addresses.clone()).unwrap_or_default();
    service.allocated_from = assignment.map(|assignment| assignment.pool.clone());
}

/// resourceVersions are numbers that grow (KEP-5504); anything else counts as oldest, so that observations win.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
