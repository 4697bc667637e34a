//! Named conditions behind `/readyz`: what is true, what is missing, and why.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All conditions of a daemon. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<State>>>,
}

/// What a condition does to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The pod is not ready while this is not true.
    Blocking,
    /// Shown, never blocks: for example a configuration that is wrong while the last good one stays in force.
    Informative,
}

#[derive(Debug)]
struct State {
    name: &'static str,
    weight: Weight,
    ready: bool,
    detail: String,
}

/// The handle of one condition. Clones mean the same one.
#[derive(Debug, Clone)]
pub struct Condition {
    all: Readiness,
    index: usize,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether nothing blocks.
    pub ready: bool,
    /// One line a condition: `[+]` true, `[-]` blocks, `[!]` not true but does not block; name and detail.
    pub text: String,
}

impl Readiness {
    /// No conditions: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is not true yet.
    #[must_use]
    pub fn condition(&self, name: &'static str, weight: Weight) -> Condition {
        let mut states = self.lock();
        states.push(State { name, weight, ready: false, detail: "not started".to_owned() });
        Condition { all: self.clone(), index: states.len() - 1 }
    }

    /// Everything as it is now.
    #[must_use]
    pub fn report(&self) -> Report {
        let states = self.lock();
        let mut text = String::new();
        for State { name, weight, ready, detail } in states.iter() {
            let mark = match (ready, weight) {
                (true, _) => '+',
                (false, Weight::Blocking) => '-',
                (false, Weight::Informative) => '!',
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "[{mark}] {name}: {}", if detail.is_empty() { "ok" } else { detail });
        }
        let ready = states.iter().all(|state| state.ready || state.weight == Weight::Informative);
        let _ = writeln!(text, "{}", if ready { "ready" } else { "not ready" });
        Report { ready, text }
    }

    /// A panic elsewhere leaves at worst an old detail behind, never an inconsistent one.
    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// True, nothing to add.
    pub fn ready(&self) {
        self.set(true, String::new());
    }

    /// True, with something worth knowing.
    pub fn ready_with(&self, detail: impl Into<String>) {
        self.set(true, detail.into());
    }

    /// Not true, and why.
    pub fn not_ready(&self, detail: impl Into<String>) {
        self.set(false, detail.into());
    }

    /// Changes the detail alone.
    pub fn detail(&self, detail: impl Into<String>) {
        if let Some(state) = self.all.lock().get_mut(self.index) {
            state.detail = detail.into();
        }
    }

    /// Whether it is true now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.all.lock().get(self.index).is_some_and(|state| state.ready)
    }

    fn set(&self, ready: bool, detail: String) {
        if let Some(state) = self.all.lock().get_mut(self.index) {
            state.ready = ready;
            state.detail = detail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_condition_blocks_until_it_is_true() {
        let readiness = Readiness::new();
        let services = readiness.condition("services", Weight::Blocking);
        assert_eq!(
            readiness.report(),
            Report { ready: false, text: "[-] services: not started\nnot ready\n".to_owned() }
        );
        services.ready_with("12 known");
        assert_eq!(readiness.report(), Report { ready: true, text: "[+] services: 12 known\nready\n".to_owned() });
        services.not_ready("watch lost");
        assert!(!readiness.report().ready && !services.is_ready());
    }

    #[test]
    fn an_informative_condition_is_shown_and_never_blocks() {
        let readiness = Readiness::new();
        let configuration = readiness.condition("configuration", Weight::Informative);
        configuration.not_ready("pool a: bad range; the last good one is in force");
        let report = readiness.report();
        assert!(report.ready);
        assert_eq!(report.text, "[!] configuration: pool a: bad range; the last good one is in force\nready\n");
    }
}
