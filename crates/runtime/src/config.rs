//! What both daemons are told on their command line.

use crate::{
    admin::{self, AdminConfig, Protection},
    certificate::Source,
    client::{self, Client},
    log::LogFormat,
    tls::TlsOptions,
};
use clap::Args;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Namespace when neither a flag nor a service account says one: that of MetalLB, whose manifests work unchanged.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";

/// Default port of `/debug/state`.
pub const DEBUG_PORT: u16 = 17474;

/// Settings of both daemons; MetalLB's names where the meaning is the same.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Namespace of the configuration and the hello key [default: that of the pod, else metallb-system]
    #[arg(long, env = "HERALD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the ConfigMap with the address pools
    #[arg(long, default_value = "config")]
    pub config: String,
    /// Serve only Services of this loadBalancerClass; without it, only those without a class
    #[arg(long)]
    pub lb_class: Option<String>,
    /// Name of the Secret with the key of the speakers' hellos; the controller creates it when it is missing
    #[arg(long, default_value = "herald-hello-key")]
    pub hello_key_secret: String,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// human or json
    #[arg(long, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Port of /healthz and /readyz (the speaker's on 127.0.0.1, as it uses the node's network)
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Port of /metrics on all addresses: HTTPS for whoever has a token of the cluster and may get the nonResourceURL /metrics; 0 = none
    #[arg(long, alias = "port", default_value_t = 9120)]
    pub metrics_port: u16,
    /// Serve /metrics as plain HTTP to everybody who reaches the port, without certificate and token
    #[arg(long)]
    pub metrics_http: bool,
    /// Folder with tls.crt and tls.key for /metrics [default: a certificate of its own, made at start]
    #[arg(long, conflicts_with = "metrics_http")]
    pub metrics_cert_dir: Option<PathBuf>,
    /// How TLS is spoken.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Port of /debug/state on 127.0.0.1; 0 = none
    #[arg(long, default_value_t = DEBUG_PORT)]
    pub debug_port: u16,
    /// Name of this pod: who it is in elections and events
    #[arg(long, env = "HERALD_POD_NAME")]
    pub pod_name: Option<String>,
}

impl Common {
    /// The namespace in force.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.namespace
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(client::own_namespace)
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// The pod's name, when there is one.
    #[must_use]
    pub fn pod_name(&self) -> Option<String> {
        self.pod_name.clone().filter(|name| !name.is_empty())
    }

    /// Where to listen, with health probes at `health`. The client asks the API server who may read metrics.
    #[must_use]
    pub fn admin(&self, health: SocketAddr, client: &Client) -> AdminConfig {
        let protection = || {
            if self.metrics_http {
                return Protection::None;
            }
            let own = || {
                let pod = self.pod_name().unwrap_or_else(|| "herald".to_owned());
                Source::SelfSigned(vec![pod, "localhost".to_owned()])
            };
            let certificate = self.metrics_cert_dir.clone().map_or_else(own, Source::Files);
            Protection::Https { certificate, client: client.clone(), tls: self.tls.clone() }
        };
        AdminConfig {
            health,
            metrics: (self.metrics_port != 0).then(|| (admin::any_address(self.metrics_port), protection())),
            debug: (self.debug_port != 0).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, self.debug_port))),
        }
    }
}

/// A duration: `100ms`, `2s`.
///
/// # Errors
/// Anything else, with how to write it.
pub fn duration(text: &str) -> Result<Duration, String> {
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
