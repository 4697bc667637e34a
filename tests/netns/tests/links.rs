//! The links watch against the kernel's netlink.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy exempts only the test functions themselves"
)]

use herald_core::LinkName;
use herald_netns::{Host, Net, PATIENCE};
use herald_speaker::links::{
    Link, Links, Unusable,
    exclude::{DEFAULT_EXCLUDED, Exclude},
    watch::LinkWatch,
};
use std::sync::Arc;
use tokio::{sync::watch, time::timeout};

/// Waits until the links are as wanted.
async fn wait(
    links: &mut watch::Receiver<Arc<Links>>,
    what: &str,
    holds: impl FnMut(&Arc<Links>) -> bool,
) -> Arc<Links> {
    let found = timeout(PATIENCE, links.wait_for(holds)).await.map(|links| Arc::clone(&links.unwrap()));
    found.unwrap_or_else(|_| panic!("did not come true: {what}; links are {:#?}", links.borrow()))
}

fn is(dev: &'static str, holds: impl Fn(&Link) -> bool) -> impl Fn(&Arc<Links>) -> bool {
    move |links| links.get(&LinkName::from(dev)).is_some_and(&holds)
}

fn pair(net: &Net) -> (Host, Host) {
    let (node, client) = (net.host("node"), net.host("client"));
    net.link((&node, "eth0"), (&client, "eth0"));
    (node, client)
}

#[test]
fn what_is_there_at_the_start_is_known_when_start_returns() {
    let net = Net::new();
    let (node, _client) = pair(&net);
    node.cmd("ip address add 192.0.2.1/24 dev eth0");
    node.cmd("ip address add fd56::1/64 dev eth0 nodad");
    node.cmd("ip link add veth1 type veth peer name lan1");
    node.run(|| async {
        let watch = LinkWatch::start(Exclude::new(DEFAULT_EXCLUDED).unwrap().fixed()).await.unwrap();
        let links = Arc::clone(&watch.links().borrow());
        let eth0 = &links[&"eth0".into()];
        assert_eq!((eth0.mac, eth0.index), (node.mac("eth0").parse().unwrap(), node.index("eth0")));
        for address in ["192.0.2.1/24", "fd56::1/64"] {
            assert!(eth0.addresses.contains(&address.parse().unwrap()), "{eth0:?}");
        }
        assert_eq!(links[&"lo".into()].usable, Err(Unusable::Loopback));
        assert_eq!(links[&"veth1".into()].usable, Err(Unusable::ExcludedByName("^veth.*".into())));
        assert_eq!(links[&"lan1".into()].usable, Err(Unusable::Down));
    });
}

#[test]
fn a_changed_exclude_list_takes_effect_without_an_event_of_the_kernel() {
    let net = Net::new();
    let (node, _client) = pair(&net);
    node.run(|| async {
        let (excluded, now) = watch::channel(Arc::new(Exclude::default()));
        let watch = LinkWatch::start(now).await.unwrap();
        let mut links = watch.links();
        wait(&mut links, "eth0 is used", is("eth0", |link| link.usable.is_ok())).await;
        excluded.send_replace(Arc::new(Exclude::new(["^eth[0-9]$"]).unwrap()));
        let by = Err(Unusable::ExcludedByName("^eth[0-9]$".into()));
        wait(&mut links, "eth0 is excluded", is("eth0", move |link| link.usable == by)).await;
        excluded.send_replace(Arc::default());
        wait(&mut links, "eth0 is used again", is("eth0", |link| link.usable.is_ok())).await;
    });
}

