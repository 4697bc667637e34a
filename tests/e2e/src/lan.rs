//! The LAN as its plain client sees it: who answers for an address, and what answers on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use herald_lab::{Host, Lan};
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, Socket, Type};

use crate::PATIENCE;
use crate::cluster::Cluster;
use crate::error::{Error, Result, eventually};
use crate::http;

/// How long answers to one broadcast request are collected: every node answers in well under a millisecond.
const WINDOW: Duration = Duration::from_millis(200);
/// Patience for one HTTP request.
const HTTP: Duration = Duration::from_secs(5);

/// Who asks: nobody, so that no kernel learns from the answers. The client's own would move its connections to whoever answers.
const ASKER: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0xfe, 0xfe], Ipv4Addr::new(192, 168, 56, 250));

/// RFC 826.
const ETHERTYPE_ARP: u16 = 0x0806;

/// MAC addresses as text, as `ip link` shows them.
type Macs = BTreeSet<String>;

/// Who answered a broadcast request, and when it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// When the request left.
    pub at: Instant,
    /// Hosts that answered for themselves.
    pub hosts: BTreeSet<Host>,
}

/// A raw socket of the client, on its first LAN, that sees ARP, also what is sent to others.
struct ArpSocket(Socket);

fn system(what: &'static str) -> impl FnOnce(nix::errno::Errno) -> Error {
    move |errno| Error::Io { what: what.to_owned(), source: errno.into() }
}

impl ArpSocket {
    /// On the calling thread's network.
    fn open() -> Result<Self> {
        let name = Lan::First.interface();
        // The kernel's own list gives the address with the interface's index, which no safe constructor does.
        let link = nix::ifaddrs::getifaddrs()
            .map_err(system("listing interfaces"))?
            .filter(|entry| entry.interface_name == name)
            .find_map(|entry| entry.address?.as_link_addr().copied());
        let link = link.ok_or_else(|| Error::Unexpected(format!("the client has no {name}")))?;
        let arp = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(arp)).map_err(Error::io("opening a packet socket"))?;
        bind(socket.as_raw_fd(), &link).map_err(system("binding a packet socket"))?;
        // Short, so that a look ends in time though nothing comes.
        socket.set_read_timeout(Some(Duration::from_millis(5))).map_err(Error::io("setting a timeout"))?;
        Ok(Self(socket))
    }

    /// One broadcast request; the sender addresses of all answers that come within `window`.
    fn ask(&mut self, address: Ipv4Addr, window: Duration) -> Result<Macs> {
        let Self(socket) = self;
        let (mac, ip) = ASKER;
        socket.write_all(&request(mac, ip, address)).map_err(Error::io("sending an ARP request"))?;
        let (start, mut macs) = (Instant::now(), Macs::new());
        let mut frame = [0_u8; 1514];
        while start.elapsed() < window {
            // An error is the timeout.
            if let Ok(length) = socket.read(&mut frame) {
                macs.extend(answer(frame.get(..length).unwrap_or_default(), mac, address));
            }
        }
        Ok(macs)
    }
}

