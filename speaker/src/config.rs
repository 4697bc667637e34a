//! What the speaker is told on its command line.

use crate::links::DEFAULT_EXCLUDED;
use clap::Args;
use herald_core::time::{InvalidTiming, Timing};
use herald_runtime::{client, log::LogFormat};
use std::time::Duration;

/// Namespace when neither a flag nor a service account says one: that of MetalLB, whose manifests work unchanged.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// Settings of the speaker; MetalLB's names where the meaning is the same.
#[derive(Debug, Clone, Args)]
pub struct SpeakerConfig {
    /// Name of the Node that this speaker runs on
    #[arg(long, env = "HERALD_NODE_NAME")]
    pub node_name: String,
    /// Namespace of the configuration and the hello key [default: that of the pod, else metallb-system]
    #[arg(long, env = "HERALD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the ConfigMap with the address pools
    #[arg(long, default_value = "config")]
    pub config: String,
    /// Serve only Services of this loadBalancerClass; without it, only those without a class
    #[arg(long)]
    pub lb_class: Option<String>,
    /// Announce also from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers (single-node clusters need it)
    #[arg(long)]
    pub ignore_exclude_lb: bool,
    /// Name prefixes of links that are never used
    #[arg(long, value_delimiter = ',', default_values_t = DEFAULT_EXCLUDED.map(str::to_owned))]
    pub exclude_interfaces: Vec<String>,
    /// Time between two hellos, 10ms to 10s
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub hello_interval: Duration,
    /// So many silent hello intervals make a peer gone, 3 to 50
    #[arg(long, default_value_t = 4)]
    pub hold_intervals: u32,
    /// UDP port of hellos to peers that the link does not carry them to
    #[arg(long, default_value_t = herald_wire::hello::UDP_PORT)]
    pub hello_port: u16,
    /// Name of the Secret with the key of the hellos
    #[arg(long, default_value = "herald-hello-key")]
    pub hello_key_secret: String,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// human or json
    #[arg(long, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Port of /healthz and /readyz on 127.0.0.1
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Port of /metrics and /debug/state on 127.0.0.1; 0 = neither
    #[arg(long, default_value_t = 9120)]
    pub metrics_port: u16,
    /// Name of this pod, for events [default: the node's name]
    #[arg(long, env = "HERALD_POD_NAME")]
    pub pod_name: Option<String>,
}

impl SpeakerConfig {
    /// The namespace in force.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.namespace
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(client::own_namespace)
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// The timing of the hellos.
    ///
    /// # Errors
    /// Out of range.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        Timing::new(self.hello_interval, self.hold_intervals)
    }
}

/// `100ms`, `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("{text:?} is not a duration: write it as 100ms or 2s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(invalid)?, 1000),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        for bad in ["", "100", "ms", "-1s", "1.5s", "1m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
