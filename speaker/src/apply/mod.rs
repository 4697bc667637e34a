//! What a speaker writes besides events: which Services it announces (ServiceL2Status), and whether the configuration is valid for its node
//! (ConfigurationState), and which nodes it misses. All are levels, not histories: whatever was missed is made good at the next look.
//!
//! Nothing is written in standby, and nothing waits for these writes.

mod janitor;
mod peers;
mod services;
mod state;

use crate::{metrics::Scrape, observe::Client};
use herald_api::pod::Pod;
use herald_core::{NodeName, ownership::Snapshot};
use herald_runtime::{
    client::{CallError, bounded},
    served::Served,
    shutdown::Shutdown,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, Preconditions},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How often what was written is looked at: a deleted ConfigurationState has to be back within a minute.
const LOOK: Duration = Duration::from_secs(40);
/// Pause after a failed call.
const RETRY: Duration = Duration::from_secs(2);
/// Page of a list: whole objects are held only as long as their page.
const PAGE: u32 = 100;

/// What is to be said, and whether it may be.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    pub(crate) node: NodeName,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) scrape: watch::Receiver<Arc<Scrape>>,
    pub(crate) observed: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) standby: watch::Receiver<Option<bool>>,
    /// What is wrong with the configuration; `None` until it is known.
    pub(crate) summary: watch::Receiver<Option<Arc<str>>>,
    pub(crate) served: Served,
}

impl Says {
    fn may_write(&self) -> bool {
        *self.standby.borrow() == Some(false)
    }

    /// Looks at `LOOK` in the mean, each node at its own pace: all speakers of a cluster may have started at once.
    fn pause(&self) -> Duration {
        let spread = self.node.as_str().bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        LOOK + LOOK / 5 * (spread % 100) / 100
    }
}

/// Writes until shutdown.
pub(crate) fn start(client: &Client, says: Says, shutdown: Shutdown) {
    let client = client.clone();
    tokio::spawn(async move {
        let work = async {
            let owner = owner(&client, &says).await;
            let services = services::run(client.clone(), says.clone(), owner.clone());
            let state = state::run(client.clone(), says.clone(), owner);
            let janitor = janitor::run(client.clone(), says.clone());
            let peers = peers::run(client.clone(), says.clone());
            tokio::join!(services, state, janitor, peers);
        };
        tokio::select! {
            () = work => {}
            () = shutdown.wait() => {}
        }
    });
}

/// The DaemonSet, so that what the speakers write goes with it when Herald is removed, and outlives a restart of a pod. `None` outside of a
/// DaemonSet.
async fn owner(client: &Client, says: &Says) -> Option<OwnerReference> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &says.namespace);
    let own = ListParams::default().fields(&format!("metadata.name={}", says.pod));
    loop {
        match bounded(pods.list(&own)).await {
            Ok(list) => {
                let owners = list.items.into_iter().flat_map(|pod| pod.metadata.owner_references.unwrap_or_default());
                let daemon_set = owners.into_iter().find(|owner| owner.kind == "DaemonSet")?;
                return Some(OwnerReference { block_owner_deletion: None, controller: None, ..daemon_set });
            }
            Err(error) => {
                tracing::debug!(%error, "own pod cannot be read; retrying");
                sleep(RETRY).await;
            }
        }
    }
}

/// Deletes exactly this object: not one of the same name that was made since.
async fn delete<K>(api: &Api<K>, object: &ObjectMeta) -> Result<(), CallError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let preconditions = Preconditions { uid: object.uid.clone(), resource_version: object.resource_version.clone() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match bounded(api.delete(object.name.as_deref().unwrap_or_default(), &params)).await {
        // Gone or changed since: whoever did that has a newer view.
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// The label's value; empty when there is none.
fn label<'a>(object: &'a ObjectMeta, key: &str) -> &'a str {
    object.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests;
