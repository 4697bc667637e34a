//! Leader election over a `coordination.k8s.io/v1` Lease, by the rules of client-go.
//!
//! - Writes are replaces with the resourceVersion that was read: whoever loses a race gets 409.
//! - A foreign record is judged by when *we* last saw it change, on our monotonic clock; the wall clocks of others mean nothing.
//! - A leader demotes itself when its own renew deadline passes, before anything else; the deadline counts from the moment at which the
//!   last successful renewal was *sent*, and is shorter than the time after which others may take over.
//! - A clean end releases the Lease, so that the next leader need not wait.

use crate::{
    client::{CallError, within},
    shutdown::Shutdown,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde::Serialize;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

/// Bound of a single call; a late answer is worth nothing.
const CALL: Duration = Duration::from_secs(5);

/// How the election is held. The defaults are those of client-go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Name of the Lease.
    pub name: String,
    /// Who we are: unique among candidates, stable over a restart of the container (the pod's name), so that a crash costs no waiting.
    pub identity: String,
    /// How long others wait after the last change that they saw. Longer than `renew_deadline`.
    pub duration: Duration,
    /// How long a leader goes on without a successful renewal.
    pub renew_deadline: Duration,
    /// Pause between attempts; up to a fifth is added at random.
    pub retry: Duration,
}

impl LeaseConfig {
    /// 15 s, 10 s, 2 s.
    pub fn new(name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A period of leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Term {
    /// `leaseTransitions`: grows with every change of the leader.
    pub number: i32,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    term: Term,
    until: Instant,
}

/// Whether this process leads. Clones share the state.
#[derive(Debug, Clone)]
pub struct Leadership {
    held: watch::Receiver<Option<Held>>,
    holder: watch::Receiver<Option<String>>,
}

impl Leadership {
    /// For a process that is no candidate.
    #[must_use]
    pub fn of_another() -> Self {
        let (held, holder) = (watch::channel(None).1, watch::channel(Some("another controller".to_owned())).1);
        Self { held, holder }
    }

    /// The term, while we lead. Judged against our own clock at the moment of the call.
    #[must_use]
    pub fn current(&self) -> Option<Term> {
        (*self.held.borrow()).filter(|held| Instant::now() < held.until).map(|held| held.term)
    }

    /// Waits until leadership begins or ends.
    pub async fn changed(&mut self) {
        if self.held.changed().await.is_err() {
            // The elector is gone: nothing will change any more.
            std::future::pending::<()>().await;
        }
    }

    /// Who held the Lease when it was last read.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        self.holder.borrow().clone()
    }
}

/// Runs as a candidate until shutdown; then withdraws, and releases the Lease if it was ours.
///
/// Trigger `shutdown` only after the last write of the leader is done: the next one may start at once.
#[must_use]
pub fn spawn(client: Client, namespace: &str, config: LeaseConfig, shutdown: Shutdown) -> (Leadership, JoinHandle<()>) {
    let api = Api::namespaced(client, namespace);
    let (held, held_receiver) = watch::channel(None);
    let (holder, holder_receiver) = watch::channel(None);
    let elector = Elector { api, config, seen: None, held, holder };
    let task = tokio::spawn(elector.run(shutdown));
    (Leadership { held: held_receiver, holder: holder_receiver }, task)
}

struct Elector {
    api: Api<Lease>,
    config: LeaseConfig,
    seen: Option<Seen>,
    held: watch::Sender<Option<Held>>,
    holder: watch::Sender<Option<String>>,
}

/// A record of somebody else, and when we saw it change.
struct Seen {
    version: String,
    at: Instant,
}

/// How a renewal ended.
enum Renewal {
    Done(Box<Lease>),
    /// Somebody else has it.
    Lost,
    Failed(CallError),
}

impl Elector {
    async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_set() {
            let sent = Instant::now();
            match self.acquire().await {
                Ok(Some(lease)) => {
                    let (lease, still) = self.lead(lease, sent, &shutdown).await;
                    if still {
                        self.release(lease).await;
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, lease = self.config.name, "cannot take part in the election"),
            }
            tokio::select! {
                () = sleep(self.pause()) => {}
                () = shutdown.wait() => {}
            }
        }
    }

    /// Reads the Lease and takes it if it may be taken.
    async fn acquire(&mut self) -> Result<Option<Lease>, CallError> {
        let lease = match within(CALL, self.api.get(&self.config.name)).await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => {
                let lease = Lease {
                    metadata: ObjectMeta { name: Some(self.config.name.clone()), ..ObjectMeta::default() },
                    spec: Some(self.spec(None, 0)),
                };
                return self.won(within(CALL, self.api.create(&PostParams::default(), &lease)).await);
            }
            Err(error) => return Err(error),
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        self.tell_holder(&holder);
        let version = lease.resource_version().unwrap_or_default();
        let now = Instant::now();
        let at = match &self.seen {
            Some(seen) if seen.version == version => seen.at,
            _ => {
                self.seen = Some(Seen { version, at: now });
                now
            }
        };
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let mine = holder == self.config.identity;
        if !mine && !holder.is_empty() && now.duration_since(at) < Duration::from_secs(duration) {
            return Ok(None);
        }
        let transitions = spec.lease_transitions.unwrap_or_default().saturating_add(i32::from(!mine));
        let next = Lease { spec: Some(self.spec(None, transitions)), ..lease };
        self.won(within(CALL, self.api.replace(&self.config.name, &PostParams::default(), &next)).await)
    }

