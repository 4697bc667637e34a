//! What objects say about each other: communities by name, pools and their prefixes, BFD profiles, Secrets.
//!
//! A reference that does not resolve leaves the object as it was resolved last, as far as that still fits.

use super::{
    Fault, InForce, Kind, ObjectId, PartKey, PasswordSource, Reason, Sources,
    convert::{BgpContent, Content, PeerContent},
    merge::{Placed, Problems},
};
use crate::config_map::widest_prefix;
use herald_core::{
    AdvertisementName, PoolName,
    config::{BgpAdvertisement, BgpPeer, Config, PeerEndpoint, Pool},
    labels::Selector,
    net::Family,
};
use std::collections::BTreeMap;

/// The configuration in force.
pub(super) fn resolve(placed: &Placed, sources: &Sources, problems: &mut Problems<'_>) -> Config {
    let mut config = placed.base();
    let mut resolver = Resolver { placed, sources, problems, last: &sources.outcome.config, owners: BTreeMap::new() };
    for ((id, _), content) in &placed.parts {
        if let Content::Bgp(content) = &**content {
            resolver.advertisement(id, content, &mut config);
        }
    }
    for (key, content) in &placed.parts {
        if let Content::Peer(content) = &**content {
            resolver.peer(key, content, &mut config);
        }
    }
    of_pools(placed, &mut config);
    config
}

/// Announcements that belong to pools of the ConfigMap. An advertisement that is an object keeps its name.
fn of_pools(placed: &Placed, config: &mut Config) {
    for (id, content) in placed.pools.values() {
        let Content::Pool(content) = &**content else { continue };
        let free = |name: &str, taken: bool| match taken {
            true => AdvertisementName::new(format!("{}/{name}", id.name)),
            false => AdvertisementName::new(name),
        };
        if let Some(advertisement) = &content.l2 {
            let name = content.name.as_str();
            let name = free(name, config.l2_advertisements.contains_key(&AdvertisementName::new(name)));
            config.l2_advertisements.insert(name, advertisement.clone());
        }
        for (name, advertisement) in &content.bgp {
            let name = free(name.as_str(), config.bgp_advertisements.contains_key(name));
            config.bgp_advertisements.insert(name, advertisement.clone());
        }
    }
}

struct Resolver<'a, 'p, 's> {
    placed: &'a Placed,
    sources: &'a Sources,
    problems: &'p mut Problems<'s>,
    last: &'a Config,
    /// Peers by name: the object that they are of.
    owners: BTreeMap<Box<str>, ObjectId>,
}

