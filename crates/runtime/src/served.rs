//! Watches of custom resources that a cluster may or may not serve, now or later.
//!
//! A kind that is not served is complete and empty: its consumer gets `Reset` without objects. It is looked for again every
//! [`LOOK_AGAIN`], with one discovery request for all kinds together, so that CRDs installed later are picked up. A watch that meets 404 (its
//! CRD was deleted) goes back to waiting; it is never retried in vain.
//!
//! Deleting a CRD deletes all its objects first, one by one. Who removes MetalLB together with its definitions does not mean to take every
//! Service its address, so a loss is looked into before it is passed on: while a CRD is being deleted discovery lists it without the verb
//! `create`. Then the consumer gets [`Change::Vanished`] instead of the losses.

use crate::{
    client::{self, Client, bounded},
    shutdown::Shutdown,
    watch::{self as objects, Change, Ended, ObjectKey, Objects},
};
use kube::{Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How often kinds that are not served are looked for.
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// No two looks are closer than this.
const PAUSE: Duration = Duration::from_secs(1);
/// When a loss is looked into, after the one before: at once, as a definition may be gone and back a moment later, and until every API
/// server has heard of its deletion.
const DOUBTS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(200)];

/// Changes that wait while a loss is looked into.
const WAITING: usize = 256;

/// API version and plural of a kind, for example `metallb.io/v1beta1` and `ipaddresspools`.
type Kind = (String, String);

/// Which kinds of some API versions the cluster serves. Clones share the knowledge.
#[derive(Clone)]
pub struct Served {
    client: Client,
    versions: &'static [&'static str],
    /// `None` until the first answer.
    kinds: watch::Receiver<Option<Arc<BTreeSet<Kind>>>>,
    look: Arc<Notify>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("kinds", &*self.kinds.borrow()).finish_non_exhaustive()
    }
}

impl Served {
    /// Looks for what these API versions (for example `metallb.io/v1beta1`) serve: now, and whenever somebody asks for it again.
    #[must_use]
    pub fn start(client: Client, versions: &'static [&'static str], shutdown: Shutdown) -> Self {
        let (sender, kinds) = watch::channel(None);
        let look = Arc::new(Notify::new());
        look.notify_one();
        let asked = Arc::clone(&look);
        let served = Self { client: client.clone(), versions, kinds, look };
        let work = async move {
            let mut told = false;
            loop {
                asked.notified().await;
                match discover(&client, versions).await {
                    Ok(found) => {
                        told = false;
                        let found = Arc::new(found);
                        sender.send_if_modified(|before| {
                            let changed = before.as_ref() != Some(&found);
                            if changed {
                                tell(before.as_deref(), &found);
                            }
                            *before = Some(found);
                            changed
                        });
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            let error = client::describe(&error);
                            tracing::warn!(error, "cannot ask which custom resources are served; retrying");
                        }
                        asked.notify_one();
                    }
                }
                sleep(PAUSE).await;
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = shutdown.wait() => {}
            }
        });
        served
    }

    /// Whether objects of the kind were lost because its definition is being deleted. Asks until there is an answer.
    async fn is_going(&self, kind: &Kind) -> bool {
        for pause in DOUBTS {
            sleep(pause).await;
            let found = loop {
                match discover(&self.client, self.versions).await {
                    Ok(found) => break found,
                    Err(_) => sleep(PAUSE).await,
                }
            };
            if !found.contains(kind) {
                self.look_again();
                return true;
            }
        }
        false
    }

    /// Whether the kind is served; `None` = not known yet.
    #[must_use]
    pub fn serves<K: Resource<DynamicType = ()>>(&self) -> Option<bool> {
        self.knows(&kind::<K>())
    }

    /// Asks for another look, for who uses a kind without watching it.
    pub fn look_again(&self) {
        self.look.notify_one();
    }

    fn knows(&self, kind: &Kind) -> Option<bool> {
        self.kinds.borrow().as_ref().map(|kinds| kinds.contains(kind))
    }

    /// Waits until it is known, and is so (`true`: served). `None` when nobody looks any more.
    async fn wait_for(&mut self, kind: &Kind, known: impl Fn(bool) -> bool) -> Option<bool> {
        loop {
            self.kinds.mark_unchanged();
            if let Some(serves) = self.knows(kind).filter(|serves| known(*serves)) {
                return Some(serves);
            }
            if let Ok(changed) = timeout(LOOK_AGAIN, self.kinds.changed()).await {
                changed.ok()?;
            } else {
                self.look.notify_one();
            }
        }
    }
}

