//! The one task that owns the controller's state.
//!
//! It decides only when it may and when everything is known: this replica leads, MetalLB does not run, a configuration is in force, and
//! namespaces and Services are completely listed. The list of Services is made anew at the start of every term, so that it contains whatever
//! an earlier leader wrote.

mod inputs;
mod show;

use crate::{
    apply::{
        self,
        report::{self, Report},
    },
    configuration::{Configuration, Told},
    deprecated::Deprecated,
    key_secret,
    metrics::Metrics,
    observe::{self, Input, Reported, Watches},
    quarantine::Quarantine,
    state::{Outcome, Promise, State, Write},
    unread_move::UnreadMoves,
    webhook::SourcesRequest,
};
use herald_api::crd::{ConfigurationStateStatus, IPAddressPoolStatus};
use herald_core::{
    PoolName, ServiceKey,
    allocate::{self, Assignment, Decision, Effect, Event, Facts, Plan, Usage},
    service::Namespaces,
};
use herald_runtime::{
    admin::DebugRequest,
    events::EventWriter,
    lease::{Leadership, Term},
    readiness::Condition,
    served::Served,
    shutdown::Shutdown,
    standby::Standby,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Writes under way at once.
const IN_FLIGHT: usize = 32;
/// Inputs taken in before planning once for all of them.
const BATCH: usize = 4096;
/// Planning costs at most a tenth of the time: after a plan that took long, the next one waits longer. The first change after a quiet time
/// is planned at once, and what is planned already goes on being written.
const COST_SHARE: u32 = 10;
/// Pools that are created by one `kubectl apply` come one by one. While nothing was in force before, and Services may hold addresses of those
/// that are still to come, nothing is planned until no more came for this long.
const SETTLE: Duration = Duration::from_secs(2);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What the driver works with.
pub(crate) struct Parts {
    /// A handle that is passed on to who watches and writes; the driver itself calls nothing.
    pub(crate) client: observe::Client,
    pub(crate) namespace: String,
    pub(crate) config_name: String,
    pub(crate) class: Option<String>,
    pub(crate) key_secret: String,
    pub(crate) conflict_quarantine: Duration,
    pub(crate) leadership: Leadership,
    pub(crate) standby: watch::Receiver<Option<Standby>>,
    pub(crate) events: EventWriter,
    pub(crate) metrics: Metrics,
    pub(crate) conditions: Conditions,
    pub(crate) debug: mpsc::Receiver<DebugRequest>,
    pub(crate) sources: mpsc::Receiver<SourcesRequest>,
    pub(crate) inputs: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    pub(crate) shutdown: Shutdown,
}

/// What `/readyz` shows.
pub(crate) struct Conditions {
    pub(crate) configuration: Condition,
    pub(crate) standby: Condition,
    pub(crate) leader: Condition,
    pub(crate) services: Condition,
}

/// A term of ours, and the end of what runs for it.
struct Reign {
    term: Term,
    shutdown: Shutdown,
    key_ensured: bool,
}

/// A planned write.
struct Planned {
    key: ServiceKey,
    /// The incarnation that it was planned for.
    uid: Arc<str>,
    assignment: Option<Assignment>,
    promise: Promise,
}

pub(crate) struct Driver {
    parts: Parts,
    configuration: Configuration,
    /// Problems of the configuration that were told as events.
    told_problems: Told,
    /// `None` before the first list.
    namespaces: Option<Namespaces>,
    /// Pools that are objects, as they report.
    pools: BTreeMap<Arc<str>, Reported<IPAddressPoolStatus>>,
    quarantine: Quarantine,
    /// Our ConfigurationState, as it is; `None` before the first list.
    reported_state: Option<Option<Reported<ConfigurationStateStatus>>>,
    served: Option<Served>,
    reports: watch::Sender<Option<Arc<Report>>>,
    /// Whether there may be something else to report than was published.
    report_due: bool,
    usage: BTreeMap<PoolName, Usage>,
    deprecated: Deprecated,
    unread_moves: UnreadMoves,
    reign: Option<Reign>,
    /// Number of the Services watch in force.
    watch: u64,
    state: State,
    /// What users were told, per Service.
    told: Plan,
    plan: Plan,
    queue: VecDeque<Planned>,
    writes: JoinSet<(Write, Outcome)>,
    /// Whether something changed since the last plan.
    dirty: bool,
    /// No plan before this moment.
    not_before: Instant,
    /// Whether that is because more pools may come.
    settling: bool,
}

/// What woke the driver.
enum Wake {
    Shutdown,
    Input(Box<Input>),
    Wrote(Write, Outcome),
    Debug(DebugRequest),
    Sources(SourcesRequest),
    Look,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            quarantine: Quarantine::new(parts.conflict_quarantine),
            parts,
            configuration: Configuration::default(),
            told_problems: Told::default(),
            namespaces: None,
            pools: BTreeMap::new(),
            reported_state: None,
            served: None,
            reports: watch::channel(None).0,
            report_due: false,
            usage: BTreeMap::new(),
            deprecated: Deprecated::default(),
            unread_moves: UnreadMoves::default(),
            reign: None,
            watch: 0,
            state: State::default(),
            told: Plan::default(),
            plan: Plan::default(),
            queue: VecDeque::new(),
            writes: JoinSet::new(),
            dirty: false,
            not_before: Instant::now(),
            settling: false,
        }
    }

    /// Runs until shutdown, and then until what is under way has ended (bounded by the bound of a write).
    pub(crate) async fn run(mut self) {
        let watches = Watches {
            client: self.parts.client.clone(),
            namespace: self.parts.namespace.clone(),
            config_name: self.parts.config_name.clone(),
            tx: self.parts.inputs.0.clone(),
            shutdown: self.parts.shutdown.clone(),
        };
        self.served = Some(watches.start());
        let (client, namespace) = (self.parts.client.clone(), self.parts.namespace.clone());
        // Ends with the channel.
        tokio::spawn(report::run(client, namespace, self.reports.subscribe()));
        loop {
            self.step();
            match self.wait().await {
                Wake::Shutdown => break,
                Wake::Input(input) => {
                    self.take_in(*input);
                    for _ in 0..BATCH {
                        let Ok(input) = self.parts.inputs.1.try_recv() else { break };
                        self.take_in(input);
                    }
                }
                Wake::Wrote(write, outcome) => self.wrote(&write, &outcome),
                Wake::Debug(request) => {
                    let state = self.describe(&request);
                    request.answer(&state);
                }
                Wake::Sources(answer) => drop(answer.send(self.configuration.known().cloned())),
                Wake::Look => {}
            }
        }
        self.end_reign();
        while let Some(result) = self.writes.join_next().await {
            if let Ok((write, outcome)) = result {
                tracing::debug!(service = %write.key, ?outcome, "ended during shutdown");
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let retry = if self.may_act() { self.state.next_retry() } else { None };
        let plan = (self.may_act() && self.may_plan()).then_some(self.not_before);
        let next = retry.into_iter().chain(plan).chain(self.quarantine.next()).min();
        let parts = &mut self.parts;
        tokio::select! {
            () = parts.shutdown.wait() => Wake::Shutdown,
            Some(input) = parts.inputs.1.recv() => Wake::Input(Box::new(input)),
            Some(result) = self.writes.join_next(), if !self.writes.is_empty() => match result {
                Ok((write, outcome)) => Wake::Wrote(write, outcome),
                // A task of ours neither panics nor is aborted; if it did, its write stays pending and nothing is planned on it.
                Err(_) => Wake::Look,
            },
            Some(request) = parts.debug.recv() => Wake::Debug(request),
            Some(request) = parts.sources.recv() => Wake::Sources(request),
            () = parts.leadership.changed() => Wake::Look,
            Ok(()) = parts.standby.changed() => Wake::Look,
            () = async { match next { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => Wake::Look,
        }
    }

    fn standby_clear(&self) -> bool {
        self.parts.standby.borrow().as_ref().is_some_and(|standby| !standby.holds())
    }

    /// Whether anything may be written at all, at this moment.
    fn may_act(&self) -> bool {
        let leads = self.reign.as_ref().is_some_and(|reign| self.parts.leadership.current() == Some(reign.term));
        leads && self.standby_clear() && !self.parts.shutdown.is_set()
    }

    /// Everything that follows from the state as it is now. Does nothing when nothing is to be done.
    fn step(&mut self) {
        self.follow_leadership();
        let nothing = self.configuration.is_nothing();
        if self.configuration.merge() {
            self.changed();
            self.settling |= nothing && self.configuration.has_pool_objects();
            if self.settling {
                self.not_before = Instant::now() + SETTLE;
            }
        }
        let now = Instant::now();
        if self.quarantine.expire(now) {
            self.changed();
        }
        if self.may_act() {
            self.ensure_key();
            self.dirty |= self.state.end_hold_offs(now);
            let free = IN_FLIGHT.saturating_sub(self.writes.len());
            for write in self.state.repeat(now, free) {
                self.send(write);
            }
            if self.may_plan() && self.not_before <= now {
                self.decide(now);
            }
            self.dispatch(now);
        } else {
            self.queue.clear();
            self.dirty = true;
        }
        self.report();
    }

    /// Whether there is something to plan, and everything is known that a plan needs.
    fn may_plan(&self) -> bool {
        self.dirty
            && self.namespaces.is_some()
            && self.configuration.in_force().is_some()
            && self.state.is_complete()
            && !self.state.frees_unresolved()
    }

    fn follow_leadership(&mut self) {
        let current = self.parts.leadership.current();
        if self.reign.as_ref().is_some_and(|reign| Some(reign.term) != current) {
            self.end_reign();
        }
        // Not before everything of an earlier term has ended: the list of this one must contain it.
        if self.reign.is_none()
            && self.writes.is_empty()
            && !self.parts.shutdown.is_set()
            && let Some(term) = current
        {
            self.watch += 1;
            let shutdown = Shutdown::manual();
            let tx = self.parts.inputs.0.clone();
            let class = self.parts.class.clone();
            observe::services(self.parts.client.clone(), class, self.watch, tx, shutdown.clone());
            self.reign = Some(Reign { term, shutdown, key_ensured: false });
        }
    }

    fn end_reign(&mut self) {
        if let Some(reign) = self.reign.take() {
            reign.shutdown.trigger();
        }
        self.parts.metrics.forget();
        self.state = State::default();
        self.told = Plan::default();
        self.plan = Plan::default();
        self.queue.clear();
        self.told_problems = Told::default();
        self.deprecated = Deprecated::default();
        self.unread_moves = UnreadMoves::default();
        self.usage.clear();
        self.dirty = false;
    }

    fn ensure_key(&mut self) {
        if let Some(reign) = self.reign.as_mut().filter(|reign| !reign.key_ensured) {
            reign.key_ensured = true;
            let Parts { client, namespace, key_secret, .. } = &self.parts;
            tokio::spawn(key_secret::ensure(
                client.clone(),
                namespace.clone(),
                key_secret.clone(),
                reign.shutdown.clone(),
            ));
        }
    }

    /// Plans for all Services, tells what needs no write, and queues what does.
    fn decide(&mut self, now: Instant) {
        let (Some(config), Some(namespaces)) = (self.configuration.in_force(), &self.namespaces) else { return };
        let began = std::time::Instant::now();
        let services = self.state.services();
        let plan = allocate::plan(Facts {
            config,
            namespaces,
            services,
            changed_terms: self.state.changed_terms(),
            broken: self.configuration.broken(),
            quarantined: self.quarantine.addresses(),
        });
        let effects = allocate::effects(services, &self.told, &plan);
        self.usage = allocate::usage(config, &plan);
        self.parts.metrics.plan_seconds.observe(began.elapsed().as_secs_f64());
        self.parts.metrics.planned(&plan, &self.usage);

        let mut events: BTreeMap<ServiceKey, Vec<Event>> = BTreeMap::new();
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::WriteStatus { service, assignment } => writes.push((service, assignment)),
                Effect::Event { service, event } => events.entry(service).or_default().push(event),
            }
        }
        // A new one: what a burst needed is given back.
        self.queue = VecDeque::new();
        for (key, assignment) in writes {
            let Some(decision) = plan.decisions.get(&key).cloned() else { continue };
            let events = events.remove(&key).unwrap_or_default();
            // Nothing is told about what is not done: a Service in a pause keeps its story for later.
            if self.state.may_write(&key, now) {
                let Some(uid) = self.state.uid(&key).cloned() else { continue };
                self.queue.push_back(Planned { key, uid, assignment, promise: Promise { decision, events } });
            }
        }
        self.told.decisions.retain(|key, _| plan.decisions.contains_key(key));
        let queued: std::collections::BTreeSet<&ServiceKey> = self.queue.iter().map(|planned| &planned.key).collect();
        let mut told: Vec<(ServiceKey, Decision)> = Vec::new();
        for (key, decision) in &plan.decisions {
            if queued.contains(key) || self.state.is_pending(key) || !self.state.may_write(key, now) {
                continue;
            }
            if let (Some(events), Some(uid)) = (events.get(key), self.state.uid(key)) {
                apply::tell(&self.parts.events, key, uid, events);
            }
            if self.told.decisions.get(key) != Some(decision) {
                told.push((key.clone(), decision.clone()));
            }
        }
        self.told.decisions.extend(told);
        tracing::debug!(services = plan.decisions.len(), writes = self.queue.len(), "planned");
        self.plan = plan;
        self.dirty = false;
        self.settling = false;
        self.not_before = Instant::now() + (began.elapsed() * COST_SHARE).min(LONGEST_PAUSE);
        self.report_due = true;
    }

    fn dispatch(&mut self, now: Instant) {
        while self.writes.len() < IN_FLIGHT
            && let Some(Planned { key, uid, assignment, promise }) = self.queue.pop_front()
        {
            if self.state.uid(&key) == Some(&uid)
                && let Some(write) = self.state.begin(&key, assignment, promise, now)
            {
                self.send(write);
            }
        }
    }

    fn send(&mut self, write: Write) {
        self.writes.spawn(apply::write(self.parts.client.clone(), write));
    }
}
