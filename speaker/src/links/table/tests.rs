use super::*;
use crate::links::exclude::DEFAULT_EXCLUDED;

const UP: LinkFlags = LinkFlags::Up.union(LinkFlags::LowerUp).union(LinkFlags::Broadcast);

fn link(index: u32, name: &str, flags: LinkFlags, more: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
    message.attributes.extend_from_slice(more);
    message
}

fn net(index: u32, net: &str, flags: AddressFlags) -> AddressMessage {
    let net: IpNetwork = net.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix();
    message.attributes = vec![AddressAttribute::Address(net.ip()), AddressAttribute::Flags(flags)];
    message
}

fn table(messages: impl IntoIterator<Item = RouteNetlinkMessage>) -> Table {
    let mut table = Table::default();
    messages.into_iter().for_each(|message| table.apply(&message));
    table
}

fn links(messages: impl IntoIterator<Item = RouteNetlinkMessage>) -> Links {
    table(messages).links(&Exclude::new(DEFAULT_EXCLUDED).unwrap())
}

fn verdict(link: LinkMessage) -> Result<(), Unusable> {
    links([RouteNetlinkMessage::NewLink(link)]).into_values().next().unwrap().usable
}

#[test]
fn every_reason_not_to_use_a_link() {
    assert_eq!(verdict(link(2, "eth0", UP, &[])), Ok(()));
    assert_eq!(verdict(link(1, "lo", UP | LinkFlags::Loopback, &[])), Err(Unusable::Loopback));
    assert_eq!(verdict(link(2, "veth1a", UP, &[])), Err(Unusable::ExcludedByName("^veth.*".into())));
    assert_eq!(verdict(link(2, "lowan0", UP, &[])), Ok(()), "not every name with lo in front is the loopback link");
    assert_eq!(verdict(link(2, "eth0", UP, &[LinkAttribute::Controller(3)])), Err(Unusable::Enslaved));
    assert_eq!(verdict(link(2, "eth0", UP, &[LinkAttribute::Controller(0)])), Ok(()));
    assert_eq!(verdict(link(2, "eth0", UP | LinkFlags::Noarp, &[])), Err(Unusable::NoArp));
    assert_eq!(verdict(link(2, "eth0", LinkFlags::Broadcast, &[])), Err(Unusable::Down));
    assert_eq!(verdict(link(2, "eth0", LinkFlags::Up | LinkFlags::Broadcast, &[])), Err(Unusable::NoCarrier));
    let mut infiniband = link(2, "ib0", UP, &[LinkAttribute::Address(vec![0; 20])]);
    infiniband.header.link_layer_type = LinkLayerType::Infiniband;
    assert_eq!(verdict(infiniband), Err(Unusable::NotEthernet));
}

#[test]
fn addresses_appear_once_they_are_valid_and_go_with_their_link() {
    let add = |message| RouteNetlinkMessage::NewAddress(message);
    let mut table = table([
        RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])),
        add(net(2, "192.168.56.101/24", AddressFlags::Permanent)),
        add(net(2, "fd56::101/64", AddressFlags::Tentative)),
        add(net(2, "fd56::dead/64", AddressFlags::Tentative | AddressFlags::Dadfailed)),
        add(net(2, "fd56::0b/64", AddressFlags::Tentative | AddressFlags::Optimistic)),
    ]);
    let of = |table: &Table| -> Vec<String> {
        table
            .links(&Exclude::default())
            .into_values()
            .flat_map(|link| link.addresses)
            .map(|net| net.to_string())
            .collect()
    };
    assert_eq!(of(&table), ["192.168.56.101/24", "fd56::b/64"]);
    table.apply(&add(net(2, "fd56::101/64", AddressFlags::Permanent)));
    assert_eq!(of(&table), ["192.168.56.101/24", "fd56::101/64", "fd56::b/64"], "in the kernel's order");
    table.apply(&RouteNetlinkMessage::DelAddress(net(2, "192.168.56.101/24", AddressFlags::empty())));
    assert_eq!(of(&table), ["fd56::101/64", "fd56::b/64"]);
    table.apply(&RouteNetlinkMessage::DelLink(link(2, "eth0", UP, &[])));
    assert!(table.links(&Exclude::default()).is_empty());
    table.apply(&RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])));
    assert_eq!(of(&table), [""; 0], "a new link has no old addresses");
}

#[test]
fn the_local_side_of_a_point_to_point_address_counts() {
    let mut message = net(2, "10.0.0.2/32", AddressFlags::empty());
    message.attributes.push(AddressAttribute::Local("10.0.0.1".parse().unwrap()));
    let links =
        links([RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])), RouteNetlinkMessage::NewAddress(message)]);
    assert_eq!(links[&"eth0".into()].addresses, ["10.0.0.1/32".parse().unwrap()]);
}

#[test]
fn a_port_that_leaves_a_bridge_is_not_a_deleted_link() {
    let mut port = link(2, "eth0", UP, &[]);
    port.header.interface_family = AddressFamily::Bridge;
    let links = links([RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])), RouteNetlinkMessage::DelLink(port)]);
    assert_eq!(links.len(), 1);
}

#[test]
fn mac_name_and_index_follow_the_kernel() {
    let renamed = link(2, "lan0", UP, &[LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9])]);
    let links = links([RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])), RouteNetlinkMessage::NewLink(renamed)]);
    let names: Vec<_> = links.keys().map(LinkName::as_str).collect();
    assert_eq!(names, ["lan0"]);
    assert_eq!((links[&"lan0".into()].mac, links[&"lan0".into()].index), (Mac([2, 0, 0, 0, 0, 9]), 2));
}
