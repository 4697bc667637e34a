//! ARP, NDP and hello frames: bytes <-> values. Pure, total, never panics on hostile input.
//!
//! Frames are whole Ethernet frames, the way an `AF_PACKET` socket delivers and takes them; hellos are the payload alone, because the
//! same bytes also travel as UDP.

pub mod arp;
pub mod ethernet;
pub mod hello;
mod mac;
pub mod ndp;

pub use ethernet::{DecodeError, EthernetHeader};
pub use mac::Mac;
