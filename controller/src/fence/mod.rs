//! Fencing of dead nodes (`--fence-dead-nodes`): carries out what [`herald_core::fence`] decides, while this replica leads.
//!
//! Apart from the driver: it shares nothing with the giving of addresses, and must not wait for it.

mod apply;
mod kubelet;
mod observe;

use herald_api::event::{Kind, Notice, node_notice};
use herald_core::{
    NodeName,
    fence::{self, Kubelet, Limit, Standing, Verdict, View},
    reason::Reason,
};
use herald_runtime::{events::EventWriter, lease::Leadership, metrics::Gauge, shutdown::Shutdown, standby::Standby};
use observe::{Client, Observed};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How often a node that is missed or fenced is looked at again, and its kubelet asked.
const LOOK: Duration = Duration::from_secs(1);

/// What fencing works with.
pub(crate) struct Fencing {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) limit: Limit,
    pub(crate) leadership: Leadership,
    pub(crate) standby: watch::Receiver<Option<Standby>>,
    pub(crate) events: EventWriter,
    pub(crate) fenced: Gauge,
    pub(crate) shutdown: Shutdown,
}

struct State {
    parts: Fencing,
    observed: Observed,
    /// Answers of kubelets that were asked since their node was last missed.
    kubelets: BTreeMap<NodeName, Kubelet>,
    asks: JoinSet<(NodeName, Kubelet)>,
    asked: BTreeMap<NodeName, Instant>,
    /// What was last told about a node that is not fenced.
    told: BTreeMap<NodeName, &'static str>,
}

/// Fences and frees until shutdown.
pub(crate) async fn run(parts: Fencing) {
    let mut inputs = observe::start(&parts.client, &parts.namespace, &parts.shutdown);
    let shutdown = parts.shutdown.clone();
    let mut state = State {
        parts,
        observed: Observed::default(),
        kubelets: BTreeMap::new(),
        asks: JoinSet::new(),
        asked: BTreeMap::new(),
        told: BTreeMap::new(),
    };
    let mut look: Option<Instant> = None;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            Some(input) = inputs.recv() => {
                state.observed.take(input);
                while let Ok(input) = inputs.try_recv() {
                    state.observed.take(input);
                }
            }
            Some(Ok((node, answer))) = state.asks.join_next() => {
                state.kubelets.insert(node, answer);
            }
            () = state.parts.leadership.changed() => {}
            Ok(()) = state.parts.standby.changed() => {}
            () = async { match look { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
        }
        look = state.step().await.then(|| Instant::now() + LOOK);
    }
}

impl State {
    fn may_act(&self) -> bool {
        let clear = self.parts.standby.borrow().as_ref().is_some_and(|standby| !standby.holds());
        clear && self.parts.leadership.current().is_some()
    }

    /// Does what is to be done; whether there is somebody to look at again.
    async fn step(&mut self) -> bool {
        let Some(nodes) = self.observed.nodes().filter(|_| self.may_act()) else {
            self.kubelets.clear();
            self.parts.fenced.set(0);
            return false;
        };
        let mut view = View { nodes: BTreeMap::new(), reports: self.observed.reports() };
        let mut known: BTreeMap<NodeName, (Arc<str>, Vec<SocketAddr>)> = BTreeMap::new();
        for (name, node) in nodes {
            let kubelet = self.kubelets.get(&name).copied().unwrap_or_default();
            view.nodes.insert(name.clone(), Standing { fenced: node.fenced, kubelet });
            known.insert(name, (Arc::clone(&node.uid), node.kubelet.clone()));
        }
        let verdicts = fence::judge(&view, self.parts.limit);
        // Who is not missed any more is asked anew the next time.
        self.kubelets.retain(|node, _| verdicts.contains_key(node));
        self.told.retain(|node, _| verdicts.contains_key(node));
        self.parts
            .fenced
            .set(i64::try_from(view.nodes.values().filter(|node| node.fenced).count()).unwrap_or(i64::MAX));
        for (node, verdict) in &verdicts {
            let Some((uid, addresses)) = known.remove(node) else { continue };
            if !matches!(verdict, Verdict::Refused(fence::Refusal::NoMajority { .. })) {
                self.ask(node, addresses);
            }
            if let Err(error) = self.carry_out(node, &uid, verdict).await {
                tracing::warn!(%node, ?verdict, %error, "fencing: the API server did not take it; trying again");
            }
        }
        !verdicts.is_empty()
    }

    /// Asks a kubelet, once in a while.
    fn ask(&mut self, node: &NodeName, addresses: Vec<SocketAddr>) {
        let now = Instant::now();
        if self.asked.get(node).is_some_and(|asked| now.duration_since(*asked) < LOOK) {
            return;
        }
        self.asked.insert(node.clone(), now);
        let node = node.clone();
        self.asks.spawn(async move { (node, kubelet::ask(addresses).await) });
    }

    async fn carry_out(
        &mut self,
        node: &NodeName,
        uid: &Arc<str>,
        verdict: &Verdict,
    ) -> Result<(), herald_runtime::client::CallError> {
        let client = self.parts.client.clone();
        match verdict {
            Verdict::Ask => {}
            Verdict::Fence => {
                // The mark first: whoever follows must know, and it counts towards the limit.
                apply::mark(&client, node, true).await?;
                self.observed.set_fenced(node, true);
                let pods = apply::silence(&client, node).await?;
                tracing::warn!(%node, pods, "fenced: a majority of speakers misses the node, and its kubelet is silent");
                self.tell(node, uid, Kind::Warning, "nodeFenced", format!(
                    "a majority of speakers misses node \"{node}\" on every link and its kubelet does not answer: {pods} pods are marked not ready, so that their endpoints leave"
                ));
            }
            Verdict::Keep => {
                let pods = apply::silence(&client, node).await?;
                if pods > 0 {
                    tracing::info!(%node, pods, "fenced: pods that were ready again are marked not ready");
                }
            }
            Verdict::Free => {
                apply::mark(&client, node, false).await?;
                self.observed.set_fenced(node, false);
                tracing::info!(%node, "not fenced any more: the node is seen again");
                self.tell(
                    node,
                    uid,
                    Kind::Normal,
                    "nodeFreed",
                    format!("node \"{node}\" is seen again: its kubelet says which pods are ready"),
                );
            }
            Verdict::Refused(why) => {
                if self.told.insert(node.clone(), why.label()) != Some(why.label()) {
                    tracing::warn!(%node, reason = why.label(), "not fenced: {why}");
                    if !matches!(why, fence::Refusal::NoMajority { .. }) {
                        self.tell(node, uid, Kind::Warning, "nodeNotFenced", why.advice());
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&self, node: &NodeName, uid: &Arc<str>, kind: Kind, reason: &'static str, message: String) {
        let notice: Notice = node_notice(node, uid, kind, reason, message);
        self.parts.events.publish(notice);
    }
}