impl Resolver<'_, '_, '_> {
    fn advertisement(&mut self, id: &ObjectId, content: &BgpContent, config: &mut Config) {
        let mut advertisement = content.advertisement.clone();
        let mut faults = Vec::new();
        for (field, name) in &content.names {
            match self.placed.communities.get(name) {
                Some((_, community)) => {
                    advertisement.communities.insert(*community);
                }
                None => faults.push(Fault::at(field.clone(), Reason::UnknownCommunity(name.to_string()))),
            }
        }
        faults.extend(self.misfits(&advertisement, config));
        if faults.is_empty() {
            config.bgp_advertisements.insert(content.name.clone(), advertisement);
            return;
        }
        let last = self.last.bgp_advertisements.get(&content.name).filter(|last| self.misfits(last, config).is_empty());
        let in_force = if last.is_some() { InForce::LastGood } else { InForce::Nothing };
        if let Some(last) = last {
            config.bgp_advertisements.insert(content.name.clone(), last.clone());
        }
        for fault in faults {
            self.problems.add(id, fault, in_force, content.advertisement.node_selectors.clone());
        }
    }

    /// What does not fit the pools and the other advertisements.
    fn misfits(&self, advertisement: &BgpAdvertisement, config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        let pools = config.pools.iter().filter(|(name, pool)| advertisement.pools.includes(name, pool));
        for (name, pool) in pools {
            faults.extend(self.aggregation(advertisement, name, pool));
            // With Service selectors nobody knows yet what both announce (as MetalLB).
            if !advertisement.service_selectors.is_empty() {
                continue;
            }
            let conflict = config.bgp_advertisements.iter().find(|(_, other)| {
                other.service_selectors.is_empty()
                    && other.pools.includes(name, pool)
                    && conflict(advertisement, other, pool)
            });
            if let Some((other, theirs)) = conflict {
                let other = ObjectId::new(Kind::BgpAdvertisement, other.as_str());
                let (is, theirs, pool) = (advertisement.local_pref, theirs.local_pref, name.clone());
                faults.push(Fault::at("spec.localPref", Reason::LocalPref { is, theirs, other, pool }));
                break;
            }
        }
        faults
    }

    fn aggregation(&self, advertisement: &BgpAdvertisement, name: &PoolName, pool: &Pool) -> Option<Fault> {
        let texts = self.placed.pools.get(name).and_then(|(_, content)| match &**content {
            Content::Pool(content) => Some(&content.texts),
            _ => None,
        })?;
        pool.ranges.iter().enumerate().find_map(|(index, range)| {
            let (field, length) = match range.family() {
                Family::V4 => ("spec.aggregationLength", advertisement.aggregation_length),
                Family::V6 => ("spec.aggregationLengthV6", advertisement.aggregation_length_v6),
            };
            let prefix = widest_prefix(range);
            let addresses = texts.get(index).map_or_else(|| range.to_string(), ToString::to_string);
            let reason = Reason::Aggregation { length, prefix, addresses, pool: name.clone() };
            (length < prefix).then(|| Fault::at(field, reason))
        })
    }

    fn peer(&mut self, (id, part): &PartKey, content: &PeerContent, config: &mut Config) {
        let mut peer = content.peer.clone();
        let mut faults = Vec::new();
        if let Some(profile) = peer.bfd_profile.as_ref().filter(|&name| !self.placed.profiles.contains_key(name)) {
            faults.push(Fault::at("spec.bfdProfile", Reason::UnknownBfdProfile(profile.to_string())));
        }
        if let (Some(name), Some(secrets)) = (&content.secret, &self.sources.secrets) {
            let password = match secrets.get(&**name) {
                None => Err(Reason::NoSecret(name.to_string())),
                Some(PasswordSource { basic_auth: false, .. }) => Err(Reason::SecretType(name.to_string())),
                Some(PasswordSource { password: None, .. }) => Err(Reason::NoPassword(name.to_string())),
                Some(PasswordSource { password: Some(password), .. }) => {
                    if password.reveal().contains(['\n', '\r']) {
                        Err(Reason::LineBreak)
                    } else {
                        Ok(password.clone())
                    }
                }
            };
            match password {
                Ok(password) => peer.password = Some(password),
                Err(reason) => faults.push(Fault::at("spec.passwordSecret", reason)),
            }
        }
        faults.extend(self.echo(&content.name, &peer, config));
        faults.extend(self.same(&peer, config));
        let name = match id.kind {
            Kind::ConfigMap if config.bgp_peers.contains_key(&content.name) => {
                format!("{}/{}", id.name, content.name).into()
            }
            _ => content.name.clone(),
        };
        if faults.is_empty() {
            self.owners.insert(name.clone(), id.clone());
            config.bgp_peers.insert(name, peer);
            return;
        }
        let last = self.last.bgp_peers.get(&name).filter(|last| self.same(last, config).is_none());
        let in_force = if last.is_some() { InForce::LastGood } else { InForce::Nothing };
        let nodes = content.peer.node_selectors.clone();
        for mut fault in faults {
            if id.kind == Kind::ConfigMap {
                fault.field = part.to_string();
            }
            self.problems.add(id, fault, in_force, nodes.clone());
        }
        if let Some(last) = last {
            // The profile that it was resolved with stays with it.
            let profile = last.bfd_profile.as_ref().and_then(|name| self.last.bfd_profiles.get_key_value(name));
            if let Some((profile, value)) = profile {
                config.bfd_profiles.entry(profile.clone()).or_insert_with(|| value.clone());
            }
            self.owners.insert(name.clone(), id.clone());
            config.bgp_peers.insert(name, last.clone());
        }
    }

    /// BFD's echo function works with IPv4 only.
    fn echo(&self, name: &str, peer: &BgpPeer, config: &Config) -> Option<Fault> {
        let profile = peer.bfd_profile.as_ref()?;
        self.placed.profiles.get(profile).filter(|(_, profile)| profile.echo_mode)?;
        let (advertisement, pool) = config.bgp_advertisements.iter().find_map(|(advertisement, value)| {
            let to = value.peers.is_empty() || value.peers.contains(name);
            let mut pools = config.pools.iter();
            let pool = pools.find(|(name, pool)| to && pool.has(Family::V6) && value.pools.includes(name, pool));
            Some((advertisement, pool?.0))
        })?;
        let reason = Reason::EchoForIpv6 {
            profile: profile.to_string(),
            advertisement: advertisement.to_string(),
            pool: pool.clone(),
        };
        Some(Fault::at("spec.bfdProfile", reason))
    }

    /// Two sessions of one node with one router: only one of them would come up.
    fn same(&self, peer: &BgpPeer, config: &Config) -> Option<Fault> {
        let (name, _) = config.bgp_peers.iter().find(|(_, other)| {
            let nodes = may_share_nodes(&peer.node_selectors, &other.node_selectors);
            nodes && place(&peer.endpoint) == place(&other.endpoint) && peer.vrf == other.vrf
        })?;
        let other = self.owners.get(name).cloned().unwrap_or_else(|| ObjectId::new(Kind::BgpPeer, &**name));
        let address = match &peer.endpoint {
            PeerEndpoint::Address(address) => address.ip().to_string(),
            PeerEndpoint::Interface(interface, _) => interface.to_string(),
        };
        Some(Fault::at("spec", Reason::SamePeer { address, other }))
    }
}

/// Address or interface, without the port: as MetalLB compares them.
fn place(endpoint: &PeerEndpoint) -> (Option<std::net::IpAddr>, Option<&str>) {
    match endpoint {
        PeerEndpoint::Address(address) => (Some(address.ip()), None),
        PeerEndpoint::Interface(interface, _) => (None, Some(interface)),
    }
}

/// Whether two lists of node selectors choose a common node for sure. Different selectors may; that is seen on the nodes.
fn may_share_nodes(one: &[Selector], two: &[Selector]) -> bool {
    one.is_empty() || two.is_empty() || one == two
}

/// Whether two advertisements announce the same prefixes of a pool with different local preferences to the same peers from the same nodes.
fn conflict(one: &BgpAdvertisement, two: &BgpAdvertisement, pool: &Pool) -> bool {
    let same_prefixes = (pool.has(Family::V4) && one.aggregation_length == two.aggregation_length)
        || (pool.has(Family::V6) && one.aggregation_length_v6 == two.aggregation_length_v6);
    let peers = one.peers.is_empty() || two.peers.is_empty() || !one.peers.is_disjoint(&two.peers);
    let nodes = may_share_nodes(&one.node_selectors, &two.node_selectors);
    one.local_pref != two.local_pref && same_prefixes && peers && nodes
}
