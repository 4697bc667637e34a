//! The list of benchmarks.

use crate::{
    Result, conflict, creation, failures,
    faults::{Fault, Meanwhile},
    fencing, image, latency,
    many::Many,
    memory, moves, peers,
    report::{Figure, Stat},
    scale,
    stage::Stage,
    unnoticed, waiting,
};
use clap::ValueEnum;

/// One step of `make bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// Size of the image.
    Image,
    /// Idle processor time with few and with many peers.
    Peers,
    /// Power loss of the announcing node.
    PowerLoss,
    /// Its cable is pulled.
    CablePulled,
    /// It falls silent with its carrier up, as in a kernel panic.
    Silence,
    /// Its frames are lost; it hears the others.
    Unheard,
    /// Frames to it are lost; the others hear it.
    Deaf,
    /// It falls silent where multicast is filtered.
    MulticastFiltered,
    /// It falls silent where port 7946 is blocked.
    PortBlocked,
    /// It falls silent where 1 % of the frames are lost.
    #[value(name = "loss-1")]
    Loss1,
    /// It falls silent where 10 % of the frames are lost.
    #[value(name = "loss-10")]
    Loss10,
    /// It falls silent where 30 % of the frames are lost.
    #[value(name = "loss-30")]
    Loss30,
    /// It falls silent while the API server is away.
    ApiAway,
    /// It falls silent while the API server is slow.
    ApiSlow,
    /// It falls silent while etcd is stopped.
    EtcdStopped,
    /// The switch restarts.
    SwitchRestart,
    /// Speakers are killed, deleted, frozen.
    Speakers,
    /// Rolling update of the speakers.
    Rollout,
    /// Addresses are moved on purpose.
    Moves,
    /// Power loss of a node with endpoints, with and without fencing.
    Fencing,
    /// A foreign host claims an address.
    Conflict,
    /// Service created -> EXTERNAL-IP, ARP, HTTP.
    Creation,
    /// 1,000 waiting Services.
    Waiting,
    /// Memory and processor time with 1,000 Services.
    Memory,
    /// ARP request -> answer.
    Arp,
    /// Endpoint updates, API requests and restarts with 1,000 Services.
    Churn,
    /// The same and more with 5,000.
    FiveThousand,
    /// The same with 10,000, and ARP.
    TenThousand,
    /// Power loss with failoverTarget fast.
    PowerLossFast,
    /// False take-overs with every processor busy.
    Busy,
    /// False take-overs with speakers limited to a tenth of a core.
    Limited,
}

/// So that addresses return soon to a node that was away, and its turn comes again. Neither is a part of taking over from a dead node.
const DRAIN: &str = "speaker.drain=1s";
/// See [`DRAIN`].
const HOLD_OFF: &str = "speaker.holdOff=1s";

impl Benchmark {
    /// In an order in which each leaves what the next can use, and that is measured first which matters most.
    pub const ALL: [Self; 31] = [
        Self::Image,
        Self::Peers,
        Self::PowerLoss,
        Self::CablePulled,
        Self::Silence,
        Self::Unheard,
        Self::Deaf,
        Self::MulticastFiltered,
        Self::PortBlocked,
        Self::Loss1,
        Self::Loss10,
        Self::Loss30,
        Self::ApiAway,
        Self::ApiSlow,
        Self::EtcdStopped,
        Self::SwitchRestart,
        Self::Moves,
        Self::Fencing,
        Self::PowerLossFast,
        Self::Speakers,
        Self::Rollout,
        Self::Conflict,
        Self::Creation,
        Self::Waiting,
        Self::Memory,
        Self::Arp,
        Self::Churn,
        Self::FiveThousand,
        Self::TenThousand,
        Self::Busy,
        Self::Limited,
    ];

