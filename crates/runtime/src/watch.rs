//! Watches: Kubernetes objects -> typed changes.
//!
//! A consumer sees `Reset` first, with everything that exists, and again whenever the stream had to start over; what vanished meanwhile is
//! found by comparing, as the API server promises no delete event for it (a re-list after 410 just lacks the object). Objects are converted
//! when they arrive and dropped: nothing here keeps whole Kubernetes objects, so memory follows the converted type.

mod objects;

pub use objects::Objects;

use crate::{client, client::WATCH_TIMEOUT, shutdown::Shutdown};
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event},
    },
};
use objects::Raw;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};

/// Longest pause between two attempts to resume a failed watch: kube's default of 30 s would be the time during which nothing gets an
/// address after the API server is back.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How often a failed watch asks whether the API server answers again: a resumed watch on which nothing happens is silent.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Namespace (empty for cluster-wide kinds) and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace; empty for cluster-wide kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

// Keys of JSON objects in /debug/state must be strings.
impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A change of what exists. `newest` is the highest resourceVersion seen on this stream: it only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// This is everything; what was known before and is not in it is gone.
    Reset {
        /// All objects.
        objects: BTreeMap<ObjectKey, T>,
        /// Highest resourceVersion seen.
        newest: u64,
    },
    /// New or changed.
    Set {
        /// The object.
        key: ObjectKey,
        /// Its value now.
        value: T,
        /// Highest resourceVersion seen.
        newest: u64,
    },
    /// Deleted, or no object of ours any more.
    Gone {
        /// The object.
        key: ObjectKey,
        /// Highest resourceVersion seen.
        newest: u64,
    },
    /// The stream failed and is retried with back-off; what was told stays true as far as known. The next other change ends this.
    Disconnected(String),
    /// The API server answers again and nothing was missed so far; the stream resumes within [`MAX_BACKOFF`].
    Connected,
    /// The kind is served no more: its definition was removed, and all its objects with it. Nobody deleted these one by one.
    Vanished,
}

/// The watch configuration of both daemons: list, then watch. Streaming lists are not used, as a 1.33 server answers them with 422 and kube
/// retries them forever. Pages are small, as a page is the only place where whole objects are held.
#[must_use]
pub fn config() -> watcher::Config {
    let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(60);
    watcher::Config::default().timeout(seconds).page_size(100)
}

/// Watches until shutdown or until nobody listens, sending what `convert` makes of each object (`None`: not ours), wrapped into the consumer's
/// input type. Sending waits for room: a slow consumer slows the watch and loses nothing.
pub fn spawn<K, T, M>(
    objects: Objects<K>,
    config: watcher::Config,
    convert: impl Fn(K) -> Option<T> + Send + Sync + 'static,
    wrap: impl Fn(Change<T>) -> M + Send + Sync + 'static,
    tx: mpsc::Sender<M>,
    shutdown: Shutdown,
) -> JoinHandle<()>
where
    K: DeserializeOwned + 'static,
    T: Send + 'static,
    M: Send + 'static,
{
    tokio::spawn(async move {
        let mut newest = 0;
        tokio::select! {
            _ = run(&objects, config, &convert, &wrap, &tx, &mut newest) => {}
            () = shutdown.wait() => {}
        }
    })
}

/// One watch until it ends.
pub(crate) async fn run<K: DeserializeOwned, T, M>(
    objects: &Objects<K>,
    config: watcher::Config,
    convert: &impl Fn(K) -> Option<T>,
    wrap: &impl Fn(Change<T>) -> M,
    tx: &mpsc::Sender<M>,
    newest: &mut u64,
) -> Ended {
    let read = |raw: Raw| raw.read().map(convert);
    follow(Source::of(objects, config), &read, wrap, tx, newest).await
}

/// Where events come from.
struct Source {
    events: BoxStream<'static, watcher::Result<Event<Raw>>>,
    /// Whether the API server answers.
    answers: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    kind: String,
}

impl Source {
    fn of<K>(objects: &Objects<K>, config: watcher::Config) -> Self {
        Self::watching(objects.api.clone(), config, objects.kind.clone())
    }

    fn watching(api: Api<Raw>, config: watcher::Config, kind: String) -> Self {
        let events = kube::runtime::watcher(api.clone(), config).backoff(Capped::default()).boxed();
        let answers = move || -> BoxFuture<'static, bool> {
            let api = api.clone();
            Box::pin(async move {
                let one = ListParams::default().limit(1);
                client::within(Duration::from_secs(5), api.list_metadata(&one)).await.is_ok()
            })
        };
        Self { events, answers: Box::new(answers), kind }
    }
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nobody listens, or there are no more events.
    Closed,
    /// 404: the kind is not served (any more). Kinds of Kubernetes itself always are.
    NotServed,
}

