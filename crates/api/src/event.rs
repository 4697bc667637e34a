//! Events on Services: reasons and texts, MetalLB's where the meaning is the same.

use crate::{annotations, sources::ObjectId};
use herald_core::{
    NodeName, ServiceKey,
    allocate::{Event, Refusal},
};
use k8s_openapi::api::core::v1::ObjectReference;
use std::{fmt, net::IpAddr};

/// `type` of a Kubernetes event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something happened as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Kind {
    /// As the API spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event on a Service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEvent {
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Normal or Warning.
    pub kind: Kind,
    /// For people.
    pub message: String,
}

impl ServiceEvent {
    /// The event for a decision of the allocator.
    #[must_use]
    pub fn from_allocation(service: &ServiceKey, event: &Event) -> Self {
        let (reason, kind, message) = match event {
            Event::Allocated(addresses) => ("IPAllocated", Kind::Normal, format!("Assigned IP {}", quoted(addresses))),
            // MetalLB's reason, blanks and all.
            Event::Failed(why @ Refusal::NotDualStack) => ("not enough clusterips", Kind::Warning, why.to_string()),
            Event::Failed(why) => {
                ("AllocationFailed", Kind::Warning, format!("Failed to allocate IP for \"{service}\": {why}"))
            }
            Event::Cleared(why) => (
                "ClearAssignment",
                Kind::Normal,
                format!("current IP not allowed by config, will attempt for new IP assignment: {why}"),
            ),
            Event::RequestRefused(why) => {
                ("LoadBalancerFailed", Kind::Warning, format!("the request cannot be met, the current IP stays: {why}"))
            }
            Event::SecondFamilyFailed(why) => (
                "AdditionalAssignFailed",
                Kind::Normal,
                format!("Failed to assign additional IP for \"{service}\": {why}"),
            ),
        };
        Self { reason, kind, message }
    }

    /// An annotation under MetalLB's old prefix is in use.
    #[must_use]
    pub fn deprecated_annotation(key: &str) -> Self {
        let name = key.strip_prefix(annotations::DEPRECATED_PREFIX).unwrap_or(key);
        Self {
            reason: "deprecatedAnnotation",
            kind: Kind::Warning,
            message: format!("annotation {key} is deprecated: use {}{name}", annotations::PREFIX),
        }
    }

    /// The speaker's event about who announces. Equal text for all Services of a node and protocol: tools compare it.
    #[must_use]
    pub fn node_assigned(node: &NodeName) -> Self {
        Self {
            reason: "nodeAssigned",
            kind: Kind::Normal,
            message: format!("announcing from node \"{node}\" with protocol \"layer2\""),
        }
    }
}

/// Addresses as Go prints a slice of strings with `%q`: quoted, separated by blanks.
fn quoted(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", all.join(" "))
}

/// What an event is about: an object of the core group, version v1.
#[must_use]
pub fn object_reference(kind: &str, namespace: &str, name: &str, uid: &str) -> ObjectReference {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: some(kind),
        namespace: some(namespace),
        name: some(name),
        uid: some(uid),
        ..ObjectReference::default()
    }
}

/// What an event about a configuration object is about.
#[must_use]
pub fn config_reference(object: &ObjectId, namespace: &str, uid: &str) -> ObjectReference {
    let api_version = Some(object.kind.api_version().to_owned());
    ObjectReference { api_version, ..object_reference(object.kind.as_str(), namespace, &object.name, uid) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    #[test]
    fn texts_that_tools_know() {
        let key = ServiceKey::new("default", "web");
        let one = ServiceEvent::from_allocation(&key, &Event::Allocated(vec!["192.168.56.11".parse().unwrap()]));
        assert_eq!((one.reason, one.kind), ("IPAllocated", Kind::Normal));
        assert_eq!(one.message, r#"Assigned IP ["192.168.56.11"]"#);
        let two = Event::Allocated(vec!["192.168.56.11".parse().unwrap(), "fd56::11".parse().unwrap()]);
        assert_eq!(ServiceEvent::from_allocation(&key, &two).message, r#"Assigned IP ["192.168.56.11" "fd56::11"]"#);
        let failed = ServiceEvent::from_allocation(&key, &Event::Failed(Refusal::NoPools));
        assert_eq!((failed.reason, failed.kind), ("AllocationFailed", Kind::Warning));
        assert!(failed.message.starts_with(r#"Failed to allocate IP for "default/web": no address pool"#));
        assert_eq!(
            ServiceEvent::node_assigned(&NodeName::new("w1-k8s")).message,
            r#"announcing from node "w1-k8s" with protocol "layer2""#
        );
    }

    #[test]
    fn reasons_of_the_rest() {
        let key = ServiceKey::new("default", "web");
        let of = |event| {
            let event = ServiceEvent::from_allocation(&key, &event);
            (event.reason, event.kind.as_str())
        };
        assert_eq!(of(Event::Cleared(Refusal::NoPools)), ("ClearAssignment", "Normal"));
        assert_eq!(of(Event::RequestRefused(Refusal::NoPools)), ("LoadBalancerFailed", "Warning"));
        assert_eq!(of(Event::SecondFamilyFailed(Refusal::NoPools)), ("AdditionalAssignFailed", "Normal"));
    }

    #[test]
    fn other_texts_that_tools_know() {
        let key = ServiceKey::new("default", "web");
        let failed = ServiceEvent::from_allocation(&key, &Event::Failed(Refusal::NotDualStack));
        assert_eq!((failed.reason, failed.kind), ("not enough clusterips", Kind::Warning));
        let old = ServiceEvent::deprecated_annotation("metallb.universe.tf/address-pool");
        assert_eq!((old.reason, old.kind), ("deprecatedAnnotation", Kind::Warning));
        let text = "annotation metallb.universe.tf/address-pool is deprecated: use metallb.io/address-pool";
        assert_eq!(old.message, text);
    }

    #[test]
    fn configuration_objects_are_named_with_their_group() {
        let pool = sources::ObjectId::new(sources::Kind::IpAddressPool, "lan");
        let reference = config_reference(&pool, "metallb-system", "u");
        assert_eq!(reference.api_version.as_deref(), Some("metallb.io/v1beta1"));
        assert_eq!(reference.kind.as_deref(), Some("IPAddressPool"));
        let map = sources::ObjectId::new(sources::Kind::ConfigMap, "config");
        assert_eq!(config_reference(&map, "metallb-system", "u").api_version.as_deref(), Some("v1"));
    }

    #[test]
    fn references_leave_out_what_is_not_known() {
        let node = object_reference("Node", "", "w1", "");
        assert_eq!(node.namespace, None);
        assert_eq!(node.uid, None);
        assert_eq!(node.api_version.as_deref(), Some("v1"));
        assert_eq!(node.name.as_deref(), Some("w1"));
    }
}
