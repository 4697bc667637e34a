//! The large cluster: 1,000 Services.

use crate::{
    Error, Result, api,
    cluster::{self, AT_ONCE, LAN_POOL, WIDE_POOL},
};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::{Cluster, NAMESPACE};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use std::net::Ipv4Addr;

/// How many.
pub const COUNT: usize = 1000;

/// Creates them in the wide pool, which may be there or not, with an echo pod behind each. Does nothing when they are there.
///
/// # Errors
/// The API server's.
pub fn create(cluster: &Cluster) -> Result<()> {
    api::run(cluster.lab(), |client| async move {
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        let there = services.list_metadata(&ListParams::default().labels(LABEL)).await?.items.len();
        if there == COUNT {
            return Ok(());
        }
        if there > 0 {
            return Err(Error::NotSeen(format!("none or all of the {COUNT} Services ({there} are there)")));
        }
        let new = futures::stream::iter(0..COUNT).map(|number| {
            let services = &services;
            async move {
                let mut service = api::load_balancer(&format!("many-{number}"), WIDE_POOL.0);
                service.metadata.labels = Some([("many".into(), "yes".into())].into());
                services.create(&PostParams::default(), &service).await
            }
        });
        new.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await.map_err(Error::from)
    })
}

/// Label of all of them.
pub const LABEL: &str = "many=yes";

/// Makes sure of them, assigned; their addresses.
///
/// # Errors
/// They do not get addresses.
pub fn ensure(cluster: &Cluster) -> Result<Vec<Ipv4Addr>> {
    eprintln!("  making sure of {COUNT} Services");
    cluster::configure(cluster, &[LAN_POOL, WIDE_POOL])?;
    create(cluster)?;
    let ips = cluster::external_ips(cluster, COUNT)?;
    Ok(ips.into_iter().filter(|(name, _)| name.starts_with("many-")).map(|(_, ip)| ip).collect())
}
