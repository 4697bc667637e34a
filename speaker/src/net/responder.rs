//! The tasks of a link that answer ARP and neighbour discovery from a published table, and send what is said unasked.

use super::{
    answer::{AnswerTable, DropReason, Sight, Verdict, judge_arp, judge_ndp},
    packet_socket::{OpenError, PacketSocket, Protocol},
};
use herald_core::{LinkName, time::Moment};
use herald_wire::{
    Mac,
    arp::{self, ArpFrame},
    ndp::{Advertisement, NdpFrame, Solicitation},
};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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

/// Something seen on a link that the driver may need: answers to its asks, and claims of its addresses.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Where.
    pub link: LinkName,
    /// What.
    pub sight: Sight,
    /// When it was taken from the kernel.
    pub at: Moment,
}

/// What happened on a link, since it was opened; read when metrics are scraped.
#[derive(Debug, Default)]
pub struct ResponderCounters {
    unanswered: [AtomicU64; DropReason::ALL.len()],
    /// Answers that the kernel did not take.
    pub send_failed: AtomicU64,
    /// Sights that the driver had no room for.
    pub seen_lost: AtomicU64,
}

impl ResponderCounters {
    /// Frames that got no answer, by reason.
    pub fn unanswered(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().zip(&self.unanswered).map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
    }

    fn count(&self, reason: DropReason) {
        let counts = DropReason::ALL.iter().zip(&self.unanswered);
        for (_, count) in counts.filter(|(candidate, _)| **candidate == reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The answering of one link. Dropping it ends its tasks and closes its sockets.
#[derive(Debug)]
pub struct Responder {
    arp: Arc<PacketSocket>,
    ndp: Arc<PacketSocket>,
    counters: Arc<ResponderCounters>,
    _tasks: JoinSet<()>,
}

impl Responder {
    /// Starts answering on the link with this index from the newest table. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// No permission for raw sockets, or no such link.
    pub fn open(
        link: &LinkName,
        index: u32,
        table: &watch::Receiver<Arc<AnswerTable>>,
        seen: &mpsc::Sender<Seen>,
    ) -> Result<Self, OpenError> {
        let arp = Arc::new(PacketSocket::open(index, Protocol::Arp)?);
        let ndp = Arc::new(PacketSocket::open(index, Protocol::NeighborDiscovery)?);
        let counters = Arc::new(ResponderCounters::default());
        let mut tasks = JoinSet::new();
        for (socket, judge) in [(&arp, judge_arp as Judge), (&ndp, judge_ndp as Judge)] {
            let task = Task {
                link: link.clone(),
                socket: Arc::clone(socket),
                judge,
                table: table.clone(),
                seen: seen.clone(),
                counters: Arc::clone(&counters),
            };
            tasks.spawn(task.run());
        }
        Ok(Self { arp, ndp, counters, _tasks: tasks })
    }

    /// Announces an address: gratuitous ARP request and reply, or an unsolicited advertisement.
    ///
    /// # Errors
    /// The link is down or gone, or its queue is full.
    pub fn announce(&self, mac: Mac, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(ip) => {
                self.send_arp(&arp::gratuitous_request(mac, ip))?;
                self.send_arp(&arp::gratuitous_reply(mac, ip))
            }
            IpAddr::V6(ip) => self.ndp.send(&Advertisement::unsolicited(mac, ip).emit()),
        }
    }

    /// Asks that station, or everybody on the link, for an IPv4 address, from `source` at `mac`.
    ///
    /// # Errors
    /// As [`Responder::announce`].
    pub fn ask_v4(&self, mac: Mac, source: Ipv4Addr, target: Ipv4Addr, to: Option<Mac>) -> io::Result<()> {
        self.send_arp(&arp::ask(mac, source, target, to.unwrap_or(Mac::BROADCAST)))
    }

    /// Asks that station, or the link, for an IPv6 address, from `source` at `mac`.
    ///
    /// # Errors
    /// As [`Responder::announce`].
    pub fn ask_v6(&self, mac: Mac, source: Ipv6Addr, target: Ipv6Addr, to: Option<Mac>) -> io::Result<()> {
        self.send_ndp(&NdpFrame::Solicitation(Solicitation::ask(mac, source, target, to)))
    }

    /// Sends an ARP frame.
    ///
    /// # Errors
    /// As [`Responder::announce`].
    pub fn send_arp(&self, frame: &ArpFrame) -> io::Result<()> {
        self.arp.send(&frame.emit())
    }

    /// Sends a neighbour discovery frame.
    ///
    /// # Errors
    /// As [`Responder::announce`].
    pub fn send_ndp(&self, frame: &NdpFrame) -> io::Result<()> {
        self.ndp.send(&frame.emit())
    }

    /// Has the kernel leave out requests for other addresses than these. An optimisation: where it fails, they are received and dropped.
    pub fn only_for(&self, addresses: &BTreeSet<IpAddr>) {
        let of = |v4: bool| addresses.iter().copied().filter(move |address| address.is_ipv4() == v4);
        let arp = self.arp.only_for(Protocol::Arp, of(true));
        if let Err(error) = arp.and_then(|()| self.ndp.only_for(Protocol::NeighborDiscovery, of(false))) {
            debug!(%error, addresses = addresses.len(), "no filter for single addresses");
        }
    }

    /// Whether a frame waits in the kernel.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.arp.pending() || self.ndp.pending()
    }

    /// What happened on this link.
    #[must_use]
    pub fn counters(&self) -> &Arc<ResponderCounters> {
        &self.counters
    }

    /// Frames that the kernel had no room for.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        self.arp.drops() + self.ndp.drops()
    }
}

type Judge = for<'t> fn(&[u8], &'t AnswerTable, Moment) -> Verdict<'t>;

struct Task {
    link: LinkName,
    socket: Arc<PacketSocket>,
    judge: Judge,
    table: watch::Receiver<Arc<AnswerTable>>,
    seen: mpsc::Sender<Seen>,
    counters: Arc<ResponderCounters>,
}

impl Task {
    async fn run(self) {
        loop {
            if let Err(error) = self.socket.receive(|frame, now| self.take(frame, now)).await {
                receive_failed(&self.link, &error).await;
            }
        }
    }

    /// The newest table counts for every single frame: an address that was withdrawn is not answered for once more.
    fn take(&self, frame: &[u8], now: Moment) {
        let table = self.table.borrow();
        let Verdict { answer, sight } = (self.judge)(frame, &table, now);
        match answer {
            Ok(reply) => {
                reply.counters.requests_received.fetch_add(1, Ordering::Relaxed);
                match self.socket.send(&reply.frame) {
                    Ok(()) => {
                        reply.counters.responses_sent.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        self.counters.send_failed.fetch_add(1, Ordering::Relaxed);
                        debug!(link = %self.link, address = %reply.address, %error, "answer not sent");
                    }
                }
            }
            Err(reason) => self.counters.count(reason),
        }
        if let Some(sight) = sight
            && self.seen.try_send(Seen { link: self.link.clone(), sight, at: now }).is_err()
        {
            self.counters.seen_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A link that goes down says so once and its socket lives on; anything else must not become a busy loop.
pub(super) async fn receive_failed(link: &LinkName, error: &io::Error) {
    if error.raw_os_error() == Some(libc::ENETDOWN) {
        debug!(%link, "link went down");
    } else {
        warn!(%link, %error, "receiving failed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
