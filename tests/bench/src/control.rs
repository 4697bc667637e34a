//! The least that a process can do to answer ARP, for comparison: one thread that sleeps in the kernel until a request is there, and answers it.
//! What it takes longer than the kernel's own answer is the price of waking any process on this machine.

use crate::{
    Error, Result,
    arp::{mac_of, open},
};
use herald_lab::{Host, Lab};
use herald_wire::arp::{self, Operation};
use socket2::Socket;
use std::{
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// An address that nobody else has, off the lab's pools.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 59, 1);

/// Answers for [`ADDRESS`] on a node until it is dropped.
#[derive(Debug)]
pub struct Control {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts answering in the node's network.
    ///
    /// # Errors
    /// No socket.
    pub fn start(lab: &Lab, node: Host) -> Result<Self> {
        let error = || Error::io("opening an ARP socket on a node");
        let socket = lab.in_netns(node, open)?.map_err(error())?;
        // Only so that it ends.
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(error())?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || answer(&socket, node, &stop)
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

fn answer(mut socket: &Socket, node: Host, stop: &AtomicBool) {
    let (mac, mut buffer) = (mac_of(node), [0; 128]);
    while !stop.load(Ordering::Relaxed) {
        // An error is the timeout.
        let Ok(length) = socket.read(&mut buffer) else { continue };
        if let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default())
            && frame.packet.operation == Operation::Request
            && frame.packet.target_ip == ADDRESS
        {
            // Lost: the client counts it.
            let _ = socket.send(&frame.reply(mac, mac).emit());
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
