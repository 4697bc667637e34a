//! Hellos as unicast datagrams, for networks that filter multicast frames: one socket a family and node.

use super::{
    hello_io::{Heard, HelloCounters, Keys, Opener},
    sys,
};
use crate::links::Links;
use herald_core::LinkName;
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

/// Larger than any hello, so that a longer datagram is seen to be none.
const BUFFER_LEN: usize = 2048;

/// Why hellos cannot travel as datagrams. Hellos as frames go on regardless.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Somebody else has the port.
    #[error(
        "UDP port {0} is in use on this node (MetalLB's speaker, or another host-network program?): hellos to peers behind a filtering \
         network are not sent or heard; free the port or choose another one for all speakers"
    )]
    InUse(u16),
    /// Something else.
    #[error("UDP port {port}: {error}")]
    Other {
        /// The port.
        port: u16,
        /// What the system says.
        error: io::Error,
    },
}

/// The datagram sockets of this node. Dropping it ends its tasks and closes them.
#[derive(Debug)]
pub struct HelloUdp {
    port: u16,
    v4: Arc<UdpSocket>,
    /// Missing where the kernel has no IPv6.
    v6: Option<Arc<UdpSocket>>,
    counters: Arc<HelloCounters>,
    _tasks: JoinSet<()>,
}

impl HelloUdp {
    /// Listens on this port of all addresses. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The port is in use.
    pub fn open(
        port: u16,
        links: &watch::Receiver<Arc<Links>>,
        keys: &watch::Receiver<Arc<Keys>>,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<Self, UdpError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => UdpError::InUse(port),
            _ => UdpError::Other { port, error },
        };
        let v4 = Arc::new(bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map_err(failed)?);
        let v6 = match bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => None,
            Err(error) => return Err(failed(error)),
        };
        let opener = Arc::new(Opener::new(keys.clone(), heard.clone()));
        let counters = Arc::clone(&opener.counters);
        let mut tasks = JoinSet::new();
        for socket in std::iter::once(&v4).chain(&v6) {
            tasks.spawn(run(Arc::clone(socket), links.clone(), Arc::clone(&opener)));
        }
        Ok(Self { port, v4, v6, counters, _tasks: tasks })
    }

    /// Sends sealed bytes to a peer's address, without waiting.
    ///
    /// # Errors
    /// No IPv6 here, no route, or the queue is full.
    pub fn send(&self, to: IpAddr, payload: &[u8]) -> io::Result<()> {
        let socket = match to {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?,
        };
        // tokio's own try_send_to fails until the reactor has polled once.
        SockRef::from(&**socket).send_to(payload, &SocketAddr::new(to, self.port).into()).map(|_| ())
    }

    /// What happened to datagrams.
    #[must_use]
    pub fn counters(&self) -> &Arc<HelloCounters> {
        &self.counters
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    // Peers are on the link: what a wrong route would carry away must not travel far.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(1)?;
    } else {
        socket.set_ttl_v4(1)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn run(socket: Arc<UdpSocket>, links: watch::Receiver<Arc<Links>>, opener: Arc<Opener>) {
    let mut buffer = [0; BUFFER_LEN];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let at = sys::boottime();
                let links = Arc::clone(&links.borrow());
                match link_of(&links, from.ip()) {
                    Some(link) => opener.take(link, None, &from, buffer.get(..length).unwrap_or_default(), at),
                    None => {
                        opener.counters.no_link.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            // A peer's port unreachable comes back as an error of the next call.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => debug!(%error, "peer does not listen"),
            Err(error) => {
                warn!(%error, "receiving datagrams failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The usable link whose subnet holds the address: the longest prefix, then the lowest name. What came through a router belongs to no link.
fn link_of(links: &Links, address: IpAddr) -> Option<&LinkName> {
    let prefix = |link: &crate::links::Link| {
        link.addresses.iter().filter(|subnet| subnet.contains(address)).map(|subnet| subnet.prefix()).max()
    };
    links
        .iter()
        .filter(|(_, link)| link.usable.is_ok())
        .filter_map(|(name, link)| prefix(link).map(|prefix| (prefix, name)))
        .max_by(|(one, name), (other, other_name)| one.cmp(other).then(other_name.cmp(name)))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{Link, Unusable};
    use herald_wire::Mac;

    fn links(of: &[(&str, &[&str], bool)]) -> Links {
        let link = |name: &str, addresses: &[&str], usable: bool| Link {
            index: 1,
            name: name.into(),
            mac: Mac::ZERO,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            usable: if usable { Ok(()) } else { Err(Unusable::Down) },
        };
        of.iter().map(|(name, addresses, usable)| (LinkName::from(*name), link(name, addresses, *usable))).collect()
    }

    #[test]
    fn a_datagram_belongs_to_the_usable_link_whose_subnet_holds_its_source() {
        let links = links(&[
            ("eth0", &["10.0.0.1/8", "fd00::1/64"], true),
            ("eth1", &["10.1.0.1/16"], true),
            ("eth2", &["10.1.0.2/16"], true),
            ("eth3", &["10.1.2.1/24"], false),
        ]);
        let of = |address: &str| link_of(&links, address.parse().unwrap()).map(LinkName::as_str);
        assert_eq!(of("10.9.0.7"), Some("eth0"));
        assert_eq!(of("10.1.2.7"), Some("eth1"), "longest usable prefix, then lowest name");
        assert_eq!(of("fd00::7"), Some("eth0"));
        assert_eq!(of("192.0.2.1"), None);
    }
}
