//! ARP as the LAN client asks it: one raw socket, one thread.

use crate::{Error, Result};
use herald_lab::{Host, Lab, Lan};
use herald_wire::{
    Mac,
    arp::{self, Operation},
};
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{ErrorKind, Read as _},
    net::Ipv4Addr,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

/// The client's raw ARP socket.
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
        let socket = lab.in_netns(Host::Client, open)?.map_err(Error::io("opening the client's ARP socket"))?;
        Ok(Self { socket, mac: mac_of(Host::Client), ip: Host::Client.ipv4(Lan::First) })
    }

    /// Sends one request to `destination` and waits for the first answer; `None` when there is none in time.
    ///
    /// # Errors
    /// The socket.
    pub fn ask(&self, target: Ipv4Addr, destination: Mac, patience: Duration) -> Result<Option<Answer>> {
        let frame = arp::ask(self.mac, self.ip, target, destination).emit();
        let error = || Error::io("asking by ARP");
        let end = Instant::now() + patience;
        self.socket.send(&frame).map_err(error())?;
        let mut buffer = [0; 128];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).map_err(error())?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    let at = Instant::now();
                    let frame = arp::parse(buffer.get(..length).unwrap_or_default());
                    if let Ok(frame) = frame
                        && frame.packet.operation == Operation::Reply
                        && frame.packet.sender_ip == target
                        && frame.packet.target_mac == self.mac
                    {
                        return Ok(Some(Answer { mac: frame.packet.sender_mac, at }));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(source) => return Err(error()(source)),
            }
        }
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

/// Starts delivery of ARP frames from the client's interface in the calling thread's network.
fn open() -> std::io::Result<Socket> {
    let name = Lan::First.interface();
    // The kernel's own list gives the address with the interface's index, which no safe constructor does.
    let link = nix::ifaddrs::getifaddrs()?.filter(|entry| entry.interface_name == name);
    let link = link.filter_map(|entry| entry.address?.as_link_addr().copied()).next();
    let link = link.ok_or_else(|| std::io::Error::other(format!("the client has no {name}")))?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(arp::ETHERTYPE.to_be()))))?;
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
