//! The ConfigMap: MetalLB's configuration of its versions up to 0.12, read strictly.
//!
//! An unknown or repeated key is a mistake, as it was in those versions: a misspelt `auto-assign` must not hand out addresses. All
//! mistakes are reported at once where the text is well-formed and its keys are known; nothing of a configuration with a mistake is used.

mod bgp;
mod error;
mod pools;
pub(crate) mod raw;
pub(crate) mod text;
mod types;

pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use types::ConfigFile;

pub(crate) use pools::widest_prefix;

use error::Report;
use herald_core::config::Config;
use k8s_openapi::api::core::v1::ConfigMap;

/// The key of the ConfigMap's data that holds the configuration.
pub const DATA_KEY: &str = "config";

/// Reads the text under [`DATA_KEY`]. An empty text is a valid configuration without pools.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<ConfigFile, ConfigErrors> {
    let raw = text::read(text)?;
    let mut report = Report::default();
    let communities = bgp::communities(raw.bgp_communities.unwrap_or_default(), &mut report);
    let bfd_profiles = bgp::bfd_profiles(raw.bfd_profiles.unwrap_or_default(), &mut report);
    let peers = bgp::peers(raw.peers.unwrap_or_default(), &bfd_profiles, &mut report);
    let pools = pools::pools(raw.address_pools.unwrap_or_default(), &communities, &mut report);
    report.finish(ConfigFile { config: Config { bgp_peers: peers, bfd_profiles, ..pools }, communities })
}

/// Reads the configuration of a ConfigMap.
///
/// # Errors
/// As [`parse`], and when the data key is missing.
pub fn from_object(object: &ConfigMap) -> Result<ConfigFile, ConfigErrors> {
    match object.data.as_ref().and_then(|data| data.get(DATA_KEY)) {
        Some(text) => parse(text),
        None => Err(ConfigError { place: Place::Document, line: None, problem: Problem::NoDataKey }.into()),
    }
}

#[cfg(test)]
mod tests;
