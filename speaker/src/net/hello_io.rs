//! Hellos as frames of a link: opened when they arrive, handed to the driver, sent to the group.

use super::{
    filter::Hellos,
    packet_socket::{OpenError, PacketSocket, Protocol, Waiting},
    responder::receive_failed,
};
use herald_core::{LinkName, time::Moment};
use herald_wire::{
    EthernetHeader, Mac, ethernet,
    hello::{self, ClusterId, Hello, HelloError, Key},
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

/// What hellos are authenticated with.
#[derive(Debug, Clone)]
pub struct Keys {
    /// This speaker's cluster.
    pub cluster: ClusterId,
    /// The keys that are accepted: none before the Secret was read, two while one replaces the other. The first one seals.
    pub accepted: Vec<Key>,
}

/// A hello of this cluster.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The link it came on.
    pub link: LinkName,
    /// Its sender there: the Ethernet source, or for a datagram what the hello says.
    pub from: Mac,
    /// What carried it.
    pub carrier: Carrier,
    /// What it says.
    pub hello: Hello,
    /// When it was taken from the kernel.
    pub at: Moment,
}

/// What carried a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A frame to the group.
    Frame,
    /// A unicast datagram.
    Datagram,
}

/// What happened to hellos on a link or socket, since it was opened; read when metrics are scraped.
#[derive(Debug, Default)]
pub struct HelloCounters {
    /// Opened and handed to the driver.
    pub heard: AtomicU64,
    /// Not a hello.
    pub malformed: AtomicU64,
    /// Of another cluster: no reason for alarm.
    pub foreign_cluster: AtomicU64,
    /// Of this cluster, with a wrong key.
    pub wrong_hmac: AtomicU64,
    /// Of an unknown version.
    pub version: AtomicU64,
    /// Arrived while this speaker has no key.
    pub no_key: AtomicU64,
    /// Datagrams from an address in no usable link's subnet.
    pub no_link: AtomicU64,
    /// The driver had no room.
    pub lost: AtomicU64,
}

/// Opens hellos and hands them on; shared by frames and datagrams.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) keys: watch::Receiver<Arc<Keys>>,
    pub(super) heard: mpsc::Sender<Heard>,
    pub(super) counters: Arc<HelloCounters>,
    /// When a wrong key was last complained of, in microseconds.
    complained: AtomicU64,
}

/// A wrong key on a busy link would be logged twenty times a second.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

impl Opener {
    pub(super) fn new(keys: watch::Receiver<Arc<Keys>>, heard: mpsc::Sender<Heard>) -> Self {
        Self { keys, heard, counters: Arc::default(), complained: AtomicU64::new(0) }
    }

    /// `from` is the Ethernet source when there is one.
    pub(super) fn take(
        &self,
        link: &LinkName,
        from: Option<Mac>,
        sender: &dyn fmt::Display,
        payload: &[u8],
        at: Moment,
    ) {
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let keys = Arc::clone(&self.keys.borrow());
        if keys.accepted.is_empty() {
            return count(&self.counters.no_key);
        }
        let hello = match hello::open(payload, keys.cluster, &keys.accepted) {
            Ok(hello) => hello,
            Err(HelloError::Malformed(_)) => return count(&self.counters.malformed),
            Err(HelloError::ForeignCluster(_)) => return count(&self.counters.foreign_cluster),
            Err(error @ (HelloError::WrongHmac | HelloError::Version(_))) => {
                let wrong_hmac = error == HelloError::WrongHmac;
                count(if wrong_hmac { &self.counters.wrong_hmac } else { &self.counters.version });
                return self.complain(link, sender, &error, at);
            }
        };
        let own = hello.links.get(usize::from(hello.link)).map(|info| info.mac);
        let (Some(from), carrier) = (from.or(own), from.map_or(Carrier::Datagram, |_| Carrier::Frame)) else {
            return count(&self.counters.malformed);
        };
        match self.heard.try_send(Heard { link: link.clone(), from, carrier, hello, at }) {
            Ok(()) => count(&self.counters.heard),
            Err(_) => count(&self.counters.lost),
        }
    }

