//! The one task that owns the state: takes inputs, polls the machine of [`herald_core::speaker`], carries out what it wants.
//!
//! No rule stands here. What is waited for: hellos, sights, links, the cluster's state, keys, standby, deadlines and the end.

mod effects;

use crate::{
    data_plane::Asked,
    links::Links,
    metrics::{Changes, Gratuitous, Scrape},
    net::{
        alarm::Alarm,
        hello_io::{Carrier, Heard, Keys},
        hello_udp::HelloUdp,
        responder::Seen,
        sys::{boottime, release_memory, wake_soon},
    },
    ports::{Ports, Sinks},
    show::{Notes, Shown},
};
use effects::Lines;
use herald_api::configuration_state::Conflict;
use herald_core::{
    LinkName, ServiceKey,
    announce::conflict::{Policy, Withheld},
    fence::Lost,
    membership::Identity,
    ownership::{Moves, Snapshot},
    reason::Reason,
    speaker::{Effect, Input, Speaker, Taken},
    time::{Moment, Timing},
};
use herald_runtime::{admin::DebugRequest, readiness::Condition, shutdown::Shutdown};
use herald_wire::Mac;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::{Instant, sleep},
};

/// Hellos and sights that wait for the driver; more are dropped and counted.
const QUEUE: usize = 1024;
/// While nothing else is to be waited for.
const IDLE: Duration = Duration::from_secs(1);
/// After a link's sockets could not be opened.
const REOPEN: Duration = Duration::from_secs(2);
/// Memory that was used once is given back so often.
const RELEASE: Duration = Duration::from_secs(60);
/// How often received frames that still wait in the kernel are given a chance before deadlines are judged.
const DRAINS: usize = 8;
/// The last hello is said this often, as nobody asks for it again.
const LAST_WORDS: usize = 3;

