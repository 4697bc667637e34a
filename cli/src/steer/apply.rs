//! Writes the annotations.

use crate::client::{Access, ConnectError, Connected};
use herald_api::annotations::{EVACUATE_UNTIL, MOVE_TO, MOVE_UNTIL};
use herald_runtime::client::{CallError, bounded};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{io, net::IpAddr, time::Duration};

/// Why nothing was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SteerError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("there is no Node {0}: see kubectl get nodes")]
    NoNode(String),
    #[error("no LoadBalancer Service has the address {0}: see kubectl get services -A")]
    NoService(IpAddr),
    #[error("{what}: {why}")]
    Refused { what: String, why: CallError },
    #[error("the answer cannot be written: {0}")]
    Write(#[from] io::Error),
}

fn refused(what: String) -> impl FnOnce(CallError) -> SteerError {
    |why| SteerError::Refused { what, why }
}

/// The moment after this time, RFC 3339, by this machine's clock, in whole seconds.
pub(super) fn after(time: Duration) -> String {
    let now = Timestamp::now().as_second();
    let until = now.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    Timestamp::from_second(until).unwrap_or(Timestamp::MAX).to_string()
}

/// A cluster to write to.
pub(super) struct Cluster {
    client: Client,
}

fn annotations(values: Value) -> Patch<Value> {
    Patch::Merge(json!({ "metadata": { "annotations": values } }))
}

impl Cluster {
    pub(super) async fn connect(access: Access) -> Result<Self, SteerError> {
        let Connected { client, .. } = access.connect().await?;
        Ok(Self { client })
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Until this moment, or not any more.
    pub(super) async fn evacuate(&self, node: &str, until: Option<&str>) -> Result<(), SteerError> {
        let patch = annotations(json!({ EVACUATE_UNTIL: until }));
        bounded(self.nodes().patch_metadata(node, &PatchParams::default(), &patch)).await.map(drop).map_err(|why| {
            if why.is_not_found() {
                SteerError::NoNode(node.to_owned())
            } else {
                refused(format!("Node {node} cannot be annotated"))(why)
            }
        })
    }

    /// Services with this address, the first by name first.
    async fn holders(&self, address: IpAddr) -> Result<Vec<(String, String)>, SteerError> {
        let services = bounded(Api::<Service>::all(self.client.clone()).list(&ListParams::default())).await;
        let services = services.map_err(refused("Services cannot be listed".to_owned()))?;
        let mut holders: Vec<(String, String)> = services
            .items
            .into_iter()
            .filter(|service| holds(service, address))
            .filter_map(|service| Some((service.metadata.namespace?, service.metadata.name?)))
            .collect();
        holders.sort_unstable();
        if holders.is_empty() { Err(SteerError::NoService(address)) } else { Ok(holders) }
    }

    async fn annotate(&self, (namespace, name): &(String, String), values: Value) -> Result<String, SteerError> {
        let services = Api::<Service>::namespaced(self.client.clone(), namespace);
        let key = format!("{namespace}/{name}");
        bounded(services.patch_metadata(name, &PatchParams::default(), &annotations(values)))
            .await
            .map_err(refused(format!("Service {key} cannot be annotated")))?;
        Ok(key)
    }

    /// The Service that now says it: one of those that share the address is enough.
    pub(super) async fn move_to(&self, address: IpAddr, node: &str, until: &str) -> Result<String, SteerError> {
        let found = bounded(self.nodes().get_metadata_opt(node)).await;
        if found.map_err(refused(format!("Node {node} cannot be read")))?.is_none() {
            return Err(SteerError::NoNode(node.to_owned()));
        }
        let holders = self.holders(address).await?;
        // An earlier word about a Service beside it would contradict this one.
        for other in holders.iter().skip(1) {
            self.annotate(other, json!({ MOVE_TO: null, MOVE_UNTIL: null })).await?;
        }
        let first = holders.first().ok_or(SteerError::NoService(address))?;
        self.annotate(first, json!({ MOVE_TO: node, MOVE_UNTIL: until })).await
    }

    /// The Services that do not say it any more.
    pub(super) async fn end_move(&self, address: IpAddr) -> Result<Vec<String>, SteerError> {
        let mut ended = Vec::new();
        for holder in self.holders(address).await? {
            ended.push(self.annotate(&holder, json!({ MOVE_TO: null, MOVE_UNTIL: null })).await?);
        }
        Ok(ended)
    }
}

fn holds(service: &Service, address: IpAddr) -> bool {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse::<IpAddr>().ok()).any(|ip| ip == address)
}
