//! Which pools a Service is served from, best first: the one that it names; else those kept for it by priority; else those for anybody.

use super::{
    Facts, Refusal,
    scope::{admits, namespace_fits, service_fits},
    space::Named,
};
use crate::{
    PoolName,
    service::{Request, Service},
};
use std::{collections::BTreeMap, rc::Rc};

/// Pools that are tried together, in this order. A rung that has something for a Service ends the search (as MetalLB: a single address from a
/// pool kept for the Service goes before a pair from a pool for anybody).
#[derive(Debug, Clone)]
pub(super) struct Rung<'a> {
    /// Equal for equal pools, so that what is known of one search helps the next; `None` for a pool that was named.
    pub(super) number: Option<usize>,
    /// Its pools.
    pub(super) pools: Rc<[Named<'a>]>,
}

/// The ladder of this configuration.
#[derive(Debug)]
pub(super) struct Ladder<'a> {
    facts: Facts<'a>,
    /// Pools with auto-assign that are kept for some, best first.
    pinned: Vec<Named<'a>>,
    /// Pools with auto-assign for anybody, in order of their names.
    open: Rung<'a>,
    /// Which of the pinned pools a namespace may use.
    by_namespace: BTreeMap<&'a str, Rc<[usize]>>,
    /// The rungs made so far, by their pinned pools.
    rungs: BTreeMap<Rc<[usize]>, Rung<'a>>,
}

impl<'a> Ladder<'a> {
    pub(super) fn new(facts: Facts<'a>) -> Self {
        let auto = facts.config.pools.iter().filter(|(_, pool)| pool.auto_assign);
        let auto = auto.map(|(name, pool)| Named { name, pool });
        let (mut pinned, open): (Vec<Named<'a>>, Vec<Named<'a>>) =
            auto.partition(|named| named.pool.allocation.is_some());
        // 0 is the least preferred; equal ones go by name (in MetalLB by chance).
        pinned.sort_by_key(|named| {
            let priority = named.pool.allocation.as_ref().map_or(0, |allocation| allocation.priority);
            (priority == 0, priority, named.name)
        });
        let open = Rung { number: Some(0), pools: open.into() };
        Self { facts, pinned, open, by_namespace: BTreeMap::new(), rungs: BTreeMap::new() }
    }

    /// The configured pool of that name.
    pub(super) fn named(&self, name: &PoolName) -> Result<Named<'a>, Refusal> {
        let found = self.facts.config.pools.get_key_value(name).map(|(name, pool)| Named { name, pool });
        let broken = self.facts.broken.pools.contains(name);
        found.ok_or_else(|| if broken { Refusal::PoolBroken(name.clone()) } else { Refusal::UnknownPool(name.clone()) })
    }

    /// Whether the Service may have addresses of the pool.
    pub(super) fn admits(&self, named: Named<'a>, service: &Service) -> Result<(), Refusal> {
        admits(named, self.facts.namespaces, service)
    }

    /// The named pool alone, auto-assign or not; or those that need not be named.
    pub(super) fn rungs(&mut self, service: &'a Service, request: &Request) -> Result<Vec<Rung<'a>>, Refusal> {
        if let Some(wanted) = &request.pool {
            let named = self.named(wanted)?;
            self.admits(named, service)?;
            return Ok(vec![Rung { number: None, pools: [named].into() }]);
        }
        let rungs: Vec<Rung<'a>> =
            [self.pinned(service), self.open.clone()].into_iter().filter(|rung| !rung.pools.is_empty()).collect();
        if rungs.is_empty() { Err(Refusal::NoPoolForService) } else { Ok(rungs) }
    }

    fn pinned(&mut self, service: &'a Service) -> Rung<'a> {
        let Self { facts, pinned, by_namespace, rungs, .. } = self;
        let namespace = &service.key.namespace;
        let of_namespace = by_namespace.entry(namespace).or_insert_with(|| {
            let fits = |named: &Named<'a>| namespace_fits(named.pool, facts.namespaces, namespace) == Some(true);
            pinned.iter().enumerate().filter(|(_, named)| fits(named)).map(|(index, _)| index).collect()
        });
        let fits = |index: &&usize| pinned.get(**index).is_some_and(|named| service_fits(named.pool, service));
        let chosen: Rc<[usize]> = of_namespace.iter().filter(fits).copied().collect();
        let number = Some(rungs.len() + 1);
        let rung = rungs.entry(Rc::clone(&chosen)).or_insert_with(|| Rung {
            number,
            pools: chosen.iter().filter_map(|&index| pinned.get(index)).copied().collect(),
        });
        rung.clone()
    }
}
