//! Long-lived TCP connections of the client, each asking again and again.

use crate::{Error, Result};
use herald_lab::{Host, Lab};
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two requests on a connection.
const PACE: Duration = Duration::from_millis(50);
/// For connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the last request may take; TCP's own retransmission after an outage of a second needs about two.
const LAST: Duration = Duration::from_secs(3);
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: keep-alive\r\n\r\n";

/// What became of the connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinesSeen {
    /// How many there were.
    pub opened: usize,
    /// How many were reset, closed by the other side, or not answered any more.
    pub broken: usize,
    /// Longest time between two answers on one that held.
    pub longest_silence: Duration,
}

/// Connections in use.
#[derive(Debug)]
pub struct Lines {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<Duration>>>,
}

impl Lines {
    /// Opens so many connections from `host` to `to`, an echo server behind a Service.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(lab: &Lab, host: Host, to: SocketAddr, count: usize) -> Result<Self> {
        let open = || (0..count).map(|_| TcpStream::connect_timeout(&to, CONNECT)).collect::<io::Result<Vec<_>>>();
        let streams = lab.in_netns(host, open)?.map_err(Error::io(format!("connecting to {to}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |stream| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || hold(stream, &stop))
        };
        Ok(Self { threads: streams.into_iter().map(spawn).collect(), stop })
    }

    /// Ends them after the request that is under way.
    #[must_use]
    pub fn finish(self) -> LinesSeen {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = LinesSeen { opened: self.threads.len(), ..LinesSeen::default() };
        for thread in self.threads {
            match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(silence) => seen.longest_silence = seen.longest_silence.max(silence),
                Err(_) => seen.broken += 1,
            }
        }
        seen
    }
}

/// Asks until it is to stop; the longest time between two answers.
fn hold(mut stream: TcpStream, stop: &AtomicBool) -> io::Result<Duration> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(REQUEST)?;
        answer(&mut stream, stop)?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(PACE);
    }
    Ok(longest)
}

fn answer(stream: &mut TcpStream, stop: &AtomicBool) -> io::Result<()> {
    let (mut text, mut chunk) = (Vec::new(), [0; 512]);
    let mut end = None;
    while !is_whole(&text) {
        match stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) && *end.get_or_insert_with(|| Instant::now() + LAST) < Instant::now() {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A head and a body that ends with a line feed, as the echo server's does.
fn is_whole(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    head.is_some_and(|head| answer.len() > head + 4) && answer.ends_with(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn an_answer_is_whole_with_its_body() {
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\nname\n"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nna"));
    }

    #[test]
    fn a_connection_that_is_closed_is_broken_and_one_that_is_answered_is_not() {
        let (client, server) = pair();
        drop(server);
        assert!(hold(client, &AtomicBool::new(false)).is_err());
        let (client, mut server) = pair();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let held = scope.spawn(|| hold(client, &stop));
            let mut request = [0; REQUEST.len()];
            server.read_exact(&mut request).unwrap();
            stop.store(true, Ordering::Relaxed);
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\nme\n").unwrap();
            assert!(held.join().unwrap().unwrap() > Duration::ZERO);
        });
    }
}
