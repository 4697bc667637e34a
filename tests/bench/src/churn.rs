//! Endpoints that come and go all the time, in EndpointSlices that no pod is behind.

use crate::{Error, Result, api, cluster::AT_ONCE, failures::count, many::Many};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::{Cluster, NAMESPACE};
use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// How long.
pub const TIME: Duration = Duration::from_secs(30);
/// Between two updates: 50 a second.
const PACE: Duration = Duration::from_millis(20);
/// EndpointSlices that take turns, each of another Service.
const SLICES: usize = 200;
/// Value of their label `endpointslice.kubernetes.io/managed-by`: Kubernetes' own controller leaves them alone.
const MANAGER: &str = "herald-bench";
const MANAGED: &str = "endpointslice.kubernetes.io/managed-by";

fn endpoint(ready: bool) -> Endpoint {
    Endpoint {
        // Of no pod: nobody sends anything there.
        addresses: vec!["10.244.99.99".into()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        node_name: Some("w1-k8s".into()),
        ..Endpoint::default()
    }
}

fn slice(number: usize) -> EndpointSlice {
    let labels = [(MANAGED, MANAGER.to_owned()), ("kubernetes.io/service-name", Many::name(number))];
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("churn-{number}")),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: vec![endpoint(true)],
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(i32::from(api::HTTP_PORT)),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        }]),
    }
}

/// Creates the EndpointSlices beside those that the Services of [`Many`] have.
///
/// # Errors
/// The API server's.
pub fn begin(cluster: &Cluster) -> Result<()> {
    // Those of a run that was interrupted.
    end(cluster)?;
    api::run(cluster.lab(), |client| async move {
        let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
        let new = futures::stream::iter(0..SLICES).map(|number| {
            let slices = &slices;
            async move { slices.create(&PostParams::default(), &slice(number)).await }
        });
        Ok(new.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?)
    })
}

/// Lets an endpoint become ready, or not ready, at every tick for [`TIME`]; how many updates a second the API server took.
///
/// # Errors
/// The API server's.
pub fn run(cluster: &Cluster) -> Result<f64> {
    api::run(cluster.lab(), |client| async move {
        let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
        let start = Instant::now();
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let updates = futures::stream::unfold((0_usize, ticks), |(number, mut ticks)| async move {
            ticks.tick().await;
            (start.elapsed() < TIME).then_some((number, (number + 1, ticks)))
        });
        let written = updates.map(|number| {
            let slices = &slices;
            async move {
                // Each round the other way round.
                let patch = json!({"endpoints": [endpoint(number / SLICES % 2 == 1)]});
                let name = format!("churn-{}", number % SLICES);
                slices.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
        });
        let done = written.buffer_unordered(AT_ONCE).try_fold(0_usize, |done, _| async move { Ok(done + 1) }).await?;
        Ok::<_, Error>(count(done) / start.elapsed().as_secs_f64())
    })
}

/// Removes the EndpointSlices.
///
/// # Errors
/// The API server's.
pub fn end(cluster: &Cluster) -> Result<()> {
    api::run(cluster.lab(), |client| async move {
        let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
        let ours = ListParams::default().labels(&format!("{MANAGED}={MANAGER}"));
        Ok(slices.delete_collection(&DeleteParams::default(), &ours).await.map(drop)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_a_services_and_not_kubernetes_own() {
        let labels = slice(7).metadata.labels.unwrap();
        assert_eq!(labels["kubernetes.io/service-name"], Many::name(7));
        assert_eq!(labels[MANAGED], MANAGER);
        assert_ne!(endpoint(true), endpoint(false));
    }
}
