//! Every rule of Herald. Pure: no I/O, no async, no clock, no Kubernetes, no randomness.
//!
//! Decisions are functions of a snapshot and a time; what they want done comes back as values.
//!
//! | module | rule |
//! |---|---|
//! | [`config`] | what the cluster's administrator configured: pools |
//! | [`labels`] | labels and selectors |
//! | [`reason`] | what all reasons have in common: a label, a text, a next step |
//! | [`service`] | what a Service asks for |
//! | [`node`] | what a Node says about itself |
//! | [`allocate`] | which Service gets which address |
//! | [`time`] | moments and the timing of a link |
//! | [`membership`] | which speakers are there, per link |
//! | [`data_plane`] | whether this node's data plane can take addresses over |
//! | [`ownership`] | which speaker answers for an address, per link |
//! | [`announce`] | what is answered and said about owned addresses |
//! | [`speaker`] | all of a node's announcing as one state machine: inputs and moments in, effects out |

pub mod allocate;
pub mod announce;
pub mod config;
pub mod data_plane;
pub mod fence;
pub mod labels;
pub mod membership;
mod names;
pub mod net;
pub mod node;
pub mod ownership;
pub mod reason;
pub mod service;
mod set;
pub mod speaker;
pub mod time;

pub use names::{AdvertisementName, LinkName, NodeName, PoolName, ServiceKey};
pub use set::Set;
