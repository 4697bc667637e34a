//! Annotation keys, each defined once. Every input key of MetalLB's exists under the current and under MetalLB's old prefix.

use std::collections::BTreeMap;

/// The current prefix; a key under it wins over the same key under the old one.
pub const PREFIX: &str = "metallb.io/";
/// MetalLB's old prefix, still read.
pub const DEPRECATED_PREFIX: &str = "metallb.universe.tf/";

macro_rules! key {
    ($name:literal) => {
        Key { current: concat!("metallb.io/", $name), deprecated: concat!("metallb.universe.tf/", $name) }
    };
}

/// In: allocate from exactly this pool.
pub const ADDRESS_POOL: Key = key!("address-pool");
/// In: exactly these addresses, comma-separated.
pub const LOAD_BALANCER_IPS: Key = key!("loadBalancerIPs");
/// In: the sharing key.
pub const ALLOW_SHARED_IP: Key = key!("allow-shared-ip");
/// Out: the pool that the addresses come from.
pub const ALLOCATED_FROM: Key = key!("ip-allocated-from-pool");

/// In, on a Node: its addresses go to others until then (RFC 3339). `herald evacuate` writes it.
pub const EVACUATE_UNTIL: &str = "herald.io/evacuate-until";
/// In: the node where its addresses are to be, until [`MOVE_UNTIL`]. `herald move` writes both.
pub const MOVE_TO: &str = "herald.io/move-to";
/// In: until when (RFC 3339).
pub const MOVE_UNTIL: &str = "herald.io/move-until";

/// All input keys, for whoever looks for deprecated spellings.
pub const INPUTS: [Key; 3] = [ADDRESS_POOL, LOAD_BALANCER_IPS, ALLOW_SHARED_IP];

/// An annotation key under both prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    current: &'static str,
    deprecated: &'static str,
}

/// The value of an annotation and where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its value, as it stands.
    pub value: &'a str,
    /// Whether it stood only under the old prefix.
    pub deprecated: bool,
}

impl Key {
    /// The key under the current prefix.
    #[must_use]
    pub const fn current(self) -> &'static str {
        self.current
    }

    /// The key under MetalLB's old prefix.
    #[must_use]
    pub const fn deprecated(self) -> &'static str {
        self.deprecated
    }

    /// The value under either prefix, the current one first. An empty value counts: it hides the old key as any other value does.
    #[must_use]
    pub fn find(self, annotations: &BTreeMap<String, String>) -> Option<Found<'_>> {
        if let Some(value) = annotations.get(self.current) {
            return Some(Found { value, deprecated: false });
        }
        annotations.get(self.deprecated).map(|value| Found { value, deprecated: true })
    }

    /// The full key that [`Key::find`] would read: for messages.
    #[must_use]
    pub fn in_use(self, annotations: &BTreeMap<String, String>) -> &'static str {
        match self.find(annotations) {
            Some(Found { deprecated: true, .. }) => self.deprecated,
            _ => self.current,
        }
    }
}

/// A moment in an annotation, in seconds since the epoch.
///
/// # Errors
/// What stands there, and how to write it instead.
pub fn moment(key: &str, value: &str) -> Result<i64, String> {
    let moment = value.parse::<jiff::Timestamp>();
    moment
        .map(jiff::Timestamp::as_second)
        .map_err(|_| format!("annotation {key} is {value:?}: write a moment as 2030-01-31T12:00:00Z"))
}

/// The deprecated input keys that are read from these annotations, in the order of [`INPUTS`].
#[must_use]
pub fn deprecated_in_use(annotations: &BTreeMap<String, String>) -> Vec<&'static str> {
    INPUTS
        .into_iter()
        .filter(|key| key.find(annotations).is_some_and(|found| found.deprecated))
        .map(Key::deprecated)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn keys_stand_under_their_prefixes() {
        for key in [ADDRESS_POOL, LOAD_BALANCER_IPS, ALLOW_SHARED_IP, ALLOCATED_FROM] {
            assert_eq!(key.current().strip_prefix(PREFIX), key.deprecated().strip_prefix(DEPRECATED_PREFIX));
            assert!(key.current().starts_with(PREFIX));
        }
    }

    #[test]
    fn current_prefix_wins_even_when_empty() {
        let both = annotations(&[("metallb.io/address-pool", "new"), ("metallb.universe.tf/address-pool", "old")]);
        assert_eq!(ADDRESS_POOL.find(&both), Some(Found { value: "new", deprecated: false }));
        let emptied = annotations(&[("metallb.io/address-pool", ""), ("metallb.universe.tf/address-pool", "old")]);
        assert_eq!(ADDRESS_POOL.find(&emptied), Some(Found { value: "", deprecated: false }));
        assert!(deprecated_in_use(&both).is_empty());
    }

    #[test]
    fn old_prefix_is_read_and_named() {
        let old = annotations(&[("metallb.universe.tf/allow-shared-ip", "k")]);
        assert_eq!(ALLOW_SHARED_IP.find(&old), Some(Found { value: "k", deprecated: true }));
        assert_eq!(ALLOW_SHARED_IP.in_use(&old), "metallb.universe.tf/allow-shared-ip");
        assert_eq!(deprecated_in_use(&old), ["metallb.universe.tf/allow-shared-ip"]);
        assert_eq!(ADDRESS_POOL.find(&old), None);
        assert_eq!(ADDRESS_POOL.in_use(&old), "metallb.io/address-pool");
    }

    #[test]
    fn a_moment_is_rfc_3339() {
        assert_eq!(moment(MOVE_UNTIL, "1970-01-01T00:01:00Z"), Ok(60));
        assert_eq!(moment(MOVE_UNTIL, "1970-01-01T01:01:00+01:00"), Ok(60));
        for bad in ["", "tomorrow", "60", "2030-01-31"] {
            assert!(moment(MOVE_UNTIL, bad).unwrap_err().contains("herald.io/move-until"), "{bad}");
        }
    }
}
