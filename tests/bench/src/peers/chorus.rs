//! Speakers that are not there: one thread says the hellos of many, and another one answers what their nodes' kernels would.

use crate::{Error, Result, arp::open_on};
use herald_netns::Host;
use herald_wire::{
    EthernetHeader, Mac,
    arp::{self, Operation},
    ethernet,
    hello::{self, ClusterId, Flags, Hello, IfName, Key, LinkInfo, Stamp, peer_hash},
};
use socket2::Socket;
use std::{
    collections::BTreeMap,
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The interval of a link with few members, and the time that each member adds where they are many: the rule of `core::membership`.
const INTERVAL: Duration = Duration::from_millis(50);
const EACH: Duration = Duration::from_millis(1);
/// For the threads to see that they are to end.
const LOOK: Duration = Duration::from_millis(100);

/// A node with a speaker.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its Node's name.
    pub name: String,
    /// Of its link.
    pub mac: Mac,
    /// On its link.
    pub ip: Ipv4Addr,
}

impl Peer {
    /// The one with this number, from 1 on.
    #[must_use]
    pub fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self {
            name: format!("peer{number:03}"),
            mac: Mac([0x06, 0, 0, 0, high, low]),
            ip: Ipv4Addr::new(192, 168, 58, low),
        }
    }
}

/// What all speakers of the cluster share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The cluster.
    pub cluster: ClusterId,
    /// The key.
    pub key: Key,
    /// The Node whose speaker is real.
    pub real: String,
}

/// Says hellos until it is dropped.
#[derive(Debug)]
pub struct Chorus {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    heard: Arc<Mutex<Option<Hello>>>,
}

impl Chorus {
    /// Starts on the host's eth0.
    ///
    /// # Errors
    /// No sockets.
    pub fn start(host: &Host, peers: &[Peer], shared: &Shared) -> Result<Self> {
        let socket = |ethertype| {
            let socket = host.run(|| async { open_on("eth0", ethertype) });
            let socket = socket.and_then(|socket| socket.set_read_timeout(Some(LOOK)).map(|()| socket));
            socket.map_err(Error::io("opening a socket for the peers"))
        };
        let (says, hears, answers) = (socket(hello::ETHERTYPE)?, socket(hello::ETHERTYPE)?, socket(arp::ETHERTYPE)?);
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let by_address: BTreeMap<Ipv4Addr, Mac> = peers.iter().map(|peer| (peer.ip, peer.mac)).collect();
        let singers = Singers::new(peers, shared);
        let threads = vec![
            thread::spawn({
                let stop = Arc::clone(&stop);
                move || singers.sing(&says, &stop)
            }),
            thread::spawn({
                let (stop, heard, shared) = (Arc::clone(&stop), Arc::clone(&heard), shared.clone());
                move || listen(&hears, &shared, &heard, &stop)
            }),
            thread::spawn({
                let stop = Arc::clone(&stop);
                move || answer(&answers, &by_address, &stop)
            }),
        ];
        Ok(Self { stop, threads, heard })
    }

    /// The last hello of the real speaker.
    #[must_use]
    pub fn heard(&self) -> Option<Hello> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Chorus {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("  a thread of the peers has panicked");
            }
        }
    }
}

/// Who says what when.
struct Singers {
    key: Key,
    interval: Duration,
    next: Vec<(Instant, Hello, Mac)>,
}

impl Singers {
    fn new(peers: &[Peer], shared: &Shared) -> Self {
        let names = peers.iter().map(|peer| peer.name.as_str()).chain([shared.real.as_str()]);
        let hashes: Vec<u32> = names.map(|name| peer_hash(shared.cluster, name)).collect();
        let interval = INTERVAL.max(EACH * u32::try_from(hashes.len()).unwrap_or(u32::MAX));
        let start = Instant::now();
        let hello = |(place, peer): (usize, &Peer)| {
            let others = hashes.iter().enumerate().filter(|(other, _)| *other != place);
            let hello = Hello {
                cluster: shared.cluster,
                node: peer.name.clone(),
                incarnation: 1,
                sequence: 0,
                interval_ms: u16::try_from(interval.as_millis()).unwrap_or(u16::MAX),
                flags: Flags { ready: true, ..Flags::default() },
                link: 0,
                links: vec![LinkInfo { mac: peer.mac, name: IfName::new("eth0"), addresses: vec![peer.ip.into()] }],
                heard: others.map(|(_, hash)| *hash).collect(),
                kept: Vec::new(),
                moves: Some(Vec::new()),
                conflicts: Vec::new(),
                stamp: Stamp { connected: true, resource_version: 1 },
                routine: false,
            };
            (start, hello, peer.mac)
        };
        Self { key: shared.key.clone(), interval, next: peers.iter().enumerate().map(hello).collect() }
    }

    fn sing(mut self, socket: &Socket, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (when, hello, mac) in &mut self.next {
                if *when > now {
                    continue;
                }
                hello.sequence += 1;
                // As a speaker's: up to a tenth sooner than the interval, and each otherwise.
                let node =
                    hello.node.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
                let spread = node.wrapping_add(hello.sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
                *when = now + self.interval - self.interval / 10 * u32::try_from(spread).unwrap_or(0) / 256;
                let header = EthernetHeader { destination: hello::GROUP, source: *mac };
                // Lost: the speaker would say so.
                if let Ok(bytes) = hello::seal(hello, &self.key) {
                    let _ = socket.send(&ethernet::frame(header, hello::ETHERTYPE, &bytes));
                }
                hello.routine = true;
            }
            let next = self.next.iter().map(|(when, ..)| *when).min().unwrap_or(now + LOOK);
            thread::sleep(next.saturating_duration_since(Instant::now()).min(LOOK));
        }
    }
}

fn listen(mut socket: &Socket, shared: &Shared, heard: &Mutex<Option<Hello>>, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        // An error is the timeout.
        let Ok(length) = socket.read(&mut buffer) else { continue };
        let Ok((_, _, payload)) = ethernet::split(buffer.get(..length).unwrap_or_default()) else { continue };
        if let Ok(hello) = hello::open(payload, shared.cluster, std::slice::from_ref(&shared.key))
            && hello.node == shared.real
        {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello);
        }
    }
}

fn answer(mut socket: &Socket, peers: &BTreeMap<Ipv4Addr, Mac>, stop: &AtomicBool) {
    let mut buffer = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.read(&mut buffer) else { continue };
        if let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default())
            && frame.packet.operation == Operation::Request
            && let Some(mac) = peers.get(&frame.packet.target_ip)
        {
            // Lost: the speaker asks again.
            let _ = socket.send(&frame.reply(*mac, *mac).emit());
        }
    }
}
