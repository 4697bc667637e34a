//! One HTTP request, without a library: what is tested is whether it arrives, and when.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// GET on a connection of its own; the body of a 200 answer, without the space around it. Runs in the network of the
/// calling thread.
///
/// # Errors
/// Of the connection; `InvalidData` for another answer than 200.
pub(crate) fn get(to: SocketAddr, path: &str, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", to.ip())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    body(&answer)
}

pub(crate) fn body(answer: &str) -> io::Result<String> {
    let refuse = || io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {:?}", answer.get(..80)));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(refuse)?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.trim().to_owned()) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_ok_answer_has_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab\n").unwrap(), "ab");
        assert!(body("HTTP/1.1 404 Not Found\r\n\r\nab").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nContent-").is_err());
        assert!(body("").is_err());
    }
}
