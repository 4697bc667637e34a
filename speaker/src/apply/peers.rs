//! Which nodes this speaker misses, on its ConfigurationState: what the controller counts before it fences a dead node.

use super::{RETRY, Says, state::PREFIX};
use crate::observe::Client;
use herald_api::{
    crd::ConfigurationState,
    peers::{MANAGER, apply, missed},
};
use herald_core::NodeName;
use herald_runtime::client::{CallError, bounded};
use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use std::collections::BTreeSet;
use tokio::time::sleep;

/// Writes until nobody says anything any more.
pub(super) async fn run(client: Client, mut says: Says) {
    let api: Api<ConfigurationState> = Api::namespaced(client, &says.namespace);
    let name = format!("{PREFIX}{}", says.node);
    // What the object says; not known at first.
    let mut told: Option<BTreeSet<NodeName>> = None;
    loop {
        let lost = lost(&says);
        // Soon known.
        let mut again = says.served.serves::<ConfigurationState>().is_none();
        if says.may_write() && told.as_ref() != Some(&lost) && says.served.serves::<ConfigurationState>() == Some(true)
        {
            match tell(&api, &name, &lost).await {
                Ok(()) => told = Some(lost),
                // Soon made by who writes about the configuration.
                Err(error) if error.is_not_found() => again = true,
                Err(error) => {
                    tracing::warn!(%error, name, "cannot tell which nodes are missed; retrying");
                    again = true;
                }
            }
        }
        let pause = if again { RETRY } else { says.pause() };
        tokio::select! {
            changed = says.scrape.changed() => if changed.is_err() { return },
            changed = says.standby.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Who is missed and still a node of the cluster.
fn lost(says: &Says) -> BTreeSet<NodeName> {
    let (scrape, observed) = (says.scrape.borrow().clone(), says.observed.borrow().clone());
    let is_node = |node: &&NodeName| observed.as_ref().is_some_and(|snapshot| snapshot.nodes.contains_key(*node));
    scrape.lost.iter().filter(is_node).cloned().collect()
}

async fn tell(api: &Api<ConfigurationState>, name: &str, lost: &BTreeSet<NodeName>) -> Result<(), CallError> {
    let before = bounded(api.get(name)).await?.status.unwrap_or_default();
    if missed(&before) == *lost {
        return Ok(());
    }
    tracing::info!(?lost, "nodes that are missed on every link");
    let patch = Patch::Apply(apply(name, lost, Timestamp::now()));
    bounded(api.patch_status(name, &PatchParams::apply(MANAGER).force(), &patch)).await.map(drop)
}
