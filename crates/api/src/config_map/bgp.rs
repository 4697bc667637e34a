//! Peers, BFD profiles and communities: checked and kept for the day when BGP is announced.

use super::{
    error::{Place, Problem, Report},
    raw::{self, Lined},
};
use crate::labels::{self, SelectorFault};
use herald_core::{
    config::{BfdProfile, BgpPeer, Community, Password, PeerAsn, PeerEndpoint},
    labels::{Operator, Requirement, Selector},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// When the configuration names none (MetalLB's default).
const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);
/// IANA.
const BGP_PORT: u16 = 179;

/// A community as this format knows it: two numbers.
pub(super) fn community(text: &str) -> Result<Community, Problem> {
    text.parse()
        .ok()
        .filter(|community| matches!(community, Community::Standard(..)))
        .ok_or_else(|| Problem::InvalidCommunity(text.to_owned()))
}

/// Checks the named communities.
pub(super) fn communities(raw: BTreeMap<String, Lined<String>>, report: &mut Report) -> BTreeMap<Box<str>, Community> {
    let mut all = BTreeMap::new();
    for (name, Lined { value, referenced, .. }) in raw {
        match community(&value) {
            Ok(community) => {
                all.insert(name.into(), community);
            }
            Err(problem) => report.add(&Place::Community(name), referenced.line(), problem),
        }
    }
    all
}

/// Checks the BFD profiles.
pub(super) fn bfd_profiles(raw: Vec<Lined<raw::BfdProfile>>, report: &mut Report) -> BTreeMap<Box<str>, BfdProfile> {
    let mut all = BTreeMap::new();
    for (index, Lined { value: raw, referenced, .. }) in raw.into_iter().enumerate() {
        let line = referenced.line();
        let name = raw.name.filter(|name| !name.is_empty());
        let place = Place::BfdProfile(name.clone().unwrap_or_else(|| format!("#{}", index + 1)));
        let mut check = |key: &'static str, value: Option<i64>, (low, high): (i64, i64), allowed: &'static str| {
            let value = value?;
            if !(low..=high).contains(&value) {
                report.add(&place, line, Problem::OutOfRange { key, value, allowed });
            }
            u32::try_from(value).ok()
        };
        let interval = ((10, 60_000), "10 to 60000 (milliseconds)");
        let profile = BfdProfile {
            receive_interval: check("receive-interval", raw.receive_interval, interval.0, interval.1),
            transmit_interval: check("transmit-interval", raw.transmit_interval, interval.0, interval.1),
            detect_multiplier: check("detect-multiplier", raw.detect_multiplier, (2, 255), "2 to 255"),
            echo_interval: check("echo-interval", raw.echo_interval, interval.0, interval.1),
            echo_mode: raw.echo_mode.unwrap_or(false),
            passive_mode: raw.passive_mode.unwrap_or(false),
            minimum_ttl: check("minimum-ttl", raw.minimum_ttl, (1, 254), "1 to 254"),
        };
        match name {
            None => report.add(&place, line, Problem::Missing { key: "name", example: "name: my-profile" }),
            Some(name) => {
                if all.insert(name.into(), profile).is_some() {
                    report.add(&place, line, Problem::DuplicateName);
                }
            }
        }
    }
    all
}

/// Checks the peers.
pub(super) fn peers(
    raw: Vec<Lined<raw::Peer>>,
    bfd_profiles: &BTreeMap<Box<str>, BfdProfile>,
    report: &mut Report,
) -> BTreeMap<Box<str>, BgpPeer> {
    let mut all: BTreeMap<Box<str>, BgpPeer> = BTreeMap::new();
    for (index, Lined { value: raw, referenced, .. }) in raw.into_iter().enumerate() {
        let name = raw.peer_address.clone().unwrap_or_else(|| format!("#{}", index + 1));
        let mut at = At { place: Place::Peer(name), line: referenced.line(), report };
        let Some(peer) = peer(raw, bfd_profiles, &mut at) else { continue };
        if all.values().any(|other| *other == peer) {
            at.add(Problem::DuplicatePeer);
        } else {
            all.insert(format!("peer{}", index + 1).into(), peer);
        }
    }
    all
}

/// Where the mistakes of one peer are reported.
struct At<'r> {
    place: Place,
    line: u64,
    report: &'r mut Report,
}

impl At<'_> {
    fn add(&mut self, problem: Problem) {
        self.report.add(&self.place, self.line, problem);
    }

    /// Adds the mistake of a refused value.
    fn ok<T>(&mut self, value: Result<T, Problem>) -> Option<T> {
        value.map_err(|problem| self.add(problem)).ok()
    }
}