    /// As `--only` takes it.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it is about.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Image => "Size of the image",
            Self::Peers => "Idle speaker with 3 and with 100 peers",
            Self::PowerLoss => "Power loss of the announcing node",
            Self::PowerLossFast => "Power loss of the announcing node, failoverTarget fast",
            Self::CablePulled => "Cable of the announcing node pulled",
            Self::Silence => "Announcing node silent, carrier up",
            Self::Unheard => "Frames of the announcing node lost",
            Self::Deaf => "Frames to the announcing node lost",
            Self::MulticastFiltered => "Announcing node silent, multicast filtered",
            Self::PortBlocked => "Announcing node silent, port 7946 blocked",
            Self::Loss1 => "Announcing node silent, 1 % of the frames lost",
            Self::Loss10 => "Announcing node silent, 10 % of the frames lost",
            Self::Loss30 => "Announcing node silent, 30 % of the frames lost",
            Self::ApiAway => "Announcing node silent, API server away",
            Self::ApiSlow => "Announcing node silent, API server slow",
            Self::EtcdStopped => "Announcing node silent, etcd stopped",
            Self::SwitchRestart => "Switch restarted",
            Self::Speakers => "Speakers killed, deleted, frozen",
            Self::Rollout => "Rolling update of the speakers",
            Self::Moves => "Planned moves",
            Self::Fencing => "Connections that fail after a power loss, with and without fencing",
            Self::Conflict => "Address conflict",
            Self::Creation => "New Services",
            Self::Waiting => "1,000 waiting Services",
            Self::Memory => "Memory and idle processor time",
            Self::Arp => "ARP round trip",
            Self::Churn => "Endpoint updates, API requests and restarts",
            Self::FiveThousand => "5,000 Services",
            Self::TenThousand => "10,000 Services",
            Self::Busy => "All processors busy",
            Self::Limited => "Speakers with a tenth of a core",
        }
    }

    /// What is done to the announcing node, and what is wrong meanwhile.
    const fn failure(self) -> Option<(Fault, Meanwhile)> {
        Some(match self {
            Self::PowerLoss | Self::PowerLossFast => (Fault::PowerLoss, Meanwhile::Nothing),
            Self::CablePulled => (Fault::CablePulled, Meanwhile::Nothing),
            Self::Silence => (Fault::Silence, Meanwhile::Nothing),
            Self::Unheard => (Fault::Unheard, Meanwhile::Nothing),
            Self::Deaf => (Fault::Deaf, Meanwhile::Nothing),
            Self::MulticastFiltered => (Fault::Silence, Meanwhile::MulticastFiltered),
            Self::PortBlocked => (Fault::Silence, Meanwhile::PortBlocked),
            Self::Loss1 => (Fault::Silence, Meanwhile::Loss(1)),
            Self::Loss10 => (Fault::Silence, Meanwhile::Loss(10)),
            Self::Loss30 => (Fault::Silence, Meanwhile::Loss(30)),
            Self::ApiAway => (Fault::Silence, Meanwhile::ApiAway),
            Self::ApiSlow => (Fault::Silence, Meanwhile::ApiSlow),
            Self::EtcdStopped => (Fault::Silence, Meanwhile::EtcdStopped),
            Self::SwitchRestart => (Fault::SwitchRestart, Meanwhile::Nothing),
            _ => return None,
        })
    }

    /// Names of those whose figure is an outage after a failure.
    #[must_use]
    pub fn failures() -> Vec<String> {
        Self::ALL.into_iter().filter(|benchmark| benchmark.failure().is_some()).map(Self::name).collect()
    }

    /// Whether it is measured when none is named. 5,000 Services and more take longer to make and to remove than all faults.
    #[must_use]
    pub const fn is_default(self) -> bool {
        !matches!(self, Self::FiveThousand | Self::TenThousand)
    }

    /// Whether it is measured in the lab's cluster.
    #[must_use]
    pub const fn needs_cluster(self) -> bool {
        !matches!(self, Self::Image | Self::Peers)
    }

    /// Whether it lasts as long as it is told to.
    #[must_use]
    pub const fn is_soak(self) -> bool {
        matches!(self, Self::Busy | Self::Limited)
    }

    /// Whether any implementation can be measured, as it stands.
    #[must_use]
    pub const fn is_for_all(self) -> bool {
        let changes = matches!(self, Self::PowerLossFast);
        !changes
            && (self.failure().is_some() || matches!(self, Self::Speakers | Self::Rollout | Self::Moves | Self::Busy))
    }

    /// How it is measured.
    #[must_use]
    pub fn method(self) -> String {
        match self {
            Self::Image => image::METHOD.to_owned(),
            Self::Peers => peers::METHOD.to_owned(),
            Self::Conflict => conflict::METHOD.to_owned(),
            Self::Creation => creation::METHOD.to_owned(),
            Self::Waiting => waiting::METHOD.to_owned(),
            Self::Arp => latency::METHOD.to_owned(),
            Self::Churn => scale::METHOD.to_owned(),
            Self::FiveThousand | Self::TenThousand => scale::METHOD_LARGE.to_owned(),
            Self::Fencing => fencing::METHOD.to_owned(),
            Self::Memory => memory::METHOD.to_owned(),
            Self::Speakers => unnoticed::SPEAKERS.to_owned(),
            Self::Rollout => unnoticed::ROLLOUT.to_owned(),
            Self::Busy => unnoticed::BUSY.to_owned(),
            Self::Limited => unnoticed::LIMITED.to_owned(),
            Self::Moves => moves::METHOD.to_owned(),
            failure => {
                let (fault, meanwhile) = failure.failure().unwrap_or((Fault::Silence, Meanwhile::Nothing));
                format!("{}{}, {}", fault.done(), meanwhile.wrong(), failures::METHOD)
            }
        }
    }

    /// Chart values that it needs.
    const fn values(self) -> &'static [&'static str] {
        match self {
            Self::PowerLossFast => &[DRAIN, HOLD_OFF, "speaker.failoverTarget=fast"],
            // A tenth of a core.
            Self::Limited => &["speaker.resources.limits.cpu=100m"],
            Self::Moves | Self::Fencing => &[DRAIN, HOLD_OFF],
            failure if failure.failure().is_some() => &[DRAIN, HOLD_OFF],
            _ => &[],
        }
    }

    /// The budgets of the first figure of a failure.
    const fn budgets(self) -> &'static [(Stat, f64)] {
        match self {
            Self::PowerLoss => &[(Stat::P50, 180.0), (Stat::P99, 300.0)],
            Self::PowerLossFast => &[(Stat::P99, 150.0)],
            _ => &[],
        }
    }

    /// Measures.
    ///
    /// # Errors
    /// What could not be measured, and why.
    pub fn measure(self, stage: &mut Stage) -> Result<Vec<Figure>> {
        if stage.subject.is_herald {
            stage.install(self.values())?;
        }
        if let Some((fault, meanwhile)) = self.failure() {
            let mut figures = failures::measure(stage, self.title(), fault, meanwhile)?;
            if let Some(first) = figures.first_mut() {
                *first = self.budgets().iter().fold(first.clone(), |it, (stat, limit)| it.target(*stat, *limit));
            }
            return Ok(figures);
        }
        match self {
            Self::Conflict => conflict::measure(stage),
            Self::Creation => creation::measure(&stage.cluster, stage.effort.creations),
            Self::Waiting => waiting::measure(&stage.cluster, stage.effort.waits),
            Self::Arp => latency::measure(&stage.cluster),
            Self::Churn => scale::measure(&stage.cluster),
            Self::FiveThousand => scale::measure_large(&stage.cluster, Many::FIVE_THOUSAND),
            Self::TenThousand => scale::measure_large(&stage.cluster, Many::TEN_THOUSAND),
            Self::Fencing => fencing::measure(stage, self.values()),
            Self::Memory => memory::measure(&stage.cluster),
            Self::Speakers => unnoticed::speakers(stage),
            Self::Rollout => unnoticed::rollout(stage),
            Self::Busy => unnoticed::busy(stage),
            Self::Limited => unnoticed::limited(stage),
            Self::Moves => moves::measure(stage),
            // What needs no cluster needs no stage, and failures are above.
            _ => Ok(Vec::new()),
        }
    }
}