/// RFC 826, broadcast, "who has `target`, tell `asker`".
fn request(own: [u8; 6], asker: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(own);
    // EtherType ARP; Ethernet, IPv4, lengths 6 and 4, operation request.
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// The MAC address that a frame gives for `address`, when it is an answer to us. Gratuitous replies are no answers.
fn answer(frame: &[u8], own: [u8; 6], address: Ipv4Addr) -> Option<String> {
    let is_reply = frame.get(12..22)? == [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2];
    let to_us = frame.get(..6)? == own;
    let about = frame.get(28..32)? == address.octets();
    (is_reply && to_us && about).then(|| text(frame.get(22..28).unwrap_or_default()))
}

fn text(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

impl Cluster {
    /// The hosts that have these MAC addresses.
    fn owners(&self, macs: &Macs) -> Result<BTreeSet<Host>> {
        let known: BTreeMap<String, Host> =
            self.lab().hosts().into_iter().map(|host| (host.mac(Lan::First), host)).collect();
        let of = |mac: &String| {
            known
                .get(mac)
                .copied()
                .ok_or_else(|| Error::Unexpected(format!("{mac} answers, which is no host of the lab")))
        };
        macs.iter().map(of).collect()
    }

    /// All hosts that answer one broadcast request (multicast solicitation) of the client for the address.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when somebody answers who is no host of the lab; [`Error::Io`].
    pub fn announcers(&self, address: IpAddr) -> Result<BTreeSet<Host>> {
        let macs = match address {
            IpAddr::V4(address) => self.lab().in_netns(Host::Client, || ArpSocket::open()?.ask(address, WINDOW))??,
            IpAddr::V6(_) => self.ndisc(address)?,
        };
        self.owners(&macs)
    }

    fn ndisc(&self, address: IpAddr) -> Result<Macs> {
        let address = address.to_string();
        let argv = ["ndisc6", "-m", "-q", "-r", "1", "-w", "300", &address, Lan::First.interface()];
        let output = self.lab().net_command(Host::Client, &argv)?.output().map_err(Error::io("ndisc6"))?;
        // Exit code 2: nobody answered.
        let lines = String::from_utf8_lossy(&output.stdout).to_lowercase();
        Ok(lines.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    /// Waits until exactly one host answers for the address.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that answer.
    pub fn announcer(&self, address: IpAddr) -> Result<Host> {
        eventually(&format!("exactly one host to answer for {address}"), PATIENCE, || {
            let hosts: Vec<Host> = self.announcers(address)?.into_iter().collect();
            Ok(if let [host] = hosts.as_slice() { Ok(*host) } else { Err(format!("{hosts:?} answer")) })
        })
    }

    /// Waits until exactly this host answers for the address.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that answer.
    pub fn await_announcer(&self, address: IpAddr, wanted: Host) -> Result<()> {
        eventually(&format!("{wanted} alone to answer for {address}"), PATIENCE, || {
            let hosts = self.announcers(address)?;
            Ok(if hosts.iter().eq([&wanted]) { Ok(()) } else { Err(format!("{hosts:?} answer")) })
        })
    }

    /// Waits until nobody answers for the address.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that answer.
    pub fn await_silence(&self, address: IpAddr) -> Result<()> {
        eventually(&format!("nobody to answer for {address}"), PATIENCE, || {
            let hosts = self.announcers(address)?;
            Ok(if hosts.is_empty() { Ok(()) } else { Err(format!("{hosts:?} answer")) })
        })
    }

    /// Asks for an IPv4 address again and again (20 requests a second) in the background.
    ///
    /// # Errors
    /// [`Error::Io`] when the socket cannot be opened.
    pub fn watch_announcers(&self, address: Ipv4Addr) -> Result<Watch> {
        let mut socket = self.lab().in_netns(Host::Client, ArpSocket::open)??;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut seen = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    seen.push((at, socket.ask(address, Duration::from_millis(50))?));
                }
                Ok(seen)
            }
        });
        Ok(Watch { stop, thread })
    }

    /// GET by the client; the body of the answer.
    ///
    /// # Errors
    /// [`Error::Io`]: no connection, or another answer than 200.
    pub fn client_http(&self, to: SocketAddr, path: &str) -> Result<String> {
        let answer = self.lab().in_netns(Host::Client, || http::get(to, path, HTTP))?;
        answer.map_err(Error::io(format!("GET http://{to}{path} by the client")))
    }

    /// Asks an address on port 80 (each time on a new connection) until it has been answered by `pods` different pods.
    /// Returns their names.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that answered, and the last error.
    pub fn answering_pods(&self, address: IpAddr, pods: usize) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        eventually(&format!("{pods} pods to answer on {address}"), PATIENCE, || {
            let answers = self.lab().in_netns(Host::Client, || {
                (0..20).map(|_| http::get((address, 80).into(), "/", HTTP)).collect::<Vec<_>>()
            })?;
            let mut last = String::new();
            for answer in answers {
                match answer {
                    Ok(pod) => _ = seen.insert(pod),
                    Err(error) => last = format!(", {error}"),
                }
            }
            Ok(if seen.len() >= pods { Ok(seen.clone()) } else { Err(format!("{seen:?}{last}")) })
        })
    }

    /// Waits until 20 requests in a row to port 80 are answered by pods whose name begins so, and by no others: kube-proxy
    /// needs a moment for every change.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that answered.
    pub fn await_only_pods(&self, address: IpAddr, prefix: &str) -> Result<()> {
        eventually(&format!("only pods of {prefix} to answer on {address}"), PATIENCE, || {
            let answers = self.lab().in_netns(Host::Client, || {
                (0..20).map(|_| http::get((address, 80).into(), "/", HTTP)).collect::<std::io::Result<BTreeSet<_>>>()
            })?;
            Ok(match answers {
                Ok(pods) if pods.iter().all(|pod| pod.starts_with(prefix)) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
    }
}

/// Requests in the background; see [`Cluster::watch_announcers`].
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<(Instant, Macs)>>>,
}

impl Watch {
    /// Ends it; everything that was seen, in order.
    ///
    /// # Errors
    /// What the socket said; [`Error::Unexpected`] when somebody answered who is no host of the lab.
    pub fn finish(self, cluster: &Cluster) -> Result<Vec<Sight>> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        seen.into_iter().map(|(at, macs)| Ok(Sight { at, hosts: cluster.owners(&macs)? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0xc0, 0xa8, 0x38, 0xc8];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 11);

    fn reply(to: [u8; 6], about: Ipv4Addr, operation: u8) -> Vec<u8> {
        let mut frame = to.to_vec();
        frame.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 7]);
        frame.extend(about.octets());
        frame.extend([0; 28]);
        frame
    }

    #[test]
    fn the_answer_is_the_payload_s_sender_not_the_frame_s() {
        assert_eq!(answer(&reply(OWN, ADDRESS, 2), OWN, ADDRESS).as_deref(), Some("02:00:00:00:00:07"));
    }

    #[test]
    fn what_is_no_answer_to_us_does_not_count() {
        let other = Ipv4Addr::new(192, 168, 56, 12);
        assert_eq!(answer(&reply([0xff; 6], ADDRESS, 2), OWN, ADDRESS), None, "gratuitous");
        assert_eq!(answer(&reply(OWN, ADDRESS, 1), OWN, ADDRESS), None, "a request");
        assert_eq!(answer(&reply(OWN, other, 2), OWN, ADDRESS), None, "about another address");
        assert_eq!(answer(&[], OWN, ADDRESS), None);
    }

    #[test]
    fn a_request_is_42_bytes_of_rfc_826() {
        let frame = request(OWN, Host::Client.ipv4(Lan::First), ADDRESS);
        assert_eq!(frame.len(), 42);
        assert_eq!(frame.get(20..22), Some([0, 1].as_slice()));
        assert_eq!(frame.get(38..), Some([192, 168, 56, 11].as_slice()));
    }
}
