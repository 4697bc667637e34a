//! Which advertisements are for a Service, and what they say about nodes and links.

use super::{Announceable, Silent, Snapshot};
use crate::{
    LinkName, NodeName, PoolName, Set,
    config::{Config, L2Advertisement},
    labels::{Selector, any_matches},
    node::Node,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Advertisements by their place in [`Config::l2_advertisements`]. Few different lists exist: Services share them.
pub(super) type Chosen = Arc<[usize]>;

/// Which advertisements are for which pools, so that a Service meets only those of its own.
#[derive(Debug)]
pub(super) struct ByPool<'a> {
    config: &'a Config,
    advertisements: Vec<&'a L2Advertisement>,
    pools: BTreeMap<&'a PoolName, Vec<usize>>,
    known: BTreeSet<Chosen>,
}

impl<'a> ByPool<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        let advertisements: Vec<&L2Advertisement> = config.l2_advertisements.values().collect();
        let of = |(name, pool)| {
            let for_pool = |(_, l2): &(usize, &&L2Advertisement)| l2.pools.includes(name, pool);
            (name, advertisements.iter().enumerate().filter(for_pool).map(|(index, _)| index).collect())
        };
        let pools = config.pools.iter().map(of).collect();
        Self { config, advertisements, pools, known: BTreeSet::new() }
    }

    /// The advertisements that are for this Service, or why it cannot be announced.
    pub(super) fn choose(&mut self, service: &Announceable) -> Result<Chosen, Silent> {
        if service.addresses.is_empty() {
            return Err(Silent::NoAddress);
        }
        let mut chosen = BTreeSet::new();
        for address in &*service.addresses {
            let (name, pool) = self.config.pool_of(*address).ok_or(Silent::NotInAnyPool(*address))?;
            let for_pool = self.pools.get(name).map_or(&[][..], Vec::as_slice);
            if for_pool.is_empty() {
                let bgp = self.config.bgp_advertisements.values().any(|bgp| bgp.pools.includes(name, pool));
                return Err(if bgp { Silent::Bgp(name.clone()) } else { Silent::NotAdvertised(name.clone()) });
            }
            let selects = |index: &&usize| {
                let selectors = self.advertisements.get(**index).map(|l2| &l2.service_selectors);
                selectors.is_some_and(|selectors| selects(selectors, service))
            };
            let matching: Vec<usize> = for_pool.iter().filter(selects).copied().collect();
            if matching.is_empty() {
                return Err(Silent::NotSelected(name.clone()));
            }
            chosen.extend(matching);
        }
        if !service.serving.any {
            return Err(Silent::NoEndpoints);
        }
        let chosen: Chosen = chosen.into_iter().collect();
        Ok(if let Some(known) = self.known.get(&chosen) {
            Arc::clone(known)
        } else {
            self.known.insert(Arc::clone(&chosen));
            chosen
        })
    }
}

fn selects(selectors: &[Selector], service: &Announceable) -> bool {
    selectors.is_empty() || any_matches(selectors, &service.labels)
}

/// What an advertisement says about nodes and links: its selectors applied to the nodes of a snapshot, once.
#[derive(Debug)]
pub(super) struct Reach {
    /// Empty: every link.
    pub(super) links: Set<LinkName>,
    /// `None`: every node.
    nodes: Option<Set<NodeName>>,
    /// The summed weights of the nodes that are preferred and allowed.
    scores: BTreeMap<NodeName, u32>,
}

impl Reach {
    pub(super) fn of(advertisement: &L2Advertisement, snapshot: &Snapshot) -> Self {
        let selectors = &advertisement.node_selectors;
        let allowed = |node: &&Node| selectors.is_empty() || any_matches(selectors, &node.labels);
        let score = |node: &Node| -> u32 {
            let prefers = |selector: &Selector| selector.matches(&node.labels);
            let preferences = advertisement.preferred_nodes.iter().filter(|p| prefers(&p.selector));
            preferences.map(|preference| u32::from(preference.weight)).sum()
        };
        let nodes = || snapshot.nodes.values().filter(allowed);
        Self {
            links: advertisement.interfaces.iter().cloned().collect(),
            nodes: (!selectors.is_empty()).then(|| nodes().map(|node| node.name.clone()).collect()),
            scores: nodes().map(|node| (node.name.clone(), score(node))).filter(|(_, score)| *score > 0).collect(),
        }
    }

    pub(super) fn selects(&self, node: &NodeName) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
    }

    /// Whether one of these links is meant.
    pub(super) fn allows(&self, links: &[LinkName]) -> bool {
        self.links.is_empty() || links.iter().any(|link| self.links.contains(link))
    }

    /// 0 for who is not preferred, or not allowed.
    pub(super) fn score(&self, node: &NodeName) -> u32 {
        self.scores.get(node).copied().unwrap_or(0)
    }
}
