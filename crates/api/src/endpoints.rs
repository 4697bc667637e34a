//! EndpointSlices.

use herald_core::{NodeName, ServiceKey, service::Serving};
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointSlice};
use std::net::IpAddr;

/// Label that names the Service of an EndpointSlice, in the slice's namespace.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What the rules need of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The Service that it belongs to.
    pub service: ServiceKey,
    /// Its endpoints.
    pub endpoints: Box<[Endpoint]>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Node that it runs on, where known.
    pub node: Option<NodeName>,
    /// Its first address (the API calls all others of an endpoint unused).
    pub address: IpAddr,
    /// Condition `ready`; absent means true.
    pub ready: Option<bool>,
    /// Condition `serving`; absent means "as ready".
    pub serving: Option<bool>,
}

impl Slice {
    /// `None` for a slice that belongs to no Service or carries no IP addresses (type FQDN).
    #[must_use]
    pub fn from_object(object: &EndpointSlice) -> Option<Self> {
        let name = object.metadata.labels.as_ref()?.get(SERVICE_LABEL).filter(|name| !name.is_empty())?;
        if object.address_type == "FQDN" {
            return None;
        }
        let service = ServiceKey::new(object.metadata.namespace.clone().unwrap_or_default(), name.clone());
        let none = EndpointConditions::default();
        let endpoints = object
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let conditions = endpoint.conditions.as_ref().unwrap_or(&none);
                Some(Endpoint {
                    node: endpoint.node_name.as_deref().map(NodeName::new),
                    address: endpoint.addresses.first()?.parse().ok()?,
                    ready: conditions.ready,
                    serving: conditions.serving,
                })
            })
            .collect();
        Some(Self { service, endpoints })
    }
}

impl Endpoint {
    /// Whether it can serve: `ready` (absent counts as true) comes before `serving`, or publishNotReadyAddresses would not work; a
    /// terminating endpoint that still serves counts (both as MetalLB, its 0.14.5).
    #[must_use]
    pub fn serves(&self) -> bool {
        self.ready.unwrap_or(true) || self.serving == Some(true)
    }
}

/// Which endpoints of one Service can serve, from all its slices. An address that stands in several slices or on several nodes (a
/// migrating VM) counts wherever it is healthy: an unhealthy entry never hides a healthy one.
#[must_use]
pub fn serving<'a>(slices: impl IntoIterator<Item = &'a Slice>) -> Serving {
    let endpoints = slices.into_iter().flat_map(|slice| &slice.endpoints);
    let able: Vec<&Endpoint> = endpoints.filter(|endpoint| endpoint.serves()).collect();
    Serving { any: !able.is_empty(), nodes: able.iter().filter_map(|endpoint| endpoint.node.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(endpoints: &str) -> Slice {
        let yaml = format!(
            "metadata: {{name: web-x, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nendpoints:\n{endpoints}"
        );
        Slice::from_object(&serde_saphyr::from_str(&yaml).unwrap()).unwrap()
    }

    fn nodes(slices: &[Slice]) -> Vec<String> {
        serving(slices).nodes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn belongs_to_the_service_of_its_label() {
        let slice = slice("- {addresses: [10.0.0.1], nodeName: w1}\n");
        assert_eq!(slice.service, ServiceKey::new("shop", "web"));
        assert_eq!(slice.endpoints.len(), 1);
        let orphan = "metadata: {name: x, namespace: shop}\naddressType: IPv4\nendpoints: []\n";
        assert_eq!(Slice::from_object(&serde_saphyr::from_str(orphan).unwrap()), None);
        let names = "metadata: {name: x, namespace: shop, labels: {kubernetes.io/service-name: web}}\naddressType: FQDN\nendpoints: [{addresses: [a.example]}]\n";
        assert_eq!(Slice::from_object(&serde_saphyr::from_str(names).unwrap()), None);
    }

    #[test]
    fn ready_counts_before_serving() {
        for (conditions, serves) in [
            ("", true),
            (", conditions: {}", true),
            (", conditions: {ready: true, serving: false}", true),
            (", conditions: {serving: false}", true),
            (", conditions: {ready: false}", false),
            (", conditions: {ready: false, serving: false}", false),
            (", conditions: {ready: false, serving: true, terminating: true}", true),
        ] {
            let slice = slice(&format!("- {{addresses: [10.0.0.1], nodeName: w1{conditions}}}\n"));
            assert_eq!(slice.endpoints[0].serves(), serves, "{conditions}");
            assert_eq!(serving([&slice]).any, serves, "{conditions}");
        }
    }

    #[test]
    fn a_healthy_entry_wins_over_an_unhealthy_one_of_the_same_address() {
        let sick = slice("- {addresses: [10.0.0.1], nodeName: w1, conditions: {ready: false}}\n");
        let well = slice("- {addresses: [10.0.0.1], nodeName: w2, conditions: {ready: true}}\n");
        assert_eq!(nodes(&[sick.clone(), well.clone()]), ["w2"]);
        assert_eq!(nodes(&[well, sick]), ["w2"]);
    }

    #[test]
    fn an_endpoint_without_node_serves_but_names_none() {
        let slice = slice("- {addresses: [10.0.0.1]}\n");
        assert_eq!(serving([&slice]), Serving { any: true, nodes: herald_core::Set::default() });
        assert_eq!(serving(&[]), Serving::default());
    }
}
