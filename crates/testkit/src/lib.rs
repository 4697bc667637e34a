//! Builders, virtual clock, simulated LAN and an in-process fake API server. For tests only.

pub mod build;
pub mod fake_api;
pub mod lan;
