//! TCP connections that stay open for as long as something happens.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use herald_lab::Host;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::http;

/// Patience for connecting, and for the answer in the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two bytes on a connection.
const PACE: Duration = Duration::from_millis(50);

/// Connections of the client that are in use all the time: each sends a request, byte by byte, until it is finished.
#[derive(Debug)]
pub struct Held {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<String>>>,
}

impl Held {
    /// Opens so many connections to `to`.
    ///
    /// # Errors
    /// Of the lab, when the client is off.
    pub fn open(cluster: &Cluster, to: SocketAddr, count: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // Threads inherit their maker's network.
        let threads = cluster.lab().in_netns(Host::Client, {
            let stop = Arc::clone(&stop);
            move || {
                let hold = |_| {
                    let stop = Arc::clone(&stop);
                    thread::spawn(move || hold(to, &stop))
                };
                (0..count).map(hold).collect()
            }
        })?;
        Ok(Self { stop, threads })
    }

    /// Ends the requests; the errors of connections that broke or were not answered.
    #[must_use]
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        let answers = ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        answers.filter_map(|answer| answer.err().map(|error| error.to_string())).collect()
    }
}

fn hold(to: SocketAddr, stop: &AtomicBool) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Held: ", to.ip())?;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"h")?;
        thread::sleep(PACE);
    }
    stream.write_all(b"\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    http::body(&answer)
}