#[test]
fn flaps_carrier_mac_addresses_and_masters_are_followed() {
    let net = Net::new();
    let (node, client) = pair(&net);
    node.run(|| async {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let mut links = watch.links();
        wait(&mut links, "usable", is("eth0", |link| link.usable.is_ok())).await;

        node.cmd("ip link set eth0 down");
        wait(&mut links, "down", is("eth0", |link| link.usable == Err(Unusable::Down))).await;
        node.cmd("ip link set eth0 up");
        wait(&mut links, "up", is("eth0", |link| link.usable.is_ok())).await;
        client.cmd("ip link set eth0 down");
        wait(&mut links, "cable pulled", is("eth0", |link| link.usable == Err(Unusable::NoCarrier))).await;
        client.cmd("ip link set eth0 up");
        wait(&mut links, "cable back", is("eth0", |link| link.usable.is_ok())).await;

        node.cmd("ip link set eth0 address 02:00:00:00:00:77");
        wait(&mut links, "new MAC", is("eth0", |link| link.mac.to_string() == "02:00:00:00:00:77")).await;

        let (v4, v6) = ("192.0.2.1/24".parse().unwrap(), "fd56::1/64".parse().unwrap());
        node.cmd("ip address add 192.0.2.1/24 dev eth0");
        node.cmd("ip address add fd56::1/64 dev eth0");
        let both = move |link: &Link| link.addresses.contains(&v4) && link.addresses.contains(&v6);
        wait(&mut links, "addresses past detection", is("eth0", both)).await;
        node.cmd("ip address del 192.0.2.1/24 dev eth0");
        wait(&mut links, "address gone", is("eth0", move |link| !link.addresses.contains(&v4))).await;

        node.cmd("ip link set eth0 arp off");
        wait(&mut links, "no ARP", is("eth0", |link| link.usable == Err(Unusable::NoArp))).await;
        node.cmd("ip link set eth0 arp on");
        node.cmd("ip link add br0 type bridge");
        node.cmd("ip link set eth0 master br0");
        wait(&mut links, "port of a bridge", is("eth0", |link| link.usable == Err(Unusable::Enslaved))).await;
        node.cmd("ip link set br0 up");
        wait(&mut links, "the bridge itself", is("br0", |link| link.usable.is_ok())).await;
        node.cmd("ip link set eth0 nomaster");
        wait(&mut links, "left the bridge", is("eth0", |link| link.usable.is_ok())).await;
    });
}

#[test]
fn a_duplicate_address_is_never_listed() {
    let net = Net::new();
    let (node, client) = pair(&net);
    client.cmd("ip address add fd56::1/64 dev eth0 nodad");
    node.run(|| async {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let mut links = watch.links();
        node.cmd("ip address add fd56::1/64 dev eth0");
        node.cmd("ip address add fd56::9/64 dev eth0");
        let taken = "fd56::1/64".parse().unwrap();
        let other = "fd56::9/64".parse().unwrap();
        let mut listed = false;
        wait(&mut links, "the free address", |links| {
            let eth0 = &links[&"eth0".into()];
            listed |= eth0.addresses.contains(&taken);
            eth0.addresses.contains(&other)
        })
        .await;
        assert!(!listed && node.cmd("ip -6 address show dev eth0 dadfailed").contains("fd56::1/64"));
    });
}

#[test]
fn a_link_made_anew_under_its_old_name_has_another_index() {
    let net = Net::new();
    let (node, client) = pair(&net);
    node.run(|| async {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let mut links = watch.links();
        let old = node.index("eth0");
        node.cmd("ip link delete eth0");
        wait(&mut links, "gone", |links| !links.contains_key(&"eth0".into())).await;
        net.link((&node, "eth0"), (&client, "eth0"));
        wait(&mut links, "back", is("eth0", move |link| link.index != old && link.usable.is_ok())).await;
    });
}

#[test]
fn a_flood_of_events_ends_in_the_truth() {
    let net = Net::new();
    let (node, _client) = pair(&net);
    node.run(|| async {
        let watch = LinkWatch::start(Exclude::default().fixed()).await.unwrap();
        let mut links = watch.links();
        // The runtime stands still meanwhile, so that nothing is read: the kernel has to drop events.
        let batch = std::env::temp_dir().join(format!("{}.batch", node.namespace()));
        let lines: String =
            (0..6000).map(|n| format!("address add 10.{}.{}.1/24 dev eth0\n", n / 250 % 250, n % 250)).collect();
        std::fs::write(&batch, lines).unwrap();
        node.cmd(&format!("ip -batch {}", batch.display()));
        node.cmd("ip link set eth0 address 02:00:00:00:00:78");
        std::fs::remove_file(&batch).unwrap();
        wait(
            &mut links,
            "all addresses and the last MAC",
            is("eth0", |link| {
                link.mac.to_string() == "02:00:00:00:00:78"
                    && link.addresses.iter().filter(|net| net.is_ipv4()).count() == 6000
            }),
        )
        .await;
    });
}
