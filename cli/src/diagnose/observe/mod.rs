//! From the API, and from the debug ports of Herald's pods, to facts: Kubernetes types end here.

mod forward;

use super::facts::{Asked, Event, Herald, Pod, Proxy, Service, Subject};
use crate::client::{Access, ConnectError, Connected};
use futures::{StreamExt as _, stream};
use herald_api::{
    annotations::ADDRESS_POOL,
    endpoints::{SERVICE_LABEL, Slice},
    pod::{self, argument},
    state::{ControllerState, SpeakerState},
};
use herald_runtime::{
    client::{CallError, bounded},
    config::{DEBUG_PORT, DEFAULT_NAMESPACE},
};
use k8s_openapi::api::{
    core::v1::{self as core, ConfigMap},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Herald's pods, whatever the chart's name.
const PODS: &str = "app.kubernetes.io/name=herald";
/// Says which of the two daemons a pod is.
const COMPONENT: &str = "component";
/// Pods asked at once: each costs the API server a connection.
const AT_ONCE: usize = 16;
/// Newest events of a Service that are shown.
const EVENTS: usize = 5;

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the API server cannot be asked: {0}")]
    Unreachable(#[source] CallError),
}

/// A cluster to ask.
pub(crate) struct Cluster {
    client: Client,
    default_namespace: String,
}

/// The answer, or a line for the gaps: a missing right is one gap and not the end.
fn or_gap<T>(what: &str, answer: Result<T, CallError>, gaps: &mut Vec<String>) -> Result<Option<T>, ObserveError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error @ CallError::Api(kube::Error::Api(_))) => {
            gaps.push(format!("{what}: {error}"));
            Ok(None)
        }
        Err(error) => Err(ObserveError::Unreachable(error)),
    }
}

impl Cluster {
    /// Does not talk to the server yet.
    pub(crate) async fn connect(access: Access) -> Result<Self, ObserveError> {
        let Connected { client, default_namespace } = access.connect().await?;
        Ok(Self { client, default_namespace })
    }

    /// That of the kubeconfig's context.
    pub(crate) fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// Everything about Herald, and what it knows of this Service, or of all. Looks in this namespace, or in all.
    pub(crate) async fn herald(&self, namespace: Option<&str>, service: Option<&str>) -> Result<Herald, ObserveError> {
        let mut herald = Herald::default();
        let (pods, proxy) = tokio::join!(self.pods(namespace, &mut herald.gaps), self.proxy());
        herald.proxy = proxy;
        let mut pods = pods?;
        pods.sort_by(|one, other| (pod::node(one), &one.metadata.name).cmp(&(pod::node(other), &other.metadata.name)));
        herald.namespaces = pods.iter().map(|pod| text(&pod.metadata.namespace)).collect();
        herald.namespaces.extend(namespace.map(str::to_owned));
        let of = |component: &str| -> Vec<&pod::Pod> { pods.iter().filter(|pod| label(pod) == component).collect() };
        let (controllers, speakers) = (of("controller"), of("speaker"));
        herald.class = controllers.iter().chain(&speakers).find_map(|pod| argument(pod, "lb-class")).map(str::to_owned);
        let (controllers, speakers) = tokio::join!(
            self.ask_all::<ControllerState>(&controllers, service),
            self.ask_all::<SpeakerState>(&speakers, service)
        );
        (herald.controllers, herald.speakers) = (controllers, speakers);
        Ok(herald)
    }

    async fn pods(&self, namespace: Option<&str>, gaps: &mut Vec<String>) -> Result<Vec<pod::Pod>, ObserveError> {
        let chosen = ListParams::default().labels(PODS);
        let within = |namespace: &str| Api::<pod::Pod>::namespaced(self.client.clone(), namespace);
        let mut answer = match namespace {
            Some(namespace) => bounded(within(namespace).list(&chosen)).await,
            None => bounded(Api::<pod::Pod>::all(self.client.clone()).list(&chosen)).await,
        };
        // Who may not look everywhere may look where Herald usually is.
        if namespace.is_none() && answer.as_ref().is_err_and(CallError::is_forbidden) {
            answer = bounded(within(DEFAULT_NAMESPACE).list(&chosen)).await;
        }
        let list = or_gap("Herald's pods", answer, gaps)?;
        Ok(list.into_iter().flat_map(|list| list.items).filter(pod::is_running).collect())
    }

    async fn ask_all<T: DeserializeOwned>(&self, pods: &[&pod::Pod], service: Option<&str>) -> Vec<Asked<T>> {
        let ask = |pod: pod::Pod| async move {
            let state = self.ask(&pod, service).await;
            let shown =
                Pod { name: text(&pod.metadata.name), node: pod::node(&pod).to_owned(), ready: pod::is_ready(&pod) };
            Asked { pod: shown, state }
        };
        let pods: Vec<pod::Pod> = pods.iter().map(|pod| (*pod).clone()).collect();
        stream::iter(pods).map(ask).buffered(AT_ONCE).collect().await
    }

