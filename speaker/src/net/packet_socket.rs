//! A raw socket that sees exactly the frames of one protocol on one link.
//!
//! The filter is what makes it cheap: an unfiltered socket costs a fifth of a core at 100,000 unrelated frames a second, a filtered one
//! nothing that can be measured. Promiscuous mode is never used, so `CAP_NET_RAW` is enough.

use super::{filter, sys};
use herald_core::time::Moment;
use herald_wire::hello;
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, Read},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::io::unix::AsyncFd;

/// Frames taken in one go before timers and other tasks get their turn.
const BATCH: usize = 64;
/// Bytes of the receive buffer: every frame that passes a filter is far smaller.
const BUFFER_LEN: usize = filter::TAKEN_LEN as usize;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// ARP requests and replies.
    Arp,
    /// Neighbour solicitations and advertisements, to groups and to this station. A kernel socket for ICMPv6 would not see those sent to
    /// an address that this node does not have, so a neighbour's unicast probes would stay unanswered (metallb#2920).
    NeighborDiscovery,
    /// Hellos.
    Hello,
}

/// Why a link cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process lacks `CAP_NET_RAW`.
    #[error("raw sockets are not permitted: the speaker needs uid 0 and the capability NET_RAW")]
    NotPermitted,
    /// The link is gone.
    #[error("there is no link with index {0} any more")]
    NoLink(u32),
    /// Something else.
    #[error("raw socket on link {index}: {error}")]
    Other {
        /// Index of the link.
        index: u32,
        /// What the system says.
        error: io::Error,
    },
}

impl OpenError {
    fn new(index: u32, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            Some(libc::ENODEV | libc::ENXIO) => Self::NoLink(index),
            _ => Self::Other { index, error },
        }
    }
}

/// A raw socket of one link for one protocol. Bound to the link's index: a link that is deleted and made anew needs a new socket.
#[derive(Debug)]
pub struct PacketSocket {
    fd: AsyncFd<Socket>,
    drops: AtomicU64,
}

impl PacketSocket {
    /// Opens a socket on the link with this index. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// No permission, or no such link.
    pub fn open(index: u32, protocol: Protocol) -> Result<Self, OpenError> {
        Self::try_open(index, protocol).map_err(|error| OpenError::new(index, error))
    }

    fn try_open(index: u32, protocol: Protocol) -> io::Result<Self> {
        // Protocol 0: nothing is delivered before the filter is in place and the link is chosen.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        socket.attach_filter(&filter::filter(protocol))?;
        // Bound to one EtherType, a socket is not shown what this node itself sends (only ETH_P_ALL sockets are).
        sys::bind_packet(&socket, filter::ethertype(protocol), index)?;
        if protocol == Protocol::Hello {
            sys::join_link_group(&socket, index, hello::GROUP)?;
        }
        Ok(Self { fd: sys::register(socket)?, drops: AtomicU64::new(0) })
    }

    /// From now on requests for other addresses than these are not received, as far as that can be told cheaply; all others are as before.
    ///
    /// # Errors
    /// The kernel has no memory for a program of this size; the one before stays.
    pub fn only_for(&self, protocol: Protocol, addresses: impl IntoIterator<Item = IpAddr>) -> io::Result<()> {
        self.fd.get_ref().attach_filter(&filter::filter_for(protocol, &addresses.into_iter().collect()))
    }

    /// Waits for frames and hands over those that are there, with the moment of their taking; returns after a bounded number of them.
    ///
    /// # Errors
    /// `ENETDOWN` once each time when the link goes down; the socket works again when it is up.
    pub async fn receive(&self, mut each: impl FnMut(&[u8], Moment)) -> io::Result<()> {
        let mut buffer = [0; BUFFER_LEN];
        let mut guard = self.fd.readable().await?;
        for _ in 0..BATCH {
            match guard.get_inner().read(&mut buffer) {
                Ok(length) => each(buffer.get(..length).unwrap_or_default(), sys::boottime()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        drop(guard);
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Whether a frame waits in the kernel: a deadline must not be judged before it has been taken.
    #[must_use]
    pub fn pending(&self) -> bool {
        let mut peek = [std::mem::MaybeUninit::uninit()];
        self.fd.get_ref().peek(&mut peek).is_ok()
    }

    /// Sends a whole frame, without waiting.
    ///
    /// # Errors
    /// The link is down or gone, or its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.fd.get_ref().send(frame).map(|_| ())
    }

    /// How many frames the kernel had to drop because this socket's buffer was full, since it was opened.
    pub fn drops(&self) -> u64 {
        let new = sys::take_packet_drops(self.fd.get_ref()).unwrap_or(0);
        self.drops.fetch_add(u64::from(new), Ordering::Relaxed) + u64::from(new)
    }
}
