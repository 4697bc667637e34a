//! The ConfigMap's configuration, which is valid -> custom resources.

use super::{Import, Note, input, names::Names};
use crate::{
    config_map::raw::{self, Lined},
    crd::{
        BFDProfile, BFDProfileSpec, BGPAdvertisement, BGPAdvertisementSpec, BGPPeer, BGPPeerSpec, Community,
        CommunityAlias, CommunitySpec, IPAddressPool, IPAddressPoolSpec, L2Advertisement, L2AdvertisementSpec,
    },
};
use herald_core::config::{self, InvalidCommunity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::Serialize;
use std::collections::BTreeMap;

/// When the configuration names none (MetalLB's default, which custom resources leave to the BGP implementation).
const DEFAULT_HOLD_TIME: &str = "90s";
/// Highest port that MetalLB's definition of BGPPeer allows.
const HIGHEST_PORT: i64 = 16384;
/// Most names in one Community object that Herald's definition allows.
const ALIASES: usize = 1000;

/// Adds all objects of a configuration.
pub(super) fn file(raw: raw::File, namespace: &str, names: &mut Names, result: &mut Import) {
    let mut out = Out { namespace, names, result };
    let aliases = raw.bgp_communities.unwrap_or_default();
    let profiles = out.profiles(raw.bfd_profiles.unwrap_or_default());
    out.communities(&aliases);
    out.peers(raw.peers.unwrap_or_default(), &profiles);
    out.pools(raw.address_pools.unwrap_or_default(), &aliases);
}

type Aliases = BTreeMap<String, Lined<String>>;

struct Out<'a> {
    namespace: &'a str,
    names: &'a mut Names,
    result: &'a mut Import,
}

impl Out<'_> {
    fn add<K: Serialize>(&mut self, object: &K) {
        // Objects of our own types are always JSON.
        if let Ok(mut object) = serde_json::to_value(object) {
            input::set_namespace(&mut object, self.namespace);
            self.result.objects.push(object);
        }
    }

    fn note(&mut self, note: Note) {
        self.result.notes.push(note);
    }

    fn name(&mut self, kind: &str, told_as: &'static str, wanted: &str) -> String {
        let name = self.names.take(kind, wanted);
        if name != wanted {
            self.note(Note::Renamed { kind: told_as, from: wanted.to_owned(), to: name.clone() });
        }
        name
    }

    /// The profiles' names, by what they were called.
    fn profiles(&mut self, raw: Vec<Lined<raw::BfdProfile>>) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for Lined { value: raw, .. } in raw {
            let was = raw.name.unwrap_or_default();
            let name = self.name("BFDProfile", "BFD profile", &was);
            self.add(&BFDProfile::new(
                &name,
                BFDProfileSpec {
                    receive_interval: raw.receive_interval,
                    transmit_interval: raw.transmit_interval,
                    detect_multiplier: raw.detect_multiplier,
                    echo_interval: raw.echo_interval,
                    echo_mode: raw.echo_mode,
                    passive_mode: raw.passive_mode,
                    minimum_ttl: raw.minimum_ttl,
                },
            ));
            names.insert(was, name);
        }
        names
    }

    fn communities(&mut self, aliases: &Aliases) {
        let mut all = Vec::new();
        for (name, value) in aliases {
            if is_alias(name) {
                all.push(CommunityAlias { name: Some(name.clone()), value: Some(community(&value.value)) });
            } else {
                self.note(Note::Alias(name.clone()));
            }
        }
        for chunk in all.chunks(ALIASES) {
            let name = self.names.take("Community", "communities");
            self.add(&Community::new(&name, CommunitySpec { communities: Some(chunk.to_vec()) }));
        }
    }

    fn peers(&mut self, raw: Vec<Lined<raw::Peer>>, profiles: &BTreeMap<String, String>) {
        for (index, Lined { value: raw, .. }) in raw.into_iter().enumerate() {
            // 0 is no port.
            let port = raw.peer_port.filter(|&port| port != 0);
            if let Some(port) = port.filter(|&port| port > HIGHEST_PORT) {
                self.note(Note::Port { peer: raw.peer_address.unwrap_or_default(), port });
                continue;
            }
            let name = self.names.take("BGPPeer", &format!("peer{}", index + 1));
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            let password = some(raw.password);
            if password.is_some() {
                self.note(Note::Password { peer: name.clone() });
            }
            let selectors: Vec<LabelSelector> = raw.node_selectors.unwrap_or_default().into_iter().fold(
                Vec::new(),
                |mut all: Vec<LabelSelector>, raw| {
                    // Said twice is said once; objects may not say it twice.
                    let selector = selector(raw);
                    if !all.iter().any(|known| same(known, &selector)) {
                        all.push(selector);
                    }
                    all
                },
            );
            self.add(&BGPPeer::new(
                &name,
                BGPPeerSpec {
                    my_asn: raw.my_asn.unwrap_or_default(),
                    peer_asn: raw.peer_asn,
                    peer_address: raw.peer_address,
                    source_address: raw.source_address,
                    peer_port: port,
                    hold_time: Some(some(raw.hold_time).map_or_else(|| DEFAULT_HOLD_TIME.to_owned(), whole_seconds)),
                    keepalive_time: raw.keepalive_time.map(whole_seconds),
                    router_id: raw.router_id,
                    node_selectors: (!selectors.is_empty()).then_some(selectors),
                    password,
                    bfd_profile: some(raw.bfd_profile).map(|was| profiles.get(&was).cloned().unwrap_or(was)),
                    ebgp_multi_hop: raw.ebgp_multihop,
                    ..BGPPeerSpec::default()
                },
            ));
        }
    }

    fn pools(&mut self, raw: Vec<Lined<raw::Pool>>, aliases: &Aliases) {
        for Lined { value: raw, .. } in raw {
            let was = raw.name.unwrap_or_default();
            let pool = self.name("IPAddressPool", "pool", &was);
            let addresses = raw.addresses.unwrap_or_default();
            self.add(&IPAddressPool::new(
                &pool,
                IPAddressPoolSpec {
                    addresses: addresses.into_iter().map(|text| text.value).collect(),
                    auto_assign: raw.auto_assign,
                    avoid_buggy_ips: raw.avoid_buggy_ips,
                    service_allocation: None,
                },
            ));
            let only = Some(vec![pool.clone()]);
            if raw.protocol.is_some_and(|protocol| protocol.value == "layer2") {
                let name = self.names.take("L2Advertisement", &pool);
                let spec = L2AdvertisementSpec { ip_address_pools: only, ..Default::default() };
                self.add(&L2Advertisement::new(&name, spec));
                continue;
            }
            let mut advertisements: Vec<raw::Advertisement> =
                raw.bgp_advertisements.unwrap_or_default().into_iter().map(|raw| raw.value).collect();
            if advertisements.is_empty() {
                advertisements.push(raw::Advertisement::default());
            }
            for raw in advertisements {
                if raw.aggregation_length == Some(0) {
                    self.note(Note::Aggregation { pool: pool.clone() });
                    continue;
                }
                let name = self.names.take("BGPAdvertisement", &pool);
                let communities = raw.communities.unwrap_or_default();
                let communities: Vec<String> = communities.iter().map(|text| used(&text.value, aliases)).collect();
                self.add(&BGPAdvertisement::new(
                    &name,
                    BGPAdvertisementSpec {
                        aggregation_length: raw.aggregation_length,
                        aggregation_length_v6: raw.aggregation_length_v6,
                        local_pref: raw.localpref,
                        communities: (!communities.is_empty()).then_some(communities),
                        ip_address_pools: only.clone(),
                        ..BGPAdvertisementSpec::default()
                    },
                ));
            }
        }
    }
}

