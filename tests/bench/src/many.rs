//! The large cluster: a thousand Services, five thousand, or ten.

use crate::{
    Error, Result, api,
    cluster::{self, AT_ONCE, HUGE_POOL, LAN_POOL, PATIENCE, Pool, WIDE_POOL},
};
use futures::StreamExt as _;
use herald_e2e::{Cluster, NAMESPACE};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// So many Services in one pool.
#[derive(Debug, Clone, Copy)]
pub struct Many {
    /// How many.
    pub count: usize,
    /// Their pool.
    pub pool: Pool,
    /// Whether each port gets a node port as well, as by default: there are 2,768.
    node_ports: bool,
}

/// Between two looks at what Kubernetes made of them.
const LOOK: Duration = Duration::from_millis(500);

/// After so many it is said how far it is.
const STEP: usize = 1000;

/// Label of all of them.
pub const LABEL: &str = "many=yes";

impl Many {
    /// 1,000.
    pub const THOUSAND: Self = Self { count: 1000, pool: WIDE_POOL, node_ports: true };
    /// 5,000, without node ports.
    pub const FIVE_THOUSAND: Self = Self { count: 5000, pool: HUGE_POOL, node_ports: false };
    /// 10,000, without node ports.
    pub const TEN_THOUSAND: Self = Self { count: 10_000, pool: HUGE_POOL, node_ports: false };

    /// Name of one of them.
    #[must_use]
    pub fn name(number: usize) -> String {
        format!("many-{number}")
    }

    /// How many, for people: 5,000.
    #[must_use]
    pub fn words(self) -> String {
        format!("{},{:03}", self.count / 1000, self.count % 1000)
    }

    /// A Service like them, in their pool.
    #[must_use]
    pub fn service(self, name: &str) -> Service {
        let mut service = api::load_balancer(name, self.pool.0);
        if let Some(spec) = service.spec.as_mut().filter(|_| !self.node_ports) {
            spec.allocate_load_balancer_node_ports = Some(false);
        }
        service
    }

    /// Creates them in their pool, which may be there or not, with an echo pod behind each. Answers `false` when they were there.
    ///
    /// # Errors
    /// The API server's.
    pub fn create(self, cluster: &Cluster) -> Result<bool> {
        api::run(cluster.lab(), |client| async move {
            let services: Api<Service> = Api::namespaced(client, NAMESPACE);
            let there = services.list_metadata(&ListParams::default().labels(LABEL)).await?.items.len();
            if there == self.count {
                return Ok(false);
            }
            if there > 0 {
                return Err(Error::NotSeen(format!("none or all of the {} Services ({there} are there)", self.count)));
            }
            let new = futures::stream::iter(0..self.count).map(|number| {
                let services = &services;
                async move {
                    let mut service = self.service(&Self::name(number));
                    service.metadata.labels = Some([("many".into(), "yes".into())].into());
                    services.create(&PostParams::default(), &service).await
                }
            });
            let mut created = new.buffer_unordered(AT_ONCE).enumerate();
            while let Some((number, service)) = created.next().await {
                service?;
                if self.count > STEP && (number + 1).is_multiple_of(STEP) {
                    eprintln!("  {} of {} Services created", number + 1, self.count);
                }
            }
            Ok(true)
        })
    }

    /// Waits until Kubernetes has made an EndpointSlice for each: its work on them must not be part of what is measured.
    ///
    /// # Errors
    /// It does not.
    pub fn await_endpoints(self, cluster: &Cluster) -> Result<()> {
        api::run(cluster.lab(), |client| async move {
            let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
            let (start, wanted) = (Instant::now(), i64::try_from(self.count).unwrap_or(i64::MAX));
            loop {
                // One, and how many there are besides: a list of all is work again.
                let one = slices.list_metadata(&ListParams::default().limit(1)).await?;
                let there = one.metadata.remaining_item_count.unwrap_or_default() + 1;
                if there >= wanted {
                    return Ok(());
                }
                if start.elapsed() > PATIENCE * 3 {
                    return Err(Error::NotSeen(format!("{wanted} EndpointSlices ({there} came)")));
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// Makes sure of them, assigned; their addresses, and whether they are new.
    ///
    /// # Errors
    /// They do not get addresses.
    pub fn ensure(self, cluster: &Cluster) -> Result<(Vec<Ipv4Addr>, bool)> {
        eprintln!("  making sure of {} Services", self.count);
        cluster::configure(cluster, &[LAN_POOL, self.pool])?;
        let new = self.create(cluster)?;
        let ips = cluster::external_ips(cluster, self.count)?;
        Ok((ips.into_iter().filter(|(name, _)| name.starts_with("many-")).map(|(_, ip)| ip).collect(), new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        assert_eq!(Many::THOUSAND.words(), "1,000");
        assert_eq!(Many::TEN_THOUSAND.words(), "10,000");
    }
}
