//! Which Services a pool is for: its `serviceAllocation`.

use super::{Refusal, space::Named};
use crate::{
    config::{Pool, ServiceAllocation},
    labels::any_matches,
    service::{Namespaces, Service},
};
use std::sync::Arc;

/// Whether the namespace may use the pool; `None` when that depends on its labels, and these are not known yet.
pub(super) fn namespace_fits(pool: &Pool, namespaces: &Namespaces, namespace: &Arc<str>) -> Option<bool> {
    let Some(ServiceAllocation { namespaces: names, namespace_selectors: selectors, .. }) = &pool.allocation else {
        return Some(true);
    };
    // A selector that chooses no namespace restricts to none; MetalLB loses the restriction then.
    if names.contains(&**namespace) || (names.is_empty() && selectors.is_empty()) {
        return Some(true);
    }
    if selectors.is_empty() {
        return Some(false);
    }
    namespaces.get(namespace).map(|labels| any_matches(selectors, labels))
}

/// Whether the Service itself, whatever its namespace, may use the pool.
pub(super) fn service_fits(pool: &Pool, service: &Service) -> bool {
    let selectors = pool.allocation.as_ref().map_or(&[][..], |allocation| &allocation.service_selectors);
    selectors.is_empty() || any_matches(selectors, &service.labels)
}

/// Whether the Service may have addresses of the pool. What cannot be told yet is no reason to take an address away.
pub(super) fn admits(named: Named<'_>, namespaces: &Namespaces, service: &Service) -> Result<(), Refusal> {
    let Named { name, pool } = named;
    if namespace_fits(pool, namespaces, &service.key.namespace) == Some(false) {
        let namespace = service.key.namespace.to_string();
        return Err(Refusal::NotForNamespace { pool: name.clone(), namespace });
    }
    if service_fits(pool, service) { Ok(()) } else { Err(Refusal::NotForService(name.clone())) }
}
