//! Hellos as frames and as datagrams between hosts.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

use herald_core::LinkName;
use herald_netns::{Background, Host, Net, PATIENCE, eventually};
use herald_speaker::{
    links::{exclude::Exclude, watch::LinkWatch},
    net::{
        hello_io::{Carrier, Heard, HelloCounters, HelloPort, Keys},
        hello_udp::{HelloUdp, UdpError},
        sys::boottime,
    },
};
use herald_wire::hello::{ClusterId, Flags, Hello, Key, LinkInfo, Stamp, UDP_PORT, seal};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

fn keys(accepted: &[u8]) -> Arc<Keys> {
    Arc::new(Keys { cluster: CLUSTER, accepted: accepted.iter().map(|byte| key(*byte)).collect() })
}

fn hello(host: &Host, cluster: ClusterId) -> Hello {
    Hello {
        cluster,
        node: "w1-k8s".into(),
        incarnation: 1,
        sequence: 1,
        interval_ms: 100,
        flags: Flags { ready: true, ..Flags::default() },
        link: 0,
        links: vec![LinkInfo { mac: host.mac("eth0").parse().unwrap(), name: None, addresses: vec![] }],
        heard: vec![],
        kept: vec![],
        moves: None,
        conflicts: vec![],
        stamp: Stamp::default(),
        routine: false,
    }
}

/// A host that hears hellos on eth0.
struct Hearing {
    keys: watch::Sender<Arc<Keys>>,
    heard: mpsc::Receiver<Heard>,
    counters: Arc<HelloCounters>,
    _background: Background,
}

fn hear(host: &Host, accepted: &[u8], room: usize) -> Hearing {
    let (keys_sender, keys) = watch::channel(keys(accepted));
    let (sender, heard) = mpsc::channel(room);
    let (opened, counters) = oneshot::channel();
    let index = host.index("eth0");
    let background = host.start(move |up| async move {
        let port = HelloPort::open(&"eth0".into(), index, &keys, &sender).unwrap();
        opened.send(Arc::clone(port.counters())).unwrap();
        up.now();
        std::future::pending::<()>().await;
    });
    Hearing { keys: keys_sender, heard, counters: counters.blocking_recv().unwrap(), _background: background }
}

