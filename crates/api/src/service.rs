//! Services: what they ask for, and the patch that gives it to them.

use crate::annotations::{self, ADDRESS_POOL, ALLOCATED_FROM, ALLOW_SHARED_IP, LOAD_BALANCER_IPS, MOVE_TO, MOVE_UNTIL};
use herald_core::{
    NodeName, PoolName, ServiceKey, Set,
    allocate::Assignment,
    net::Family,
    service::{FamilyPolicy, InvalidRequest, Moved, Port, Protocol, Request, Service, TrafficPolicy},
};
use k8s_openapi::api::core::v1::{self as core, ServiceSpec};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// What the rules need of a Service. `None` when it is none of Herald's business: a LoadBalancer of another class (without a class of our
/// own: of any class), or of another type with nothing to clean up after.
///
/// A Service that leaves type LoadBalancer loses its class too, so with a class of our own it is recognised by the output annotation alone
/// (MetalLB overlooks it then and leaks the address).
#[must_use]
pub fn from_object(object: &core::Service, class: Option<&str>) -> Option<Service> {
    let none = BTreeMap::new();
    let no_spec = ServiceSpec::default();
    let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
    let spec = object.spec.as_ref().unwrap_or(&no_spec);
    let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    let allocated_from = ALLOCATED_FROM.find(annotations).filter(|found| !found.value.is_empty());
    let (ingress, ingress_has_other) = ingress(object);

    let ours = if is_load_balancer {
        spec.load_balancer_class.as_deref() == class
    } else {
        allocated_from.is_some() || (class.is_none() && !ingress.is_empty())
    };
    if !ours {
        return None;
    }

    let cluster_ips = cluster_ips(spec);
    Some(Service {
        key: ServiceKey::new(
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default(),
        ),
        labels: object.metadata.labels.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        // Never absent in what an API server sends; the youngest wins no conflict.
        created: object.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
        is_load_balancer,
        cluster_families: cluster_ips.iter().copied().map(Family::of).collect(),
        family_policy: match spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            _ => FamilyPolicy::SingleStack,
        },
        primary_family: primary_family(spec, &cluster_ips),
        request: request(spec, annotations),
        sharing_key: ALLOW_SHARED_IP
            .find(annotations)
            .filter(|found| !found.value.is_empty())
            .map(|found| found.value.to_owned()),
        traffic_policy: match spec.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        },
        selector: selector(spec),
        ports: ports(spec),
        ingress,
        ingress_has_other,
        allocated_from: allocated_from.map(|found| PoolName::new(found.value)),
    })
}

/// Where `herald move` wants its addresses to be; `None` when nothing of it is asked.
///
/// # Errors
/// What is wrong with the annotations, and what to do about it; they count for nothing then.
pub fn moved(object: &core::Service) -> Result<Option<Moved>, String> {
    let get = |key: &str| object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    match (get(MOVE_TO).filter(|node| !node.is_empty()), get(MOVE_UNTIL)) {
        (Some(to), Some(until)) => {
            Ok(Some(Moved { to: NodeName::new(to.as_str()), until: annotations::moment(MOVE_UNTIL, until)? }))
        }
        (Some(_), None) => Err(format!("annotation {MOVE_TO} needs {MOVE_UNTIL}, a moment as 2030-01-31T12:00:00Z")),
        (None, _) => Ok(None),
    }
}

/// An address as Kubernetes and MetalLB read it: IPv4 in IPv6 clothes is IPv4.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// The addresses in the status, and whether something else stands there.
fn ingress(object: &core::Service) -> (Vec<IpAddr>, bool) {
    let entries = object
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|load_balancer| load_balancer.ingress.as_deref())
        .unwrap_or_default();
    let addresses: Vec<IpAddr> = entries.iter().filter_map(|entry| parse_address(entry.ip.as_deref()?)).collect();
    let has_other = addresses.len() != entries.len();
    (addresses, has_other)
}

/// Its cluster IPs, in order; empty for a headless Service.
fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let single = spec.cluster_ip.as_slice();
    let all = if listed.is_empty() { single } else { listed };
    all.iter().filter_map(|text| parse_address(text)).collect()
}

fn primary_family(spec: &ServiceSpec, cluster_ips: &[IpAddr]) -> Family {
    match spec.ip_families.as_deref().and_then(<[String]>::first).map(String::as_str) {
        Some("IPv6") => Family::V6,
        Some("IPv4") => Family::V4,
        _ => cluster_ips.first().map_or(Family::V4, |&address| Family::of(address)),
    }
}

fn request(spec: &ServiceSpec, annotations: &BTreeMap<String, String>) -> Result<Request, InvalidRequest> {
    let pool = ADDRESS_POOL.find(annotations).map(|found| found.value).filter(|pool| !pool.is_empty());
    let annotated = LOAD_BALANCER_IPS.find(annotations).map(|found| found.value).filter(|list| !list.is_empty());
    let in_spec = spec.load_balancer_ip.as_deref().filter(|address| !address.is_empty());
    let addresses = match (annotated, in_spec) {
        (Some(_), Some(_)) => {
            return Err(InvalidRequest::AskedTwice { annotation: LOAD_BALANCER_IPS.in_use(annotations).to_owned() });
        }
        (Some(list), None) => requested(LOAD_BALANCER_IPS.in_use(annotations), list.split(','))?,
        (None, Some(address)) => requested("spec.loadBalancerIP", [address])?,
        (None, None) => Vec::new(),
    };
    Ok(Request { addresses, pool: pool.map(PoolName::new) })
}

/// At most one address per family, v4 first.
fn requested<'a>(field: &str, texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<IpAddr>, InvalidRequest> {
    let mut addresses = Vec::new();
    for text in texts {
        let text = text.trim();
        addresses.push(
            parse_address(text)
                .ok_or_else(|| InvalidRequest::NotAnAddress { field: field.to_owned(), value: text.to_owned() })?,
        );
    }
    for family in Family::BOTH {
        let count = addresses.iter().filter(|&&address| Family::of(address) == family).count();
        if count > 1 {
            return Err(InvalidRequest::TooMany { field: field.to_owned(), count, family });
        }
    }
    addresses.sort_unstable();
    Ok(addresses)
}

fn selector(spec: &ServiceSpec) -> String {
    let pairs: Vec<String> = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn ports(spec: &ServiceSpec) -> Set<Port> {
    spec.ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                // The API server accepts no other.
                Some(_) => return None,
            };
            Some(Port { protocol, number: u16::try_from(port.port).ok()? })
        })
        .collect()
}

/// The JSON merge patch (RFC 7386) for the `status` subresource that makes the Service have this assignment, or none. It carries ingress
/// list and output annotation in one write, and the resourceVersion that the decision was based on: whoever decides on an older object, a
/// deposed leader for example, is refused with 409.
///
/// A list is replaced as a whole by a merge patch, `null` removes the member; the annotation under MetalLB's old prefix goes away with
/// every write.
#[must_use]
pub fn status_patch(assignment: Option<&Assignment>, resource_version: &str) -> Value {
    let ingress = assignment.map_or(Value::Null, |assignment| {
        assignment.addresses.iter().map(|address| json!({ "ip": address.to_string() })).collect()
    });
    let pool = assignment.map_or(Value::Null, |assignment| json!(assignment.pool));
    json!({
        "metadata": {
            "resourceVersion": resource_version,
            "annotations": { ALLOCATED_FROM.current(): pool, ALLOCATED_FROM.deprecated(): null },
        },
        "status": { "loadBalancer": { "ingress": ingress } },
    })
}

#[cfg(test)]
mod tests;