    async fn ask<T: DeserializeOwned>(&self, pod: &pod::Pod, service: Option<&str>) -> Result<T, String> {
        let port = match argument(pod, "debug-port").map(|port| port.parse::<u16>()) {
            None => DEBUG_PORT,
            Some(Ok(0)) => return Err("its debug port is off (--debug-port=0)".to_owned()),
            Some(Ok(port)) => port,
            Some(Err(error)) => return Err(format!("its --debug-port is no port: {error}")),
        };
        let api = Api::<core::Pod>::namespaced(self.client.clone(), &text(&pod.metadata.namespace));
        let path = service.map_or("/debug/state".to_owned(), |service| format!("/debug/state/{service}"));
        let answer = forward::get(&api, &text(&pod.metadata.name), port, &path).await.map_err(|why| why.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| format!("its answer is not understood: {error}"))
    }

    /// kube-proxy's ConfigMap as kubeadm makes it. Elsewhere there is none, or no right to read it: nothing is known then.
    async fn proxy(&self) -> Option<Proxy> {
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Conf {
            mode: String,
            ipvs: Ipvs,
        }
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        struct Ipvs {
            #[serde(rename = "strictARP")]
            strict_arp: bool,
        }
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-system");
        let object = bounded(api.get_opt("kube-proxy")).await.ok().flatten()?;
        let conf: Conf = serde_saphyr::from_str(object.data?.get("config.conf")?).ok()?;
        Some(Proxy { mode: conf.mode, strict_arp: conf.ipvs.strict_arp })
    }

    /// Everything about a Service.
    pub(crate) async fn subject(&self, namespace: &str, name: &str) -> Result<Subject, ObserveError> {
        let services = Api::<core::Service>::namespaced(self.client.clone(), namespace);
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), namespace);
        let events = Api::<core::Event>::namespaced(self.client.clone(), namespace);
        let of_service = ListParams::default().labels(&format!("{SERVICE_LABEL}={name}"));
        let about = ListParams::default().fields(&format!("involvedObject.kind=Service,involvedObject.name={name}"));
        let (service, slices, events) = tokio::join!(
            bounded(services.get_opt(name)),
            bounded(slices.list(&of_service)),
            bounded(events.list(&about))
        );
        let mut subject = Subject { key: format!("{namespace}/{name}"), ..Subject::default() };
        subject.service = or_gap("the Service", service, &mut subject.gaps)?.flatten().as_ref().map(service_of);
        let slices = or_gap("its EndpointSlices", slices, &mut subject.gaps)?;
        subject.slices = slices.map(|list| list.items.iter().filter_map(Slice::from_object).collect());
        let events = or_gap("its events", events, &mut subject.gaps)?;
        let mut events: Vec<Event> = events.into_iter().flat_map(|list| list.items).map(event_of).collect();
        events.sort_by(|one, other| other.last.cmp(&one.last));
        events.truncate(EVENTS);
        subject.events = events;
        Ok(subject)
    }
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn label(pod: &pod::Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(COMPONENT)).map_or("", String::as_str)
}

fn service_of(object: &core::Service) -> Service {
    let none = BTreeMap::new();
    let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    Service {
        // Absent in no object that an API server sends; its default.
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        class: spec.load_balancer_class,
        deleting: object.metadata.deletion_timestamp.is_some(),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        addresses: ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect(),
        pool: ADDRESS_POOL.find(annotations).map(|found| found.value.to_owned()).filter(|pool| !pool.is_empty()),
    }
}

fn event_of(object: core::Event) -> Event {
    let last = object.last_timestamp.or(object.first_timestamp);
    Event {
        reason: object.reason.unwrap_or_default(),
        warning: object.type_.as_deref() == Some("Warning"),
        message: object.message.unwrap_or_default(),
        last: last.map(|time| time.0.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_with_its_addresses_and_the_pool_that_it_asks_for() {
        let object = serde_saphyr::from_str(
            "metadata: {name: a, namespace: b, annotations: {metallb.universe.tf/address-pool: gold}}\n\
             spec: {type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerClass: x/y}\n\
             status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: h}, {ip: 'fd00::1'}]}}\n",
        );
        let addresses = ["192.0.2.1", "fd00::1"].map(|ip| ip.parse().unwrap()).to_vec();
        let wanted = Service {
            kind: "LoadBalancer".to_owned(),
            class: Some("x/y".to_owned()),
            deleting: false,
            local: true,
            addresses,
            pool: Some("gold".to_owned()),
        };
        assert_eq!(service_of(&object.unwrap()), wanted);
    }
}
