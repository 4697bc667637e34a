//! ARP as the LAN client asks it: one raw socket, one thread.

use crate::{Error, Result};
use herald_lab::{Host, Lab, Lan};
use herald_wire::{
    Mac,
    arp::{self, ArpPacket, Operation},
};
use nix::sys::{
    socket::{ControlMessageOwned, LinkAddr, MsgFlags, bind, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
    time::TimeSpec,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{ErrorKind, IoSliceMut},
    net::Ipv4Addr,
    os::fd::AsRawFd as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Who asks: a station of its own behind the client's card. Were it the client itself, every answer would also tell the client's kernel where
/// the address is, and a neighbour that a hand-over leaves alone would move with it.
const ASKER: (Mac, Ipv4Addr) = (Mac([0x06, 0, 0, 0, 0, 0xfa]), Ipv4Addr::new(192, 168, 56, 250));

/// A raw ARP socket on the client's card, as [`ASKER`].
#[derive(Debug)]
pub struct ArpPort {
    socket: Socket,
    mac: Mac,
    ip: Ipv4Addr,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The MAC address that it gives.
    pub mac: Mac,
    /// When it was received.
    pub at: Instant,
    /// From before the request was sent to the arrival of the answer at the client's network card, as the kernel stamped it: without the
    /// wake-up of this process.
    pub wire: Duration,
}

/// MAC address of a host of the lab on its first LAN.
#[must_use]
pub fn mac_of(host: Host) -> Mac {
    let mut mac = Mac::ZERO;
    for (byte, text) in mac.0.iter_mut().zip(host.mac(Lan::First).split(':')) {
        *byte = u8::from_str_radix(text, 16).unwrap_or_default();
    }
    mac
}

/// The node with this MAC address.
#[must_use]
pub fn node_of(lab: &Lab, mac: Mac) -> Option<Host> {
    lab.nodes().into_iter().find(|host| mac_of(*host) == mac)
}

impl ArpPort {
    /// Opens it in the client's network.
    ///
    /// # Errors
    /// The lab is down; no permission for raw sockets.
    pub fn open(lab: &Lab) -> Result<Self> {
        Self::open_on(lab, Host::Client)
    }

    /// Opens it in any host's network.
    ///
    /// # Errors
    /// The lab is down; no permission for raw sockets.
    pub fn open_on(lab: &Lab, host: Host) -> Result<Self> {
        let socket = lab.in_netns(host, open)?.map_err(Error::io("opening the client's ARP socket"))?;
        let (mac, ip) = ASKER;
        Ok(Self { socket, mac, ip })
    }

    /// The MAC address that asks.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends one request to `destination`.
    ///
    /// # Errors
    /// The socket.
    pub fn send(&self, target: Ipv4Addr, destination: Mac) -> Result<()> {
        let frame = arp::ask(self.mac, self.ip, target, destination).emit();
        self.socket.send(&frame).map(drop).map_err(Error::io("asking by ARP"))
    }

    /// Says by broadcast, unasked, that `mac` has `ip`: what a host does that took the address for itself.
    ///
    /// # Errors
    /// The socket.
    pub fn claim(&self, ip: Ipv4Addr, mac: Mac) -> Result<()> {
        let frame = arp::gratuitous_reply(mac, ip).emit();
        self.socket.send(&frame).map(drop).map_err(Error::io("claiming by ARP"))
    }

    /// The next ARP frame that reaches the client, whatever it says; `None` when there is none before `end`.
    ///
    /// # Errors
    /// The socket.
    pub fn hear(&self, end: Instant) -> Result<Option<ArpPacket>> {
        Ok(self.receive_until(end)?.map(|(packet, _)| packet))
    }

    /// Sends one request to `destination` and waits for the first answer; `None` when there is none in time.
    ///
    /// # Errors
    /// The socket.
    pub fn ask(&self, target: Ipv4Addr, destination: Mac, patience: Duration) -> Result<Option<Answer>> {
        let end = Instant::now() + patience;
        let sent = SystemTime::now();
        self.send(target, destination)?;
        while let Some((packet, arrived)) = self.receive_until(end)? {
            let at = Instant::now();
            if packet.operation == Operation::Reply && packet.sender_ip == target && packet.target_mac == self.mac {
                // The wall clock was set back meanwhile: no measurement.
                let wire = arrived.duration_since(sent).unwrap_or_default();
                return Ok(Some(Answer { mac: packet.sender_mac, at, wire }));
            }
        }
        Ok(None)
    }

    /// The next ARP frame and its arrival.
    fn receive_until(&self, end: Instant) -> Result<Option<(ArpPacket, SystemTime)>> {
        let error = || Error::io("listening to ARP");
        let mut buffer = [0; 128];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).map_err(error())?;
            match self.receive(&mut buffer) {
                Ok((length, arrived)) => {
                    if let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default()) {
                        return Ok(Some((frame.packet, arrived)));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(source) => return Err(error()(source)),
            }
        }
    }

    /// A frame, and when it arrived by the kernel's stamp (by our clock where there is none).
    fn receive(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SystemTime)> {
        let mut space = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
        let stamp = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(UNIX_EPOCH + Duration::from(stamp)),
            _ => None,
        });
        Ok((message.bytes, stamp.unwrap_or_else(SystemTime::now)))
    }

    /// Asks again and again, every `pause`, until somebody answers; `None` at the end of the patience.
    ///
    /// # Errors
    /// The socket.
    pub fn ask_until_answered(&self, target: Ipv4Addr, pause: Duration, patience: Duration) -> Result<Option<Answer>> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(answer) = self.ask(target, Mac::BROADCAST, pause)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

/// Starts delivery of ARP frames from the first LAN's interface in the calling thread's network.
pub(crate) fn open() -> std::io::Result<Socket> {
    open_on(Lan::First.interface(), arp::ETHERTYPE)
}

/// Starts delivery of frames of one EtherType from an interface in the calling thread's network.
pub(crate) fn open_on(name: &str, ethertype: u16) -> std::io::Result<Socket> {
    // The kernel's own list gives the address with the interface's index, which no safe constructor does.
    let link = nix::ifaddrs::getifaddrs()?.filter(|entry| entry.interface_name == name);
    let link = link.filter_map(|entry| entry.address?.as_link_addr().copied()).next();
    let link = link.ok_or_else(|| std::io::Error::other(format!("no {name} there")))?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ethertype.to_be()))))?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    bind(socket.as_raw_fd(), &link)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_of_the_lab() {
        assert_eq!(mac_of(Host::Worker(1)), Mac([0x02, 0x00, 0xc0, 0xa8, 56, 101]));
    }
}
