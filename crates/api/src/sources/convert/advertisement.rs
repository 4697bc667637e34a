//! L2Advertisement and BGPAdvertisement.

use super::{BgpContent, Content, Faults};
use crate::{
    crd::{BGPAdvertisement, L2Advertisement},
    labels,
    sources::{Fault, Reason},
};
use herald_core::{
    AdvertisementName, LinkName, config,
    config::{Community, InvalidCommunity, Preference},
};
use std::collections::BTreeSet;

pub(crate) fn l2_advertisement(object: &L2Advertisement) -> Result<Content, Vec<Fault>> {
    let spec = &object.spec;
    let mut faults = Faults::default();
    let mut preferred_nodes = Vec::new();
    for (index, raw) in spec.preferred_node_selectors.iter().flatten().enumerate() {
        let field = format!("spec.preferredNodeSelectors[{index}]");
        let weight = faults.number(&format!("{field}.weight"), Some(raw.weight), (1, 100), "1 to 100");
        let selector = faults.ok(&format!("{field}.preference"), labels::selector(&raw.preference));
        preferred_nodes.extend(weight.zip(selector).map(|(weight, selector)| Preference { weight, selector }));
    }
    let advertisement = config::L2Advertisement {
        pools: faults.pools(spec.ip_address_pools.as_deref(), spec.ip_address_pool_selectors.as_deref()),
        service_selectors: faults.selectors("spec.serviceSelectors", spec.service_selectors.as_deref()),
        node_selectors: faults.selectors("spec.nodeSelectors", spec.node_selectors.as_deref()),
        // MetalLB takes a name twice without a word.
        interfaces: spec.interfaces.iter().flatten().map(|name| LinkName::new(name.as_str())).collect(),
        preferred_nodes,
    };
    let name = AdvertisementName::new(object.metadata.name.clone().unwrap_or_default());
    faults.finish(Content::L2(name, advertisement))
}

pub(crate) fn bgp_advertisement(object: &BGPAdvertisement) -> Result<Content, Vec<Fault>> {
    let spec = &object.spec;
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut faults = Faults::default();
    let length = faults.number("spec.aggregationLength", spec.aggregation_length, (0, 32), "1 to 32");
    let length_v6 = faults.number("spec.aggregationLengthV6", spec.aggregation_length_v6, (0, 128), "1 to 128");
    let service_selectors = faults.selectors("spec.serviceSelectors", spec.service_selectors.as_deref());
    if !service_selectors.is_empty() {
        for (field, alone) in [
            ("aggregationLength", spec.aggregation_length.unwrap_or(32) == 32),
            ("aggregationLengthV6", spec.aggregation_length_v6.unwrap_or(128) == 128),
        ] {
            if !alone {
                faults.add(format!("spec.{field}"), Reason::AggregationAndServices { field, name: name.clone() });
            }
        }
    }
    let local_pref = faults.number("spec.localPref", spec.local_pref, (0, u32::MAX.into()), "0 to 4294967295");
    let (communities, names) = communities(spec.communities.as_deref().unwrap_or_default(), &mut faults);
    let advertisement = config::BgpAdvertisement {
        pools: faults.pools(spec.ip_address_pools.as_deref(), spec.ip_address_pool_selectors.as_deref()),
        aggregation_length: length.unwrap_or(32),
        aggregation_length_v6: length_v6.unwrap_or(128),
        local_pref: local_pref.unwrap_or(0),
        communities,
        peers: faults.names("spec.peers", spec.peers.as_deref(), |name| Box::from(name)),
        node_selectors: faults.selectors("spec.nodeSelectors", spec.node_selectors.as_deref()),
        service_selectors,
    };
    faults.finish(Content::Bgp(BgpContent { name: AdvertisementName::new(name), advertisement, names }))
}

/// Communities that are numbers, and those that may be names: an alias may look like anything, also like a mistake.
fn communities(raw: &[String], faults: &mut Faults) -> (BTreeSet<Community>, Vec<(String, Box<str>)>) {
    let mut numbers = BTreeSet::new();
    let mut names: Vec<(String, Box<str>)> = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let field = format!("spec.communities[{index}]");
        let new = match text.parse() {
            Ok(community) => numbers.insert(community),
            Err(InvalidCommunity::Shape(_)) if names.iter().all(|(_, name)| **name != **text) => {
                names.push((field.clone(), text.as_str().into()));
                true
            }
            Err(InvalidCommunity::Shape(_)) => false,
            Err(invalid) => {
                faults.add(field, Reason::Community(invalid));
                continue;
            }
        };
        if !new {
            faults.add(field, Reason::Twice(format!("{text:?}")));
        }
    }
    (numbers, names)
}
