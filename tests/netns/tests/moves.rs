//! Planned moves, with a client that uses the address all the time.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::site::{NODES, Node, VIP4, cluster, site};
use herald_netns::{Background, Host, eventually};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{MissedTickBehavior, interval, sleep},
};

const PORT: u16 = 9999;

fn vip() -> SocketAddr {
    (VIP4.parse::<Ipv4Addr>().unwrap(), PORT).into()
}

/// The node takes packets for the address and echoes them, as kube-proxy would for its Service; its kernel says nothing about it.
fn serve(node: &Node) -> Background {
    node.host.cmd(&format!("ip address add {VIP4}/32 dev lo"));
    node.host.sysctl("net/ipv4/conf/all/arp_ignore", "1");
    node.host.sysctl("net/ipv4/conf/all/arp_announce", "2");
    node.host.start(|up| async move {
        let (udp, tcp) = (UdpSocket::bind(vip()).await.unwrap(), TcpListener::bind(vip()).await.unwrap());
        up.now();
        let datagrams = async {
            let mut bytes = [0; 16];
            loop {
                let (length, from) = udp.recv_from(&mut bytes).await.unwrap();
                let _ = udp.send_to(&bytes[..length], from).await;
            }
        };
        let connections = async {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            }
        };
        tokio::join!(datagrams, connections);
    })
}

/// A datagram every millisecond, and a connection that asks every ten.
#[derive(Debug, Default)]
struct Use {
    sent: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
    exchanges: AtomicU64,
}

impl Use {
    fn start(self: &Arc<Self>, client: &Host) -> Background {
        let seen = Arc::clone(self);
        client.start(|up| async move {
            let udp = UdpSocket::bind("0.0.0.0:0").await.unwrap();
            udp.connect(vip()).await.unwrap();
            let mut tcp = TcpStream::connect(vip()).await.unwrap();
            up.now();
            let sending = async {
                let mut pace = interval(Duration::from_millis(1));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !seen.over.load(Relaxed) {
                    pace.tick().await;
                    udp.send(b"x").await.unwrap();
                    seen.sent.fetch_add(1, Relaxed);
                }
            };
            let hearing = async {
                let mut byte = [0; 1];
                while udp.recv(&mut byte).await.is_ok() {
                    seen.answered.fetch_add(1, Relaxed);
                }
            };
            let exchanging = async {
                let mut byte = [0; 1];
                while tcp.write_all(b"x").await.is_ok() && tcp.read_exact(&mut byte).await.is_ok() {
                    seen.exchanges.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::join!(sending, hearing, exchanging);
        })
    }

    fn goes_on(&self) {
        let (answered, exchanges) = (self.answered.load(Relaxed), self.exchanges.load(Relaxed));
        eventually("datagrams and the connection go on", || {
            self.answered.load(Relaxed) > answered + 100 && self.exchanges.load(Relaxed) > exchanges + 10
        });
    }
}

#[test]
fn a_planned_move_loses_no_datagram_and_no_connection_while_the_old_owner_drains() {
    let site = site();
    let old = site.settled();
    let serving: Vec<Background> = site.nodes.iter().map(serve).collect();
    // The client looks after its entry soon, so that it asks the old owner alone, and is answered, while that one drains.
    site.client.sysctl("net/ipv4/neigh/eth0/base_reachable_time_ms", "400");
    site.client.sysctl("net/ipv4/neigh/eth0/delay_first_probe_time", "1");
    let used = Arc::new(Use::default());
    let client = used.start(&site.client);
    used.goes_on();

    let mut excluded = cluster();
    excluded.nodes.get_mut(&NODES[old].into()).unwrap().excluded = true;
    site.nodes.iter().for_each(|node| node.tell(&excluded));
    let other = site.net.host("other");
    site.lan.attach(&other, "eth0");
    other.cmd("ip address add 192.168.56.201/24 dev eth0");
    eventually("who asks anew is answered by another node", || {
        site.learnt_by(&other, VIP4).is_some_and(|node| node != old)
    });
    // Its kernel, and no other, knows the connection.
    used.goes_on();
    eventually("when it has drained, the client moves without asking", || {
        site.known(VIP4).is_some_and(|node| node != old)
    });
    let answered = used.answered.load(Relaxed);
    eventually("datagrams go on at the new owner", || used.answered.load(Relaxed) > answered + 100);
    used.over.store(true, Relaxed);
    eventually("not one datagram is lost", || used.sent.load(Relaxed) == used.answered.load(Relaxed));
    drop((client, serving));
}
