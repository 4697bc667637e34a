//! The document as it stands: names and shapes checked, values not yet. Numbers are wider than what they may be, so that a value out of
//! range is reported with its range and beside all other mistakes.

use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// A value with its line.
pub(super) type Lined<T> = Spanned<T>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) address_pools: Option<Vec<Lined<Pool>>>,
    pub(super) peers: Option<Vec<Lined<Peer>>>,
    pub(super) bgp_communities: Option<BTreeMap<String, Lined<String>>>,
    pub(super) bfd_profiles: Option<Vec<Lined<BfdProfile>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pool {
    pub(super) name: Option<String>,
    pub(super) protocol: Option<Lined<String>>,
    pub(super) addresses: Option<Vec<Lined<String>>>,
    pub(super) avoid_buggy_ips: Option<bool>,
    pub(super) auto_assign: Option<bool>,
    pub(super) bgp_advertisements: Option<Vec<Lined<Advertisement>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Advertisement {
    pub(super) aggregation_length: Option<i64>,
    pub(super) aggregation_length_v6: Option<i64>,
    pub(super) localpref: Option<i64>,
    pub(super) communities: Option<Vec<Lined<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Peer {
    pub(super) my_asn: Option<i64>,
    pub(super) peer_asn: Option<i64>,
    pub(super) peer_address: Option<String>,
    pub(super) source_address: Option<String>,
    pub(super) peer_port: Option<i64>,
    pub(super) hold_time: Option<String>,
    pub(super) keepalive_time: Option<String>,
    pub(super) router_id: Option<String>,
    pub(super) node_selectors: Option<Vec<NodeSelector>>,
    pub(super) password: Option<String>,
    pub(super) bfd_profile: Option<String>,
    pub(super) ebgp_multihop: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NodeSelector {
    pub(super) match_labels: Option<BTreeMap<String, String>>,
    pub(super) match_expressions: Option<Vec<Requirement>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Requirement {
    pub(super) key: Option<String>,
    pub(super) operator: Option<Lined<String>>,
    pub(super) values: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BfdProfile {
    pub(super) name: Option<String>,
    pub(super) receive_interval: Option<i64>,
    pub(super) transmit_interval: Option<i64>,
    pub(super) detect_multiplier: Option<i64>,
    pub(super) echo_interval: Option<i64>,
    pub(super) echo_mode: Option<bool>,
    pub(super) passive_mode: Option<bool>,
    pub(super) minimum_ttl: Option<i64>,
}