    /// 409 = another candidate was faster.
    fn won(&self, result: Result<Lease, CallError>) -> Result<Option<Lease>, CallError> {
        match result {
            Ok(lease) => {
                self.tell_holder(&self.config.identity);
                Ok(Some(lease))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leads until the Lease is lost (false) or the shutdown comes (true). `sent`: when the acquisition was sent.
    async fn lead(&mut self, mut lease: Lease, sent: Instant, shutdown: &Shutdown) -> (Lease, bool) {
        let number = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let term = Term { number };
        let mut until = sent + self.config.renew_deadline;
        self.held.send_replace(Some(Held { term, until }));
        tracing::info!(term = number, lease = self.config.name, "leading");
        let still = loop {
            tokio::select! {
                () = sleep(self.pause()) => {}
                () = shutdown.wait() => break true,
            }
            let sent = Instant::now();
            match timeout_at(until, self.renew(&lease)).await {
                Ok(Renewal::Done(renewed)) => {
                    lease = *renewed;
                    until = sent + self.config.renew_deadline;
                    // Not a change to those who wait for one.
                    self.held.send_if_modified(|held| {
                        *held = Some(Held { term, until });
                        false
                    });
                }
                Ok(Renewal::Lost) => break false,
                Ok(Renewal::Failed(error)) => {
                    tracing::warn!(%error, term = number, "lease not renewed, trying again");
                }
                Err(_) => {}
            }
            if Instant::now() >= until {
                break false;
            }
        };
        self.held.send_replace(None);
        self.seen = None;
        if !still {
            tracing::warn!(term = number, lease = self.config.name, "leads no more");
        }
        (lease, still)
    }

    async fn renew(&self, lease: &Lease) -> Renewal {
        let acquired = lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let next = |base: &Lease| Lease { spec: Some(self.spec(acquired.clone(), transitions)), ..base.clone() };
        let replace = async |lease: Lease| {
            within(CALL, self.api.replace(&self.config.name, &PostParams::default(), &lease)).await
        };
        match replace(next(lease)).await {
            Ok(lease) => return Renewal::Done(Box::new(lease)),
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => return Renewal::Failed(error),
        }
        // Somebody touched it: a new holder, or an annotation, or a renewal of ours whose answer was lost.
        match within(CALL, self.api.get(&self.config.name)).await {
            Ok(lease) => {
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                self.tell_holder(&holder);
                if holder != self.config.identity {
                    return Renewal::Lost;
                }
                match replace(next(&lease)).await {
                    Ok(lease) => Renewal::Done(Box::new(lease)),
                    Err(error) => Renewal::Failed(error),
                }
            }
            // Deleted: anybody may have it now.
            Err(error) if error.is_not_found() => Renewal::Lost,
            Err(error) => Renewal::Failed(error),
        }
    }

    /// Gives the Lease back, so that others need not wait for it to run out.
    async fn release(&self, lease: Lease) {
        let mut spec = lease.spec.clone().unwrap_or_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let next = Lease { spec: Some(spec), ..lease };
        match within(CALL, self.api.replace(&self.config.name, &PostParams::default(), &next)).await {
            Ok(_) => tracing::info!(lease = self.config.name, "lease released"),
            Err(error) => tracing::warn!(%error, lease = self.config.name, "lease not released: it runs out by itself"),
        }
    }

    /// The record of a holder; `acquired` = since when, `None` = now.
    fn spec(&self, acquired: Option<MicroTime>, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.config.duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn tell_holder(&self, holder: &str) {
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        self.holder.send_if_modified(|before| {
            let changed = *before != holder;
            if changed {
                tracing::info!(
                    holder = holder.as_deref().unwrap_or("nobody"),
                    lease = self.config.name,
                    "the lease has a new holder"
                );
                *before = holder;
            }
            changed
        });
    }

    /// The retry period and up to a fifth more: candidates that started together must not go on asking together.
    fn pause(&self) -> Duration {
        let fifth = self.config.retry / 5;
        // The standard library's hash keys are the one source of randomness that needs no crate.
        let random = RandomState::new().hash_one(0_u8) % 1024;
        self.config.retry + fifth * u32::try_from(random).unwrap_or(0) / 1024
    }
}

#[cfg(test)]
mod tests;
