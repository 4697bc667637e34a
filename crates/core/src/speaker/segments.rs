//! Links of one node that hear each other are one segment: an address is announced on one of them.

use super::Link;
use crate::{LinkName, membership::Membership};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// For each link the links on its segment, itself included.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<LinkName, BTreeSet<LinkName>>);

/// The segments, from whose own hellos each link hears.
pub(super) fn of(links: &BTreeMap<LinkName, Link>, memberships: &BTreeMap<LinkName, Membership>) -> Segments {
    // A hello names its link by its place in the sorted list; the MAC guards against a list that changed meanwhile.
    let by_index: Vec<&Link> = links.values().collect();
    let mut segments: BTreeMap<LinkName, BTreeSet<LinkName>> =
        links.keys().map(|name| (name.clone(), BTreeSet::from([name.clone()]))).collect();
    for (name, membership) in memberships {
        for (index, mac) in membership.twins() {
            if let Some(twin) = by_index.get(usize::from(index)).filter(|twin| twin.mac == mac && twin.name != *name) {
                join(&mut segments, name, &twin.name);
            }
        }
    }
    Segments(segments)
}

fn join(segments: &mut BTreeMap<LinkName, BTreeSet<LinkName>>, a: &LinkName, b: &LinkName) {
    let union: BTreeSet<LinkName> =
        [a, b].into_iter().filter_map(|name| segments.get(name)).flatten().cloned().collect();
    for name in &union {
        segments.insert(name.clone(), union.clone());
    }
}

impl Segments {
    /// The links on the segment of this link, itself included.
    pub(super) fn names(&self, link: &LinkName) -> &BTreeSet<LinkName> {
        const NONE: &BTreeSet<LinkName> = &BTreeSet::new();
        self.0.get(link).unwrap_or(NONE)
    }
}

/// On which of these links of one segment the address is announced: the link whose subnet holds it, then the lower name.
pub(super) fn preferred<'a>(
    links: &BTreeMap<LinkName, Link>,
    allowed: &[&'a LinkName],
    address: IpAddr,
) -> Option<&'a LinkName> {
    let holds = |name: &&&LinkName| links.get(**name).is_some_and(|link| link.holds(address));
    allowed.iter().find(holds).or_else(|| allowed.first()).copied()
}