/// Sends sealed bytes from a host's eth0.
fn say(host: &Host, payload: &[u8]) {
    let (index, mac) = (host.index("eth0"), host.mac("eth0").parse().unwrap());
    let (_keep, keys) = watch::channel(keys(&[]));
    let (heard, _) = mpsc::channel(1);
    host.run(|| async {
        HelloPort::open(&"eth0".into(), index, &keys, &heard).unwrap().send(mac, payload).unwrap();
    });
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn pair(net: &Net) -> (Host, Host) {
    let (a, b) = (net.host("a"), net.host("b"));
    net.link((&a, "eth0"), (&b, "eth0"));
    (a, b)
}

#[test]
fn hellos_travel_without_any_address() {
    let net = Net::new();
    let (a, b) = pair(&net);
    let mut hearing = hear(&b, &[1], 8);
    let group = b.cmd("ip maddress show dev eth0");
    assert!(group.contains("03:00:48:4c:44:00"), "the card lets the group through: {group}");
    let hello = hello(&a, CLUSTER);
    say(&a, &seal(&hello, &key(1)).unwrap());
    let heard = hearing.heard.blocking_recv().unwrap();
    assert_eq!(
        (heard.link, heard.from, heard.carrier),
        ("eth0".into(), a.mac("eth0").parse().unwrap(), Carrier::Frame)
    );
    assert_eq!(heard.hello, hello);
    assert!(heard.at.as_micros() > 0);
}

#[test]
fn routine_hellos_wait_until_they_are_collected_and_tell_when_they_arrived() {
    let net = Net::new();
    let (a, b) = pair(&net);
    let (_keep, keys) = watch::channel(keys(&[1]));
    let (sender, mut heard) = mpsc::channel(8);
    let (opened, port) = oneshot::channel();
    let index = b.index("eth0");
    let _background = b.start(move |up| async move {
        assert!(opened.send(HelloPort::open(&"eth0".into(), index, &keys, &sender).unwrap()).is_ok());
        up.now();
        std::future::pending::<()>().await;
    });
    let mut port = port.blocking_recv().unwrap();
    let said = |sequence: u64, routine: bool| {
        say(&a, &seal(&Hello { sequence, routine, ..hello(&a, CLUSTER) }, &key(1)).unwrap());
    };
    said(1, true);
    assert_eq!(heard.blocking_recv().unwrap().hello.sequence, 1, "at first everything wakes");

    port.attend(false);
    said(2, true);
    let told = boottime();
    // What is news overtakes it.
    said(3, false);
    assert_eq!(heard.blocking_recv().unwrap().hello.sequence, 3);
    assert!(heard.try_recv().is_err());
    std::thread::sleep(Duration::from_millis(50));
    assert!(port.collect());
    let routine = heard.try_recv().unwrap();
    assert_eq!(routine.hello.sequence, 2);
    assert!(routine.at <= told, "it arrived before {told}, not when it was taken: {}", routine.at);

    port.attend(true);
    said(4, true);
    assert_eq!(heard.blocking_recv().unwrap().hello.sequence, 4, "everything wakes again");
    assert!(port.collect() && heard.try_recv().is_err(), "and nothing comes twice");
}

#[test]
fn keys_rotate_without_a_gap() {
    let net = Net::new();
    let (a, b) = pair(&net);
    let mut hearing = hear(&b, &[1], 8);
    let hello = hello(&a, CLUSTER);
    let (old, new) = (seal(&hello, &key(1)).unwrap(), seal(&hello, &key(2)).unwrap());

    say(&a, &new);
    eventually("the new key is not known yet", || count(&hearing.counters.wrong_hmac) == 1);
    hearing.keys.send(keys(&[2, 1])).unwrap();
    say(&a, &old);
    say(&a, &new);
    hearing.heard.blocking_recv().unwrap();
    hearing.heard.blocking_recv().unwrap();
    hearing.keys.send(keys(&[2])).unwrap();
    say(&a, &old);
    eventually("the old key has ended", || count(&hearing.counters.wrong_hmac) == 2);
    assert!(hearing.heard.try_recv().is_err());
}

#[test]
fn what_is_no_hello_of_this_cluster_is_counted_and_ignored() {
    let net = Net::new();
    let (a, b) = pair(&net);
    let mut hearing = hear(&b, &[], 1);
    let own = seal(&hello(&a, CLUSTER), &key(1)).unwrap();
    say(&a, &own);
    eventually("no key yet", || count(&hearing.counters.no_key) == 1);
    hearing.keys.send(keys(&[1])).unwrap();
    say(&a, &seal(&hello(&a, ClusterId([8; 16])), &key(9)).unwrap());
    eventually("foreign cluster", || count(&hearing.counters.foreign_cluster) == 1);
    say(&a, b"something else");
    eventually("malformed", || count(&hearing.counters.malformed) == 1);
    assert!(hearing.heard.try_recv().is_err());
    say(&a, &own);
    say(&a, &own);
    eventually("one too many for the driver", || count(&hearing.counters.lost) == 1);
    assert_eq!((count(&hearing.counters.heard), count(&hearing.counters.wrong_hmac)), (1, 0));
}

/// A host with its links watched and datagrams heard.
fn hear_udp(host: &Host) -> (mpsc::Receiver<Heard>, Arc<HelloCounters>, Background) {
    let (sender, heard) = mpsc::channel(8);
    let (opened, counters) = oneshot::channel();
    let background = host.start(move |up| async move {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let (_keys, keys) = watch::channel(keys(&[1]));
        let udp = HelloUdp::open(UDP_PORT, &watch.links(), &keys, &sender).unwrap();
        opened.send(Arc::clone(udp.counters())).unwrap();
        up.now();
        std::future::pending::<()>().await;
    });
    (heard, counters.blocking_recv().unwrap(), background)
}

#[test]
fn datagrams_are_heard_on_the_link_of_their_senders_subnet() {
    let net = Net::new();
    let (a, b) = pair(&net);
    let addresses = [(&a, "192.0.2.1/24", "fd56::1/64"), (&b, "192.0.2.2/24", "fd56::2/64")];
    for (host, v4, v6) in addresses {
        host.cmd(&format!("ip address add {v4} dev eth0"));
        host.cmd(&format!("ip address add {v6} dev eth0 nodad"));
    }
    // A sender that no link's subnet holds.
    a.cmd("ip address add 198.51.100.1/32 dev lo");
    b.cmd("ip route add 198.51.100.1/32 dev eth0");
    let (mut heard, counters, _background) = hear_udp(&b);
    let hello = hello(&a, CLUSTER);
    let payload = seal(&hello, &key(1)).unwrap();
    a.run(|| async {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let (_keys, keys) = watch::channel(keys(&[1]));
        let (sender, _) = mpsc::channel(1);
        let udp = HelloUdp::open(UDP_PORT, &watch.links(), &keys, &sender).unwrap();
        for to in ["192.0.2.2", "fd56::2"] {
            udp.send(to.parse().unwrap(), &payload).unwrap();
            let heard = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
            assert_eq!((heard.link, heard.carrier), (LinkName::from("eth0"), Carrier::Datagram));
            assert_eq!((heard.from, heard.hello), (hello.links[0].mac, hello.clone()));
        }
        let stranger = tokio::net::UdpSocket::bind("198.51.100.1:0").await.unwrap();
        stranger.send_to(&payload, (IpAddr::from([192, 0, 2, 2]), UDP_PORT)).await.unwrap();
    });
    eventually("the stranger is counted", || count(&counters.no_link) == 1);
}

#[test]
fn a_port_in_use_is_told_and_leaves_frames_alone() {
    let net = Net::new();
    let (a, b) = pair(&net);
    b.run(|| async {
        let _other = tokio::net::UdpSocket::bind(("0.0.0.0", UDP_PORT)).await.unwrap();
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let (_keys, keys) = watch::channel(keys(&[1]));
        let (sender, _) = mpsc::channel(1);
        let error = HelloUdp::open(UDP_PORT, &watch.links(), &keys, &sender).unwrap_err();
        assert!(matches!(error, UdpError::InUse(UDP_PORT)), "{error}");
    });
    let mut hearing = hear(&b, &[1], 1);
    say(&a, &seal(&hello(&a, CLUSTER), &key(1)).unwrap());
    assert!(hearing.heard.blocking_recv().is_some());
}
