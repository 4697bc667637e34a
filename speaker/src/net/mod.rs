//! Sockets of the speaker: what is answered, sent and heard on each link.
//!
//! | module | |
//! |---|---|
//! | [`alarm`] | when the driver is woken next |
//! | [`answer`] | the pure rule: which frame is answered, and how |
//! | [`responder`] | the tasks of a link that answer from a published table |
//! | [`groups`] | IPv6 groups that have to be joined for solicitations to arrive |
//! | [`health`] | the health endpoint of this node's data plane |
//! | [`hello_io`] | hellos, as frames of a link |
//! | [`hello_udp`] | hellos, as datagrams where frames are filtered |
//! | [`packet_socket`] | a filtered raw socket of one link |
//!
//! Nothing here decides who owns an address. All `unsafe` sits in [`sys`].

pub(crate) mod alarm;
pub mod answer;
mod filter;
pub mod groups;
pub mod health;
pub mod hello_io;
pub mod hello_udp;
pub mod packet_socket;
pub mod responder;
pub mod sys;
mod targets;