fn kind<K: Resource<DynamicType = ()>>() -> Kind {
    (K::api_version(&()).into_owned(), K::plural(&()).into_owned())
}

async fn discover(client: &Client, versions: &[&str]) -> Result<BTreeSet<Kind>, client::CallError> {
    let mut found = BTreeSet::new();
    for version in versions {
        match bounded(client.list_api_group_resources(version)).await {
            Ok(list) => {
                // Without this verb its definition is being deleted.
                let stays =
                    list.resources.into_iter().filter(|resource| resource.verbs.iter().any(|it| it == "create"));
                found.extend(stays.map(|resource| ((*version).to_owned(), resource.name)));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn tell(before: Option<&BTreeSet<Kind>>, now: &BTreeSet<Kind>) {
    let names = |kinds: &BTreeSet<Kind>| kinds.iter().map(|(_, plural)| plural.as_str()).collect::<Vec<_>>().join(" ");
    match before {
        None if now.is_empty() => {
            tracing::info!(
                "no custom resources of metallb.io are served: the ConfigMap is all there is, until they are installed"
            );
        }
        _ => tracing::info!(kinds = names(now), "custom resources that are served"),
    }
}

/// Watches a custom resource as [`objects::spawn`] does, whenever it is served.
pub fn spawn<K, T, M>(
    mut served: Served,
    of: Objects<K>,
    config: watcher::Config,
    convert: impl Fn(K) -> Option<T> + Send + Sync + 'static,
    wrap: impl Fn(Change<T>) -> M + Send + Sync + 'static,
    tx: mpsc::Sender<M>,
    shutdown: Shutdown,
) -> JoinHandle<()>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    T: Send + 'static,
    M: Send + 'static,
{
    let kind = kind::<K>();
    let work = async move {
        let mut newest = 0;
        let mut known = None;
        while let Some(serves) = served.wait_for(&kind, |_| true).await {
            if !serves {
                let none = match known.replace(BTreeSet::new()) {
                    None => Change::Reset { objects: BTreeMap::new(), newest },
                    Some(_) => Change::Vanished,
                };
                if tx.send(wrap(none)).await.is_err() || served.wait_for(&kind, |serves| serves).await.is_none() {
                    return;
                }
            }
            let (inner, mut changes) = mpsc::channel(WAITING);
            let watching = async {
                let inner = inner;
                objects::run(&of, config.clone(), &convert, &|change| change, &inner, &mut newest).await
            };
            let passing = pass(&served, &kind, &mut changes, &mut known, &wrap, &tx);
            let (ended, ()) = tokio::join!(watching, passing);
            match ended {
                Ended::Closed => return,
                // What is known says that it is served: ask anew, and do not believe the old answer meanwhile.
                Ended::NotServed => {
                    served.look.notify_one();
                    sleep(PAUSE * 3).await;
                }
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = shutdown.wait() => {}
        }
    })
}

/// Passes changes on until there are no more. What a definition takes along when it is deleted is not passed on.
async fn pass<T, M>(
    served: &Served,
    kind: &Kind,
    changes: &mut mpsc::Receiver<Change<T>>,
    known: &mut Option<BTreeSet<ObjectKey>>,
    wrap: &impl Fn(Change<T>) -> M,
    tx: &mpsc::Sender<M>,
) {
    // Changes that came before the last look ended: it speaks for them, too, so that deleting many objects costs no look each.
    let mut looked_at: usize = 0;
    while let Some(mut change) = changes.recv().await {
        let before = known.get_or_insert_default();
        let unclear = looked_at == 0;
        looked_at = looked_at.saturating_sub(1);
        let lost = match &change {
            Change::Reset { objects, .. } => before.iter().any(|key| !objects.contains_key(key)),
            Change::Gone { key, .. } => before.contains(key),
            _ => false,
        };
        if lost && unclear {
            if served.is_going(kind).await {
                tracing::error!(
                    kind = kind.1,
                    "the definition of these custom resources is being deleted, and all of them with it: what they say stays in force; put both back"
                );
                change = Change::Vanished;
            } else {
                looked_at = changes.len();
            }
        }
        match &change {
            Change::Reset { objects, .. } => *before = objects.keys().cloned().collect(),
            Change::Set { key, .. } => _ = before.insert(key.clone()),
            Change::Gone { key, .. } => _ = before.remove(key),
            Change::Vanished => before.clear(),
            Change::Disconnected(_) | Change::Connected => {}
        }
        if tx.send(wrap(change)).await.is_err() {
            // Ends the watch.
            changes.close();
            return;
        }
    }
}

#[cfg(test)]
mod tests;
