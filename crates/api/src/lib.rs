//! Kubernetes objects <-> core types; every annotation key and schema, defined once.
//!
//! Objects of the API end here: what the rules see are the types of `herald_core`. Everything in this crate is a pure function of
//! the object that it is given.

pub mod admission;
pub mod annotations;
pub mod config_map;
pub mod configuration_state;
pub mod crd;
pub mod endpoints;
pub mod event;
pub mod import;
pub mod labels;
pub mod manifest;
pub mod node;
pub mod peers;
pub mod pod;
pub mod saved;
pub mod service;
pub mod sources;
pub mod state;
