//! What the speaker is told on its command line.

use crate::{links::exclude::DEFAULT_EXCLUDED, net::health::HealthUrl};
use clap::Args;
use herald_core::{announce::conflict::Policy, reason::Reason, time::Timing};
use herald_runtime::config::{Common, duration};
use std::{path::PathBuf, time::Duration};

/// Settings of the speaker.
#[derive(Debug, Clone, Args)]
pub struct SpeakerConfig {
    /// What the controller is told too.
    #[command(flatten)]
    pub common: Common,
    /// Name of the Node that this speaker runs on
    #[arg(long, env = "HERALD_NODE_NAME")]
    pub node_name: String,
    /// Announce also from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers (single-node clusters need it)
    #[arg(long)]
    pub ignore_exclude_lb: bool,
    /// Regular expressions for the names of links that are never used
    #[arg(long, value_delimiter = ',', default_values_t = DEFAULT_EXCLUDED.map(str::to_owned))]
    pub exclude_interfaces: Vec<String>,
    /// ConfigMap whose key excludel2.yaml replaces --exclude-interfaces while it exists (MetalLB's format); followed without restart
    #[arg(long, default_value = "metallb-excludel2")]
    pub exclude_config: String,
    /// How soon a dead node is to be replaced: fast (100ms), calm (1s, for busy or lossy networks), or 80ms to 10s
    #[arg(long, default_value = "200ms", value_parser = timing)]
    pub failover_target: Timing,
    /// For how long the old owner goes on serving clients that use it when an address moves between two living nodes (0s to 600s)
    #[arg(long, default_value = "30s", value_parser = wait)]
    pub drain: Duration,
    /// For how long a node that returned has to be ready before addresses move back to it (0s to 600s)
    #[arg(long, default_value = "10s", value_parser = wait)]
    pub hold_off: Duration,
    /// Health endpoint of this node's data plane: addresses do not move here while it is not well, and away from here when it says so for
    /// long; one that never answers on any node is no obstacle; "" = not asked
    #[arg(long, default_value = "http://127.0.0.1:10256/healthz", value_parser = health)]
    pub data_plane_health: DataPlaneHealth,
    /// Folder that outlives a restart of the container: what is needed to go on without the API server is kept there, also the hello key
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// When a foreign host claims an address in use: defend (answer once, yield to a second claim within 10s) or yield (at once)
    #[arg(long, default_value_t)]
    pub conflict_policy: Policy,
    /// UDP port of hellos to peers that the link does not carry them to
    #[arg(long, default_value_t = herald_wire::hello::UDP_PORT)]
    pub hello_port: u16,
}

/// `fast`, `calm` or a duration.
fn timing(text: &str) -> Result<Timing, String> {
    match text {
        "fast" => Ok(Timing::FAST),
        "calm" => Ok(Timing::CALM),
        _ => Timing::new(duration(text)?).map_err(|error| error.to_string()),
    }
}

/// Where to ask for the health of the data plane, if at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlaneHealth(pub Option<HealthUrl>);

fn health(text: &str) -> Result<DataPlaneHealth, String> {
    if text.is_empty() {
        return Ok(DataPlaneHealth(None));
    }
    let url = text.parse::<HealthUrl>();
    url.map(|url| DataPlaneHealth(Some(url))).map_err(|why| why.advice())
}

/// A duration of up to ten minutes.
fn wait(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(600);
    let wait = duration(text)?;
    if wait <= most { Ok(wait) } else { Err(format!("{text:?} is too long: at most 600s")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        assert_eq!((wait("0s"), wait("600s")), (Ok(Duration::ZERO), Ok(Duration::from_secs(600))));
        for bad in ["601s", "-1s", "long"] {
            assert!(wait(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn health_endpoints() {
        assert_eq!(health(""), Ok(DataPlaneHealth(None)));
        let url = "http://127.0.0.1:10256/healthz";
        assert_eq!(health(url).unwrap().0.unwrap().to_string(), url);
        assert!(health("http://localhost:10256/healthz").unwrap_err().contains("IP address"));
    }

    #[test]
    fn failover_targets() {
        assert_eq!(timing("200ms"), Ok(Timing::default()));
        assert_eq!(timing("fast"), timing("100ms"));
        assert_eq!(timing("calm"), timing("1s"));
        for bad in ["slow", "79ms", "11s", ""] {
            assert!(timing(bad).is_err(), "{bad}");
        }
    }
}
