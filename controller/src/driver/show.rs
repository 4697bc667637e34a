//! What is shown: readiness, metrics, events, reports, the debug state.

use super::{Driver, Parts};
use crate::apply::{self, report::Report};
use herald_api::{
    crd::ConfigurationState,
    state::{self, ControllerState, DecisionState, NoteState},
};
use herald_core::allocate::{Assignment, Decision, Note, Outcome};
use herald_runtime::{admin::DebugRequest, served::Served};
use std::sync::Arc;

impl Driver {
    /// Conditions, gauges, the event about the configuration.
    pub(super) fn report(&mut self) {
        let Parts { conditions, metrics, leadership, .. } = &self.parts;
        let (good, detail) = self.configuration.detail();
        if good {
            conditions.configuration.ready_with(detail)
        } else {
            conditions.configuration.not_ready(detail)
        }
        metrics.client.config_loaded.set(i64::from(self.configuration.in_force().is_some()));
        metrics.client.config_stale.set(i64::from(self.configuration.is_stale()));
        metrics.problems(self.configuration.problems());

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
                match self.state.is_complete() && self.namespaces.is_some() {
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
        metrics.quarantined.set(i64::try_from(self.quarantine.addresses().len()).unwrap_or(i64::MAX));
        metrics.queued.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
        metrics.in_flight.set(i64::try_from(self.writes.len()).unwrap_or(i64::MAX));

        self.tell();
    }

    /// Events about the configuration and about annotations that are deprecated or cannot be read, and what is reported on pools and on the configuration.
    fn tell(&mut self) {
        let may_act = self.may_act();
        if may_act {
            let Parts { events, namespace, .. } = &self.parts;
            for (problem, message) in self.told_problems.news(self.configuration.problems()) {
                self.parts.metrics.client.update_errors.inc();
                apply::tell_problem(events, namespace, problem, &message);
            }
            for news in self.deprecated.take() {
                apply::tell_deprecated(events, &news);
            }
            for (service, uid, problem) in self.unread_moves.take() {
                apply::tell_unread_move(events, &service, &uid, &problem);
            }
        }
        if may_act == self.reports.borrow().is_some() && !self.report_due {
            return;
        }
        self.report_due = false;
        let report = may_act.then(|| Arc::new(self.report_now()));
        self.reports.send_if_modified(|before| {
            let changed = *before != report;
            *before = report;
            changed
        });
    }

    fn report_now(&self) -> Report {
        let pools = self.usage.iter().filter_map(|(name, usage)| {
            let (name, seen) = self.pools.get_key_value(name.as_str())?;
            Some((name.clone(), (*usage, seen.clone())))
        });
        let serves = self.served.as_ref().and_then(Served::serves::<ConfigurationState>) == Some(true);
        let summary = self.configuration.summary(&self.parts.namespace).filter(|_| serves);
        Report { pools: pools.collect(), state: summary.zip(self.reported_state.clone()) }
    }

    /// `/debug/state`.
    pub(super) fn describe(&self, request: &DebugRequest) -> ControllerState {
        let Self { parts, state, configuration, .. } = self;
        let decisions = self.plan.decisions.iter().map(|(key, decision)| (key.to_string(), decision));
        let services = decisions.filter(|(key, _)| request.wants(key)).map(|(key, it)| (key, decided(it)));
        let pending = state.pending().map(|(key, attempts)| (key.to_string(), attempts));
        ControllerState {
            version: state::VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            leads: self.reign.is_some(),
            leader: parts.leadership.holder(),
            metallb_pods: parts.standby.borrow().as_ref().map(|standby| standby.pods.clone()),
            configuration: configuration.describe(&self.usage),
            complete: state.is_complete() && self.namespaces.is_some(),
            known: state.len(),
            services: services.collect(),
            pending: pending.filter(|(key, _)| request.wants(key)).collect(),
            queued: self.queue.len(),
        }
    }
}

fn decided(decision: &Decision) -> DecisionState {
    let notes = decision.notes.iter().map(|note| {
        let (kind, why) = match note {
            Note::Kept(why) => ("kept", why),
            Note::SingleFamily(why) => ("single_family", why),
            Note::Lost(why) => ("lost", why),
        };
        NoteState { kind: kind.to_owned(), why: why.into() }
    });
    let state = DecisionState { notes: notes.collect(), ..DecisionState::default() };
    match &decision.outcome {
        Outcome::Assigned(Assignment { pool, addresses }) => {
            DecisionState { pool: Some(pool.to_string()), addresses: addresses.clone(), ..state }
        }
        Outcome::Waiting(why) => DecisionState { waiting: Some(why.into()), ..state },
        Outcome::NotWanted => state,
    }
}
