//! ARP, NDP and hello frames: bytes <-> values. Pure, total, never panics on hostile input.

pub mod hello;
mod mac;

pub use mac::Mac;
