//! Benchmarks of Herald on the lab's real Kubernetes cluster: programs that print figures with method, sample count, distribution and
//! machine, and write them as JSON. Targets stand beside the figures and are not asserted: only what could not be measured is an error.
//! What each figure means: docs/benchmarks.md.

pub mod api;
pub mod arp;
pub mod benchmark;
pub mod churn;
pub mod claims;
pub mod cluster;
pub mod conflict;
pub mod control;
pub mod creation;
pub mod error;
pub mod failures;
pub mod faults;
pub mod fencing;
pub mod image;
pub mod latency;
pub mod lines;
pub mod machine;
pub mod many;
pub mod memory;
pub mod meter;
pub mod moves;
pub mod peers;
pub mod processor;
pub mod publish;
pub mod report;
pub mod requests;
pub mod restart;
pub mod scale;
pub mod stage;
pub mod stats;
pub mod subject;
pub mod unnoticed;
pub mod waiting;

pub use error::{Error, Result};
