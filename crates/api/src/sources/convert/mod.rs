//! Each kind by itself: objects -> what the rules take, or all that is wrong with them.

mod advertisement;
mod peer;
mod pool;

pub(super) use advertisement::{bgp_advertisement, l2_advertisement};
pub(super) use peer::{bfd_profile, bgp_peer, community};
pub(super) use pool::pool;

use super::{Fault, Reason, object::Part};
use crate::{config_map::ConfigFile, labels};
use herald_core::{
    AdvertisementName, PoolName,
    config::{BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, Pool, PoolChoice},
    labels::Selector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What a part of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Pool(PoolContent),
    L2(AdvertisementName, L2Advertisement),
    Bgp(BgpContent),
    Peer(PeerContent),
    Bfd(Box<str>, BfdProfile),
    Communities(Vec<(Box<str>, Community)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolContent {
    pub(super) name: PoolName,
    pub(super) pool: Pool,
    /// The ranges as they stand.
    pub(super) texts: Vec<Box<str>>,
    /// Announced by ARP and NDP without an advertisement of its own: a layer2 pool of the ConfigMap.
    pub(super) l2: Option<L2Advertisement>,
    /// Likewise by BGP.
    pub(super) bgp: Vec<(AdvertisementName, BgpAdvertisement)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BgpContent {
    pub(super) name: AdvertisementName,
    pub(super) advertisement: BgpAdvertisement,
    /// Communities that are no numbers, with their field: names, or mistakes.
    pub(super) names: Vec<(String, Box<str>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerContent {
    pub(super) name: Box<str>,
    pub(super) peer: BgpPeer,
    /// The Secret that has the password.
    pub(super) secret: Option<Box<str>>,
}

/// The parts of a ConfigMap: those that others refer to come first.
pub(super) fn config_map(file: ConfigFile) -> Vec<Part> {
    let ConfigFile { config, communities } = file;
    let part = |section: &str, name: &dyn fmt::Display, content| Part {
        name: format!("{section} {name}").into(),
        content: Arc::new(content),
    };
    let mut parts = Vec::new();
    for (name, pool) in config.pools {
        let texts = pool.ranges.iter().map(|range| range.to_string().into()).collect();
        let only = PoolChoice::only(name.clone());
        let l2 = config.l2_advertisements.values().find(|advertisement| advertisement.pools == only).cloned();
        let bgp = config.bgp_advertisements.iter().filter(|(_, advertisement)| advertisement.pools == only);
        let bgp = bgp.map(|(name, advertisement)| (name.clone(), advertisement.clone())).collect();
        let content = PoolContent { name: name.clone(), pool, texts, l2, bgp };
        parts.push(part("pool", &name, Content::Pool(content)));
    }
    for (name, community) in communities {
        parts.push(part("community", &name, Content::Communities(vec![(name.clone(), community)])));
    }
    for (name, profile) in config.bfd_profiles {
        parts.push(part("profile", &name, Content::Bfd(name.clone(), profile)));
    }
    for (name, peer) in config.bgp_peers {
        let content = PeerContent { name: name.clone(), peer, secret: None };
        parts.push(part("peer", &name, Content::Peer(content)));
    }
    parts
}

/// Collects what is wrong with one object.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, reason: Reason) {
        self.0.push(Fault::at(field, reason));
    }

    /// Adds the fault of a refused value.
    fn ok<T>(&mut self, field: &str, value: Result<T, impl Into<Reason>>) -> Option<T> {
        value.map_err(|reason| self.add(field, reason.into())).ok()
    }

    /// The value, or all that is wrong.
    fn finish<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    /// A list whose entries are unique.
    fn names<T: Ord>(&mut self, field: &str, raw: Option<&[String]>, make: impl Fn(&str) -> T) -> BTreeSet<T> {
        let mut all = BTreeSet::new();
        for (index, name) in raw.unwrap_or_default().iter().enumerate() {
            if !all.insert(make(name)) {
                self.add(format!("{field}[{index}]"), Reason::Twice(format!("{name:?}")));
            }
        }
        all
    }

    /// A list of selectors, which are unique.
    fn selectors(&mut self, field: &str, raw: Option<&[LabelSelector]>) -> Vec<Selector> {
        let mut all: Vec<Selector> = Vec::new();
        for (index, raw) in raw.unwrap_or_default().iter().enumerate() {
            let field = format!("{field}[{index}]");
            let Some(selector) = self.ok(&field, labels::selector(raw)) else { continue };
            if all.contains(&selector) {
                self.add(field, Reason::Twice("the selector".to_owned()));
            } else {
                all.push(selector);
            }
        }
        all
    }

    /// A number of a smaller type.
    fn number<T: TryFrom<i64>>(
        &mut self,
        field: &str,
        value: Option<i64>,
        (low, high): (i64, i64),
        allowed: &'static str,
    ) -> Option<T> {
        let value = value?;
        let number = T::try_from(value).ok().filter(|_| (low..=high).contains(&value));
        if number.is_none() {
            self.add(field, Reason::OutOfRange { value, allowed });
        }
        number
    }

    /// Which pools.
    fn pools(&mut self, names: Option<&[String]>, selectors: Option<&[LabelSelector]>) -> PoolChoice {
        PoolChoice {
            names: self.names("spec.ipAddressPools", names, |name| PoolName::from(name)),
            selectors: self.selectors("spec.ipAddressPoolSelectors", selectors),
        }
    }
}
