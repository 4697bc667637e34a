//! A real Kubernetes cluster on one machine: every host is a set of namespaces, the LAN a bridge in a namespace of its own.
//!
//! ```no_run
//! # fn main() -> herald_lab::Result<()> {
//! use herald_lab::{Host, Lab, Options};
//! let lab = Lab::up(Options::default())?;
//! println!("{}", lab.kubectl(&["get", "nodes"])?);
//! lab.power_off(Host::Worker(2))?;
//! # Ok(()) }
//! ```
//!
//! What it is made of, what it needs and its pitfalls: docs/lab.md.

mod cgroup;
mod down;
mod error;
mod exec;
mod faults;
mod host;
mod images;
mod lab;
mod node;
mod packages;
mod pki;
mod place;
mod power;
mod run;
mod status;
mod tools;
mod up;
mod wiring;

pub use error::{Error, Result};
pub use host::{Host, Lan, MAX_WORKERS};
pub use images::{ECHO_IMAGES, PAUSE_IMAGE};
pub use lab::{Lab, Options};
pub use node::{ProxyMode, init as node_init, launch as node_launch};
pub use place::{DEFAULT_DIR, Place};
pub use run::wait_until;
pub use status::HostStatus;
pub use tools::KUBERNETES;
pub use wiring::Port;

/// Finds the Kubernetes programs, building what is missing; returns name and path of each.
///
/// # Errors
/// [`Error::Tools`] says which Go is needed; [`Error::Failed`] carries the compiler's last lines.
pub fn tools() -> Result<Vec<(&'static str, std::path::PathBuf)>> {
    tools::ensure()
}

/// Finds a program that only some tests need, installing the Debian package that has it where that is possible.
///
/// # Errors
/// [`Error::MissingPackages`] names the package.
pub fn program(name: &str, package: &str) -> Result<std::path::PathBuf> {
    packages::ensure_program(name, package)
}
