//! Fencing and freeing a node, as Kubernetes' node lifecycle controller would some 40 seconds later: its pods become not ready, so that their
//! endpoints leave. Nothing is deleted, evicted or tainted. A kubelet that lives overwrites all of it within its next look at its pods.

use super::observe::Client;
use futures::{StreamExt, TryStreamExt, stream};
use herald_api::{
    node::{FENCED, Object},
    pod::{self, Pod},
};
use herald_core::NodeName;
use herald_runtime::client::{CallError, bounded};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Writes at once.
const IN_FLIGHT: usize = 8;
/// Of the condition of the pods.
const REASON: &str = "HeraldNodeFenced";

fn condition(type_: &str, holds: bool, reason: &str, message: &str) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let holds = if holds { "True" } else { "False" };
    let mut condition =
        json!({ "type": type_, "status": holds, "reason": reason, "message": message, "lastTransitionTime": now });
    if type_ == FENCED {
        condition["lastHeartbeatTime"] = now.into();
    }
    json!({ "status": { "conditions": [condition] } })
}

/// Marks the Node: who reads it knows why its pods are not ready, and the next leader knows that it is fenced. Conditions of others stay.
pub(super) async fn mark(client: &Client, node: &NodeName, fenced: bool) -> Result<(), CallError> {
    let (reason, message) = if fenced {
        (
            "Unreachable",
            "a majority of Herald's speakers misses the node on every link, and its kubelet does not answer",
        )
    } else {
        ("Reachable", "the node is seen again")
    };
    let nodes: Api<Object> = Api::all(client.clone());
    let patch = Patch::Strategic(condition(FENCED, fenced, reason, message));
    bounded(nodes.patch_status(node.as_str(), &PatchParams::default(), &patch)).await.map(drop)
}

/// Makes every ready pod of the node not ready; how many there were.
pub(super) async fn silence(client: &Client, node: &NodeName) -> Result<usize, CallError> {
    let pods: Api<Pod> = Api::all(client.clone());
    let of_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let ready = bounded(pods.list(&of_node)).await?.items.into_iter();
    // Looked at again: a pod of another node must never be touched.
    let ready = ready.filter(|pod| pod::is_ready(pod) && pod::node(pod) == node.as_str());
    let writes: Vec<_> = ready.map(|pod| one(client, pod)).collect();
    let count = writes.len();
    stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
    Ok(count)
}

async fn one(client: &Client, pod: Pod) -> Result<(), CallError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch = condition("Ready", false, REASON, "the node is fenced: see its condition HeraldFenced");
    match bounded(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch))).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
