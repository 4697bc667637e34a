//! The metrics registry, and the metrics that both daemons have.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What `/metrics` is served as: prometheus-client writes OpenMetrics text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// MetalLB's `metallb_k8s_client_*` metrics, emitted by controller and speaker alike.
///
/// prometheus-client appends `_total` to counters itself.
#[derive(Debug, Clone, Default)]
pub struct ClientMetrics {
    /// `metallb_k8s_client_updates_total`: changes received from the API server.
    pub updates: Counter,
    /// `metallb_k8s_client_update_errors_total`: changes that failed to take effect.
    pub update_errors: Counter,
    /// `metallb_k8s_client_config_loaded_bool`: 1 once a valid configuration was loaded.
    pub config_loaded: Gauge,
    /// `metallb_k8s_client_config_stale_bool`: 1 while the newest configuration is not the one in force.
    pub config_stale: Gauge,
}

impl ClientMetrics {
    /// Adds them to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "metallb_k8s_client_updates",
            "Number of k8s object updates that have been processed",
            metrics.updates.clone(),
        );
        registry.register(
            "metallb_k8s_client_update_errors",
            "Number of k8s object updates that failed for some reason",
            metrics.update_errors.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_loaded_bool",
            "1 if the MetalLB-compatible configuration was successfully loaded at least once",
            metrics.config_loaded.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_stale_bool",
            "1 if running on a stale configuration, because the latest config failed to load",
            metrics.config_stale.clone(),
        );
        metrics
    }
}

/// The registry as text, in the format of [`CONTENT_TYPE`].
///
/// # Errors
/// A metric that cannot be written: a programming error, reported instead of half an answer.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exactly_those_of_metallb() {
        let mut registry = Registry::default();
        let metrics = ClientMetrics::register(&mut registry);
        metrics.updates.inc();
        let text = encode(&registry).unwrap();
        for line in [
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_update_errors_total 0",
            "metallb_k8s_client_config_loaded_bool 0",
            "metallb_k8s_client_config_stale_bool 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
