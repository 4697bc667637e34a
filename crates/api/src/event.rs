//! Events: what they are about, reasons and texts, MetalLB's where the meaning is the same.

use crate::{annotations, sources::ObjectId};
use herald_core::{
    NodeName, ServiceKey,
    allocate::{Event, Refusal},
    reason::Reason,
};
use k8s_openapi::api::core::v1::ObjectReference;
use std::{fmt, net::IpAddr, sync::Arc};

/// `type` of a Kubernetes event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// What an event is about. A thousand of them may wait to be written: texts are shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// For example `v1`.
    pub api_version: &'static str,
    /// For example `Service`.
    pub kind: &'static str,
    /// Empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Which of the objects that have had this name; empty when not known.
    pub uid: Arc<str>,
}

impl About {
    /// A Service.
    #[must_use]
    pub fn service(key: &ServiceKey, uid: &Arc<str>) -> Self {
        let ServiceKey { namespace, name } = key.clone();
        Self { api_version: "v1", kind: "Service", namespace, name, uid: Arc::clone(uid) }
    }

    /// A configuration object of this namespace.
    #[must_use]
    pub fn config(object: &ObjectId, namespace: &str, uid: &str) -> Self {
        Self {
            api_version: object.kind.api_version(),
            kind: object.kind.as_str(),
            namespace: namespace.into(),
            name: Arc::clone(&object.name),
            uid: uid.into(),
        }
    }

    /// As the API takes it; what is empty is left out.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ObjectReference {
            api_version: some(self.api_version),
            kind: some(self.kind),
            namespace: some(&self.namespace),
            name: some(&self.name),
            uid: some(&self.uid),
            ..ObjectReference::default()
        }
    }
}

/// Something to tell about an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// What it is about.
    pub about: About,
    /// Normal or Warning.
    pub kind: Kind,
    /// Short, for machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// An event on a Node.
#[must_use]
pub fn node_notice(node: &NodeName, uid: &Arc<str>, kind: Kind, reason: &'static str, message: String) -> Notice {
    let about = About {
        api_version: "v1",
        kind: "Node",
        namespace: "".into(),
        name: node.as_str().into(),
        uid: Arc::clone(uid),
    };
    Notice { about, kind, reason, message }
}

/// An annotation of `herald evacuate` on a Node cannot be read: it counts for nothing.
#[must_use]
pub fn unread_evacuation(node: &NodeName, uid: &Arc<str>, problem: &str) -> Notice {
    let message = format!("the node keeps its addresses: {problem}");
    node_notice(node, uid, Kind::Warning, "evacuationNotRead", message)
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
    /// The event on this Service.
    #[must_use]
    pub fn on(self, key: &ServiceKey, uid: &Arc<str>) -> Notice {
        let Self { reason, kind, message } = self;
        Notice { about: About::service(key, uid), kind, reason, message }
    }

    /// The event for a decision of the allocator.
    #[must_use]
    pub fn from_allocation(service: &ServiceKey, event: &Event) -> Self {
        let (reason, kind, message) = match event {
            Event::Allocated(addresses) => ("IPAllocated", Kind::Normal, format!("Assigned IP {}", quoted(addresses))),
            // MetalLB's reason, blanks and all.
            Event::Failed(why @ Refusal::NotDualStack) => ("not enough clusterips", Kind::Warning, why.advice()),
            Event::Failed(why) => (
                "AllocationFailed",
                Kind::Warning,
                format!("Failed to allocate IP for \"{service}\": {}", why.advice()),
            ),
            Event::Cleared(why) => (
                "ClearAssignment",
                Kind::Normal,
                format!("current IP not allowed by config, will attempt for new IP assignment: {}", why.advice()),
            ),
            Event::RequestRefused(why) => (
                "LoadBalancerFailed",
                Kind::Warning,
                format!("the request cannot be met, the current IP stays: {}", why.advice()),
            ),
            Event::SecondFamilyFailed(why) => (
                "AdditionalAssignFailed",
                Kind::Normal,
                format!("Failed to assign additional IP for \"{service}\": {}", why.advice()),
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

    /// Annotations of `herald move` cannot be read: they count for nothing.
    #[must_use]
    pub fn unread_move(problem: &str) -> Self {
        Self { reason: "moveNotRead", kind: Kind::Warning, message: format!("the Service is not moved: {problem}") }
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
        let of = |kind, name| About::config(&sources::ObjectId::new(kind, name), "metallb-system", "u").reference();
        let pool = of(sources::Kind::IpAddressPool, "lan");
        assert_eq!(pool.api_version.as_deref(), Some("metallb.io/v1beta1"));
        assert_eq!(pool.kind.as_deref(), Some("IPAddressPool"));
        assert_eq!(of(sources::Kind::ConfigMap, "config").api_version.as_deref(), Some("v1"));
    }

    #[test]
    fn references_leave_out_what_is_not_known() {
        let web = About::service(&ServiceKey::new("default", "web"), &"".into()).reference();
        assert_eq!((web.namespace.as_deref(), web.name.as_deref(), web.uid), (Some("default"), Some("web"), None));
        assert_eq!((web.api_version.as_deref(), web.kind.as_deref()), (Some("v1"), Some("Service")));
    }
}
