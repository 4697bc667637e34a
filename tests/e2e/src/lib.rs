//! A Kubernetes cluster with Herald in it, seen as a client on its LAN sees it: the kit of the end-to-end tests, the demo and
//! the benchmarks.
//!
//! ```no_run
//! # fn main() -> herald_e2e::Result<()> {
//! use herald_e2e::Cluster;
//! let cluster = Cluster::start(3)?;
//! cluster.configure(herald_e2e::CLASSIC_CONFIG)?;
//! let addresses = cluster.expose("web", 3)?;
//! println!("{:?} answered by {}", addresses, cluster.announcer(addresses[0])?);
//! # Ok(()) } // the lab is removed here, unless HERALD_E2E_KEEP=1
//! ```

mod cluster;
mod debug;
mod error;
mod held;
mod http;
mod interrupt;
mod lan;
mod objects;
mod outage;
mod probe;
mod services;

pub use cluster::{CLASSIC_CONFIG, Cluster, HERALD_NAMESPACE, NAMESPACE};
pub use error::{Error, Look, Result, eventually};
pub use held::Held;
pub use lan::{Sight, Watch};
pub use objects::{Deployment, Port, Service};
pub use outage::{Outage, Sample};
pub use probe::{HttpLoop, Probe};

/// Patience for what Kubernetes does (pods, rollouts, leader changes): far more than it needs, also on a busy machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
