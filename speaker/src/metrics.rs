//! The speaker's metrics, written when they are scraped, from what the driver published: series go with their object.

use crate::net::{answer::AnswerTable, hello_io::HelloCounters, responder::ResponderCounters};
use herald_core::{LinkName, NodeName, ServiceKey, Set};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// How often each address was said unasked. Clones share the counts: a refresh is no reason to publish everything anew.
#[derive(Debug, Clone, Default)]
pub struct Gratuitous(Arc<Mutex<BTreeMap<IpAddr, u64>>>);

impl Gratuitous {
    /// MetalLB counts frames: an ARP round is a request and a reply.
    pub(crate) fn count(&self, address: IpAddr) {
        *self.counts().entry(address).or_default() += if address.is_ipv4() { 2 } else { 1 };
    }

    /// A panic elsewhere leaves whole counts behind.
    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known about one link.
#[derive(Debug, Clone)]
pub struct LinkScrape {
    /// Its name.
    pub name: LinkName,
    /// Members, this speaker included.
    pub members: usize,
    /// Whether this speaker takes part there.
    pub present: bool,
    /// What is answered, with the counters of each address.
    pub table: Arc<AnswerTable>,
    /// What was not answered.
    pub responder: Arc<ResponderCounters>,
    /// What happened to hellos.
    pub hello: Arc<HelloCounters>,
}

/// Everything the driver publishes for metrics.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// This node.
    pub node: Option<NodeName>,
    /// What this node announces.
    pub announcing: Arc<BTreeMap<ServiceKey, Set<IpAddr>>>,
    /// Its links.
    pub links: Vec<LinkScrape>,
    /// What was said unasked.
    pub gratuitous: Gratuitous,
    /// What happened to unicast hellos.
    pub datagrams: Option<Arc<HelloCounters>>,
}

/// Writes a [`Scrape`].
#[derive(Debug)]
pub(crate) struct ScrapeCollector(pub(crate) watch::Receiver<Arc<Scrape>>);

impl Collector for ScrapeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let scrape = Arc::clone(&self.0.borrow());
        scrape.announced(&mut encoder)?;
        scrape.addresses(&mut encoder)?;
        scrape.links(&mut encoder)?;
        scrape.hellos(&mut encoder)
    }
}

type Result<T = (), E = std::fmt::Error> = std::result::Result<T, E>;

fn gauges<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ([(&'static str, String); N], i64)>,
) -> Result {
    let prototype = ConstGauge::new(0_i64);
    let mut family = encoder.encode_descriptor(name, help, None, prototype.metric_type())?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels.as_slice())?)?;
    }
    Ok(())
}

fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
) -> Result {
    let prototype = ConstCounter::new(0_u64);
    let mut family = encoder.encode_descriptor(name, help, None, prototype.metric_type())?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(family.encode_family(&labels.as_slice())?)?;
    }
    Ok(())
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Scrape {
    fn announced(&self, encoder: &mut DescriptorEncoder<'_>) -> Result {
        let node = self.node.as_ref().map(ToString::to_string).unwrap_or_default();
        let series = self.announcing.iter().flat_map(|(service, addresses)| {
            let node = node.clone();
            addresses.iter().map(move |ip| {
                let labels = [
                    ("service", service.to_string()),
                    ("protocol", "layer2".to_owned()),
                    ("node", node.clone()),
                    ("ip", ip.to_string()),
                ];
                (labels, 1)
            })
        });
        gauges(encoder, "metallb_speaker_announced", "Services being announced from this node", series)
    }

    fn addresses(&self, encoder: &mut DescriptorEncoder<'_>) -> Result {
        let mut requests: BTreeMap<IpAddr, u64> = BTreeMap::new();
        let mut responses: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (ip, answer) in self.links.iter().flat_map(|link| &link.table.addresses) {
            *requests.entry(*ip).or_default() += read(&answer.counters.requests_received);
            *responses.entry(*ip).or_default() += read(&answer.counters.responses_sent);
        }
        let counts = self.gratuitous.counts();
        let gratuitous = requests.keys().filter_map(|ip| counts.get(ip).map(|count| (*ip, *count))).collect();
        drop(counts);
        for (name, help, series) in [
            ("requests_received", "Number of layer2 requests received for owned IPs", requests),
            ("responses_sent", "Number of layer2 responses sent for owned IPs in response to requests", responses),
            (
                "gratuitous_sent",
                "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers",
                gratuitous,
            ),
        ] {
            let series = series.into_iter().map(|(ip, count)| ([("ip", ip.to_string())], count));
            // MetalLB's counters carry no _total; the text encoder appends it to counters, so these are written as gauges of the same name.
            gauges(
                encoder,
                &format!("metallb_layer2_{name}"),
                help,
                series.map(|(l, v)| (l, i64::try_from(v).unwrap_or(i64::MAX))),
            )?;
        }
        Ok(())
    }

    fn links(&self, encoder: &mut DescriptorEncoder<'_>) -> Result {
        let of = |link: &LinkScrape| [("link", link.name.to_string())];
        let members = self.links.iter().map(|link| (of(link), i64::try_from(link.members).unwrap_or(i64::MAX)));
        gauges(encoder, "herald_link_members", "Speakers that take part on the link, this one included", members)?;
        let present = self.links.iter().map(|link| (of(link), i64::from(link.present)));
        gauges(encoder, "herald_link_present", "1 if this speaker may answer on the link", present)?;
        let dropped = self.links.iter().flat_map(|link| {
            link.responder.unanswered().map(|(reason, count)| {
                ([("link", link.name.to_string()), ("reason", reason.label().to_owned())], count)
            })
        });
        counters(encoder, "herald_requests_unanswered", "ARP and NDP frames that got no answer, by reason", dropped)
    }

    fn hellos(&self, encoder: &mut DescriptorEncoder<'_>) -> Result {
        let links = self.links.iter().map(|link| (link.name.to_string(), &link.hello));
        let all = links.chain(self.datagrams.iter().map(|counters| ("udp".to_owned(), counters)));
        let series = all.flat_map(|(link, c)| {
            [
                ("heard", read(&c.heard)),
                ("malformed", read(&c.malformed)),
                ("foreign_cluster", read(&c.foreign_cluster)),
                ("wrong_key", read(&c.wrong_hmac)),
                ("version", read(&c.version)),
                ("no_key", read(&c.no_key)),
                ("no_link", read(&c.no_link)),
                ("lost", read(&c.lost)),
            ]
            .map(|(result, count)| ([("link", link.clone()), ("result", result.to_owned())], count))
        });
        counters(encoder, "herald_hellos", "Hellos received, by what became of them", series)
    }
}
