//! The document as it stands: names and shapes checked, values not yet. Numbers are wider than what they may be, so that a value out of
//! range is reported with its range and beside all other mistakes.

use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// A value with its line.
pub(crate) type Lined<T> = Spanned<T>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct File {
    pub(crate) address_pools: Option<Vec<Lined<Pool>>>,
    pub(crate) peers: Option<Vec<Lined<Peer>>>,
    pub(crate) bgp_communities: Option<BTreeMap<String, Lined<String>>>,
    pub(crate) bfd_profiles: Option<Vec<Lined<BfdProfile>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Pool {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<Lined<String>>,
    pub(crate) addresses: Option<Vec<Lined<String>>>,
    pub(crate) avoid_buggy_ips: Option<bool>,
    pub(crate) auto_assign: Option<bool>,
    pub(crate) bgp_advertisements: Option<Vec<Lined<Advertisement>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Advertisement {
    pub(crate) aggregation_length: Option<i64>,
    pub(crate) aggregation_length_v6: Option<i64>,
    pub(crate) localpref: Option<i64>,
    pub(crate) communities: Option<Vec<Lined<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Peer {
    pub(crate) my_asn: Option<i64>,
    pub(crate) peer_asn: Option<i64>,
    pub(crate) peer_address: Option<String>,
    pub(crate) source_address: Option<String>,
    pub(crate) peer_port: Option<i64>,
    pub(crate) hold_time: Option<String>,
    pub(crate) keepalive_time: Option<String>,
    pub(crate) router_id: Option<String>,
    pub(crate) node_selectors: Option<Vec<NodeSelector>>,
    pub(crate) password: Option<String>,
    pub(crate) bfd_profile: Option<String>,
    pub(crate) ebgp_multihop: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NodeSelector {
    pub(crate) match_labels: Option<BTreeMap<String, String>>,
    pub(crate) match_expressions: Option<Vec<Requirement>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Requirement {
    pub(crate) key: Option<String>,
    pub(crate) operator: Option<Lined<String>>,
    pub(crate) values: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BfdProfile {
    pub(crate) name: Option<String>,
    pub(crate) receive_interval: Option<i64>,
    pub(crate) transmit_interval: Option<i64>,
    pub(crate) detect_multiplier: Option<i64>,
    pub(crate) echo_interval: Option<i64>,
    pub(crate) echo_mode: Option<bool>,
    pub(crate) passive_mode: Option<bool>,
    pub(crate) minimum_ttl: Option<i64>,
}
