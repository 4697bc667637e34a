//! The same problems in MetalLB's words: `ConfigurationState` and webhook answers that existing tooling compares.

use super::{Kind, Problem, Reason};
use herald_core::{config::InvalidCommunity, labels::Labels};

/// A part of the engine that reports whether its configuration is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component<'l> {
    /// The controller: pools and communities.
    Controller,
    /// The speaker of a node with these labels: all that concerns this node.
    Speaker(&'l Labels),
}

impl Component<'_> {
    /// Whether a problem matters to it.
    #[must_use]
    pub fn minds(self, problem: &Problem) -> bool {
        match self {
            Self::Controller => {
                matches!(problem.object.kind, Kind::ConfigMap | Kind::IpAddressPool | Kind::Community)
            }
            Self::Speaker(labels) => problem.concerns_node(labels),
        }
    }
}

/// `status.errorSummary` of the component's `ConfigurationState`: empty when nothing that matters to it is wrong. A line for each problem;
/// MetalLB stops at the first.
#[must_use]
pub fn error_summary(problems: &[Problem], component: Component<'_>, namespace: &str) -> String {
    let texts: Vec<String> =
        problems.iter().filter(|problem| component.minds(problem)).map(|problem| text(problem, namespace)).collect();
    if texts.is_empty() { String::new() } else { format!("configuration error: {}", texts.join("\n")) }
}

/// A problem in MetalLB's words where it has some, else in ours. `namespace` is Herald's.
#[must_use]
pub fn text(problem: &Problem, namespace: &str) -> String {
    let name = &problem.object.name;
    match (&problem.fault.reason, problem.object.kind) {
        (Reason::Namespace { .. }, _) => wrong_namespace(namespace),
        (Reason::Missing { .. }, Kind::IpAddressPool) => {
            format!("parsing address pool {name}: pool has no prefixes defined")
        }
        (Reason::Range(invalid), Kind::IpAddressPool) => {
            format!("parsing address pool {name}: invalid CIDR: {invalid}")
        }
        (Reason::Overlap(overlap), _) => format!(
            "CIDR {:?} in pool \"{}\" overlaps with already defined CIDR {:?}",
            overlap.text, overlap.pool, overlap.other_text
        ),
        (Reason::NameTaken { name, .. }, Kind::IpAddressPool | Kind::ConfigMap) => {
            format!("duplicate definition of pool {name:?}")
        }
        (Reason::Aggregation { length, prefix, addresses, .. }, _) => format!(
            "invalid aggregation length {length}: prefix {prefix} in this pool is more specific than the aggregation length for addresses \
             {addresses}"
        ),
        (Reason::AggregationAndServices { field, name }, _) => {
            format!("serviceSelectors and {field} are mutually exclusive, both cannot be set in {name}")
        }
        (Reason::LocalPref { is, theirs, .. }, _) => format!(
            "invalid local preference {is}: local preferernce {theirs} was already set for the same type of BGP update. Check existing BGP \
             advertisements with common pools and aggregation lengths"
        ),
        (Reason::Community(invalid), Kind::Community) => format!("parsing community: {}", community(invalid)),
        (Reason::Community(invalid), _) => {
            let (InvalidCommunity::Shape(text)
            | InvalidCommunity::Marker(text)
            | InvalidCommunity::Section { community: text, .. }) = invalid;
            format!("{}\ninvalid community {text:?} in BGP advertisement", community(invalid))
        }
        (Reason::UnknownCommunity(text), _) => {
            format!("invalid community format: {text}\ninvalid community {text:?} in BGP advertisement")
        }
        (Reason::DuplicateCommunity { alias, .. }, _) => format!("duplicate definition of community {alias:?}"),
        (Reason::UnknownBfdProfile(profile), _) => {
            format!("peer {name} referencing non existing bfd profile {profile}")
        }
        (Reason::SamePeer { address, .. }, _) => {
            format!(
                "peer {address} already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node"
            )
        }
        (reason, Kind::BgpPeer) => format!("parsing peer {name} {}", peer(reason, problem, namespace)),
        _ => problem.to_string(),
    }
}

fn peer(reason: &Reason, problem: &Problem, namespace: &str) -> String {
    let name = &problem.object.name;
    let secret = |text: String| format!("{text}\nfailed to parse peer {name} password secret");
    match (reason, problem.fault.field.as_str()) {
        (Reason::Address(value), "spec.peerAddress") => format!("invalid BGPPeer address {value:?}"),
        (Reason::Address(value), "spec.routerID") => format!("invalid router ID {value:?}"),
        (Reason::Address(value), "spec.sourceAddress") => format!("invalid source IP {value:?}"),
        (Reason::OutOfRange { value: 0, .. }, "spec.myASN") => "missing local ASN".to_owned(),
        (Reason::Neither("peerASN", _), _) => "missing peer ASN and dynamicASN".to_owned(),
        (Reason::Both("peerASN", _), _) => "both peer ASN and dynamicASN specified".to_owned(),
        (Reason::Neither("peerAddress", _), _) => "peer has no Address or Interface specified".to_owned(),
        (Reason::Both("peerAddress", _), _) => "peer has both Address and Interface specified".to_owned(),
        (Reason::Both("password", _), _) => {
            format!("can not have both password and secret ref set in peer config {namespace:?}/\"{name}\"")
        }
        (Reason::MultihopInternal, _) => "invalid ebgp-multihop parameter set for an ibgp peer".to_owned(),
        (Reason::HoldTime(value), _) => {
            format!("invalid BGPPeer timers: invalid hold time {value:?}: must be 0 or >=3s")
        }
        (Reason::Keepalive(value), _) => {
            format!("invalid BGPPeer timers: invalid keepaliveTime {value:?}, must be lower than holdTime")
        }
        // With a blank at the end, as MetalLB has it.
        (Reason::SecretType(of), _) => secret(format!(
            "secret type mismatch on {namespace:?}/{of:?}, type \"kubernetes.io/basic-auth\" is expected "
        )),
        (Reason::NoSecret(_), _) => secret(format!("secret ref not found for peer config {namespace:?}/\"{name}\"")),
        (Reason::NoPassword(of), _) => secret(format!("password not specified in the secret {namespace:?}/{of:?}")),
        _ => problem.fault.to_string(),
    }
}

fn community(invalid: &InvalidCommunity) -> String {
    match invalid {
        InvalidCommunity::Shape(text) => format!("invalid community format: {text}"),
        InvalidCommunity::Section { section, community, below } => format!(
            "invalid community value: invalid section {section:?} of community {community:?}: not a number below {below}"
        ),
        InvalidCommunity::Marker(text) => format!(
            "invalid community value: invalid marker for large community, expected community to be of format \
             large:<uint32>:<uint32>:<uint32> but got {text:?} instead"
        ),
    }
}

/// For an object that is created in another namespace than Herald's.
#[must_use]
pub fn wrong_namespace(namespace: &str) -> String {
    format!("resource must be created in {namespace} namespace")
}

/// For a BFDProfile that is to be deleted while a peer uses it.
#[must_use]
pub fn profile_in_use(profile: &str, peer: &str) -> String {
    format!("failed to delete BFDProfile {profile:?}, used by BGPPeer {peer:?}: change the peer first")
}
