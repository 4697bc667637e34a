//! What several tests start.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod site;

use herald_core::{speaker::Claim, time::Moment};
use herald_netns::{Background, Host};
use herald_speaker::net::{
    answer::{AnswerTable, DropReason, Fence},
    responder::{Responder, ResponderCounters, Seen},
};
use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::{mpsc, oneshot, watch};

/// A responder that runs in a host.
pub(crate) struct Answering {
    pub(crate) table: watch::Sender<Arc<AnswerTable>>,
    pub(crate) counters: Arc<ResponderCounters>,
    pub(crate) seen: mpsc::Receiver<Seen>,
    pub(crate) responder: Arc<Responder>,
    _background: Background,
}

/// Answers for addresses on a link until the value is dropped.
pub(crate) fn answer(host: &Host, dev: &str, addresses: &[&str]) -> Answering {
    let addresses = addresses.iter().map(|text| (text.parse().unwrap(), Claim::Own)).collect();
    let table = AnswerTable { fence: Fence::default(), ..AnswerTable::default() };
    table.fence.set(Moment::from_micros(u64::MAX));
    let (sender, receiver) = watch::channel(Arc::new(table.with(host.mac(dev).parse().unwrap(), &addresses)));
    let (seen_sender, seen) = mpsc::channel(64);
    let (opened, responder) = oneshot::channel();
    let (name, index) = (dev.into(), host.index(dev));
    let background = host.start(move |up| async move {
        let responder = Arc::new(Responder::open(&name, index, &receiver, &seen_sender).unwrap());
        assert!(opened.send(Arc::clone(&responder)).is_ok());
        up.now();
        std::future::pending::<()>().await;
    });
    let responder = responder.blocking_recv().unwrap();
    let counters = Arc::clone(responder.counters());
    Answering { table: sender, counters, seen, responder, _background: background }
}

impl Answering {
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.unanswered().find(|(candidate, _)| *candidate == reason).unwrap().1
    }

    /// Requests and answers of an address.
    pub(crate) fn answered(&self, address: &str) -> (u64, u64) {
        let table = self.table.borrow();
        let counters = &table.addresses[&address.parse::<IpAddr>().unwrap()].counters;
        (counters.requests_received.load(Ordering::Relaxed), counters.responses_sent.load(Ordering::Relaxed))
    }
}

/// Has the kernel of a host resolve an address, by sending something to it.
pub(crate) fn poke(host: &Host, address: &str) {
    let to = format!("{}:9", if address.contains(':') { format!("[{address}]") } else { address.to_owned() });
    host.run(|| async move {
        let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = tokio::net::UdpSocket::bind(any).await.unwrap();
        socket.send_to(b"x", to).await.unwrap();
    });
}

/// What a host's neighbour table says of an address.
pub(crate) fn neighbour(host: &Host, address: &str) -> String {
    host.cmd(&format!("ip neigh show {address}"))
}
