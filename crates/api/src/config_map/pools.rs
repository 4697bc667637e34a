//! Pools, and what is announced for those of protocol bgp.

use super::{
    bgp,
    error::{Place, Problem, Report},
    raw::{self, Lined},
};
use herald_core::{
    AdvertisementName, PoolName,
    config::{BgpAdvertisement, Community, Config, L2Advertisement, Pool, PoolChoice},
    net::{Family, IpRange},
};
use std::collections::{BTreeMap, BTreeSet};

/// Ranges by family and first address with the pool that they belong to; none overlap.
type Taken = BTreeMap<(Family, u128), (IpRange, PoolName)>;

/// Checks all pools.
pub(super) fn pools(
    raw: Vec<Lined<raw::Pool>>,
    aliases: &BTreeMap<Box<str>, Community>,
    report: &mut Report,
) -> Config {
    let mut config = Config::default();
    let mut taken = Taken::new();
    for (index, Lined { value: raw, referenced, .. }) in raw.into_iter().enumerate() {
        let line = referenced.line();
        let name = raw.name.clone().filter(|name| !name.is_empty());
        let place = Place::Pool(name.clone().unwrap_or_else(|| format!("#{}", index + 1)));
        let Some(name) = name.map(PoolName::new) else {
            report.add(&place, line, Problem::Missing { key: "name", example: "name: my-pool" });
            continue;
        };
        if config.pools.contains_key(&name) {
            report.add(&place, line, Problem::DuplicateName);
        }
        let protocol = protocol(raw.protocol.as_ref(), &place, line, report);
        let ranges = ranges(&raw.addresses.unwrap_or_default(), &name, &place, line, &mut taken, report);
        let raw_advertisements = raw.bgp_advertisements.unwrap_or_default();
        match protocol {
            Protocol::Layer2 => {
                if let Some(first) = raw_advertisements.first() {
                    report.add(&place, first.referenced.line(), Problem::AdvertisementsForLayer2);
                }
                let advertisement = L2Advertisement { pools: PoolChoice::only(name.clone()), ..Default::default() };
                config.l2_advertisements.insert(AdvertisementName::new(name.as_str()), advertisement);
            }
            Protocol::Bgp => {
                let checked = advertisements(&name, &raw_advertisements, &ranges, aliases, &place, report);
                let numbered = checked.into_iter().zip(1..).map(|(advertisement, number)| match number {
                    1 => (AdvertisementName::new(name.as_str()), advertisement),
                    _ => (AdvertisementName::new(format!("{name}#{number}")), advertisement),
                });
                config.bgp_advertisements.extend(numbered);
            }
        }
        let ranges = ranges.into_iter().map(|(range, _)| range).collect();
        let auto_assign = raw.auto_assign.unwrap_or(true);
        let avoid_buggy_ips = raw.avoid_buggy_ips.unwrap_or(false);
        config.pools.insert(name, Pool { ranges, auto_assign, avoid_buggy_ips, ..Pool::default() });
    }
    config
}

/// How the addresses of a pool become known to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// ARP and NDP on the link.
    Layer2,
    Bgp,
}

fn protocol(raw: Option<&Lined<String>>, place: &Place, line: u64, report: &mut Report) -> Protocol {
    match raw.map(|protocol| protocol.value.as_str()) {
        Some("layer2") => Protocol::Layer2,
        Some("bgp") => Protocol::Bgp,
        None | Some("") => {
            report.add(place, line, Problem::Missing { key: "protocol", example: "protocol: layer2" });
            Protocol::Layer2
        }
        Some(other) => {
            let line = raw.map_or(line, |protocol| protocol.referenced.line());
            report.add(place, line, Problem::Protocol(other.to_owned()));
            Protocol::Layer2
        }
    }
}

/// The ranges as listed, each with its text.
fn ranges(
    raw: &[Lined<String>],
    name: &PoolName,
    place: &Place,
    line: u64,
    taken: &mut Taken,
    report: &mut Report,
) -> Vec<(IpRange, String)> {
    if raw.is_empty() {
        let problem = Problem::Missing { key: "addresses", example: "addresses: [192.0.2.10-192.0.2.20]" };
        report.add(place, line, problem);
    }
    let mut ranges = Vec::new();
    for text in raw {
        let line = text.referenced.line();
        let range: IpRange = match text.value.parse() {
            Ok(range) => range,
            Err(invalid) => {
                report.add(place, line, Problem::Range(invalid));
                continue;
            }
        };
        // The nearest range that starts at or before this one's end overlaps, or none does.
        let nearest = taken.range(..=(range.family(), range.last())).next_back();
        match nearest.filter(|(_, (other, _))| other.overlaps(&range)) {
            Some((_, (other, pool))) => {
                report.add(place, line, Problem::Overlap { range, other: *other, pool: pool.clone() });
            }
            None => {
                taken.insert((range.family(), range.first()), (range, name.clone()));
                ranges.push((range, text.value.trim().to_owned()));
            }
        }
    }
    ranges
}

