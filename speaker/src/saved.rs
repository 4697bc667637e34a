//! What is needed to go on after a restart without the API server: kept in a folder that outlives the container, and offered when the first
//! lists do not come.

use crate::{links::exclude::Exclude, net::hello_io::Keys};
use herald_api::saved::{Saved, Unusable};
use herald_core::{NodeName, ownership::Snapshot, reason::Reason};
use herald_runtime::{
    metrics::{
        Collect, Gauge,
        text::{Exposition, Kind},
    },
    readiness::Condition,
};
use std::{
    fs::{self, File, OpenOptions},
    future::pending,
    io::{self, BufWriter, ErrorKind},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// How long a speaker that starts waits for the API server before it goes by what was saved. An API server that is there delivers the first
/// lists in less; until then whoever stands in answers.
pub(crate) const FIRST_LISTS: Duration = Duration::from_secs(2);
/// Shortest time between two writes.
const PAUSE: Duration = Duration::from_secs(5);
/// Without a change it is written again so often, as its age counts from when it was last known to be true.
const REFRESH: Duration = Duration::from_secs(600);

/// Now, in seconds since the epoch: the process that reads it has another monotonic clock, if the node started again.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The folder. Files in it are for root alone: they hold the key of the hellos.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What is there for this node; `None` before the first write.
    fn load(&self, node: &NodeName) -> Result<Option<Saved>, Unusable> {
        match fs::read(self.file()) {
            Ok(bytes) => Saved::read(&bytes, node, now()).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unusable::Unreadable(error.to_string())),
        }
    }

    /// Written beside, made durable, and then renamed: a reader finds the old one or the new one, whole.
    fn save(&self, saved: &Saved) -> io::Result<()> {
        let new = self.dir.join("state.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(file);
        saved.write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, self.file())?;
        File::open(&self.dir)?.sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads what was saved, and says what is wrong with it.
pub(crate) fn load(store: Option<&Store>, node: &NodeName, condition: &Condition) -> Option<Saved> {
    let Some(store) = store else {
        condition
            .ready_with("nothing is saved: without --state-dir this speaker cannot start while the API server is away");
        return None;
    };
    match store.load(node) {
        Ok(saved) => saved,
        Err(why) => {
            refuse(&why, condition);
            None
        }
    }
}

/// What was saved, if it is of this cluster.
pub(crate) fn of_cluster(
    saved: Option<Saved>,
    cluster: herald_wire::hello::ClusterId,
    condition: &Condition,
) -> Option<Saved> {
    saved.filter(|saved| {
        let same = saved.cluster == cluster;
        if !same {
            refuse(&Unusable::Cluster, condition);
        }
        same
    })
}

fn refuse(why: &Unusable, condition: &Condition) {
    tracing::warn!(reason = why.label(), "{}", why.advice());
    condition.not_ready(why.advice());
}

/// What is offered to whoever still waits for the API server; never `None` again once there is something.
pub(crate) type Offer = watch::Receiver<Option<Arc<Saved>>>;

/// What is offered, as soon as it is, and once: then it is let go, as it is as large as everything that is known besides. Never ends when nothing
/// will be.
pub(crate) async fn offered(offer: &mut Option<Offer>) -> Arc<Saved> {
    let saved = match offer {
        Some(offer) => offer.wait_for(Option::is_some).await.ok().and_then(|saved| saved.clone()),
        None => None,
    };
    match saved {
        Some(saved) => {
            *offer = None;
            saved
        }
        None => pending().await,
    }
}

/// Saves whatever is needed whenever it changed.
pub(crate) struct Saver {
    pub(crate) store: Store,
    pub(crate) node: NodeName,
    pub(crate) observed: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) keys: watch::Receiver<Arc<Keys>>,
    pub(crate) excluded: watch::Receiver<Arc<Exclude>>,
    pub(crate) standby: watch::Receiver<Option<bool>>,
    pub(crate) condition: Condition,
    pub(crate) saved_at: Gauge,
}

impl Saver {
    /// Until nobody says anything any more.
    pub(crate) async fn run(mut self) {
        // When what is observed was last known to be true.
        let mut confirmed = now();
        loop {
            let standby = *self.standby.borrow_and_update();
            if standby == Some(true) {
                // MetalLB announces: a restart without the API server must not take that from it.
                if let Err(error) = self.store.remove() {
                    tracing::warn!(%error, "the saved state cannot be removed");
                }
                self.saved_at.set(0);
                self.condition.ready_with("nothing is saved while MetalLB runs");
            } else if let Some(saved) = self.gather(&mut confirmed).filter(|_| standby == Some(false)) {
                self.save(saved).await;
            }
            sleep(PAUSE).await;
            let changed = async {
                tokio::select! {
                    changed = self.observed.changed() => changed,
                    changed = self.keys.changed() => changed,
                    changed = self.excluded.changed() => changed,
                    changed = self.standby.changed() => changed,
                }
            };
            if let Ok(Err(_)) = timeout(REFRESH, changed).await {
                return;
            }
        }
    }

    /// Everything, when everything is known from the API server.
    fn gather(&mut self, confirmed: &mut i64) -> Option<Saved> {
        let snapshot = self.observed.borrow_and_update().clone().filter(|snapshot| snapshot.saved_at.is_none())?;
        if snapshot.stamp.connected {
            *confirmed = now();
        }
        let keys = Arc::clone(&self.keys.borrow_and_update());
        let excluded = Arc::clone(&self.excluded.borrow_and_update());
        (!keys.accepted.is_empty()).then(|| Saved {
            node: self.node.clone(),
            cluster: keys.cluster,
            at: *confirmed,
            resource_version: snapshot.stamp.resource_version,
            keys: keys.accepted.clone(),
            excluded: excluded.patterns().map(str::to_owned).collect(),
            snapshot,
        })
    }

    async fn save(&self, saved: Saved) {
        let (store, at) = (self.store.clone(), saved.at);
        // Thousands of Services take some milliseconds, which hellos should not wait for.
        let done =
            spawn_blocking(move || store.save(&saved)).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        match done {
            Ok(()) => {
                self.saved_at.set(at);
                self.condition.ready();
            }
            Err(error) => {
                tracing::warn!(%error, dir = %self.store.dir.display(), "the state cannot be saved");
                self.condition.not_ready(format!(
                    "{} cannot be written ({error}): see the volume of --state-dir; without it this speaker cannot start while the API server is away",
                    self.store.dir.display()
                ));
            }
        }
    }
}

/// Whether this speaker goes by what was saved, and when it last saved.
#[derive(Debug)]
pub(crate) struct SavedMetrics {
    pub(crate) observed: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) saved_at: Gauge,
}

impl Collect for SavedMetrics {
    fn collect(&self, out: &mut Exposition) {
        let stale = self.observed.borrow().as_ref().is_some_and(|snapshot| snapshot.saved_at.is_some());
        out.single(
            Kind::Gauge,
            "herald_snapshot_stale",
            "1 while this speaker goes by what it saved before its restart, as the API server is away.",
            u8::from(stale),
        );
        out.single(
            Kind::Gauge,
            "herald_snapshot_saved_timestamp_seconds",
            "When what this speaker last saved for such a restart was true; 0: nothing was saved yet.",
            self.saved_at.get(),
        );
    }
}

#[cfg(test)]
mod tests;
