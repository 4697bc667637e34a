//! The ConfigMap parser: whoever can edit the ConfigMap must not be able to crash the daemons, and what is accepted must be what the
//! rules rely on.

#![no_main]

use herald_core::net::IpRange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match herald_api::config_map::parse(text) {
        Ok(file) => {
            let ranges: Vec<&IpRange> = file.config.pools.values().flat_map(|pool| &pool.ranges).collect();
            for (index, one) in ranges.iter().enumerate() {
                assert!(ranges[index + 1..].iter().all(|two| !one.overlaps(two)), "accepted overlapping ranges");
            }
            assert!(file.config.pools.values().all(|pool| !pool.ranges.is_empty()), "accepted an empty pool");
        }
        Err(errors) => assert!(!errors.all().is_empty() && !errors.to_string().is_empty()),
    }
});
