//! The echo server as its users see it: over both families, HTTP and UDP, and gone at SIGTERM.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests themselves")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::Duration;

struct Echo {
    child: Child,
    http: u16,
    udp: u16,
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start() -> Echo {
    // Free ports of this moment; the server reports a port that was taken in between, and the test fails loudly.
    let http = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_echo"))
        .env("PORT", http.to_string())
        .env("UDP_PORT", udp.to_string())
        .spawn()
        .unwrap();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, http)).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "the server ended at once");
        std::thread::sleep(Duration::from_millis(5));
    }
    Echo { child, http, udp }
}

fn get(to: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: echo\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.trim().to_owned())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn a_connection_serves_as_many_requests_as_the_client_likes() {
    let echo = start();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, echo.http)).unwrap();
    let mut answer = [0; 512];
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let length = stream.read(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.trim_end().ends_with(&host_name()), "{text}");
    }
    write!(stream, "GET /nowhere HTTP/1.1\r\n\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 404") && rest.contains("Connection: close"), "{rest}");
}

#[test]
fn says_who_it_is_and_whom_it_sees_over_both_families() {
    let echo = start();
    for (address, client) in [(Ipv4Addr::LOCALHOST.into(), "127.0.0.1"), (Ipv6Addr::LOCALHOST.into(), "::1")] {
        let to = SocketAddr::new(address, echo.http);
        assert_eq!(get(to, "/"), ("HTTP/1.1 200 OK".into(), host_name()));
        assert_eq!(get(to, "/clientip"), ("HTTP/1.1 200 OK".into(), client.into()));
        assert_eq!(get(to, "/healthz?now"), ("HTTP/1.1 200 OK".into(), "ok".into()));
        assert_eq!(get(to, "/nothing").0, "HTTP/1.1 404 Not Found");
        let socket = UdpSocket::bind(SocketAddr::new(address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(b"7", SocketAddr::new(address, echo.udp)).unwrap();
        let mut buffer = [0; 300];
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..count]), format!("7 {}", host_name()));
    }
}

#[test]
fn a_client_that_says_nothing_keeps_nobody_waiting() {
    let echo = start();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, echo.http));
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(to).unwrap()).collect();
    assert_eq!(get(to, "/").1, host_name());
    drop(silent);
}

#[test]
fn both_programs_leave_at_sigterm() {
    let mut echo = start();
    let mut pause = Command::new(env!("CARGO_BIN_EXE_pause")).spawn().unwrap();
    for child in [&mut echo.child, &mut pause] {
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let status = child.wait().unwrap();
        // Either the handler's exit, or (pause, not yet past its first line) the default action.
        assert!(status.success() || status.signal() == Some(15), "{status:?}");
    }
}
