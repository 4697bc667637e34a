//! Membership, ownership and ARP/NDP announcements, wired to sockets and watches.

pub mod links;
pub mod net;