/// kube's back-off for watches, but never longer than [`MAX_BACKOFF`].
#[derive(Default)]
struct Capped(DefaultBackoff);

impl Iterator for Capped {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(MAX_BACKOFF))
    }
}

impl Backoff for Capped {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Turns watcher events into changes until there are no more, nobody listens or the kind is not served.
async fn follow<T, M>(
    source: Source,
    read: &impl Fn(Raw) -> Result<Option<T>, serde_json::Error>,
    wrap: &impl Fn(Change<T>) -> M,
    tx: &mpsc::Sender<M>,
    highest: &mut u64,
) -> Ended {
    let Source { mut events, answers, kind } = source;
    let mut last = Arc::default();
    let mut converted = |raw| converted(raw, read, &kind).sharing(&mut last);
    let mut collecting = BTreeMap::new();
    let mut newest = *highest;
    let mut complete = false;
    let mut failed = false;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Before the first complete list there is nothing to be connected to.
            () = probed(&answers), if failed && complete => {
                failed = false;
                if tx.send(wrap(Change::Connected)).await.is_err() {
                    return Ended::Closed;
                }
                continue;
            }
        };
        let Some(event) = event else { return Ended::Closed };
        let change = match event {
            Ok(Event::Init) => {
                collecting = BTreeMap::new();
                None
            }
            Ok(Event::InitApply(object)) => {
                newest = newest.max(version(&object));
                if let Converted::Ours(key, value) = converted(object) {
                    collecting.insert(key, value);
                }
                None
            }
            Ok(Event::InitDone) => {
                complete = true;
                Some(Change::Reset { objects: std::mem::take(&mut collecting), newest })
            }
            Ok(Event::Apply(object)) => {
                newest = newest.max(version(&object));
                match converted(object) {
                    Converted::Ours(key, value) => Some(Change::Set { key, value, newest }),
                    Converted::NotOurs(key) => Some(Change::Gone { key, newest }),
                    Converted::Malformed => None,
                }
            }
            Ok(Event::Delete(object)) => {
                newest = newest.max(version(&object));
                Some(Change::Gone { key: ObjectKey::of(&object), newest })
            }
            Err(error) if is_not_found(&error) => return Ended::NotServed,
            Err(error) => {
                let error = client::describe(&error);
                tracing::warn!(kind, error, "watch failed, retrying");
                Some(Change::Disconnected(error))
            }
        };
        *highest = newest;
        if let Some(change) = &change {
            failed = matches!(change, Change::Disconnected(_));
        }
        if let Some(change) = change
            && tx.send(wrap(change)).await.is_err()
        {
            return Ended::Closed;
        }
    }
}

fn is_not_found(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code == 404,
        _ => false,
    }
}

enum Converted<T> {
    Ours(ObjectKey, T),
    NotOurs(ObjectKey),
    /// A change to it is as if it had not happened; a list is as if it were not there.
    Malformed,
}

impl<T> Converted<T> {
    /// Objects of one namespace follow each other in a list: its name is kept once for them, not ten thousand times.
    fn sharing(mut self, last: &mut Arc<str>) -> Self {
        if let Self::Ours(key, _) = &mut self {
            if key.namespace == *last {
                key.namespace = Arc::clone(last);
            } else {
                *last = Arc::clone(&key.namespace);
            }
        }
        self
    }
}

/// Returns when the API server has answered.
async fn probed(answers: &impl Fn() -> BoxFuture<'static, bool>) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        if answers().await {
            return;
        }
    }
}

fn converted<T>(raw: Raw, read: &impl Fn(Raw) -> Result<Option<T>, serde_json::Error>, kind: &str) -> Converted<T> {
    let key = ObjectKey::of(&raw);
    match read(raw) {
        Ok(Some(value)) => Converted::Ours(key, value),
        Ok(None) => Converted::NotOurs(key),
        Err(error) => {
            tracing::error!(kind, object = %key, %error, "object is malformed and ignored");
            Converted::Malformed
        }
    }
}

/// resourceVersions are opaque by contract up to 1.34 and comparable numbers in fact (KEP-5504 makes that the contract); 0 when it is none.
fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