/// What is worth an event on a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<'a> {
    /// This node begins to announce it.
    Announcing,
    /// Nobody announces these addresses of it: no node has an interface that its advertisements name.
    LacksInterface(&'a [IpAddr]),
    /// An address of it is not answered for on a link.
    Withheld(IpAddr, &'a LinkName, &'a Withheld),
    /// A station with this MAC address claimed an address of it, and was answered.
    Defended(IpAddr, &'a LinkName, Mac),
    /// An address that was withheld is answered for again.
    ConflictOver(IpAddr, &'a LinkName),
}

/// Told the key and the UID of a Service, and what happened.
pub type OnService = Box<dyn Fn(&ServiceKey, &Arc<str>, Told<'_>) + Send>;

/// Everything a driver works with; the Kubernetes side is behind channels, so that it runs without a cluster too.
pub struct Resources {
    /// Who this speaker is.
    pub me: Identity,
    /// Timing of the hellos.
    pub timing: Timing,
    /// How planned moves go.
    pub moves: Moves,
    /// What is done when a foreign station claims an address.
    pub conflict_policy: Policy,
    /// UDP port of the fallback; 0 = none.
    pub hello_port: u16,
    /// The links of this node.
    pub links: watch::Receiver<Arc<Links>>,
    /// The state of the cluster; `None` until complete.
    pub observed: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Keys of the hellos.
    pub keys: watch::Receiver<Arc<Keys>>,
    /// Whether to stand by; `None` = not known yet, which is the same.
    pub standby: watch::Receiver<Option<bool>>,
    /// What the health endpoint of this node's data plane says.
    pub data_plane: watch::Receiver<Asked>,
    /// Requests for the whole state.
    pub debug: mpsc::Receiver<DebugRequest>,
    /// Where numbers for metrics are published.
    pub scrape: watch::Sender<Arc<Scrape>>,
    /// Whether this speaker takes part, for `/readyz`.
    pub membership: Condition,
    /// Told what happens to Services.
    pub on_service: OnService,
}

/// Runs until shutdown; then says its last words.
pub async fn run(resources: Resources, shutdown: Shutdown) {
    if let Err(error) = wake_soon() {
        tracing::debug!(%error, "no short time slice: on a busy node answers may wait for a processor");
    }
    let (heard_tx, heard) = mpsc::channel(QUEUE);
    let (seen_tx, seen) = mpsc::channel(QUEUE);
    let udp = (resources.hello_port != 0)
        .then(|| HelloUdp::open(resources.hello_port, &resources.links, &resources.keys, &heard_tx));
    let udp = udp.and_then(|opened| {
        opened
            .inspect_err(
                |error| tracing::error!(%error, "no unicast hellos: peers behind a filtering switch are not heard"),
            )
            .ok()
    });
    let sinks = Sinks { keys: resources.keys.clone(), heard: heard_tx, seen: seen_tx };
    let driver = Driver {
        speaker: Speaker::new(resources.me.clone(), resources.timing)
            .with_moves(resources.moves)
            .with_policy(resources.conflict_policy),
        ports: Ports::new(sinks),
        udp,
        gratuitous: Gratuitous::default(),
        changes: Changes::default(),
        lost: Lost::default(),
        notes: Notes::default(),
        lines: Lines::default(),
        resources,
        heard,
        seen,
    };
    driver.run(shutdown).await;
}

struct Driver {
    resources: Resources,
    speaker: Speaker,
    ports: Ports,
    udp: Option<HelloUdp>,
    heard: mpsc::Receiver<Heard>,
    seen: mpsc::Receiver<Seen>,
    gratuitous: Gratuitous,
    changes: Changes,
    lost: Lost,
    notes: Notes,
    lines: Lines,
}

impl Driver {
    async fn run(mut self, shutdown: Shutdown) {
        // Standby first: until it is known that MetalLB is not there, no frame is sent.
        self.take_standby();
        self.take_keys();
        self.take_data_plane();
        self.follow_links();
        self.take_observed();
        let mut alarm = Alarm::unset();
        let mut release = Box::pin(sleep(RELEASE));
        loop {
            let idle = boottime() + IDLE;
            let wakes = self.speaker.next_deadline().map_or(idle, |deadline| deadline.min(idle));
            let reopen = self.ports.has_failed();
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                Some(heard) = self.heard.recv() => self.hear(heard),
                Some(seen) = self.seen.recv() => self.see(&seen),
                Ok(()) = self.resources.links.changed() => self.follow_links(),
                Ok(()) = self.resources.observed.changed() => self.take_observed(),
                Ok(()) = self.resources.keys.changed() => self.take_keys(),
                Ok(()) = self.resources.standby.changed() => self.take_standby(),
                Ok(()) = self.resources.data_plane.changed() => self.take_data_plane(),
                Some(request) = self.resources.debug.recv() => self.show(request),
                () = alarm.at(wakes) => {}
                () = sleep(REOPEN), if reopen => self.follow_links(),
                () = &mut release => {
                    if let Err(error) = release_memory() {
                        tracing::debug!(%error, "memory of the start is not given back");
                    }
                    release.as_mut().reset(Instant::now() + RELEASE);
                }
            }
            if self.speaker.is_due(boottime()) {
                self.drain().await;
                self.poll();
                self.ports.attend(!self.speaker.lets_wait());
            }
        }
        self.stop().await;
    }

    /// Takes everything that has arrived, also what still waits in the kernel: nobody is silent whose hello was not read yet.
    async fn drain(&mut self) {
        for _ in 0..DRAINS {
            let all = self.ports.collect();
            while let Ok(heard) = self.heard.try_recv() {
                self.hear(heard);
            }
            while let Ok(seen) = self.seen.try_recv() {
                self.see(&seen);
            }
            if all && !self.ports.pending() {
                break;
            }
            yield_now().await;
        }
    }

    fn input(&mut self, input: Input) -> Taken {
        self.speaker.handle(input, boottime())
    }

    fn hear(&mut self, heard: Heard) {
        let by_datagram = heard.carrier == Carrier::Datagram;
        self.notes.heard(&heard.link, &heard.hello.node, by_datagram);
        let input = Input::Hello { link: heard.link, from: heard.from, by_datagram, hello: Arc::new(heard.hello) };
        if let Taken::Ignored(herald_core::membership::Ignored::OwnName) = self.speaker.handle(input, heard.at) {
            tracing::debug!("a hello with our node name from another process");
        }
    }

    fn see(&mut self, seen: &Seen) {
        let (address, by) = seen.sight.claim();
        if self.ports.claimed(&seen.link, address, by, self.speaker.is_of_a_member(&seen.link, by)) {
            self.notes.claimed(&seen.link, address, by, seen.at);
        }
        self.input(Input::Answered { link: seen.link.clone(), address, from: by });
    }

    fn follow_links(&mut self) {
        let links = Arc::clone(&self.resources.links.borrow_and_update());
        let closed = self.ports.follow(&links);
        for link in &closed {
            self.changes.forget(link);
            self.lost.forget(link);
            self.notes.forget(link);
        }
        let open = self.ports.links();
        if !closed.is_empty() {
            // New sockets under an old name start from nothing: the machine must see the link go first.
            let rest = open.iter().filter(|link| !closed.contains(&link.name)).cloned().collect();
            self.input(Input::Links(rest));
            self.poll();
        }
        self.input(Input::Links(open));
    }

    fn take_observed(&mut self) {
        let snapshot = self.resources.observed.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            self.notes.snapshot = Some(boottime());
            self.input(Input::Snapshot(snapshot));
        }
    }

    fn take_keys(&mut self) {
        let known = !self.resources.keys.borrow_and_update().accepted.is_empty();
        self.input(Input::Key(known));
    }

    fn take_standby(&mut self) {
        let standby = self.resources.standby.borrow_and_update().unwrap_or(true);
        self.input(Input::Standby(standby));
        self.publish();
    }

    fn take_data_plane(&mut self) {
        let asked = self.resources.data_plane.borrow_and_update().clone();
        self.input(Input::DataPlane { is: asked.is(), has_health: asked.has_health });
    }

    fn show(&self, request: DebugRequest) {
        let shown = Shown {
            node: &self.resources.me.node,
            speaker: &self.speaker,
            ports: &self.ports,
            links: &self.resources.links.borrow(),
            data_plane: &self.resources.data_plane.borrow(),
            notes: &self.notes,
            gratuitous: &self.gratuitous,
            now: boottime(),
        };
        let state = shown.state(&request);
        request.answer(&state);
    }

    fn poll(&mut self) {
        let before = Arc::clone(self.speaker.announcing());
        let now = boottime();
        let effects = self.speaker.poll(now);
        // Where a Service is announced may change without an effect: only which interfaces are named did.
        let mut publish = !Arc::ptr_eq(&before, self.speaker.announcing());
        for effect in effects {
            publish |= !matches!(
                effect,
                Effect::Hello { .. } | Effect::Ask { .. } | Effect::Probe { .. } | Effect::Gratuitous { .. }
            );
            self.carry_out(effect);
        }
        self.lines.end();
        for (name, port) in self.ports.iter() {
            port.fence(self.speaker.good_until(name));
        }
        if publish {
            self.publish();
        }
        self.speaker.done(now, boottime());
    }

    fn publish(&self) {
        if *self.resources.standby.borrow() == Some(true) {
            // Ready to take over is all that can be asked for: `helm install --wait` beside a MetalLB has to end.
            self.resources.membership.ready_with("standing by while MetalLB runs");
        } else if self.speaker.is_present() {
            self.resources.membership.ready();
        } else {
            self.resources
                .membership
                .not_ready("listening: absence of others is not believed yet, or something is missing above");
        }
        let links = self.ports.iter().map(|(name, port)| {
            let (standing, members) = self.speaker.link(name).map_or_else(Default::default, |(s, m)| (Some(s), m));
            crate::metrics::LinkScrape {
                name: name.clone(),
                members: members.len(),
                presumed: members.values().filter(|member| member.presumed).count(),
                restarting: members.values().filter(|member| member.restarting).count(),
                present: standing == Some(herald_core::membership::Standing::Present),
                withheld: self.speaker.withheld(name),
                table: port.table(),
                responder: Arc::clone(port.responder.counters()),
                hello: Arc::clone(port.hello.counters()),
            }
        });
        let conflicts = self.speaker.conflicts_of_record().map(|((link, address), why)| Conflict {
            address: *address,
            link: link.to_string(),
            why: why.label().to_owned(),
            station: if let Withheld::Held(station) = why { station.to_string() } else { String::new() },
        });
        self.resources.scrape.send_replace(Arc::new(Scrape {
            node: Some(self.resources.me.node.clone()),
            announcing: Arc::clone(self.speaker.announcing()),
            conflicts: conflicts.collect(),
            links: links.collect(),
            gratuitous: self.gratuitous.clone(),
            changes: self.changes.clone(),
            lost: self.lost.nodes().clone(),
            data_plane: self.speaker.data_plane(),
            datagrams: self.udp.as_ref().map(|udp| Arc::clone(udp.counters())),
        }));
    }

    /// The others are told that this speaker restarts: they keep its place and answer on its behalf. Until they do, it answers itself.
    async fn stop(mut self) {
        for _ in 0..LAST_WORDS {
            self.input(Input::Stop { leaving: false });
            let effects = self.speaker.poll(boottime());
            effects.into_iter().for_each(|effect| self.carry_out(effect));
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The moment as the incarnation of a process: grows with every start as long as the clock does.
#[must_use]
pub fn incarnation() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX).max(Moment::default().as_micros() + 1)
}
