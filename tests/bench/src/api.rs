//! The API server as a client on the control plane's machine sees it: one process, no kubectl between the clock and the request.

use crate::{Error, Result};
use herald_lab::{Host, Lab};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Client, Config,
    api::ObjectMeta,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{collections::BTreeMap, future::Future, net::Ipv4Addr};

/// UDP port of the echo server and of its Services.
pub const UDP_PORT: u16 = 9999;
/// HTTP port of the echo server and of its Services.
pub const HTTP_PORT: u16 = 80;

/// Runs async code on a thread in a host's network: what it opens is opened there.
///
/// # Errors
/// No lab, or what the code says.
pub fn run_at<T: Send, F: Future<Output = Result<T>>>(
    lab: &Lab,
    host: Host,
    work: impl FnOnce() -> F + Send,
) -> Result<T> {
    lab.in_netns(host, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Error::io("starting a runtime"))?.block_on(async { work().await })
    })?
}

/// The same with a client of the API server, in the control plane's network.
///
/// # Errors
/// No lab, no connection, or what the code says.
pub fn run<T: Send, F: Future<Output = Result<T>>>(lab: &Lab, work: impl FnOnce(Client) -> F + Send) -> Result<T> {
    let path = lab.place().kubeconfig();
    run_at(lab, Host::ControlPlane, || async {
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
        work(Client::try_from(config)?).await
    })
}

/// A Service of type LoadBalancer for the echo pods of its namespace, IPv4 only; without a pool, from whatever gives addresses.
#[must_use]
pub fn load_balancer<'a>(name: &str, pool: impl Into<Option<&'a str>>) -> Service {
    let pool: Option<&str> = pool.into();
    let port = |name: &str, protocol: &str, port: u16| ServicePort {
        name: Some(name.into()),
        port: port.into(),
        protocol: Some(protocol.into()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some(name.into()),
            annotations: pool
                .map(|pool| BTreeMap::from([("metallb.universe.tf/address-pool".to_owned(), pool.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some("LoadBalancer".into()),
            selector: Some(BTreeMap::from([("app".into(), "echo".into())])),
            ports: Some(vec![port("http", "TCP", HTTP_PORT), port("udp", "UDP", UDP_PORT)]),
            ip_families: Some(vec!["IPv4".into()]),
            ip_family_policy: Some("SingleStack".into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The EXTERNAL-IP in a Service's status.
#[must_use]
pub fn external_ip(service: &Service) -> Option<Ipv4Addr> {
    service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}
