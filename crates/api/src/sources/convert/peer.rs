//! BGPPeer, BFDProfile, Community.

use super::{Content, Faults, PeerContent};
use crate::{
    crd::{BFDProfile, BGPPeer, BGPPeerSpec, Community},
    sources::{Fault, Reason},
};
use herald_core::config::{self, Password, PeerAsn, PeerEndpoint};
use jiff::SignedDuration;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// IANA.
const BGP_PORT: u16 = 179;

pub(crate) fn bgp_peer(object: &BGPPeer) -> Result<Content, Vec<Fault>> {
    let spec = &object.spec;
    let mut faults = Faults::default();
    let numbers = "1 to 4294967295";
    let my_asn = faults.number("spec.myASN", Some(spec.my_asn), (1, u32::MAX.into()), numbers);
    let local_asn = faults.number("spec.localASN", spec.local_asn, (1, u32::MAX.into()), numbers);
    let peer_asn = peer_asn(spec, &mut faults);
    let ebgp_multihop = spec.ebgp_multi_hop.unwrap_or(false);
    if ebgp_multihop && my_asn.is_some() && peer_asn == my_asn.map(PeerAsn::Is) {
        faults.add("spec.ebgpMultiHop", Reason::MultihopInternal);
    }
    let endpoint = endpoint(spec, &mut faults);
    let source_address = address("spec.sourceAddress", spec.source_address.as_deref(), &mut faults);
    let router_id = address("spec.routerID", spec.router_id.as_deref(), &mut faults);
    let (hold_time, keepalive_time) = timers(spec, &mut faults);
    let connect_time = connect_time(spec.connect_time.as_deref(), &mut faults);
    let password = text(spec.password.as_deref());
    let secret = text(spec.password_secret.as_ref().and_then(|secret| secret.name.as_deref()));
    if password.is_some() && secret.is_some() {
        faults.add("spec", Reason::Both("password", "passwordSecret"));
    }
    for (field, value) in [
        ("spec.password", spec.password.as_deref()),
        ("spec.vrf", spec.vrf.as_deref()),
        ("spec.interface", spec.interface.as_deref()),
    ] {
        if value.is_some_and(|value| value.contains(['\n', '\r'])) {
            faults.add(field, Reason::LineBreak);
        }
    }
    let node_selectors = faults.selectors("spec.nodeSelectors", spec.node_selectors.as_deref());
    // Where one of these is missing, that has been said.
    let (Some(my_asn), Some(peer_asn), Some(endpoint)) = (my_asn, peer_asn, endpoint) else { return Err(faults.0) };
    let peer = config::BgpPeer {
        my_asn,
        peer_asn,
        local_asn,
        endpoint,
        source_address,
        hold_time,
        keepalive_time,
        connect_time,
        router_id,
        node_selectors,
        password: password.map(Password::new),
        bfd_profile: text(spec.bfd_profile.as_deref()).map(Into::into),
        graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
        ebgp_multihop,
        vrf: text(spec.vrf.as_deref()).map(Into::into),
        dual_stack: spec.dual_stack_address_family.unwrap_or(false),
    };
    let name = object.metadata.name.as_deref().unwrap_or_default().into();
    faults.finish(Content::Peer(PeerContent { name, peer, secret: secret.map(Into::into) }))
}