impl Fault {
    const fn done(self) -> &'static str {
        match self {
            Self::PowerLoss => {
                "the node that announces is powered off (its switch port first, then SIGKILL of everything)"
            }
            Self::CablePulled => "the cable of the node that announces is pulled (no carrier)",
            Self::Silence => "the switch drops every frame of the node that announces, both ways; the carrier stays",
            Self::Unheard => "the switch drops every frame that the announcing node sends",
            Self::Deaf => "the switch drops every frame to the announcing node",
            Self::SwitchRestart => {
                "every port of the switch, the client's too, is without carrier for one second, a part of the outage"
            }
        }
    }
}

impl Meanwhile {
    fn wrong(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::MulticastFiltered => ", where the switch drops the nodes' multicast frames all the time".to_owned(),
            Self::PortBlocked => ", where the switch drops what the nodes send to port 7946".to_owned(),
            Self::Loss(percent) => format!(
                ", where {percent} % of all frames to nodes are lost at random, the client's questions and their answers excepted"
            ),
            Self::ApiAway => ", while the API server is stopped".to_owned(),
            Self::ApiSlow => ", while the API server stands still for nine tenths of each second".to_owned(),
            Self::EtcdStopped => ", while etcd is stopped".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_listed_once_and_says_what_it_does() {
        for benchmark in Benchmark::value_variants() {
            let listed = Benchmark::ALL.iter().filter(|other| *other == benchmark).count();
            assert_eq!((listed, benchmark.name().is_empty()), (1, false), "{benchmark:?}");
            assert!(benchmark.method().len() > 60, "{benchmark:?}");
        }
        assert_eq!(Benchmark::Loss30.name(), "loss-30");
        assert_eq!(Benchmark::failures().len(), 15);
    }
}
