//! Whether a node's kubelet answers: the second opinion before a node is fenced, from where the controller is.

use herald_core::fence::Kubelet;
use std::{io::ErrorKind, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// For an answer. A connection on a LAN takes a few milliseconds; a lost SYN is sent again only after a second, so it is tried twice.
const PATIENCE: Duration = Duration::from_millis(400);
const TRIES: usize = 2;

/// Asks all its addresses. A refused or reset connection is an answer, too: the node's kernel lives. Of a node without an address nothing can be
/// known: it counts as answering.
pub(super) async fn ask(addresses: Vec<SocketAddr>) -> Kubelet {
    if addresses.is_empty() {
        return Kubelet::Answers;
    }
    for _ in 0..TRIES {
        let tries = addresses.iter().map(|address| answers(*address));
        if futures::future::join_all(tries).await.contains(&true) {
            return Kubelet::Answers;
        }
    }
    Kubelet::Silent
}

async fn answers(address: SocketAddr) -> bool {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_listener_and_a_refusal_are_answers() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(ask(vec![address]).await, Kubelet::Answers);
        drop(listener);
        assert_eq!(ask(vec![address]).await, Kubelet::Answers, "refused: its kernel lives");
        assert_eq!(ask(vec![]).await, Kubelet::Answers, "nothing can be known");
    }
}
