//! What comes in: observations, and how writes ended.

use super::Driver;
use crate::{
    apply,
    observe::Input,
    state::{Outcome, Settled, Write},
};
use herald_api::sources::Kind;
use herald_core::service::Namespaces;
use herald_runtime::watch::{Change, ObjectKey};
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Driver {
    pub(super) fn take_in(&mut self, input: Input) {
        self.parts.metrics.client.updates.inc();
        match input {
            Input::Source(kind, change) => {
                self.report_due = true;
                self.configuration.observe(kind, change);
            }
            Input::Pools(change) => {
                let (source, reported) = split(change);
                self.configuration.observe(Kind::IpAddressPool, source);
                self.report_due = true;
                apply_to(&mut self.pools, reported, |key| key.name);
            }
            Input::Conflicts(change) => {
                if self.quarantine.observe(change, Instant::now()) {
                    self.changed();
                }
            }
            Input::Namespaces(change) => {
                let listed = matches!(change, Change::Reset { .. });
                // Nothing is known before the first list.
                if listed || self.namespaces.is_some() {
                    let namespaces: &mut Namespaces = self.namespaces.get_or_insert_default();
                    if apply_to(namespaces, change, |key| key.name) {
                        self.changed();
                    }
                }
            }
            Input::State(change) => {
                self.report_due = true;
                match change {
                    Change::Reset { mut objects, .. } => {
                        self.reported_state = Some(objects.pop_first().map(|(_, state)| state));
                    }
                    Change::Set { value, .. } => self.reported_state = Some(Some(value)),
                    Change::Gone { .. } | Change::Vanished => self.reported_state = Some(None),
                    Change::Disconnected(_) | Change::Connected => {}
                }
            }
            Input::Services { watch, change } if watch == self.watch && self.reign.is_some() => {
                self.deprecated.observe(&change);
                self.unread_moves.observe(&change);
                let (effect, settled) = self.state.observe(change);
                self.dirty |= effect.dirty;
                if effect.invalid {
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
    pub(super) fn changed(&mut self) {
        self.dirty = true;
        self.queue.clear();
    }

    pub(super) fn wrote(&mut self, write: &Write, outcome: &Outcome) {
        self.parts.metrics.wrote(apply::label(outcome));
        if !matches!(outcome, Outcome::Done(_)) {
            self.parts.metrics.client.update_errors.inc();
        }
        let (dirty, settled) = self.state.ended(write, outcome, Instant::now());
        // A write that ended only frees: what is planned for others stays right.
        self.dirty |= dirty;
        if let Some(settled) = settled {
            self.settle(settled);
        }
    }

    /// A write is done: now its story may be told.
    fn settle(&mut self, settled: Settled) {
        apply::tell_settled(&self.parts.events, &settled);
        self.told.decisions.insert(settled.key, settled.promise.decision);
    }
}

/// The same change twice: once with the first, once with the second half of its values.
fn split<A, B>(change: Change<(A, B)>) -> (Change<A>, Change<B>) {
    match change {
        Change::Reset { objects, newest } => {
            let (a, b) = objects.into_iter().map(|(key, (a, b))| ((key.clone(), a), (key, b))).unzip();
            (Change::Reset { objects: a, newest }, Change::Reset { objects: b, newest })
        }
        Change::Set { key, value: (a, b), newest } => {
            (Change::Set { key: key.clone(), value: a, newest }, Change::Set { key, value: b, newest })
        }
        Change::Gone { key, newest } => (Change::Gone { key: key.clone(), newest }, Change::Gone { key, newest }),
        Change::Disconnected(why) => (Change::Disconnected(why.clone()), Change::Disconnected(why)),
        Change::Connected => (Change::Connected, Change::Connected),
        Change::Vanished => (Change::Vanished, Change::Vanished),
    }
}

/// Takes a change over into a map; whether the map changed.
fn apply_to<K: Ord, T: PartialEq>(
    map: &mut BTreeMap<K, T>,
    change: Change<T>,
    key_of: impl Fn(ObjectKey) -> K,
) -> bool {
    match change {
        Change::Reset { objects, .. } => {
            let now = objects.into_iter().map(|(key, value)| (key_of(key), value)).collect();
            let changed = *map != now;
            *map = now;
            changed
        }
        Change::Set { key, value, .. } => {
            let key = key_of(key);
            let changed = map.get(&key) != Some(&value);
            map.insert(key, value);
            changed
        }
        Change::Gone { key, .. } => map.remove(&key_of(key)).is_some(),
        Change::Vanished => !std::mem::take(map).is_empty(),
        Change::Disconnected(_) | Change::Connected => false,
    }
}
