//! The system calls that no safe interface offers. Everything `unsafe` of this program is in this file, each with its safety argument.
#![expect(unsafe_code, reason = "AF_PACKET addresses, group membership, clocks and memory have no safe interface")]
#![expect(clippy::cast_possible_truncation, reason = "constants and struct sizes of C, all below 256")]

use herald_core::time::Moment;
use herald_wire::Mac;
use socket2::{SockAddr, SockAddrStorage, Socket};
use std::{
    io,
    mem::{self, MaybeUninit},
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

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

/// Makes a socket known to the runtime's reactor, to be told when something can be read. Nobody waits until something can be written: every frame
/// that leaves would be a wake-up more.
///
/// # Errors
/// The reactor refuses it.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the AsyncFd owns the Socket, which owns an open descriptor until it is dropped, and `Socket::as_raw_fd` returns that same
    // descriptor every time: nothing can replace it while the AsyncFd lends it out by shared reference only.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)
}

/// A timer on the clock of [`boottime`], known to the runtime's reactor: it can be read from once [`set_timer`]'s moment has come.
///
/// # Errors
/// The process has no file descriptors left, or the reactor refuses it.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: takes no pointer.
    let timer = unsafe { libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
    if timer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened just now, and nobody else knows it.
    let timer = unsafe { OwnedFd::from_raw_fd(timer) };
    // SAFETY: as in `register`: an OwnedFd is one open descriptor until it is dropped.
    unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }.map_err(io::Error::from)
}

/// Has a timer of [`timer`] go off once, at this moment (at once, when it is over), and not at one that was set before.
///
/// # Errors
/// Not such a timer.
pub(super) fn set_timer(timer: &OwnedFd, when: Moment) -> io::Result<()> {
    // Zero would switch it off.
    let micros = when.as_micros().max(1);
    let mut setting = MaybeUninit::<libc::itimerspec>::zeroed();
    // SAFETY: all-zero bytes are a valid itimerspec.
    let setting = unsafe { setting.assume_init_mut() };
    setting.it_value.tv_sec = libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX);
    setting.it_value.tv_nsec = (micros % 1_000_000 * 1000) as _;
    // SAFETY: the descriptor is open because `timer` is borrowed; the kernel reads one itimerspec, which outlives the call, and is told to
    // write none.
    let result = unsafe {
        libc::timerfd_settime(timer.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const *setting, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// Has the kernel note on its wall clock when each frame or datagram arrives at this socket, for [`receive_stamped`].
///
/// # Errors
/// None that is known.
pub(super) fn stamp_arrivals(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open because `socket` is borrowed; pointer and length describe `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives into the buffer without waiting: how many bytes, and when they arrived, since 1970 on the wall clock, where the kernel says it.
///
/// # Errors
/// `WouldBlock` when there is nothing, and what else `recvmsg` says.
pub(super) fn receive_stamped(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    /// Room for one control message with a timespec, aligned as its header has to be.
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all-zero bytes are a valid msghdr, one without name, parts and control messages.
    let message = unsafe { message.assume_init_mut() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: the descriptor is open because `socket` is borrowed; `message` points to `buffer` and `control` with their lengths, which outlive
    // the call, and the kernel writes no more than that.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut *message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has set `msg_controllen` to what it wrote to `control`, and CMSG_FIRSTHDR gives null unless a whole header is in it.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const *message).as_ref() };
    let stamp = first.filter(|header| {
        (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
            && header.cmsg_len >= mem::size_of::<libc::cmsghdr>() + mem::size_of::<libc::timespec>()
    });
    let stamp = stamp.map(|header| {
        // SAFETY: the message has room for a timespec behind its header, as its length says and the kernel wrote it; read without assuming
        // that it is aligned.
        unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() }
    });
    let since_1970 = |at: libc::timespec| {
        Some(Duration::new(
            u64::try_from(at.tv_sec).ok()?,
            u32::try_from(at.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?,
        ))
    };
    Ok((length, stamp.and_then(since_1970)))
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

/// Gives pages of the heap that nothing is in back to the system: by itself the allocator does so only at the heap's end.
pub fn trim_heap() {
    // Other C libraries have other allocators.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back memory that was used once: free heap, and the program's own code and constants, which come back page by page from the page
/// cache when they are used. What start-up or a thousand new Services needed does not count as this process's memory for the rest of its life.
///
/// # Errors
/// No `/proc`, or the kernel refuses.
pub fn release_memory() -> io::Result<()> {
    trim_heap();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for range in code_of(&maps) {
        // SAFETY: the range is a private mapping of the running executable that was never writable, so every page is what the file says, and
        // the file cannot change while it runs (ETXTBSY): the next access reads the same again. Nothing that was written lives there.
        let result =
            unsafe { libc::madvise(range.start as *mut libc::c_void, range.end - range.start, libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Of the executable's mappings in `/proc/self/maps`: those up to its code. What comes after was written to by the loader.
fn code_of(maps: &str) -> Vec<Range<usize>> {
    let mapping = |line: &str| {
        let mut fields = line.split_whitespace();
        let (range, rights, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
        let (start, end) = range.split_once('-')?;
        let address = |hex| usize::from_str_radix(hex, 16).ok();
        Some((address(start)?..address(end)?, rights.to_owned(), inode.to_owned()))
    };
    let all: Vec<_> = maps.lines().map_while(mapping).collect();
    let Some(code) = all.iter().position(|(_, rights, inode)| rights == "r-xp" && inode != "0") else {
        return Vec::new();
    };
    let of_code = |(_, rights, inode): &&(Range<usize>, String, String)| {
        matches!(rights.as_str(), "r--p" | "r-xp")
            && all.get(code).is_some_and(|(_, _, executable)| executable == inode)
    };
    all.iter().take(code + 1).filter(of_code).map(|(range, _, _)| range.clone()).collect()
}

fn as_int(index: u32) -> io::Result<libc::c_int> {
    libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn only_the_executable_up_to_its_code_is_released() {
        let maps = "\
555555554000-5555558d4000 r--p 00000000 fe:00 1234 /herald
5555558d4000-555556337000 r-xp 0037f000 fe:00 1234 /herald
555556337000-5555563a8000 r--p 00de2000 fe:00 1234 /herald
5555563a8000-5555563b0000 rw-p 00e52000 fe:00 1234 /herald
5555563b0000-555556500000 rw-p 00000000 00:00 0 [heap]
7ffff7fbd000-7ffff7fc1000 r--p 00000000 00:00 0 [vvar]
7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code_of(maps), [0x5555_5555_4000..0x5555_558d_4000, 0x5555_558d_4000..0x5555_5633_7000]);
        assert!(code_of("").is_empty());
        assert!(code_of("7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0 [vdso]").is_empty());
    }

    #[test]
    fn a_program_goes_on_after_its_memory_was_released() {
        let before = code_of(&std::fs::read_to_string("/proc/self/maps").unwrap());
        assert!(!before.is_empty());
        release_memory().unwrap();
        assert_eq!(code_of(&std::fs::read_to_string("/proc/self/maps").unwrap()), before);
    }
}
