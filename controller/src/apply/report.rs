//! What is reported besides the Services: the usage of pools, and whether the configuration is valid.
//!
//! The driver publishes what should be said and what was seen; one task writes the differences. It is slower than the writes of Services on
//! purpose: it never stands in their way, and a burst of them costs a pool a few patches.

use crate::observe::{Client, Reported, STATE_NAME};
use herald_api::{
    configuration_state::CONTROLLER,
    crd::{
        COMPONENT_TYPE_LABEL, ConfigurationState, ConfigurationStateStatus, IPAddressPool, IPAddressPoolStatus, Unread,
    },
};
use herald_core::allocate::Usage;
use herald_runtime::client::{CallError, within};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// Bound of one write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a round of writes.
const PACE: Duration = Duration::from_secs(1);
/// Pause after a failed one.
const RETRY: Duration = Duration::from_secs(5);

/// What should be said, and what was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Report {
    /// Pools that are objects: what is reported on them, what was seen there.
    pub(crate) pools: BTreeMap<Arc<str>, (Usage, Reported<IPAddressPoolStatus>)>,
    /// What is wrong for the ConfigurationState (empty: nothing), and what was seen of it; `None` when it is not served.
    pub(crate) state: Option<(String, Option<Reported<ConfigurationStateStatus>>)>,
}

/// Writes what differs, whenever something is published, until nobody publishes any more. `None` = nothing may be written now.
pub(crate) async fn run(client: Client, namespace: String, mut reports: watch::Receiver<Option<Arc<Report>>>) {
    let pools: Api<Unread<IPAddressPool>> = Api::namespaced(client.clone(), &namespace);
    let states: Api<ConfigurationState> = Api::namespaced(client, &namespace);
    let mut written = Written::default();
    while reports.changed().await.is_ok() {
        loop {
            let report = reports.borrow_and_update().clone();
            let Some(report) = report else { break };
            let result = written.catch_up(&pools, &states, &report).await;
            if let Err(error) = &result {
                tracing::warn!(%error, "report not written");
            }
            match result {
                Ok(false) => break,
                Ok(true) => sleep(PACE).await,
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// What was written on which version of an object: as long as that version is what is seen, the echo is awaited.
#[derive(Debug, Default)]
struct Written {
    pools: BTreeMap<Arc<str>, (IPAddressPoolStatus, String)>,
    state: Option<(String, Option<String>)>,
}

impl Written {
    /// Whether anything was written.
    async fn catch_up(
        &mut self,
        pools: &Api<Unread<IPAddressPool>>,
        states: &Api<ConfigurationState>,
        report: &Report,
    ) -> Result<bool, CallError> {
        let mut any = false;
        let known: BTreeSet<&Arc<str>> = report.pools.keys().collect();
        self.pools.retain(|name, _| known.contains(name));
        for (name, (usage, seen)) in &report.pools {
            let status = pool_status(usage);
            let on = (status, seen.version.clone());
            if seen.status == Some(status) {
                self.pools.remove(name);
                continue;
            }
            if self.pools.get(name) == Some(&on) {
                continue;
            }
            let patch = Patch::Merge(json!({ "status": status }));
            match within(TIMEOUT, pools.patch_status(name, &PatchParams::default(), &patch)).await {
                Ok(_) => {
                    tracing::debug!(pool = &**name, ?status, "usage reported");
                    self.pools.insert(name.clone(), on);
                    any = true;
                }
                // Deleted, or the CRD has no status: nothing to report on.
                Err(error) if error.is_not_found() => {
                    self.pools.insert(name.clone(), on);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((summary, seen)) = &report.state {
            let on = (summary.clone(), seen.as_ref().map(|seen| seen.version.clone()));
            let right = seen
                .as_ref()
                .and_then(|seen| seen.status.as_ref())
                .is_some_and(|seen| CONTROLLER.says(seen, summary, &[]));
            if right {
                // The echo has come: should the object go, that is news.
                self.state = None;
            } else if self.state.as_ref() != Some(&on) {
                apply_state(states, summary, seen.as_ref()).await?;
                self.state = Some(on);
                any = true;
            }
        }
        Ok(any)
    }
}

fn pool_status(usage: &Usage) -> IPAddressPoolStatus {
    IPAddressPoolStatus {
        assigned_ipv4: usage.v4.assigned,
        assigned_ipv6: usage.v6.assigned,
        available_ipv4: usage.v4.available(),
        available_ipv6: usage.v6.available(),
    }
}

async fn apply_state(
    api: &Api<ConfigurationState>,
    summary: &str,
    seen: Option<&Reported<ConfigurationStateStatus>>,
) -> Result<(), CallError> {
    if seen.is_none() {
        let object = ConfigurationState {
            metadata: ObjectMeta {
                name: Some(STATE_NAME.to_owned()),
                labels: Some([(COMPONENT_TYPE_LABEL.to_owned(), STATE_NAME.to_owned())].into()),
                ..ObjectMeta::default()
            },
            status: None,
        };
        match within(TIMEOUT, api.create(&PostParams::default(), &object)).await {
            Err(error) if !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    let before = seen.and_then(|seen| seen.status.as_ref());
    let patch = Patch::Apply(CONTROLLER.apply(STATE_NAME, summary, &[], before, Timestamp::now()));
    within(TIMEOUT, api.patch_status(STATE_NAME, &PatchParams::apply(CONTROLLER.manager).force(), &patch)).await?;
    tracing::info!(errors = summary, "configuration state reported");
    Ok(())
}