    fn complain(&self, link: &LinkName, sender: &dyn fmt::Display, error: &HelloError, at: Moment) {
        let last = self.complained.load(Ordering::Relaxed);
        if last == 0 || at.since(Moment::from_micros(last)) >= COMPLAIN_EVERY {
            self.complained.store(at.as_micros(), Ordering::Relaxed);
            warn!(%link, %sender, %error, "hello refused; check that all speakers of this cluster read the same key Secret and run compatible versions");
        }
    }
}

/// Frames that are taken from a link in one go, so that the driver's queue has room for them.
const BATCH: usize = 256;

/// The hello frames of one link. Dropping it ends its task and closes its sockets.
///
/// Whoever is well says the same every interval. To be woken for each of these hellos would be most of an idle speaker's work, so there are two
/// sockets: what is news wakes at once, and what is [`Hello::routine`] waits until it is [collected](HelloPort::collect). While the driver
/// is [attentive](HelloPort::attend), everything wakes.
#[derive(Debug)]
pub struct HelloPort {
    link: LinkName,
    socket: Arc<PacketSocket>,
    routine: Waiting,
    attentive: bool,
    opener: Arc<Opener>,
    _task: JoinSet<()>,
}

impl HelloPort {
    /// Listens on the link with this index. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// No permission for raw sockets, or no such link.
    pub fn open(
        link: &LinkName,
        index: u32,
        keys: &watch::Receiver<Arc<Keys>>,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<Self, OpenError> {
        let socket = Arc::new(PacketSocket::open(index, Protocol::Hello)?);
        let routine = Waiting::open(index)?;
        let opener = Arc::new(Opener::new(keys.clone(), heard.clone()));
        let mut task = JoinSet::new();
        task.spawn(run(link.clone(), Arc::clone(&socket), Arc::clone(&opener)));
        Ok(Self { link: link.clone(), socket, routine, attentive: true, opener, _task: task })
    }

    /// Whether every hello is to wake the driver, or only what is news. At first, every one does.
    pub fn attend(&mut self, attentive: bool) {
        if self.attentive == attentive {
            return;
        }
        // First what takes more, then what takes less: in between a hello may come twice, and is not newer the second time.
        let changed = if attentive {
            let all = self.socket.only_hellos(Hellos::All);
            all.and_then(|()| self.routine.only_hellos(Hellos::Nothing))
        } else {
            let routine = self.routine.only_hellos(Hellos::Routine);
            routine.and_then(|()| self.socket.only_hellos(Hellos::News))
        };
        match changed {
            Ok(()) => self.attentive = attentive,
            Err(error) => debug!(link = %self.link, %error, "no filter for hellos"),
        }
    }

    /// Hands on the hellos that waited, with the moments of their arrival; whether that was all.
    pub fn collect(&mut self) -> bool {
        let (link, opener) = (&self.link, &self.opener);
        let taken = self.routine.take(BATCH, |frame, at| take(link, opener, frame, at));
        taken.unwrap_or_else(|error| {
            debug!(%link, %error, "receiving routine hellos failed");
            true
        })
    }

    /// Sends sealed bytes to all speakers on the link, from its current MAC address.
    ///
    /// # Errors
    /// The link is down or gone, or its queue is full.
    pub fn send(&self, mac: Mac, payload: &[u8]) -> io::Result<()> {
        let header = EthernetHeader { destination: hello::GROUP, source: mac };
        self.socket.send(&ethernet::frame(header, hello::ETHERTYPE, payload))
    }

    /// Whether a hello that is news waits in the kernel: a peer must not be called silent before it has been taken.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.socket.pending()
    }

    /// What happened on this link.
    #[must_use]
    pub fn counters(&self) -> &Arc<HelloCounters> {
        &self.opener.counters
    }

    /// Hellos that the kernel had no room for.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        self.socket.drops() + self.routine.drops()
    }
}

fn take(link: &LinkName, opener: &Opener, frame: &[u8], at: Moment) {
    match ethernet::split(frame) {
        Ok((header, hello::ETHERTYPE, payload)) => {
            opener.take(link, Some(header.source), &header.source, payload, at);
        }
        _ => debug!(%link, "frame without hello passed the filter"),
    }
}

async fn run(link: LinkName, socket: Arc<PacketSocket>, opener: Arc<Opener>) {
    loop {
        if let Err(error) = socket.receive(|frame, at| take(&link, &opener, frame, at)).await {
            receive_failed(&link, &error).await;
        }
    }
}
