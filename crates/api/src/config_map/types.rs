//! What a configuration says, checked.

use herald_core::config::{Community, Config};
use serde::Serialize;
use std::collections::BTreeMap;

/// A complete, valid configuration. Peers, which have no names here, are called `peer1`, `peer2`, … (as MetalLB's converter calls
/// them); the advertisements of a bgp pool have the pool's name, from the second one on with `#2`, `#3`, … behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigFile {
    /// All of it, as the rules take it.
    pub config: Config,
    /// Named communities.
    pub communities: BTreeMap<Box<str>, Community>,
}
