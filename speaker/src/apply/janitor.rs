//! Takes away what nobody answers for any more: reports about Services that are gone, and of nodes that do not report.
//!
//! One speaker of the cluster does it: the first by name of those that the API shows ready. If two views differ for a moment, two delete the
//! same object, which harms nobody.

use super::{
    PAGE, Says, delete, label,
    services::{key_of, name},
    state::PREFIX,
};
use crate::observe::Client;
use herald_api::crd::{ConfigurationState, NODE_LABEL, NODE_NAME_LABEL, ServiceL2Status};
use herald_core::{NodeName, ownership::Snapshot};
use herald_runtime::client::{CallError, bounded};
use kube::{
    Api,
    api::{ListParams, ObjectMeta},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::sleep;

/// Cleans until the end.
pub(super) async fn run(client: Client, says: Says) {
    let reports: Api<ServiceL2Status> = Api::namespaced(client.clone(), &says.namespace);
    let states: Api<ConfigurationState> = Api::namespaced(client, &says.namespace);
    // Objects of nodes that are not ready, from the last round: a restart is no reason to clean.
    let mut suspects = BTreeSet::new();
    loop {
        sleep(says.pause()).await;
        let snapshot = says.observed.borrow().clone();
        let Some(snapshot) = snapshot.filter(|snapshot| says.may_write() && snapshot.stamp.connected) else { continue };
        if first(&snapshot) != Some(&says.node) {
            suspects.clear();
            continue;
        }
        let result = clean(&reports, &states, &says, &snapshot, &mut suspects).await;
        if let Err(error) = result {
            tracing::debug!(%error, "orphaned reports cannot be cleaned; trying again later");
        }
    }
}

fn first(snapshot: &Snapshot) -> Option<&NodeName> {
    snapshot.speakers.values().find(|pod| pod.ready).map(|pod| &pod.node)
}

async fn clean(
    reports: &Api<ServiceL2Status>,
    states: &Api<ConfigurationState>,
    says: &Says,
    snapshot: &Arc<Snapshot>,
    suspects: &mut BTreeSet<String>,
) -> Result<(), CallError> {
    let mut silent = BTreeSet::new();
    if says.served.serves::<ServiceL2Status>() == Some(true) {
        for object in all(reports).await? {
            let node = NodeName::from(label(&object, NODE_LABEL));
            let key = key_of(&object);
            let known = snapshot.services.contains_key(&key) && snapshot.nodes.contains_key(&node);
            let right = object.name.as_deref() == Some(&*name(&key));
            let alive = snapshot.speakers.get(&node).is_some_and(|pod| pod.ready);
            let uid = object.uid.clone().unwrap_or_default();
            if !known || !right || (!alive && suspects.contains(&uid)) {
                tracing::info!(name = object.name, service = %key, %node, "ServiceL2Status is of nobody: deleted");
                delete(reports, &object).await?;
            } else if !alive {
                silent.insert(uid);
            }
        }
    }
    *suspects = silent;
    if says.served.serves::<ConfigurationState>() == Some(true) {
        for object in all(states).await? {
            let of_speaker = object.name.as_deref().is_some_and(|name| name.starts_with(PREFIX));
            let node = NodeName::from(label(&object, NODE_NAME_LABEL));
            if of_speaker && !snapshot.nodes.contains_key(&node) {
                delete(states, &object).await?;
            }
        }
    }
    Ok(())
}

async fn all<K>(api: &Api<K>) -> Result<Vec<ObjectMeta>, CallError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = bounded(api.list_metadata(&params)).await?;
        // What is needed of them.
        found.extend(page.items.into_iter().map(|object| ObjectMeta {
            name: object.metadata.name,
            uid: object.metadata.uid,
            resource_version: object.metadata.resource_version,
            labels: object.metadata.labels,
            ..ObjectMeta::default()
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}
