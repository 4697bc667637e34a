//! Whether MetalLB runs in this cluster: while it does, Herald writes nothing and sends nothing.

use crate::{
    shutdown::Shutdown,
    watch::{self, Change, ObjectKey, Objects},
};
use herald_api::pod::{self, Pod};
use kube::Client;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio::sync::{mpsc, watch as value};

/// What is known about MetalLB's own pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standby {
    /// Its pods that run or may run, as `namespace/name`. Herald stands by while there are any.
    pub pods: Vec<String>,
}

impl Standby {
    /// Whether Herald has to stand by.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.pods.is_empty()
    }
}

/// Watches for MetalLB's pods in all namespaces until shutdown. `None` = not known yet: nothing may be done then either.
#[must_use]
pub fn watch(client: Client, shutdown: Shutdown) -> value::Receiver<Option<Standby>> {
    let (tx, mut rx) = mpsc::channel(64);
    // Label selectors cannot say "or", so one watch each.
    for (index, selector) in pod::METALLB_SELECTORS.iter().enumerate() {
        watch::spawn(
            Objects::<Pod>::all(client.clone()),
            watch::config().labels(selector),
            |pod: Pod| pod::is_running(&pod).then_some(()),
            move |change| (index, change),
            tx.clone(),
            shutdown.clone(),
        );
    }
    drop(tx);
    let (state, receiver) = value::channel(None);
    tokio::spawn(async move {
        let mut seen: [Option<BTreeSet<ObjectKey>>; pod::METALLB_SELECTORS.len()] = Default::default();
        while let Some((index, change)) = rx.recv().await {
            if let Some(seen) = seen.get_mut(index) {
                apply(seen, change);
            }
            let Some(now) = merged(&seen) else { continue };
            state.send_if_modified(|before| {
                if before.as_ref() == Some(&now) {
                    return false;
                }
                tell(before.as_ref(), &now);
                *before = Some(now);
                true
            });
        }
    });
    receiver
}

fn apply(seen: &mut Option<BTreeSet<ObjectKey>>, change: Change<()>) {
    match change {
        Change::Reset { objects, .. } => *seen = Some(objects.into_keys().collect()),
        Change::Set { key, .. } => {
            if let Some(seen) = seen {
                seen.insert(key);
            }
        }
        Change::Gone { key, .. } => {
            if let Some(seen) = seen {
                seen.remove(&key);
            }
        }
        Change::Disconnected(_) | Change::Connected | Change::Vanished => {}
    }
}

/// All pods of all selectors, once every selector has delivered its first full list.
fn merged(seen: &[Option<BTreeSet<ObjectKey>>]) -> Option<Standby> {
    let mut pods = BTreeSet::new();
    for keys in seen {
        pods.extend(keys.as_ref()?.iter().map(ToString::to_string));
    }
    Some(Standby { pods: pods.into_iter().collect() })
}

/// Loud where it matters: when standing by begins or ends.
fn tell(before: Option<&Standby>, now: &Standby) {
    match (before.is_some_and(Standby::holds), now.holds()) {
        (false, true) => tracing::warn!(
            pods = ?now.pods,
            "MetalLB runs in this cluster: Herald stands by, writes nothing and announces nothing until MetalLB is removed"
        ),
        (true, true) => tracing::warn!(pods = ?now.pods, "MetalLB still runs: standing by"),
        (true, false) => tracing::warn!("MetalLB is gone: Herald starts"),
        (false, false) => tracing::info!("no MetalLB in this cluster"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "metallb-system".into(), name: name.into() }
    }

    #[test]
    fn nothing_is_known_before_every_selector_has_listed() {
        assert_eq!(merged(&[None, Some(BTreeSet::new())]), None);
        assert_eq!(merged(&[Some(BTreeSet::new()), Some(BTreeSet::new())]), Some(Standby::default()));
    }

    #[test]
    fn a_pod_that_both_selectors_find_counts_once_and_goes_with_the_last() {
        let mut seen = [None, None];
        for seen in &mut seen {
            apply(seen, Change::Reset { objects: [(key("speaker"), ())].into(), newest: 1 });
        }
        assert_eq!(merged(&seen).unwrap().pods, ["metallb-system/speaker"]);
        apply(&mut seen[0], Change::Gone { key: key("speaker"), newest: 2 });
        assert!(merged(&seen).unwrap().holds());
        apply(&mut seen[1], Change::Reset { objects: BTreeMap::new(), newest: 3 });
        assert!(!merged(&seen).unwrap().holds());
    }

    #[test]
    fn a_lost_connection_changes_nothing() {
        let mut seen = Some(BTreeSet::from([key("speaker")]));
        apply(&mut seen, Change::Disconnected("refused".to_owned()));
        assert_eq!(seen, Some(BTreeSet::from([key("speaker")])));
    }
}
