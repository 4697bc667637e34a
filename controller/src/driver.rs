//! The one task that owns the controller's state.
//!
//! It decides only when it may and when everything is known: this replica leads, MetalLB does not run, a valid configuration was read, and the
//! Services are completely listed. The list is made anew at the start of every term, so that it contains whatever an earlier leader wrote.

use crate::{
    apply,
    configuration::{Configuration, Status},
    key_secret,
    metrics::Metrics,
    observe::{self, Input},
    state::{Outcome, Promise, Settled, State, Write},
};
use herald_core::{
    ServiceKey,
    allocate::{self, Assignment, Decision, Effect, Event, Facts, Plan},
    service::Namespaces,
};
use herald_runtime::{
    admin::DebugRequest,
    events::EventWriter,
    lease::{Leadership, Term},
    readiness::Condition,
    shutdown::Shutdown,
    standby::Standby,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Writes under way at once.
const IN_FLIGHT: usize = 32;
/// Inputs taken in before planning once for all of them.
const BATCH: usize = 4096;

/// What the driver works with.
pub(crate) struct Parts {
    /// A handle that is passed on to who watches and writes; the driver itself calls nothing.
    pub(crate) client: observe::Client,
    pub(crate) namespace: String,
    pub(crate) config_name: String,
    pub(crate) class: Option<String>,
    pub(crate) key_secret: String,
    pub(crate) leadership: Leadership,
    pub(crate) standby: watch::Receiver<Option<Standby>>,
    pub(crate) events: EventWriter,
    pub(crate) metrics: Metrics,
    pub(crate) conditions: Conditions,
    pub(crate) debug: mpsc::Receiver<DebugRequest>,
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
    assignment: Option<Assignment>,
    promise: Promise,
}

pub(crate) struct Driver {
    parts: Parts,
    configuration: Configuration,
    /// The invalid configuration that was told as an event.
    told_invalid: Option<String>,
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
}

/// What woke the driver.
enum Wake {
    Shutdown,
    Input(Box<Input>),
    Wrote(Write, Outcome),
    Debug(DebugRequest),
    Look,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            configuration: Configuration::default(),
            told_invalid: None,
            reign: None,
            watch: 0,
            state: State::default(),
            told: Plan::default(),
            plan: Plan::default(),
            queue: VecDeque::new(),
            writes: JoinSet::new(),
            dirty: false,
        }
    }

    /// Runs until shutdown, and then until what is under way has ended (bounded by the bound of a write).
    pub(crate) async fn run(mut self) {
        let tx = self.parts.inputs.0.clone();
        let shutdown = self.parts.shutdown.clone();
        observe::config(self.parts.client.clone(), &self.parts.namespace, &self.parts.config_name, tx, shutdown);
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
                // Whoever asked may have gone.
                Wake::Debug(answer) => drop(answer.send(self.describe())),
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
            () = parts.leadership.changed() => Wake::Look,
            Ok(()) = parts.standby.changed() => Wake::Look,
            () = async { match retry { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => Wake::Look,
        }
    }

    fn take_in(&mut self, input: Input) {
        self.parts.metrics.client.updates.inc();
        match input {
            Input::Config(change) => {
                if self.configuration.observe(change) {
                    self.changed();
                }
                if self.configuration.is_stale() {
                    self.parts.metrics.client.update_errors.inc();
                }
            }
            Input::Services { watch, change } if watch == self.watch && self.reign.is_some() => {
                let (dirty, settled) = self.state.observe(change);
                if dirty {
                    self.changed();
                }
                for settled in settled {
                    self.settle(settled);
                }
            }
            // A watch of an earlier term.
            Input::Services { .. } => {}
        }
    }

    /// What was planned before is not carried out any further: it was decided on something else.
    fn changed(&mut self) {
        self.dirty = true;
        self.queue.clear();
    }

    fn wrote(&mut self, write: &Write, outcome: &Outcome) {
        self.parts.metrics.wrote(apply::label(outcome));
        if !matches!(outcome, Outcome::Done(_)) {
            self.parts.metrics.client.update_errors.inc();
        }
        let (dirty, settled) = self.state.ended(write, outcome, Instant::now());
        if dirty {
            self.changed();
        }
        if let Some(settled) = settled {
            self.settle(settled);
        }
    }

    /// A write is done: now its story may be told.
    fn settle(&mut self, settled: Settled) {
        apply::tell_settled(&self.parts.events, &settled);
        self.told.decisions.insert(settled.key, settled.promise.decision);
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
        if self.may_act() {
            self.ensure_key();
            let now = Instant::now();
            self.dirty |= self.state.end_hold_offs(now);
            let free = IN_FLIGHT.saturating_sub(self.writes.len());
            for write in self.state.repeat(now, free) {
                self.send(write);
            }
            if self.dirty && self.state.is_complete() && !self.state.frees_unresolved() {
                self.decide(now);
            }
            self.dispatch(now);
        } else {
            self.queue.clear();
            self.dirty = true;
        }
        self.report();
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
        self.told_invalid = None;
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
        let Some(file) = self.configuration.in_force() else { return };
        let began = std::time::Instant::now();
        let plan = allocate::plan(Facts {
            config: &file.config,
            namespaces: &Namespaces::new(),
            services: self.state.services(),
            changed_terms: &BTreeMap::new(),
            broken: &allocate::Broken::default(),
        });
        let effects = allocate::effects(self.state.services(), &self.told, &plan);
        self.parts.metrics.plan_seconds.observe(began.elapsed().as_secs_f64());
        self.parts.metrics.planned(&file.config, &plan);

        let mut events: BTreeMap<ServiceKey, Vec<Event>> = BTreeMap::new();
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::WriteStatus { service, assignment } => writes.push((service, assignment)),
                Effect::Event { service, event } => events.entry(service).or_default().push(event),
            }
        }
        self.queue.clear();
        for (key, assignment) in writes {
            let Some(decision) = plan.decisions.get(&key).cloned() else { continue };
            let events = events.remove(&key).unwrap_or_default();
            // Nothing is told about what is not done: a Service in a pause keeps its story for later.
            if self.state.may_write(&key, now) {
                self.queue.push_back(Planned { key, assignment, promise: Promise { decision, events } });
            }
        }
        self.told.decisions.retain(|key, _| plan.decisions.contains_key(key));
        let queued: std::collections::BTreeSet<&ServiceKey> = self.queue.iter().map(|planned| &planned.key).collect();
        let mut told: Vec<(ServiceKey, Decision)> = Vec::new();
        for (key, decision) in &plan.decisions {
            if queued.contains(key) || self.state.is_pending(key) || !self.state.may_write(key, now) {
                continue;
            }
            if let Some(events) = events.get(key) {
                apply::tell(&self.parts.events, key, self.state.uid(key).unwrap_or_default(), events);
            }
            if self.told.decisions.get(key) != Some(decision) {
                told.push((key.clone(), decision.clone()));
            }
        }
        self.told.decisions.extend(told);
        tracing::debug!(services = plan.decisions.len(), writes = self.queue.len(), "planned");
        self.plan = plan;
        self.dirty = false;
    }

    fn dispatch(&mut self, now: Instant) {
        while self.writes.len() < IN_FLIGHT
            && let Some(Planned { key, assignment, promise }) = self.queue.pop_front()
        {
            if let Some(write) = self.state.begin(&key, assignment, promise, now) {
                self.send(write);
            }
        }
    }

    fn send(&mut self, write: Write) {
        self.writes.spawn(apply::write(self.parts.client.clone(), write));
    }

    /// Conditions, gauges, the event about the configuration.
    fn report(&mut self) {
        let Parts { conditions, metrics, leadership, .. } = &self.parts;
        let (good, detail) = self.configuration.detail();
        if good {
            conditions.configuration.ready_with(detail)
        } else {
            conditions.configuration.not_ready(detail)
        }
        metrics.client.config_loaded.set(i64::from(self.configuration.in_force().is_some()));
        metrics.client.config_stale.set(i64::from(self.configuration.is_stale()));

        let holds = match self.parts.standby.borrow().as_ref() {
            None => {
                conditions.standby.not_ready("not known yet whether MetalLB runs in this cluster");
                false
            }
            Some(standby) if standby.holds() => {
                let pods = standby.pods.join(", ");
                conditions.standby.ready_with(format!("standing by, nothing is written: MetalLB runs ({pods})"));
                true
            }
            Some(_) => {
                conditions.standby.ready_with("no MetalLB in this cluster");
                false
            }
        };
        metrics.standby.set(i64::from(holds));

        metrics.leader.set(i64::from(self.reign.is_some()));
        let leader = leadership.holder();
        match (&self.reign, leader) {
            (Some(reign), _) => {
                conditions.leader.ready_with(format!("leading, term {}", reign.term.number));
                match self.state.is_complete() {
                    true => conditions.services.ready_with(format!("{} known", self.state.len())),
                    false => conditions.services.not_ready("not listed yet"),
                }
            }
            (None, Some(holder)) => {
                conditions.leader.ready_with(format!("{holder} leads"));
                conditions.services.ready_with("the leader watches them");
            }
            (None, None) => {
                conditions.leader.not_ready("nobody leads yet");
                conditions.services.not_ready("waiting for a leader");
            }
        }
        metrics.queued.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
        metrics.in_flight.set(i64::try_from(self.writes.len()).unwrap_or(i64::MAX));

        let may_act = self.may_act();
        match self.configuration.status() {
            Status::Invalid { message, uid } if may_act && self.told_invalid.as_ref() != Some(message) => {
                let Parts { events, namespace, config_name, .. } = &self.parts;
                apply::tell_invalid(events, namespace, config_name, uid, message);
                self.told_invalid = Some(message.clone());
            }
            Status::InForce => self.told_invalid = None,
            _ => {}
        }
    }

    /// `/debug/state`.
    fn describe(&self) -> Value {
        json!({
            "leader": {
                "term": self.reign.as_ref().map(|reign| reign.term),
                "holder": self.parts.leadership.holder(),
            },
            "standby": *self.parts.standby.borrow(),
            "configuration": {
                "status": self.configuration.status(),
                "inForce": self.configuration.in_force(),
            },
            "services": { "complete": self.state.is_complete(), "known": self.state.len() },
            "plan": self.plan,
            "pending": self.state.pending(),
            "queued": self.queue.iter().map(|planned| &planned.key).collect::<Vec<_>>(),
            "inFlight": self.writes.len(),
        })
    }
}
