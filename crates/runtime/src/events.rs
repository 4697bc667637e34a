//! core/v1 Events: written in the background, de-duplicated, never in the way.
//!
//! kube's Recorder writes events.k8s.io/v1, which leaves `lastTimestamp` empty, so that `kubectl get events --sort-by=lastTimestamp` (and
//! most dashboards) puts them nowhere; hence this writer.

use crate::{client, pace::Pace, shutdown::Shutdown};
use herald_api::event::Notice;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// How many notices may wait; beyond it the oldest are dropped and counted.
const QUEUE: usize = 4096;
/// How many distinct notices are remembered for counting repeats.
const REMEMBERED: usize = 256;
/// How many writes run at once: few, as addresses matter more than their announcement.
const IN_FLIGHT: usize = 4;

/// Writes notices as Events. Clones share the queue.
#[derive(Debug, Clone)]
pub struct EventWriter(Arc<Waiting>);

/// What was published and is not written yet.
#[derive(Debug, Default)]
struct Waiting {
    /// The oldest first.
    notices: Mutex<VecDeque<Notice>>,
    came: Notify,
    dropped: AtomicU64,
}

impl Waiting {
    fn notices(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were dropped so far, when this one made another give way.
    fn push(&self, notice: Notice) -> Option<u64> {
        let mut notices = self.notices();
        let full = notices.len() >= QUEUE;
        if full {
            notices.pop_front();
        }
        notices.push_back(notice);
        self.came.notify_one();
        full.then(|| self.dropped.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The oldest, when there is one.
    fn pop(&self) -> Option<Notice> {
        let mut notices = self.notices();
        let oldest = notices.pop_front();
        if notices.is_empty() {
            // What a flood needed is given back.
            *notices = VecDeque::new();
        }
        oldest
    }

    /// Waits for one.
    async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.pop() {
                return notice;
            }
            self.came.notified().await;
        }
    }
}

impl EventWriter {
    /// Starts the writer. `component` appears as the source (for example `metallb-controller`), `instance` as the reporting instance (the pod).
    /// They are written at this pace. The task ends with the shutdown, once what is in flight is done.
    #[must_use]
    pub fn start(
        client: Client,
        component: &str,
        instance: &str,
        pace: Pace,
        shutdown: Shutdown,
    ) -> (Self, JoinHandle<()>) {
        let waiting = Arc::new(Waiting::default());
        let worker = Worker {
            client,
            component: component.to_owned(),
            instance: instance.to_owned(),
            known: BTreeMap::new(),
            sequence: 0,
        };
        let task = tokio::spawn(worker.run(Arc::clone(&waiting), pace, shutdown));
        (Self(waiting), task)
    }

    /// Queues a notice. When the queue is full, the oldest one is dropped and counted: the newest tell how things are.
    pub fn publish(&self, notice: Notice) {
        let reason = notice.reason;
        // Powers of two: the flood that fills the queue must not fill the log.
        if let Some(dropped) = self.0.push(notice).filter(|dropped| dropped.is_power_of_two()) {
            tracing::warn!(dropped, reason, "the event queue is full, the oldest events are dropped");
        }
    }

    /// How many notices were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
struct Known {
    event: String,
    first: Timestamp,
    count: i32,
    /// Order of use, to forget the longest unused.
    used: u64,
}

struct Worker {
    client: Client,
    component: String,
    instance: String,
    /// By notice: equal ones are repeats.
    known: BTreeMap<Notice, Known>,
    sequence: u64,
}

impl Worker {
    async fn run(mut self, waiting: Arc<Waiting>, mut pace: Pace, shutdown: Shutdown) {
        let mut writes = JoinSet::new();
        loop {
            let not_before = pace.next();
            let waits = Instant::now() < not_before;
            tokio::select! {
                () = sleep_until(not_before), if waits => {}
                notice = waiting.next(), if !waits && writes.len() < IN_FLIGHT => {
                    pace.take();
                    let (event, known) = self.next(&notice, Timestamp::now());
                    let client = self.client.clone();
                    writes.spawn(async move {
                        let began = Instant::now();
                        write(client, event, known.count).await;
                        began.elapsed()
                    });
                }
                Some(took) = writes.join_next(), if !writes.is_empty() => {
                    if let Ok(took) = took {
                        pace.took(took);
                    }
                }
                () = shutdown.wait() => break,
            }
        }
        while writes.join_next().await.is_some() {}
    }

    /// The event of a notice: a new one, or the one that was written for the same notice before, with its count and time advanced.
    fn next(&mut self, notice: &Notice, now: Timestamp) -> (Event, Known) {
        self.sequence += 1;
        let Notice { about, kind, reason, message } = notice;
        let fresh = || Known {
            // Like client-go: the name of the object and a time in hexadecimal. The sequence keeps two of one nanosecond apart.
            event: format!("{}.{:x}", about.name, now.as_nanosecond() + i128::from(self.sequence)),
            first: now,
            count: 0,
            used: 0,
        };
        let entry = self.known.entry(notice.clone()).or_insert_with(fresh);
        entry.count = entry.count.saturating_add(1);
        entry.used = self.sequence;
        let known = entry.clone();
        if self.known.len() > REMEMBERED {
            self.forget();
        }
        let event = Event {
            metadata: ObjectMeta {
                name: Some(known.event.clone()),
                // Events about cluster-wide objects live in `default`.
                namespace: Some(if about.namespace.is_empty() {
                    "default".to_owned()
                } else {
                    about.namespace.to_string()
                }),
                ..ObjectMeta::default()
            },
            involved_object: about.reference(),
            type_: Some(kind.as_str().to_owned()),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            first_timestamp: Some(Time(known.first)),
            last_timestamp: Some(Time(now)),
            count: Some(known.count),
            source: Some(EventSource { component: Some(self.component.clone()), host: None }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        (event, known)
    }

    /// Forgets the older half.
    fn forget(&mut self) {
        let mut uses: Vec<u64> = self.known.values().map(|known| known.used).collect();
        uses.sort_unstable();
        let middle = uses[uses.len() / 2];
        self.known.retain(|_, known| known.used > middle);
    }
}

/// Writes one event; failures are logged and forgotten, as an event is never worth holding anything up.
async fn write(client: Client, event: Event, count: i32) {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let name = event.metadata.name.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client, &namespace);
    if count > 1 {
        let patch = json!({ "count": count, "lastTimestamp": event.last_timestamp });
        match client::bounded(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await {
            Ok(_) => return,
            // Events expire (an hour by default): write it anew.
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(%error, reason = event.reason, "event not written");
                return;
            }
        }
    }
    match client::bounded(api.create(&PostParams::default(), &event)).await {
        // A repeat that overtook its first occurrence: that one is written, which is enough.
        Err(error) if error.is_conflict() => {}
        // The namespace is going away, and the object with it.
        Err(error) if error.is_not_found() || error.is_forbidden() => {
            tracing::debug!(%error, reason = event.reason, "event not written");
        }
        Err(error) => tracing::warn!(%error, reason = event.reason, "event not written"),
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests;
