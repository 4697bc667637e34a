//! A raw socket that sees exactly the frames of one protocol on one link.
//!
//! The filter is what makes it cheap: an unfiltered socket costs a fifth of a core at 100,000 unrelated frames a second, a filtered one
//! nothing that can be measured. Promiscuous mode is never used, so `CAP_NET_RAW` is enough.

use super::{
    filter::{self, Hellos},
    sys,
};
use herald_core::time::Moment;
use herald_wire::hello;
use socket2::{Domain, SockFilter, Socket, Type};
use std::{
    io::{self, Read},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::io::unix::AsyncFd;

/// Frames taken in one go before timers and other tasks get their turn.
const BATCH: usize = 64;
/// Bytes of the receive buffer: every frame that passes a filter is far smaller.
const BUFFER_LEN: usize = filter::TAKEN_LEN as usize;

/// Bytes of frames that may wait in a [`Waiting`], as the kernel counts them; it gives twice its limit (`net.core.rmem_max`) at most.
const ROOM: usize = 512 * 1024;

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

/// A socket with this filter on the link with this index.
fn bound(index: u32, protocol: Protocol, filter: &[SockFilter]) -> io::Result<Socket> {
    // Protocol 0: nothing is delivered before the filter is in place and the link is chosen.
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
    socket.attach_filter(filter)?;
    // Bound to one EtherType, a socket is not shown what this node itself sends (only ETH_P_ALL sockets are).
    sys::bind_packet(&socket, filter::ethertype(protocol), index)?;
    Ok(socket)
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
        let socket = bound(index, protocol, &filter::filter(protocol))?;
        if protocol == Protocol::Hello {
            sys::join_link_group(&socket, index, hello::GROUP)?;
        }
        Ok(Self { fd: sys::register(socket)?, drops: AtomicU64::new(0) })
    }

    /// From now on these hellos are received; those that wait already stay.
    ///
    /// # Errors
    /// The kernel has no memory for the program; the one before stays.
    pub(super) fn only_hellos(&self, which: Hellos) -> io::Result<()> {
        self.fd.get_ref().attach_filter(&filter::hellos(which))
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

/// Hellos that may wait: a socket that wakes nobody. What arrives at it is taken, with the moments of its arrival, when this process is awake
/// for something else.
#[derive(Debug)]
pub(super) struct Waiting {
    socket: Socket,
    drops: AtomicU64,
    clocks: Clocks,
}

impl Waiting {
    /// Opens a socket on the link with this index; nothing arrives at it yet.
    ///
    /// # Errors
    /// As [`PacketSocket::open`].
    pub(super) fn open(index: u32) -> Result<Self, OpenError> {
        let open = || {
            let socket = bound(index, Protocol::Hello, &filter::hellos(Hellos::Nothing))?;
            socket.set_recv_buffer_size(ROOM)?;
            sys::stamp_arrivals(&socket)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| OpenError::new(index, error))?;
        Ok(Self { socket, drops: AtomicU64::new(0), clocks: Clocks::now() })
    }

    /// As [`PacketSocket::only_hellos`].
    pub(super) fn only_hellos(&self, which: Hellos) -> io::Result<()> {
        self.socket.attach_filter(&filter::hellos(which))
    }

    /// Hands over up to `most` frames that are there, with the moments of their arrival; whether that was all.
    ///
    /// # Errors
    /// `ENETDOWN` once each time when the link goes down; the socket works again when it is up.
    pub(super) fn take(&mut self, most: usize, mut each: impl FnMut(&[u8], Moment)) -> io::Result<bool> {
        let mut buffer = [0; BUFFER_LEN];
        let clocks = Clocks::now();
        for _ in 0..most {
            match sys::receive_stamped(&self.socket, &mut buffer) {
                Ok((length, stamp)) => {
                    let at = clocks.moment_of(stamp, self.clocks);
                    each(buffer.get(..length).unwrap_or_default(), at);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.clocks = clocks;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// As [`PacketSocket::drops`].
    pub(super) fn drops(&self) -> u64 {
        let new = sys::take_packet_drops(&self.socket).unwrap_or(0);
        self.drops.fetch_add(u64::from(new), Ordering::Relaxed) + u64::from(new)
    }
}

/// Both clocks at one moment: arrivals are stamped on the wall clock, which may be set; everything is decided on the other one.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    moment: Moment,
    wall: Duration,
}

impl Clocks {
    /// The wall clock may have been slewed so much between two looks, and no more: it was set otherwise.
    const SLEWED: Duration = Duration::from_millis(2);

    fn now() -> Self {
        Self { moment: sys::boottime(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// When something arrived that has this stamp of the wall clock: not before the socket was found empty the last time, and not later than
    /// now. Where the stamp is missing or cannot be believed: now.
    fn moment_of(self, stamp: Option<Duration>, empty: Self) -> Moment {
        let passed = (self.moment.since(empty.moment), self.wall.saturating_sub(empty.wall));
        let age = stamp.filter(|_| passed.0.abs_diff(passed.1) < Self::SLEWED).map(|at| self.wall.saturating_sub(at));
        let before_empty = age.is_some_and(|age| age >= passed.0);
        if before_empty { empty.moment } else { empty.moment + (passed.0 - age.unwrap_or_default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_told_on_the_clock_that_nobody_sets() {
        let ms = Duration::from_millis;
        let clocks = |moment: u64, wall: u64| Clocks { moment: Moment::from_micros(moment * 1000), wall: ms(wall) };
        let (empty, now) = (clocks(1000, 500_000), clocks(1050, 500_050));
        let at = |now: Clocks, stamp: Option<u64>| now.moment_of(stamp.map(ms), empty).as_micros() / 1000;
        assert_eq!(at(now, Some(500_020)), 1020);
        assert_eq!(at(now, Some(500_060)), 1050, "a stamp of the future");
        assert_eq!(at(now, Some(499_000)), 1000, "a stamp of before the socket was empty");
        assert_eq!(at(now, None), 1050);
        for set in [clocks(1050, 3_000_000), clocks(1050, 100)] {
            assert_eq!(at(set, Some(500_020)), 1050, "the wall clock was set in between");
        }
    }
}