/// Whether custom resources take it for a name: neither for a community nor for a mistaken one.
fn is_alias(name: &str) -> bool {
    !name.is_empty() && matches!(name.parse::<config::Community>(), Err(InvalidCommunity::Shape(_)))
}

/// The community as the definition of Community wants it: without leading zeros.
fn community(text: &str) -> String {
    text.parse::<config::Community>().map_or_else(|_| text.to_owned(), |community| community.to_string())
}

/// A community as an advertisement says it.
fn used(text: &str, aliases: &Aliases) -> String {
    match aliases.get(text) {
        Some(_) if is_alias(text) => text.to_owned(),
        Some(value) => community(&value.value),
        None => community(text),
    }
}

/// A Go duration, cut to whole seconds as MetalLB did.
fn whole_seconds(text: String) -> String {
    match text.parse::<jiff::SignedDuration>() {
        Ok(duration) => format!("{}s", duration.as_secs()),
        Err(_) => text,
    }
}

fn selector(raw: raw::NodeSelector) -> LabelSelector {
    let mut expressions: Vec<LabelSelectorRequirement> = Vec::new();
    for raw in raw.match_expressions.unwrap_or_default() {
        let mut values = raw.values.unwrap_or_default();
        values.sort_unstable();
        values.dedup();
        let expression = LabelSelectorRequirement {
            key: raw.key.unwrap_or_default(),
            operator: raw.operator.map(|operator| operator.value).unwrap_or_default(),
            values: (!values.is_empty()).then_some(values),
        };
        if !expressions.contains(&expression) {
            expressions.push(expression);
        }
    }
    LabelSelector {
        match_labels: raw.match_labels.filter(|labels| !labels.is_empty()),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

/// Whether the rules see no difference.
fn same(one: &LabelSelector, two: &LabelSelector) -> bool {
    crate::labels::selector(one) == crate::labels::selector(two)
}