/// The advertisements of a bgp pool; the default one when there is none.
fn advertisements(
    pool: &PoolName,
    raw: &[Lined<raw::Advertisement>],
    ranges: &[(IpRange, String)],
    aliases: &BTreeMap<Box<str>, Community>,
    place: &Place,
    report: &mut Report,
) -> Vec<BgpAdvertisement> {
    let mut all = Vec::new();
    for Lined { value: raw, referenced, .. } in raw {
        let line = referenced.line();
        let mut length = |family: Family, key: &'static str, value: Option<i64>, max: u8, allowed: &'static str| {
            let value = value.unwrap_or_else(|| max.into());
            match u8::try_from(value).ok().filter(|&length| length <= max) {
                None => {
                    report.add(place, line, Problem::OutOfRange { key, value, allowed });
                    max
                }
                Some(length) => {
                    for (range, addresses) in ranges.iter().filter(|(range, _)| range.family() == family) {
                        let prefix = widest_prefix(range);
                        if length < prefix {
                            let addresses = addresses.clone();
                            report.add(place, line, Problem::Aggregation { length, prefix, addresses });
                        }
                    }
                    length
                }
            }
        };
        let aggregation_length = length(Family::V4, "aggregation-length", raw.aggregation_length, 32, "0 to 32");
        let aggregation_length_v6 =
            length(Family::V6, "aggregation-length-v6", raw.aggregation_length_v6, 128, "0 to 128");
        let local_pref = raw.localpref.unwrap_or(0);
        let local_pref = u32::try_from(local_pref).unwrap_or_else(|_| {
            let problem = Problem::OutOfRange { key: "localpref", value: local_pref, allowed: "0 to 4294967295" };
            report.add(place, line, problem);
            0
        });
        let communities = communities(raw.communities.as_deref().unwrap_or_default(), aliases, place, report);
        let advertisement = BgpAdvertisement {
            pools: PoolChoice::only(pool.clone()),
            aggregation_length,
            aggregation_length_v6,
            local_pref,
            communities,
            ..BgpAdvertisement::default()
        };
        if all.contains(&advertisement) {
            report.add(place, line, Problem::DuplicateAdvertisement);
        } else {
            all.push(advertisement);
        }
    }
    if raw.is_empty() {
        all.push(BgpAdvertisement { pools: PoolChoice::only(pool.clone()), ..BgpAdvertisement::default() });
    }
    all
}

fn communities(
    raw: &[Lined<String>],
    aliases: &BTreeMap<Box<str>, Community>,
    place: &Place,
    report: &mut Report,
) -> BTreeSet<Community> {
    let mut all = BTreeSet::new();
    for Lined { value: text, referenced, .. } in raw {
        match aliases.get(text.as_str()).copied().or_else(|| bgp::community(text).ok()) {
            None => report.add(place, referenced.line(), Problem::UnknownCommunity(text.clone())),
            Some(community) => {
                if !all.insert(community) {
                    report.add(place, referenced.line(), Problem::DuplicateCommunity(text.clone()));
                }
            }
        }
    }
    all
}

/// Length of the widest prefix that lies in the range.
pub(crate) fn widest_prefix(range: &IpRange) -> u8 {
    let bits: u8 = match range.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    // A block of 2^host addresses lies in the range when the first aligned one at or after its start ends in time.
    let fits = |host: u8| {
        let Some(size) = 1u128.checked_shl(host.into()) else { return range.first() == 0 && range.last() == u128::MAX };
        let start = range.first().checked_next_multiple_of(size);
        start.and_then(|start| start.checked_add(size - 1)).is_some_and(|end| end <= range.last())
    };
    bits - (0..=bits).rev().find(|&host| fits(host)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widest_prefixes() {
        for (text, prefix) in [
            ("10.0.0.0/24", 24),
            ("10.0.0.5/32", 32),
            ("10.0.0.1-10.0.0.254", 26),
            ("10.0.0.1-10.0.0.2", 32),
            ("10.0.0.0-10.0.0.255", 24),
            ("0.0.0.0/0", 0),
            ("::/0", 0),
            ("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
            ("fd00::/64", 64),
            ("255.255.255.255/32", 32),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 128),
        ] {
            assert_eq!(widest_prefix(&text.parse().unwrap()), prefix, "{text}");
        }
    }
}