/// A text; an empty one is none.
fn text(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn peer_asn(spec: &BGPPeerSpec, faults: &mut Faults) -> Option<PeerAsn> {
    let number = spec.peer_asn.filter(|&number| number != 0);
    match (number, text(spec.dynamic_asn.as_deref())) {
        (Some(_), Some(_)) => {
            faults.add("spec", Reason::Both("peerASN", "dynamicASN"));
            None
        }
        (None, None) => {
            faults.add("spec", Reason::Neither("peerASN", "dynamicASN"));
            None
        }
        (number @ Some(_), None) => {
            faults.number("spec.peerASN", number, (1, u32::MAX.into()), "1 to 4294967295").map(PeerAsn::Is)
        }
        (None, Some("internal")) => Some(PeerAsn::Internal),
        (None, Some("external")) => Some(PeerAsn::External),
        (None, Some(other)) => {
            let reason = Reason::Word { is: other.to_owned(), allowed: "internal and external" };
            faults.add("spec.dynamicASN", reason);
            None
        }
    }
}

fn endpoint(spec: &BGPPeerSpec, faults: &mut Faults) -> Option<PeerEndpoint> {
    let port = spec.peer_port.filter(|&port| port != 0);
    let port: Option<u16> = match port {
        None => Some(BGP_PORT),
        port => faults.number("spec.peerPort", port, (1, u16::MAX.into()), "1 to 65535"),
    };
    match (text(spec.peer_address.as_deref()), text(spec.interface.as_deref())) {
        (Some(_), Some(_)) => {
            faults.add("spec", Reason::Both("peerAddress", "interface"));
            None
        }
        (None, None) => {
            faults.add("spec", Reason::Neither("peerAddress", "interface"));
            None
        }
        (given @ Some(_), None) => {
            let address = address("spec.peerAddress", given, faults)?;
            Some(PeerEndpoint::Address(SocketAddr::new(address, port?)))
        }
        (None, Some(interface)) => Some(PeerEndpoint::Interface(interface.into(), port?)),
    }
}

fn address(field: &str, value: Option<&str>, faults: &mut Faults) -> Option<IpAddr> {
    let value = text(value)?;
    faults.ok(field, value.parse().map_err(|_| Reason::Address(value.to_owned())))
}

/// A Go duration.
fn duration(field: &str, value: &str, faults: &mut Faults) -> Option<SignedDuration> {
    if value == "0" {
        return Some(SignedDuration::ZERO);
    }
    faults.ok(field, value.parse().map_err(|_| Reason::Duration(value.to_owned())))
}

/// Hold time and keepalive time: where only one is given the other one follows from it.
fn timers(spec: &BGPPeerSpec, faults: &mut Faults) -> (Option<Duration>, Option<Duration>) {
    let (hold, keepalive) = (text(spec.hold_time.as_deref()), text(spec.keepalive_time.as_deref()));
    let mut read = |field, value: Option<&str>| value.map(|value| duration(field, value, faults));
    let (parsed, parsed_keepalive) = (read("spec.holdTime", hold), read("spec.keepaliveTime", keepalive));
    if parsed == Some(None) || parsed_keepalive == Some(None) {
        return (None, None);
    }
    let (parsed, parsed_keepalive) = (parsed.flatten(), parsed_keepalive.flatten());
    let Some(hold_time) = parsed.or(parsed_keepalive.and_then(|keepalive| keepalive.checked_mul(3))) else {
        return (None, None);
    };
    let keepalive_time = parsed_keepalive.unwrap_or(hold_time / 3);
    // Whole seconds, the rest cut off: that is what OPEN carries.
    let seconds = u16::try_from(hold_time.as_secs()).ok().filter(|&seconds| seconds == 0 || seconds >= 3);
    let seconds = seconds.filter(|_| !hold_time.is_negative());
    let Some(seconds) = seconds else {
        let (field, value) = if hold.is_some() { ("spec.holdTime", hold) } else { ("spec.keepaliveTime", keepalive) };
        faults.add(field, Reason::HoldTime(value.unwrap_or_default().to_owned()));
        return (None, None);
    };
    if keepalive_time > hold_time || keepalive_time.is_negative() {
        faults.add("spec.keepaliveTime", Reason::Keepalive(keepalive.unwrap_or_default().to_owned()));
        return (None, None);
    }
    (Some(Duration::from_secs(seconds.into())), Some(keepalive_time.unsigned_abs()))
}

fn connect_time(value: Option<&str>, faults: &mut Faults) -> Option<Duration> {
    let value = text(value)?;
    let field = "spec.connectTime";
    let time = duration(field, value, faults)?;
    if !(1..=65535).contains(&time.as_secs()) || time.subsec_nanos() != 0 {
        faults.add(field, Reason::ConnectTime(value.to_owned()));
        return None;
    }
    Some(time.unsigned_abs())
}

pub(crate) fn bfd_profile(object: &BFDProfile) -> Result<Content, Vec<Fault>> {
    let spec = &object.spec;
    let mut faults = Faults::default();
    let interval = ((10, 60_000), "10 to 60000 (milliseconds)");
    let profile = config::BfdProfile {
        receive_interval: faults.number("spec.receiveInterval", spec.receive_interval, interval.0, interval.1),
        transmit_interval: faults.number("spec.transmitInterval", spec.transmit_interval, interval.0, interval.1),
        detect_multiplier: faults.number("spec.detectMultiplier", spec.detect_multiplier, (2, 255), "2 to 255"),
        echo_interval: faults.number("spec.echoInterval", spec.echo_interval, interval.0, interval.1),
        echo_mode: spec.echo_mode.unwrap_or(false),
        passive_mode: spec.passive_mode.unwrap_or(false),
        minimum_ttl: faults.number("spec.minimumTtl", spec.minimum_ttl, (1, 254), "1 to 254"),
    };
    faults.finish(Content::Bfd(object.metadata.name.as_deref().unwrap_or_default().into(), profile))
}

pub(crate) fn community(object: &Community) -> Result<Content, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut all = Vec::new();
    let mut names = BTreeSet::new();
    for (index, raw) in object.spec.communities.iter().flatten().enumerate() {
        let field = |name: &str| format!("spec.communities[{index}].{name}");
        let name = raw.name.as_deref().unwrap_or_default();
        let value = raw.value.as_deref().unwrap_or_default();
        if name.is_empty() {
            faults.add(field("name"), Reason::Missing { example: "name: my-community" });
        }
        let value: Option<config::Community> = faults.ok(&field("value"), value.parse());
        if !names.insert(name) {
            faults.add(field("name"), Reason::DuplicateCommunity { alias: name.to_owned(), other: None });
        }
        all.extend(value.map(|value| (name.into(), value)));
    }
    faults.finish(Content::Communities(all))
}
