//! IPAddressPool.

use super::{Content, Faults, PoolContent};
use crate::{
    crd::{self, IPAddressPool},
    sources::{Fault, Reason},
};
use herald_core::{
    PoolName,
    config::{Pool, ServiceAllocation},
    net::IpRange,
};

/// A pool; that its ranges overlap with each other is found where all ranges are known.
pub(crate) fn pool(object: &IPAddressPool) -> Result<Content, Vec<Fault>> {
    let spec = &object.spec;
    let mut faults = Faults::default();
    if spec.addresses.is_empty() {
        faults.add("spec.addresses", Reason::Missing { example: "a range, as 192.0.2.10-192.0.2.20" });
    }
    let mut ranges = Vec::new();
    for (index, text) in spec.addresses.iter().enumerate() {
        let range: Result<IpRange, _> = text.parse();
        ranges.extend(faults.ok(&format!("spec.addresses[{index}]"), range));
    }
    let allocation = spec.service_allocation.as_ref().map(|raw| allocation(raw, &mut faults));
    let labels = object.metadata.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let pool = Pool {
        ranges,
        auto_assign: spec.auto_assign.unwrap_or(true),
        avoid_buggy_ips: spec.avoid_buggy_ips.unwrap_or(false),
        labels: labels.collect(),
        allocation,
    };
    faults.finish(Content::Pool(PoolContent {
        name: PoolName::new(object.metadata.name.clone().unwrap_or_default()),
        pool,
        texts: spec.addresses.iter().map(|text| text.trim().into()).collect(),
        l2: None,
        bgp: Vec::new(),
    }))
}

fn allocation(raw: &crd::ServiceAllocation, faults: &mut Faults) -> ServiceAllocation {
    let priority = faults.number(
        "spec.serviceAllocation.priority",
        raw.priority,
        (0, u32::MAX.into()),
        "0 to 4294967295 (0 is the last, 1 the first)",
    );
    ServiceAllocation {
        priority: priority.unwrap_or(0),
        namespaces: faults
            .names("spec.serviceAllocation.namespaces", raw.namespaces.as_deref(), |name| Box::from(name)),
        namespace_selectors: faults
            .selectors("spec.serviceAllocation.namespaceSelectors", raw.namespace_selectors.as_deref()),
        service_selectors: faults
            .selectors("spec.serviceAllocation.serviceSelectors", raw.service_selectors.as_deref()),
    }
}
