//! ConfigurationState `speaker-<node>`: whether the configuration is valid for this node, and which addresses it cannot announce because
//! somebody else has them.

use super::{RETRY, Says};
use crate::{metrics::Scrape, observe::Client};
use herald_api::{
    configuration_state::{Conflict, SPEAKER},
    crd::{COMPONENT_TYPE_LABEL, ConfigurationState, ConfigurationStateStatus, NODE_NAME_LABEL},
};
use herald_runtime::client::{CallError, bounded};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// Conflicts that come together are told together.
const BURST: Duration = Duration::from_millis(200);
/// What names of speakers' objects begin with.
pub(super) const PREFIX: &str = "speaker-";

/// Writes until nobody says anything any more.
pub(super) async fn run(client: Client, mut says: Says, owner: Option<OwnerReference>) {
    let api: Api<ConfigurationState> = Api::namespaced(client, &says.namespace);
    let name = format!("{PREFIX}{}", says.node);
    loop {
        let mut pause = says.pause();
        let summary = says.summary.borrow_and_update().clone();
        let conflicts = says.scrape.borrow_and_update().conflicts.clone();
        match (says.served.serves::<ConfigurationState>(), summary) {
            (Some(true), Some(summary)) if says.may_write() => {
                if let Err(error) = ensure(&api, &name, &says, owner.as_ref(), (&summary, &conflicts)).await {
                    tracing::warn!(%error, name, "ConfigurationState cannot be written; retrying");
                    pause = RETRY;
                }
            }
            (Some(false), _) => says.served.look_again(),
            // Soon known.
            _ => pause = RETRY,
        }
        tokio::select! {
            changed = says.summary.changed() => if changed.is_err() { return },
            there = others(&mut says.scrape, &conflicts) => if !there { return },
            changed = says.standby.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Waits until there are other conflicts than these; whether there will be any.
async fn others(scrape: &mut watch::Receiver<Arc<Scrape>>, conflicts: &[Conflict]) -> bool {
    let other = scrape.wait_for(|scrape| scrape.conflicts != conflicts).await.is_ok();
    // A burst of them is one write.
    sleep(BURST).await;
    other
}

async fn ensure(
    api: &Api<ConfigurationState>,
    name: &str,
    says: &Says,
    owner: Option<&OwnerReference>,
    (summary, conflicts): (&str, &[Conflict]),
) -> Result<(), CallError> {
    let found = bounded(api.get_opt(name)).await?;
    let before = match found {
        Some(object) => object.status.unwrap_or_default(),
        None => {
            let labels = [
                (COMPONENT_TYPE_LABEL.to_owned(), "speaker".to_owned()),
                (NODE_NAME_LABEL.to_owned(), says.node.to_string()),
            ];
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.into()),
                owner_references: owner.cloned().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            };
            bounded(api.create(&PostParams::default(), &ConfigurationState { metadata, status: None })).await?;
            ConfigurationStateStatus::default()
        }
    };
    if SPEAKER.says(&before, summary, conflicts) {
        return Ok(());
    }
    let patch = Patch::Apply(SPEAKER.apply(name, summary, conflicts, Some(&before), Timestamp::now()));
    bounded(api.patch_status(name, &PatchParams::apply(SPEAKER.manager).force(), &patch)).await.map(drop)
}
