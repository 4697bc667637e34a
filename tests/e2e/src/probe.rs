//! A client that keeps asking, and notes when it was answered.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use herald_lab::{Host, Lab};

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::http;
use crate::outage::{Outage, Sample};

/// How long late answers are waited for at the end, unless it is said.
const LATE: Duration = Duration::from_millis(500);

/// UDP datagrams at a steady pace from the client to the echo server, numbered and timed on one clock.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<Vec<(u64, Instant)>>,
}

impl Probe {
    /// Starts asking `to` (the echo server's UDP port behind a Service) every `interval` from one source port: one flow, as
    /// a connection would be.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no socket to be had.
    pub fn start(cluster: &Cluster, to: SocketAddr, interval: Duration) -> Result<Self> {
        Self::start_on(cluster.lab(), Host::Client, to, interval)
    }

    /// [`Probe::start`] from any host of a lab.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no socket to be had.
    pub fn start_on(lab: &Lab, host: Host, to: SocketAddr, interval: Duration) -> Result<Self> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = lab.in_netns(host, || UdpSocket::bind(any))?.map_err(Error::io("UDP socket"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(Error::io("UDP socket"))?;
        let receiving = socket.try_clone().map_err(Error::io("UDP socket"))?;
        let (stop, silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new(AtomicUsize::new(0));
        let receiver = thread::spawn({
            let (silent, answered) = (Arc::clone(&silent), Arc::clone(&answered));
            move || receive(&receiving, &silent, &answered)
        });
        let sender = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(&socket, to, interval, &stop)
        });
        Ok(Self { stop, silent, answered, sender, receiver })
    }

    /// Answers so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops asking, waits half a second for late answers, and tells what was seen.
    #[must_use]
    pub fn finish(self) -> Outage {
        self.finish_within(LATE)
    }

    /// [`Probe::finish`], waiting so long for late answers.
    #[must_use]
    pub fn finish_within(self, late: Duration) -> Outage {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        thread::sleep(late);
        self.silent.store(true, Ordering::Relaxed);
        let answers = self.receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut samples: Vec<Sample> = sent.into_iter().map(|sent| Sample { sent, answered: None }).collect();
        for (number, at) in answers {
            if let Some(sample) = usize::try_from(number).ok().and_then(|number| samples.get_mut(number)) {
                sample.answered.get_or_insert(at);
            }
        }
        Outage::of(samples)
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, interval: Duration, stop: &AtomicBool) -> Vec<Instant> {
    let (start, mut sent) = (Instant::now(), Vec::new());
    let mut next = start;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if let Some(rest) = next.checked_duration_since(now) {
            thread::sleep(rest);
        }
        let number = u64::try_from(sent.len()).unwrap_or_default();
        sent.push(Instant::now());
        // A refused or unreachable destination is a lost probe like any other.
        let _ = socket.send_to(&number.to_be_bytes(), to);
        // No burst to catch up after a pause of this process: that would measure something else.
        next = (next + interval).max(Instant::now());
    }
    sent
}

fn receive(socket: &UdpSocket, silent: &AtomicBool, answered: &AtomicUsize) -> Vec<(u64, Instant)> {
    let mut answers = Vec::new();
    let mut datagram = [0_u8; 512];
    while !silent.load(Ordering::Relaxed) {
        // Errors are the timeout and ICMP's answers to earlier datagrams.
        if let Ok((length, _)) = socket.recv_from(&mut datagram)
            && let Some(number) = datagram.get(..length).and_then(|it| it.first_chunk::<8>())
        {
            answers.push((u64::from_be_bytes(*number), Instant::now()));
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    answers
}

/// HTTP requests by the client one after the other, each on a new connection, with a pause between.
#[derive(Debug)]
pub struct HttpLoop {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Sample>, Vec<String>)>,
}

impl HttpLoop {
    /// Starts asking `to` for `/`; a request fails when it takes longer than `timeout`.
    ///
    /// # Errors
    /// Of the lab, when the client is off.
    pub fn start(cluster: &Cluster, to: SocketAddr, pause: Duration, timeout: Duration) -> Result<Self> {
        // The thread lives longer than the look into the namespace, so it is made there: threads inherit their maker's network.
        let stop = Arc::new(AtomicBool::new(false));
        let thread = cluster.lab().in_netns(Host::Client, {
            let stop = Arc::clone(&stop);
            move || {
                thread::spawn(move || {
                    let (mut samples, mut errors) = (Vec::new(), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let sent = Instant::now();
                        let answer = http::get(to, "/", timeout);
                        let answered = answer.is_ok().then(Instant::now);
                        samples.push(Sample { sent, answered });
                        errors.extend(answer.err().map(|error| error.to_string()));
                        thread::sleep(pause);
                    }
                    (samples, errors)
                })
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops asking; what was seen, and the errors in order.
    #[must_use]
    pub fn finish(self) -> (Outage, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (samples, errors) = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (Outage::of(samples), errors)
    }
}
