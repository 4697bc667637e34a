//! Manifests: whoever may create objects must not be able to crash the daemons, and what is in force must be what the rules rely on.

#![no_main]

use herald_api::{
    manifest::{self, Document},
    sources::Sources,
};
use herald_core::net::IpRange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sources = Sources::default();
    for document in manifest::read(text, "config") {
        if let Document::Object { id, source, .. } = document {
            sources.set(id, Some(*source));
        }
    }
    let outcome = sources.merge().clone();
    let ranges: Vec<&IpRange> = outcome.config.pools.values().flat_map(|pool| &pool.ranges).collect();
    for (index, one) in ranges.iter().enumerate() {
        assert!(ranges[index + 1..].iter().all(|two| !one.overlaps(two)), "overlapping ranges in force");
    }
    assert!(outcome.problems.iter().all(|problem| !problem.to_string().is_empty()));
    assert_eq!(*sources.merge(), outcome, "repeating changes nothing");
});
