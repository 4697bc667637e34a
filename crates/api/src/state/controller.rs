//! The state of a controller.

use super::Why;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Everything a controller knows and decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerState {
    /// [`super::VERSION`] of who wrote this.
    pub version: u32,
    /// Release of Herald.
    pub release: String,
    /// Whether this replica leads: only then the rest but the configuration says something.
    pub leads: bool,
    /// Who leads, as far as known.
    pub leader: Option<String>,
    /// MetalLB's pods as `namespace/name`: while there are any, Herald stands by. `None`: not known yet.
    pub metallb_pods: Option<Vec<String>>,
    /// The configuration.
    pub configuration: ConfigurationState,
    /// Whether all Services are known.
    pub complete: bool,
    /// How many Services of Herald's exist.
    pub known: usize,
    /// What each Service gets, by `namespace/name`.
    pub services: BTreeMap<String, DecisionState>,
    /// Services whose status is being written, by `namespace/name`, with how often that was tried.
    pub pending: BTreeMap<String, u32>,
    /// Writes that wait.
    pub queued: usize,
}

/// The configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationState {
    /// Kinds of objects that are not read yet; nothing is decided before.
    pub awaited: Vec<String>,
    /// Whether a configuration is in force; without one Services wait.
    pub in_force: bool,
    /// What is wrong with which object.
    pub problems: Vec<ProblemState>,
    /// Pools in force by name.
    pub pools: BTreeMap<String, PoolState>,
}

/// A problem of a configuration object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProblemState {
    /// The object, as `kind name`.
    pub object: String,
    /// Name of the object.
    pub name: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// Whether it may end by itself when another object comes.
    pub transient: bool,
}

/// A pool and its use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolState {
    /// Its ranges, in order.
    pub ranges: Vec<String>,
    /// Whether Services that name no pool may get addresses of it.
    pub auto_assign: bool,
    /// IPv4 addresses.
    pub ipv4: CountState,
    /// IPv6 addresses.
    pub ipv6: CountState,
    /// L2Advertisements that are for it.
    pub l2_advertisements: Vec<String>,
}

/// Addresses of one family of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CountState {
    /// All that may be given; `i64::MAX`: more than can be counted.
    pub total: i64,
    /// Given.
    pub assigned: i64,
}

/// What a Service gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DecisionState {
    /// The pool of its addresses.
    pub pool: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Why it has none.
    pub waiting: Option<Why>,
    /// Remarks.
    pub notes: Vec<NoteState>,
}

/// A remark on a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NoteState {
    /// `kept`, `single_family` or `lost`.
    pub kind: String,
    /// Why.
    pub why: Why,
}
