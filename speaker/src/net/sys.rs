//! The system calls that no safe interface offers. Everything `unsafe` of this program is in this file, each with its safety argument.
#![expect(unsafe_code, reason = "AF_PACKET addresses, group membership and clocks have no safe interface")]
#![expect(clippy::cast_possible_truncation, reason = "constants and struct sizes of C, all below 256")]

use herald_core::time::Moment;
use herald_wire::Mac;
use socket2::{SockAddr, SockAddrStorage, Socket};
use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::AsRawFd,
};
use tokio::io::unix::AsyncFd;

/// Now, on the clock of this node that goes on in suspend (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boottime() -> Moment {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is valid for writing a timespec for the duration of the call, and zeroed memory is a valid timespec, so the value
    // is initialised even if the call failed (it cannot: every kernel since 2.6.39 has this clock).
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, now.as_mut_ptr());
        now.assume_init()
    };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Moment::from_micros(seconds.saturating_mul(1_000_000) + u64::try_from(now.tv_nsec / 1000).unwrap_or(0))
}

/// Makes a socket known to the runtime's reactor.
///
/// # Errors
/// The reactor refuses it.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the AsyncFd owns the Socket, which owns an open descriptor until it is dropped, and `Socket::as_raw_fd` returns that same
    // descriptor every time: nothing can replace it while the AsyncFd lends it out by shared reference only.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Starts delivery of frames of one EtherType from one link to an `AF_PACKET` socket.
///
/// # Errors
/// No such link, or missing `CAP_NET_RAW`.
pub(super) fn bind_packet(socket: &Socket, ethertype: u16, index: u32) -> io::Result<()> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of this platform's socket address types, smaller than the storage, and all its bit patterns are valid.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = as_int(index)?;
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds an initialised sockaddr_ll of exactly this length.
    let address = unsafe { SockAddr::new(storage, length) };
    socket.bind(&address)
}

/// Has the link's hardware filter let a group through, for as long as the socket lives. Needs no `CAP_NET_ADMIN`.
///
/// # Errors
/// No such link.
pub(super) fn join_link_group(socket: &Socket, index: u32, group: Mac) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&group.0);
    let request = libc::packet_mreq {
        mr_ifindex: as_int(index)?,
        mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: address,
    };
    // SAFETY: the descriptor is open because `socket` is borrowed; pointer and length describe `request`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            mem::size_of_val(&request) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many frames the kernel had no room for on this `AF_PACKET` socket since the last call.
///
/// # Errors
/// Not such a socket.
pub(super) fn take_packet_drops(socket: &Socket) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = mem::size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the descriptor is open because `socket` is borrowed; the kernel writes at most `length` bytes to `statistics`, which is valid
    // for all bit patterns and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(statistics.tp_drops) } else { Err(io::Error::last_os_error()) }
}

/// Asks the scheduler to let this thread run soon after it wakes, for a short time: a short slice (Linux 6.12, EEVDF), which needs no
/// privilege and takes nothing from others. An answer to ARP takes microseconds of work and waits for milliseconds behind a busy process
/// otherwise.
///
/// # Errors
/// An older kernel, or a seccomp profile without `sched_setattr`.
pub fn wake_soon() -> io::Result<()> {
    /// `struct sched_attr` of the kernel, in its first version.
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    /// The shortest that the kernel takes, in nanoseconds.
    const SLICE: u64 = 100_000;
    let attr = SchedAttr {
        size: mem::size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: SLICE,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of `attr`, which outlives the call; thread 0 is the calling one.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn as_int(index: u32) -> io::Result<libc::c_int> {
    libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn boottime_is_the_time_since_boot() {
        let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        let now = boottime();
        // Generous in both directions: it shall show a wrong clock or unit, not a busy machine.
        let uptime = Moment::default() + Duration::from_secs_f64(uptime);
        assert!(
            now.since(uptime) < Duration::from_secs(600) && uptime.since(now) < Duration::from_secs(1),
            "{now} {uptime}"
        );
    }
}
