//! Echo server for tests and the demo: says which pod answered and which client address it saw.
//!
//! HTTP on `PORT` (80): `/` answers the host name, `/clientip` the client's address as seen here, `/healthz` ok. A connection stays open
//! for more requests when the client says `Connection: keep-alive`.
//! UDP on `UDP_PORT` (9999): the datagram, a space and the host name. Both listen dual stack on `[::]`.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections served at once; more wait in the backlog. Keeps memory small under a flood.
const CONNECTIONS: usize = 256;
/// A request head larger than this is answered as it stands.
const HEAD_LIMIT: usize = 4096;
/// Threads only copy a few kilobytes.
const STACK: usize = 64 * 1024;

fn port(variable: &str, default: u16) -> Result<u16, String> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is no port")),
        Err(_) => Ok(default),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

/// The address as a client would write it: IPv4 even when it came through the dual-stack socket.
fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// The head of a request; empty when the client has no more of them.
fn request_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::with_capacity(512);
    let mut chunk = [0_u8; 512];
    while head.len() < HEAD_LIMIT && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => break,
            count => head.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn serve(mut stream: TcpStream, peer: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    loop {
        let head = request_head(&mut stream)?;
        let path = head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/");
        let (status, body) = match path.split('?').next().unwrap_or("/") {
            "/" | "/hostname" => ("200 OK", name.to_owned()),
            "/clientip" => ("200 OK", plain(peer).to_string()),
            "/healthz" => ("200 OK", "ok".to_owned()),
            _ => ("404 Not Found", "no such page: /, /clientip and /healthz exist".to_owned()),
        };
        let more = head.lines().any(|line| line.eq_ignore_ascii_case("connection: keep-alive"));
        let (length, connection) = (body.len() + 1, if more { "keep-alive" } else { "close" });
        // One write: in several packets, the answer would wait for the client's delayed acknowledgement.
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}\n"
        );
        stream.write_all(answer.as_bytes())?;
        if !more {
            return Ok(());
        }
    }
}

fn serve_http(listener: &TcpListener, name: &Arc<str>) -> io::Result<()> {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // The client went away between SYN and accept, or descriptors ran out for a moment.
            Err(_) => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
        };
        while busy.load(Ordering::Relaxed) >= CONNECTIONS {
            thread::sleep(Duration::from_millis(1));
        }
        busy.fetch_add(1, Ordering::Relaxed);
        let (busy, name) = (Arc::clone(&busy), Arc::clone(name));
        thread::Builder::new().stack_size(STACK).spawn(move || {
            // A client that breaks off is no matter of the server.
            let _ = serve(stream, peer, &name);
            busy.fetch_sub(1, Ordering::Relaxed);
        })?;
    }
}

fn serve_udp(socket: &UdpSocket, name: &str) {
    let mut buffer = vec![0_u8; 65_536];
    loop {
        // Errors are the ICMP echoes of earlier answers: the next datagram may be fine.
        if let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer.get(..count).unwrap_or_default().to_vec();
            answer.push(b' ');
            answer.extend_from_slice(name.as_bytes());
            let _ = socket.send_to(&answer, peer);
        }
    }
}

/// Ends the process at SIGTERM or SIGINT: as PID 1 it would ignore both otherwise.
fn leave_on_signal() {
    #[expect(unsafe_code, reason = "two libc calls; a signal crate would be larger than the program")]
    // SAFETY: the handler calls _exit only, which is async-signal-safe.
    unsafe {
        extern "C" fn leave(_: libc::c_int) {
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(0) }
        }
        let handler = leave as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::signal(libc::SIGTERM, handler);
        libc::signal(libc::SIGINT, handler);
    }
}

fn run() -> Result<(), String> {
    leave_on_signal();
    let name: Arc<str> = host_name().into();
    let (http, udp) = (port("PORT", 80)?, port("UDP_PORT", 9999)?);
    let listener =
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, http)).map_err(|error| format!("TCP port {http}: {error}"))?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, udp)).map_err(|error| format!("UDP port {udp}: {error}"))?;
    let udp_name = Arc::clone(&name);
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || serve_udp(&socket, &udp_name))
        .map_err(|error| error.to_string())?;
    eprintln!("{name}: HTTP on {http}, UDP on {udp}");
    serve_http(&listener, &name).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