/// `None` when a required value is missing or wrong; that and every other mistake is reported.
fn peer(raw: raw::Peer, bfd_profiles: &BTreeMap<Box<str>, BfdProfile>, at: &mut At<'_>) -> Option<BgpPeer> {
    let my_asn = at.ok(asn("my-asn", "my-asn: 64512", raw.my_asn));
    let peer_asn = at.ok(asn("peer-asn", "peer-asn: 64513", raw.peer_asn));
    let missing = Problem::Missing { key: "peer-address", example: "peer-address: 192.0.2.1" };
    let peer_address = at.ok(raw.peer_address.ok_or(missing).and_then(|text| address("peer-address", text)));
    let source_address = raw.source_address.and_then(|text| at.ok(address("source-address", text)));
    let router_id = raw.router_id.and_then(|text| at.ok(address("router-id", text)));
    let peer_port = at.ok(port(raw.peer_port));
    let hold_time = at.ok(hold_time(raw.hold_time.as_deref()));
    let keepalive_time =
        raw.keepalive_time.as_deref().and_then(|text| at.ok(keepalive(text, hold_time.unwrap_or(Duration::MAX))));
    let ebgp_multihop = raw.ebgp_multihop.unwrap_or(false);
    if ebgp_multihop && my_asn.is_some() && my_asn == peer_asn {
        at.add(Problem::MultihopInternal);
    }
    let bfd_profile = raw.bfd_profile.filter(|name| !name.is_empty());
    if let Some(name) = bfd_profile.as_ref().filter(|&name| !bfd_profiles.contains_key(name.as_str())) {
        at.add(Problem::UnknownBfdProfile(name.clone()));
    }
    let node_selectors = raw.node_selectors.unwrap_or_default().into_iter().map(|raw| node_selector(raw, at)).collect();
    Some(BgpPeer {
        my_asn: my_asn?,
        peer_asn: PeerAsn::Is(peer_asn?),
        local_asn: None,
        endpoint: PeerEndpoint::Address(SocketAddr::new(peer_address?, peer_port?)),
        source_address,
        hold_time: Some(hold_time?),
        keepalive_time,
        connect_time: None,
        router_id,
        node_selectors,
        password: raw.password.filter(|password| !password.is_empty()).map(Password::new),
        bfd_profile: bfd_profile.map(Into::into),
        graceful_restart: false,
        ebgp_multihop,
        vrf: None,
        dual_stack: false,
    })
}

fn asn(key: &'static str, example: &'static str, value: Option<i64>) -> Result<u32, Problem> {
    let value = value.ok_or(Problem::Missing { key, example })?;
    let asn = u32::try_from(value).ok().filter(|&asn| asn != 0);
    asn.ok_or(Problem::OutOfRange { key, value, allowed: "1 to 4294967295" })
}

fn address(key: &'static str, value: String) -> Result<IpAddr, Problem> {
    value.parse().map_err(|_| Problem::Address { key, value })
}

fn port(value: Option<i64>) -> Result<u16, Problem> {
    match value.unwrap_or(0) {
        0 => Ok(BGP_PORT),
        value => {
            u16::try_from(value).map_err(|_| Problem::OutOfRange { key: "peer-port", value, allowed: "1 to 65535" })
        }
    }
}

/// A Go duration in whole seconds, the rest cut off (as MetalLB); may be negative.
fn seconds(key: &'static str, text: &str) -> Result<i64, Problem> {
    if text == "0" {
        return Ok(0);
    }
    let duration: Result<jiff::SignedDuration, _> = text.parse();
    duration.map(|duration| duration.as_secs()).map_err(|_| Problem::Duration { key, value: text.to_owned() })
}

fn hold_time(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(DEFAULT_HOLD_TIME) };
    match u16::try_from(seconds("hold-time", text)?) {
        Ok(seconds) if seconds == 0 || seconds >= 3 => Ok(Duration::from_secs(seconds.into())),
        _ => Err(Problem::HoldTime(text.to_owned())),
    }
}

fn keepalive(text: &str, hold_time: Duration) -> Result<Duration, Problem> {
    let keepalive = u64::try_from(seconds("keepalive-time", text)?).map(Duration::from_secs);
    keepalive.ok().filter(|&keepalive| keepalive <= hold_time).ok_or_else(|| Problem::Keepalive(text.to_owned()))
}

fn node_selector(raw: raw::NodeSelector, at: &mut At<'_>) -> Selector {
    let labels = raw.match_labels.unwrap_or_default().into_iter();
    let labels =
        labels.map(|(key, value)| Requirement { key: key.into(), operator: Operator::In([value.into()].into()) });
    let expressions = raw.match_expressions.unwrap_or_default();
    let expressions: Vec<_> = expressions.into_iter().filter_map(|raw| at.ok(requirement(raw))).collect();
    Selector { requirements: labels.chain(expressions).collect() }
}

fn requirement(raw: raw::Requirement) -> Result<Requirement, Problem> {
    let missing = |key, example| Problem::Missing { key, example };
    let key = raw.key.filter(|key| !key.is_empty());
    let key = key.ok_or(missing("key of a match-expression", "key: kubernetes.io/hostname"))?;
    let operator = raw.operator.ok_or(missing("operator of a match-expression", "operator: In"))?.value;
    // Values may stand twice here: MetalLB 0.12 did not mind.
    let mut values = raw.values.unwrap_or_default();
    values.sort_unstable();
    values.dedup();
    labels::requirement(&key, &operator, &values).map_err(|fault| match fault {
        SelectorFault::Operator(operator) => Problem::Operator(operator),
        SelectorFault::NoValues { .. } => Problem::SelectorValues("operators In and NotIn need values: add them"),
        _ => Problem::SelectorValues("operators Exists and DoesNotExist take no values: remove them"),
    })
}
