//! The controller against an API server that fails on demand, in virtual time.

use super::*;
use herald_runtime::{
    admin::{AdminConfig, Protection},
    client::Clients,
    config::Common,
    log::LogFormat,
    tls::TlsOptions,
};
use herald_testkit::fake_api::{FakeApi, Id, Wire};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::task::JoinHandle;

mod cluster;
mod conflicts;
mod engines;
mod faults;
mod fencing;
mod replicas;
mod resources;
mod reviews;
mod settings;

use cluster::{Cluster, Replica, install};
